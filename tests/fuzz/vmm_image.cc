// Any kernel file, RAM size and initrd size: see vmm_fuzz.h.
#include <cstdlib>
#include <cstring>

#include "services/vmm/guest_layout.h"
#include "services/vmm/kernel_image.h"
#include "tests/fuzz/vmm_fuzz.h"

namespace atoll {
namespace {

bool Apart(GuestPhys a, uint64_t a_bytes, GuestPhys b, uint64_t b_bytes) {
  return a.value + a_bytes <= b.value || b.value + b_bytes <= a.value;
}

}  // namespace

// 8 bytes RAM size, 8 bytes initrd size, then the file.
void FuzzImage(std::span<const std::byte> input) {
  uint64_t sizes[2];
  if (input.size() < sizeof(sizes)) return;
  std::memcpy(sizes, input.data(), sizeof(sizes));
  const auto file = input.subspan(sizeof(sizes));
  const auto image = ParseKernelImage(file);
  if (!image.has_value()) return;
  const GuestPhys ram(0x4000'0000);
  // Whole pages up to 2^39, small sizes as likely as large ones.
  const uint64_t ram_bytes =
      ((sizes[0] & ((uint64_t{1} << 39) - 1)) >> (sizes[0] >> 59)) & ~uint64_t{4095};
  const uint64_t initrd_bytes = sizes[1] >> (sizes[1] & 63);
  const auto layout = PlaceGuest(*image, initrd_bytes, ram, ram_bytes);
  if (!layout.has_value()) return;
  const auto inside = [&](GuestPhys address, uint64_t bytes) {
    return address >= ram && InBounds(address - ram, bytes, ram_bytes);
  };
  const bool sound =
      image->memory_bytes >= file.size() && inside(layout->kernel, image->memory_bytes) &&
      inside(layout->device_tree, kDeviceTreeBytes) &&
      Apart(layout->kernel, image->memory_bytes, layout->device_tree, kDeviceTreeBytes) &&
      (initrd_bytes == 0 ||
       (inside(layout->initrd, initrd_bytes) &&
        Apart(layout->initrd, initrd_bytes, layout->kernel, image->memory_bytes) &&
        Apart(layout->initrd, initrd_bytes, layout->device_tree, kDeviceTreeBytes)));
  if (!sound) std::abort();
}

}  // namespace atoll
