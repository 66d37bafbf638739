// Where a task's memory is to the program that runs: at the task's addresses. In a process of the build computer
// (tests/host), which has other things there, all of it lies so much higher.
#ifndef ATOLL_SERVICES_RUNTIME_TASK_MEMORY_H_
#define ATOLL_SERVICES_RUNTIME_TASK_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/address.h"

namespace atoll {

inline constexpr uint64_t kTaskMemoryOffset = __STDC_HOSTED__ != 0 ? 0x3000'0000'0000 : 0;

template <typename T>
T* TaskPointer(VirtAddr address) {
  return reinterpret_cast<T*>(address.value + kTaskMemoryOffset);
}

// Memory that the manifest maps at `address` (shared rings, guest RAM, images), or the journal.
inline std::span<std::byte> MappedMemory(VirtAddr address, size_t bytes) {
  return {TaskPointer<std::byte>(address), bytes};
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_TASK_MEMORY_H_
