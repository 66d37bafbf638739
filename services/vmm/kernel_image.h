// The file that a VM boots: an arm64 `Image` (Linux, Documentation/arch/arm64/booting.rst) or,
// without that magic number, a flat binary.
#ifndef ATOLL_SERVICES_VMM_KERNEL_IMAGE_H_
#define ATOLL_SERVICES_VMM_KERNEL_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "services/vmm/error_text.h"

namespace atoll {

// Where a flat binary goes, and an Image that leaves image_size 0 (Linux before 3.17).
inline constexpr uint64_t kDefaultLoadOffset = 0x80000;

struct KernelImage {
  uint64_t load_offset = 0;   // from a 2 MiB boundary of RAM; entered at its first byte
  uint64_t memory_bytes = 0;  // from there; what follows the file is the kernel's (.bss)
};

// Checks everything in the header that loading relies on. The error says what to do about the file.
std::expected<KernelImage, ErrorText> ParseKernelImage(std::span<const std::byte> file);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_KERNEL_IMAGE_H_
