// The kernel's virtual address space (TTBR1_EL2, 39 bits) and the direct map of all RAM in it.
//
//   0xffffff80'00000000  direct map: virtual = physical + base; RAM only; Normal, never executable.
//                        The pages of the kernel's text and constants are read-only there too.
//   0xffffffc0'00000000  kernel image, where kernel.ld links it; stacks with guard pages at its end
//   0xffffffd0'00000000  device window: registers that the kernel drives itself
//   0xffffffe0'00000000  the device tree, read-only
#ifndef ATOLL_KERNEL_DIRECT_MAP_H_
#define ATOLL_KERNEL_DIRECT_MAP_H_

#include <cstdint>

#include "ipc/address.h"

namespace atoll {

inline constexpr uint64_t kKernelSpaceBits = 39;
inline constexpr VirtAddr kDirectMapBase{0xffff'ff80'0000'0000};
inline constexpr uint64_t kDirectMapBytes = uint64_t{256} << 30;
inline constexpr VirtAddr kDeviceWindowBase{0xffff'ffd0'0000'0000};
inline constexpr VirtAddr kDeviceTreeWindowBase{0xffff'ffe0'0000'0000};

// RAM above kDirectMapBytes is not used, so every page of RAM that the kernel hands out has an
// address here.
constexpr VirtAddr PhysToVirt(PhysAddr address) { return kDirectMapBase + address.value; }

// The reverse; for addresses in the direct map only.
constexpr PhysAddr VirtToPhys(VirtAddr address) { return PhysAddr(address - kDirectMapBase); }

template <typename T>
T* PhysToPointer(PhysAddr address) {
  return reinterpret_cast<T*>(PhysToVirt(address).value);
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_DIRECT_MAP_H_
