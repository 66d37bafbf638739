// The supervisor, the one task that the kernel makes by itself, from the ELF file inside the kernel image.
#ifndef ATOLL_KERNEL_ROOT_TASK_H_
#define ATOLL_KERNEL_ROOT_TASK_H_

#include <cstdint>

#include "ipc/address.h"
#include "kernel/machine/machine.h"
#include "kernel/task.h"

namespace atoll {

// What the supervisor finds in its own address space and handle table.
inline constexpr VirtAddr kArchiveAddress{0x30'0000'0000};  // boot archive, read-only
inline constexpr uint32_t kRootTaskSlot = 1;                // itself, all rights
inline constexpr uint32_t kRootSignalSlot = 2;              // its signal

// Takes pages for the kernel's first objects from the first `usable` bytes of a range of free memory; they stay the
// kernel's.
class BootPages {
 public:
  BootPages(PhysRange& range, uint64_t usable) : range_(range), usable_(usable) {}
  // Panics if there are too few: nothing has been started yet.
  PhysAddr Take(uint64_t pages);

 private:
  PhysRange& range_;
  uint64_t usable_;
};

// `archive` may be empty. The task is ready to run.
Task& CreateRootTask(BootPages& pages, const PhysRange& archive) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_ROOT_TASK_H_
