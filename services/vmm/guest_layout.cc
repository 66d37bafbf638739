#include "services/vmm/guest_layout.h"

#include <algorithm>

namespace atoll {
namespace {

// An initrd goes this far above the kernel's base when there is room: the .bss of a flat binary and
// the early allocations of a boot loader stay clear of it. Boot loaders for this machine expect the
// same.
constexpr uint64_t kInitrdOffset = 128 * 1024 * 1024;

bool Fits(uint64_t start, uint64_t bytes, uint64_t end) {
  return start <= end && bytes <= end - start;
}

}  // namespace

std::expected<GuestLayout, ErrorText> PlaceGuest(const KernelImage& kernel, uint64_t initrd_bytes,
                                                 GuestPhys ram_base, uint64_t ram_bytes) {
  const uint64_t ram_end = ram_base.value + ram_bytes;
  const uint64_t base = AlignUp(ram_base.value, kBlockSize);
  if (base >= ram_end || !InBounds(kernel.load_offset, kernel.memory_bytes, ram_end - base)) {
    return std::unexpected(ErrorText("kernel: needs ", Hex{kernel.memory_bytes}, " bytes at ",
                                     Hex{kernel.load_offset}, " above ", Hex{base},
                                     ", RAM ends at ", Hex{ram_end}, "; give the VM more memory"));
  }
  const uint64_t kernel_start = base + kernel.load_offset;
  const uint64_t kernel_end = kernel_start + kernel.memory_bytes;

  // At the base of RAM if the kernel leaves that free: a flat binary's .bss, of unknown size, then
  // never reaches the tree, and firmware for this machine looks there. Else behind the kernel.
  const uint64_t tree =
      kernel.load_offset >= kDeviceTreeBytes ? base : AlignUp(kernel_end, kDeviceTreeBytes);
  if (!Fits(tree, kDeviceTreeBytes, ram_end)) {
    return std::unexpected(ErrorText("device tree: no ", Hex{kDeviceTreeBytes},
                                     " bytes of RAM left behind the kernel, which ends at ",
                                     Hex{kernel_end}, " of ", Hex{ram_end},
                                     "; give the VM more memory"));
  }

  const uint64_t lowest = AlignUp(std::max(kernel_end, tree + kDeviceTreeBytes), kPageSize);
  const uint64_t preferred =
      AlignUp(base + std::min((ram_end - base) / 2, kInitrdOffset), kPageSize);
  uint64_t initrd = std::max(lowest, preferred);
  if (!Fits(initrd, initrd_bytes, ram_end)) initrd = lowest;
  if (!Fits(initrd, initrd_bytes, ram_end) && initrd_bytes != 0) {
    return std::unexpected(
        ErrorText("initrd: ", Hex{initrd_bytes}, " bytes do not fit between the kernel's end ",
                  Hex{lowest}, " and the end of RAM ", Hex{ram_end}, "; give the VM more memory"));
  }
  return GuestLayout{.kernel = GuestPhys(kernel_start),
                     .device_tree = GuestPhys(tree),
                     .initrd = GuestPhys(initrd)};
}

}  // namespace atoll
