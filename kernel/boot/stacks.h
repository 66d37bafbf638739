// The kernel's stacks.
#ifndef ATOLL_KERNEL_BOOT_STACKS_H_
#define ATOLL_KERNEL_BOOT_STACKS_H_

#include <cstddef>
#include <cstdint>

#include "ipc/address.h"
#include "kernel/boot/stack_layout.h"

extern "C" char kernel_stacks[];  // stacks.S: ATOLL_MAX_CPUS times ATOLL_STACK_TOP bytes

namespace atoll {

inline constexpr size_t kMaxCpus = ATOLL_MAX_CPUS;
inline constexpr uint64_t kKernelStackBytes = ATOLL_STACK_BYTES;
inline constexpr uint64_t kEmergencyStackBytes = ATOLL_EMERGENCY_STACK_BYTES;

// The first address above a CPU's stack; what SP starts with. cpu < kMaxCpus.
inline VirtAddr KernelStackTop(size_t cpu) {
  return VirtAddr(reinterpret_cast<uintptr_t>(kernel_stacks) + (cpu + 1) * ATOLL_STACK_TOP);
}
inline VirtAddr EmergencyStackTop(size_t cpu) {
  return VirtAddr(reinterpret_cast<uintptr_t>(kernel_stacks) + cpu * ATOLL_STACK_TOP +
                  ATOLL_EMERGENCY_STACK_TOP);
}

// True if [address, address + bytes) lies in one stack of some CPU: guards excluded.
inline bool InKernelStack(VirtAddr address, uint64_t bytes) {
  for (size_t cpu = 0; cpu < kMaxCpus; ++cpu) {
    const VirtAddr stack = KernelStackTop(cpu) - kKernelStackBytes;
    const VirtAddr emergency = EmergencyStackTop(cpu) - kEmergencyStackBytes;
    if (address >= stack && InBounds(address - stack, bytes, kKernelStackBytes)) return true;
    if (address >= emergency && InBounds(address - emergency, bytes, kEmergencyStackBytes))
      return true;
  }
  return false;
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_BOOT_STACKS_H_
