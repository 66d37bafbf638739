// Notices services that die, hang or do not answer, and starts them again (docs/restart.md).
//
// A death counts against its task unless the user ordered it. Deaths in a row make it wait, longer each time; too many
// and it is given up, in steps: failed mode, then refusing every call. A vital task's VM ends instead.
#ifndef ATOLL_SERVICES_SUPERVISOR_SERVICE_RECOVERY_H_
#define ATOLL_SERVICES_SUPERVISOR_SERVICE_RECOVERY_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "services/supervisor/crash_recorder.h"
#include "services/supervisor/journal.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/reporter.h"
#include "services/supervisor/tables.h"
#include "services/supervisor/task_history.h"
#include "services/supervisor/task_loader.h"
#include "services/supervisor/vm_life.h"

namespace atoll {

class ServiceRecovery {
 public:
  constexpr ServiceRecovery(KernelCalls& kernel, TaskTable& tasks, VmTable& vms, TaskLoader& loader,
                            VmLife& life, CrashRecorder& recorder, Reporter& reporter)
      : kernel_(kernel),
        tasks_(tasks),
        vms_(vms),
        loader_(loader),
        life_(life),
        recorder_(recorder),
        reporter_(reporter) {}

  // The system runs. Ticks between heartbeats; 0: none.
  void Begin(uint64_t beat);

  // Some task may have died: looks at all of them, and starts those again that are dead.
  void Look();
  // What has become due: starts that waited, heartbeats. True: there was a heartbeat.
  bool Work();
  // When the next thing will be due: ticks, VmLife::kNever if nothing.
  uint64_t Deadline() const;

  // Kills a task that runs. Look finds it dead.
  void End(TaskEntry& task, Cause why);
  // Its jobs are limited from now on, also if it has not done its first.
  void Limit(TaskEntry& task);
  // As if the task had never died, also when it was given up: it is to be started in normal mode, now if it is dead.
  void Forgive(TaskEntry& task);
  // Of its VM, which it is.
  void PressPowerButton(TaskEntry& task);
  // It is told whether its VM is paused, if its manifest wants that; as also after its death and with each heartbeat.
  void TellPause(const TaskEntry& task);

  // The task is dead and goes on with this file of the archive, which is one for it; if it cannot have it, it keeps the
  // old one, and that is the error.
  Checked<void> ChangeBuild(TaskEntry& task, std::string_view file);

 private:
  void OnDeath(TaskEntry& task, const InspectTaskReply& death);
  void GoOn(TaskEntry& task);
  bool IsBlamed(const CrashRecord& record) const;
  void Decide(TaskEntry& task, CrashRecord& record, LogLine& line);
  void GiveUp(TaskEntry& task, CrashRecord& record, LogLine& line);
  bool TakeBack(TaskEntry& task, LogLine& line);
  void Restart(TaskEntry& task, LogLine& line);
  void Wait(TaskEntry& task, uint32_t milliseconds, LogLine& line);
  void Lose(TaskEntry& task, LogLine& line);
  void Report(const TaskEntry& task, const LogLine& line);
  void StartAgain(TaskEntry& task, LogLine& line);
  void RaisePowerButton(TaskEntry& task);
  uint64_t PauseBits(const TaskEntry& task);
  void StepOn(TaskEntry& task);

  // Until the next heartbeat: ticks.
  uint64_t Pause();
  // One task's part of a heartbeat. True: it was the last one.
  bool Beat(uint64_t now);
  void LookForSignsOfLife(TaskEntry& task, uint64_t now);
  bool IsIgnorant(TaskEntry& task, uint64_t now);
  uint64_t Milliseconds(uint64_t milliseconds) {
    return milliseconds * kernel_.TicksPerSecond() / 1000;
  }

  RecoveryJournal& journal() const { return RecoveryJournalOf(kernel_); }

  KernelCalls& kernel_;
  TaskTable& tasks_;
  VmTable& vms_;
  TaskLoader& loader_;
  VmLife& life_;
  CrashRecorder& recorder_;
  Reporter& reporter_;
  uint64_t beat_ = 0;
  uint64_t next_beat_ = VmLife::kNever;
  size_t beat_task_ = 0;  // index of the task that the next one is for
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_SERVICE_RECOVERY_H_
