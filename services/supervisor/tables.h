// The supervisor's memory of what it runs: one entry for each task and each VM
// of the plan.
#ifndef ATOLL_SERVICES_SUPERVISOR_TABLES_H_
#define ATOLL_SERVICES_SUPERVISOR_TABLES_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/kernel.atoll.h"
#include "proto/plan.pb.h"
#include "services/supervisor/task_history.h"
#include "services/supervisor/teardown.h"
#include "services/supervisor/vm_builder.h"

namespace atoll {

inline constexpr size_t kMaxTasks = RecoveryJournal::kTasks;
inline constexpr size_t kMaxVms = 8;

struct TaskEntry {
  enum class State : uint8_t {
    kLoaded,
    kRunning,
    kWaiting,  // dead; starts again at history->restart_at
    kStopped,  // its VM has ended
    kLost,     // dead for good
  };

  atoll_PlanTask plan{};
  TaskHistory* history = nullptr;  // set by whoever adds it
  State state = State::kLoaded;

  // It had not taken the last heartbeat when the next one was due, and had run for so long until then.
  bool silent = false;
  uint64_t silent_ticks = 0;
  uint64_t silent_since = 0;  // CNTPCT_EL0

  // The file that the user wants it to run.
  void UseBuild() {
    if (history->file[0] != '\0') std::ranges::copy(history->file, plan.elf);
  }
  bool is_alive() const { return state == State::kRunning; }
};

struct VmEntry {
  enum class State : uint8_t {
    kOn,
    kClosing,      // ended; a driver has its memory still
    kDismantling,  // ended; being given back
    kWaiting,      // nothing is left of it; it starts again at `deadline`
    kBuilding,     // starting again
    kOff,
    kCrashed,
  };

  atoll_PlanVm plan{};
  uint32_t last_record = 0;  // of the plan's that belong to it
  State state = State::kOn;
  VmState why = VmState::kCreated;  // how it ended last: kOff, kReset, kCrashed
  uint64_t deadline = 0;            // ticks
  uint64_t started = 0;             // ticks
  uint32_t starts = 1;
  bool paused = false;
  uint64_t bytes = 0;        // of its memory, when it ended
  bool grants_known = true;  // to the ledger
  Teardown teardown;
  VmBuilder builder;

  bool runs() const { return state == State::kOn || state == State::kBuilding; }
  bool is_final() const { return state == State::kOff || state == State::kCrashed; }
};

// Entries with a slot in their plan, in the order of the plan until one is removed.
template <typename Entry, size_t kCapacity>
class Table {
 public:
  // Null if it is full or the slot has an entry.
  Entry* Add(const decltype(Entry::plan)& plan) {
    if (count_ == kCapacity || Find(plan.slot) != nullptr) return nullptr;
    entries_[count_] = Entry{};
    entries_[count_].plan = plan;
    return &entries_[count_++];
  }
  Entry* Find(uint32_t slot) {
    for (Entry& entry : entries()) {
      if (entry.plan.slot == slot) return &entry;
    }
    return nullptr;
  }
  // The last entry takes its place.
  void Remove(size_t index) { entries_[index] = entries_[--count_]; }
  std::span<Entry> entries() { return std::span(entries_).first(count_); }
  std::span<const Entry> entries() const { return std::span(entries_).first(count_); }

 private:
  std::array<Entry, kCapacity> entries_{};
  size_t count_ = 0;
};

using TaskTable = Table<TaskEntry, kMaxTasks>;
using VmTable = Table<VmEntry, kMaxVms>;

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_TABLES_H_
