// What is remembered of a task over its instances, and over those of the supervisor: plain words, each valid by itself.
#ifndef ATOLL_SERVICES_SUPERVISOR_TASK_HISTORY_H_
#define ATOLL_SERVICES_SUPERVISOR_TASK_HISTORY_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "services/supervisor/crash_record.h"

namespace atoll {

// When a task died of late, to tell a crash loop from an accident.
class DeathTimes {
 public:
  static constexpr uint32_t kUnlimited = ~uint32_t{0};
  static constexpr uint32_t kMaxLimit = 15;  // larger limits count as unlimited

  // Records a death at `now` and returns true if there were more than `limit`
  // in the last `window` ticks.
  bool TooMany(uint64_t now, uint32_t limit, uint64_t window) {
    times_[next_ % times_.size()] = now;
    next_ = (next_ + 1) % times_.size();
    if (recorded_ < times_.size()) ++recorded_;
    if (limit > kMaxLimit) return false;
    if (recorded_ <= limit) return false;
    const size_t size = times_.size();
    const uint64_t oldest =
        times_[(next_ + size - 1 - limit) % size];  // limit deaths before this one
    return now - oldest <= window;
  }

 private:
  std::array<uint64_t, kMaxLimit + 1> times_{};
  size_t next_ = 0;
  size_t recorded_ = 0;
};

// How the instances of a task are started.
enum class TaskMode : uint32_t {
  kNormal,
  kFailed,    // given up: in failed mode (services/runtime/service.h)
  kRefusing,  // and that died, too: it refuses every call (services/runtime/faults.h)
  kLost,      // and that cannot be started either: it stays dead
};

struct TaskHistory {
  static constexpr size_t kFileBytes = 96;     // PlanTask.elf
  static constexpr uint32_t kMaxDelay = 1000;  // ms

  uint32_t slot = 0;        // of the task; 0: no entry
  uint32_t generation = 0;  // of the instance that runs, or is to be started
  uint32_t started = 0;     // 1 + generation of the last one that was started
  uint32_t deaths = 0;      // all of them
  TaskMode mode = TaskMode::kNormal;
  uint32_t in_a_row = 0;    // deaths that count, each within the window after the one before
  uint64_t last_death = 0;  // on its own clock, as `times`
  uint64_t waited = 0;      // ticks in all that it was made to wait: they are not on its clock
  uint64_t restart_at = 0;  // ticks; 0: it does not wait

  // Of the instance that runs. Why the supervisor killed it, and when the user asked for a fault of it (ticks; 0: no).
  Cause ending = Cause::kNone;
  uint64_t ordered = 0;
  uint64_t pressed =
      0;  // when the user pressed its VM's power button, which it is: ticks; 0: not of late
  // Steps after which it dies, the last number of them in a sweep, and deaths in this sweep; 0: none.
  uint32_t step = 0;
  uint32_t step_last = 0;
  uint32_t stepped = 0;

  uint32_t limited = 0;  // 1: the limits of its jobs are set
  // When it was asked for a sign of life that it has not given yet, and how many it had given until then.
  uint64_t asked_at = 0;  // CNTPCT_EL0; 0: not
  uint64_t heartbeats = 0;
  uint64_t record = 0;  // sequence number of the crash that it is to recover from, or has
  DeathTimes times;
  std::array<char, kFileBytes> file{};  // the build that it runs; empty: the plan's
  std::array<char, kFileBytes>
      previous{};  // the build before the last upgrade, which may be taken back; empty: none

  // Notes a death that the task is to blame for. How long it waits before the next start: milliseconds.
  uint32_t Delay(uint64_t now, uint64_t window) {
    const uint64_t clock = now - waited;
    in_a_row = last_death != 0 && clock - last_death <= window ? in_a_row + 1 : 0;
    last_death = clock;
    if (in_a_row == 0) return 0;
    return in_a_row > 10 ? kMaxDelay : std::min(uint32_t{1} << (in_a_row - 1), kMaxDelay);
  }
  bool TooMany(uint64_t now, uint32_t limit, uint64_t window) {
    return times.TooMany(now - waited, limit, window);
  }
  // As if it had never died.
  void Forgive() {
    mode = TaskMode::kNormal;
    in_a_row = 0;
    last_death = 0;
    times = {};
  }
};

// The last deaths.
struct CrashLog {
  static constexpr size_t kRecords = 256;

  uint64_t count = 0;  // so far; the number of the last record
  std::array<CrashRecord, kRecords> records{};

  CrashRecord& Add() {
    CrashRecord& record = records[count % kRecords];
    record = {};
    record.sequence = ++count;
    return record;
  }
  // Null: it is no longer kept, or there was none.
  CrashRecord* Find(uint64_t sequence) {
    if (sequence == 0) return nullptr;
    CrashRecord& record = records[(sequence - 1) % kRecords];
    return record.sequence == sequence ? &record : nullptr;
  }
};

struct RecoveryJournal {
  static constexpr size_t kTasks = 128;

  CrashLog crashes;
  std::array<TaskHistory, kTasks>
      tasks{};  // of each task that there ever was: a plan's slots name the same for ever

  // The entry of the task, or a free one made its own; null: there are too many.
  TaskHistory* Find(uint32_t slot) {
    for (TaskHistory& task : tasks) {
      if (task.slot == slot) return &task;
      if (task.slot != 0) continue;
      task = {};
      task.slot = slot;
      return &task;
    }
    return nullptr;
  }
};
static_assert(std::is_trivially_copyable_v<RecoveryJournal>);

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_TASK_HISTORY_H_
