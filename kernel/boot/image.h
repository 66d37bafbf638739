// What the linker script (kernel.ld) and the build put into the image.
#ifndef ATOLL_KERNEL_BOOT_IMAGE_H_
#define ATOLL_KERNEL_BOOT_IMAGE_H_

#include <cstddef>
#include <span>

// All page aligned: [start, text_start) code of boot, unmapped at its end; [text_start, text_end)
// code; [text_end, rodata_end) constants; [rodata_end, end) data.
extern "C" const char image_start[], image_text_start[], image_text_end[], image_rodata_end[],
    image_end[];

extern "C" const std::byte supervisor_image_start[], supervisor_image_end[];

namespace atoll {

// The ELF file of the supervisor, 4 KiB aligned.
inline std::span<const std::byte> SupervisorImage() {
  return {supervisor_image_start, supervisor_image_end};
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_BOOT_IMAGE_H_
