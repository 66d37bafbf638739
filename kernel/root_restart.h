// The supervisor dies like any task. Nobody is there to start it again but the kernel, which has its ELF file.
#ifndef ATOLL_KERNEL_ROOT_RESTART_H_
#define ATOLL_KERNEL_ROOT_RESTART_H_

#include <cstddef>
#include <cstdint>

#include "ipc/abi.h"
#include "kernel/task.h"

namespace atoll {

inline constexpr uint64_t kRootStackBytes = 64 * 1024;

// What an instance of the supervisor can have changed of itself, and how it was. Written at boot.
struct RootImage {
  std::byte* data =
      nullptr;  // of its one writable segment: the kernel's own mapping of its pages ...
  uint64_t data_bytes = 0;          // whole pages
  const std::byte* file = nullptr;  // ... and what is at their start
  uint64_t file_bytes = 0;
  std::byte* stack = nullptr;
  abi::RootDeath* death = nullptr;  // of its journal, which stays as it is
  uint64_t entry = 0;
};
inline constinit RootImage root_image;

// It gives its next sign of life within so many milliseconds, or dies; 0: it need not.
void ExpectRoot(Task& root, uint32_t milliseconds) ATOLL_KERNEL_LOCKED;

// It has just died. Its next instance starts at the next timer interrupt: whoever is under way here may still write
// to its registers. Panics if it dies too often.
void RestartRootSoon(Task& root) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_ROOT_RESTART_H_
