// What the supervisor has to know after its own death and what the kernel cannot tell: memory that outlives it, all zero
// when the machine starts. Everything else is made anew from the plan and from the kernel's objects (recovery.h).
//
// The same program writes and reads it, in one life of the machine: there is no older layout. Every prefix of the stores
// is a valid state: values stand alone, or one last word says that they count.
#ifndef ATOLL_SERVICES_SUPERVISOR_JOURNAL_H_
#define ATOLL_SERVICES_SUPERVISOR_JOURNAL_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ipc/abi.h"
#include "services/supervisor/kernel_calls.h"

namespace atoll {

// One for each task that there ever was: a plan's slots name the same tasks for ever.
struct JournaledTask {
  uint32_t slot;      // 0: free
  uint32_t given_up;  // not started again until its VM starts afresh
};

// One for each VM, in the order of the plan.
struct JournaledVm {
  uint64_t
      state;  // VmEntry::State + 1 in [7:0], why it ended (VmState) in [15:8], starts in [63:32]; 0: not on yet
  uint64_t deadline;  // ticks
  uint64_t started;   // ticks
  uint64_t bytes;     // of its memory, when it ended
  uint32_t record;    // while it is built: of the plan's, the one under way
  uint32_t reserved;
};

struct JournaledWindow {
  uint32_t place;       // slot of the table [31:16], entry [15:0]
  uint32_t generation;  // written before the page's
};

struct SupervisorJournal {
  static constexpr uint32_t kFormat = 0x41535631;  // "ASV1"
  static constexpr uint32_t kAllRecords = ~uint32_t{0};

  uint32_t format;   // written last when the machine starts
  uint32_t record;   // of the plan's, the one under way; kAllRecords: the machine has started
  uint64_t pending;  // signals that were taken and not seen to
  uint32_t ending;   // 1 + the status to power off with; 0: it goes on
  uint32_t ring;     // the log's position in the console's ring ...
  uint64_t next;     // ... and in the kernel's log

  std::array<JournaledTask, 128> tasks;
  std::array<JournaledVm, 8> vms;
  std::array<JournaledWindow, 256> windows;

  // The task's entry, a free one if it has none yet; null if there are too many.
  JournaledTask* Find(uint32_t slot) {
    for (JournaledTask& task : tasks) {
      if (task.slot == slot) return &task;
      if (task.slot != 0) continue;
      task = {.slot = slot};
      return &task;
    }
    return nullptr;
  }
};
static_assert(std::is_trivially_copyable_v<SupervisorJournal>);
static_assert(sizeof(SupervisorJournal) <= abi::kRootJournalBytes);

// Where the kernel maps it.
inline SupervisorJournal& JournalOf(KernelCalls& kernel) {
  return *reinterpret_cast<SupervisorJournal*>(
      kernel.OwnMemory(abi::kJournalBase, sizeof(SupervisorJournal)).data());
}

// A store that the successor sees if it sees any later one.
template <typename T>
void Journal(T& word, T value) {
  std::atomic_ref<T>(word).store(value, std::memory_order_release);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_JOURNAL_H_
