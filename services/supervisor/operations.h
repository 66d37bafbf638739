// What the user can do to the services and VMs of a running machine, and see of them. The monitor's commands are these.
//
// WHO names services as `ps` does: "virtio-blk.vm0.0", "console"; "all" (but the supervisor), "vm0.*" (those of the VM)
// or "pl011.*" (that service's instances); "supervisor". An operation on several is done to each of them; one that cannot
// be done to some is done to the others, and the error is about the first that failed.
// Errors are one sentence. Names in views are valid until the next event.
#ifndef ATOLL_SERVICES_SUPERVISOR_OPERATIONS_H_
#define ATOLL_SERVICES_SUPERVISOR_OPERATIONS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/runtime/faults.h"
#include "services/runtime/statistics.h"
#include "services/supervisor/crash_record.h"
#include "services/supervisor/log_line.h"

namespace atoll {

enum class CorruptPart : uint8_t { kJournal, kData, kMessage };

struct TaskView {
  std::string_view name;
  std::string_view vm;     // empty: a service of the system
  std::string_view state;  // "running", "waits to start", "failed", "refusing", "stopped"
  uint32_t generation = 0;
  uint64_t deaths = 0;
  uint64_t milliseconds = 0;  // of running time, all instances
};

struct StatisticsView {
  struct Counter {
    std::array<char, Statistics::kNameBytes + 1> name;  // ended by NUL, printable
    uint64_t value;
  };
  std::string_view name;
  uint64_t started = 0;  // CNTPCT_EL0, as the next two
  uint64_t first_answer = 0;
  uint64_t first_completion = 0;
  uint64_t longest = 0;  // ticks that the longest batch of signals took
  size_t count = 0;
  std::array<Counter, Statistics::kCounters> counters{};
};

struct VmView {
  std::string_view name;
  std::string_view state;  // "on", "paused", "ending", "waiting", "starting", "off", "crashed"
  uint32_t starts = 0;
};

class Operations {
 public:
  // The task dies and is started again.
  virtual Checked<void> Kill(std::string_view who) = 0;
  virtual Checked<void> Restart(std::string_view who) = 0;  // the same, noted as no fault
  // It goes on in one of its own fault stubs (services/runtime/faults.h).
  virtual Checked<void> Inject(std::string_view who, Fault fault) = 0;
  Checked<void> Hang(std::string_view who) { return Inject(who, Fault::kHang); }
  Checked<void> Crash(std::string_view who) { return Inject(who, Fault::kCrash); }
  // Writes seeded random words over a part of its journal or data; kMessage: its next answers are garbage.
  virtual Checked<void> Corrupt(std::string_view who, CorruptPart part, uint64_t seed) = 0;
  // A file of the boot archive takes over from the running build, now and at each later start.
  virtual Checked<void> Upgrade(std::string_view who, std::string_view file) = 0;
  // Dies after `steps` instructions from its next job on; 0 takes that back. One task.
  virtual Checked<void> Step(std::string_view who, uint32_t steps) = 0;
  // The same for each of first .. last, one after the other, each after the death before. The log tells its end.
  virtual Checked<void> Sweep(std::string_view who, uint32_t first, uint32_t last) = 0;
  // Steps that are armed, or a sweep that is under way. `who` as above: any of them.
  virtual bool IsStepping(std::string_view who) = 0;
  // All of them run, none waits to start or is given up.
  virtual bool AreRunning(std::string_view who) = 0;

  virtual Checked<void> Pause(std::string_view vm) = 0;
  virtual Checked<void> Resume(std::string_view vm) = 0;
  virtual Checked<void> Reboot(std::string_view vm) = 0;
  // Its guest is told to turn itself off, by the device of the VM that is its power button.
  virtual Checked<void> PressPowerButton(std::string_view vm) = 0;
  // At once, whatever the guest is at.
  virtual Checked<void> PowerOff(std::string_view vm) = 0;

  // By index, from 0; false beyond the last.
  virtual bool ReadTask(size_t index, TaskView& view) = 0;
  virtual bool ReadStatistics(size_t index, StatisticsView& view) = 0;  // the same order
  virtual bool ReadVm(size_t index, VmView& view) = 0;
  // Deaths so far, and the record of death `sequence` (from 1). Null: it is no longer kept, or there was none.
  virtual uint64_t deaths() const = 0;
  virtual const CrashRecord* FindCrash(uint64_t sequence) = 0;

 protected:
  ~Operations() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_OPERATIONS_H_
