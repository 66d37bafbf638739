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
#include "services/supervisor/monitor_journal.h"
#include "services/supervisor/task_history.h"

namespace atoll {

// One for each VM, in the order of the plan.
struct JournaledVm {
  uint64_t state;     // all that says where it is, in one store; 0: not on yet
  uint64_t deadline;  // ticks
  uint64_t started;   // ticks
  uint64_t bytes;     // of its memory, when it ended
  uint32_t record;    // while it is built: of the plan's, the one under way
  uint32_t paused;    // by the user

  static constexpr uint64_t Pack(uint32_t phase, uint32_t why, uint32_t starts) {
    return (phase + 1) | why << 8 | uint64_t{starts} << 32;
  }
  uint32_t phase() const { return (state & 0xff) - 1; }  // VmEntry::State
  uint32_t why() const { return state >> 8 & 0xff; }     // VmState
  uint32_t starts() const { return state >> 32; }
};

struct JournaledWindow {
  uint32_t place;       // slot of the table [31:16], entry [15:0]
  uint32_t generation;  // written before the page's
};

struct SupervisorJournal {
  static constexpr uint32_t kAllRecords = ~uint32_t{0};

  uint32_t record;    // of the plan's, the one under way; kAllRecords: the machine has started
  uint32_t ending;    // 1 + the status to power off with; 0: it goes on
  uint64_t pending;   // signals that were taken and not seen to
  uint32_t relays;    // the kernel's log goes to the console: 1; and then ...
  uint32_t log_base;  // ... its position less that of the console's ring, modulo 2^32

  std::array<JournaledVm, 8> vms;
  std::array<JournaledWindow, 256> windows;
  MonitorJournal monitor;
  RecoveryJournal recovery;
};
static_assert(std::is_trivially_copyable_v<SupervisorJournal>);
static_assert(sizeof(SupervisorJournal) <= abi::kRootJournalBytes - kPageSize);

// Where the kernel maps it.
inline SupervisorJournal& JournalOf(KernelCalls& kernel) {
  return *reinterpret_cast<SupervisorJournal*>(
      kernel.OwnMemory(abi::kJournalBase, sizeof(SupervisorJournal)).data());
}

inline RecoveryJournal& RecoveryJournalOf(KernelCalls& kernel) {
  return JournalOf(kernel).recovery;
}

// A store that the successor sees if it sees any later one.
template <typename T>
void Journal(T& word, T value) {
  std::atomic_ref<T>(word).store(value, std::memory_order_release);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_JOURNAL_H_
