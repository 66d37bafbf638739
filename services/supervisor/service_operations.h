// The operations on what the supervisor runs.
#ifndef ATOLL_SERVICES_SUPERVISOR_SERVICE_OPERATIONS_H_
#define ATOLL_SERVICES_SUPERVISOR_SERVICE_OPERATIONS_H_

#include <cstdint>
#include <string_view>

#include "services/supervisor/archive.h"
#include "services/supervisor/crash_recorder.h"
#include "services/supervisor/journal.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/operations.h"
#include "services/supervisor/service_recovery.h"
#include "services/supervisor/tables.h"
#include "services/supervisor/task_loader.h"

namespace atoll {

class ServiceOperations final : public Operations {
 public:
  constexpr ServiceOperations(KernelCalls& kernel, Objects& objects, TaskTable& tasks, VmTable& vms,
                              TaskLoader& loader, const Archive& archive, CrashRecorder& recorder,
                              ServiceRecovery& recovery)
      : kernel_(kernel),
        objects_(objects),
        tasks_(tasks),
        vms_(vms),
        loader_(loader),
        archive_(archive),
        recorder_(recorder),
        recovery_(recovery) {}

  Checked<void> Kill(std::string_view who) override;
  Checked<void> Restart(std::string_view who) override;
  Checked<void> Inject(std::string_view who, Fault fault) override;
  Checked<void> Corrupt(std::string_view who, CorruptPart part, uint64_t seed) override;
  Checked<void> Upgrade(std::string_view who, std::string_view file) override;
  Checked<void> Step(std::string_view who, uint32_t steps) override;
  Checked<void> Sweep(std::string_view who, uint32_t first, uint32_t last) override;
  bool IsStepping(std::string_view who) override;
  bool AreRunning(std::string_view who) override;

  Checked<void> Pause(std::string_view vm) override;
  Checked<void> Resume(std::string_view vm) override;
  Checked<void> Reboot(std::string_view vm) override;
  Checked<void> PressPowerButton(std::string_view vm) override;
  Checked<void> PowerOff(std::string_view vm) override;

  bool ReadTask(size_t index, TaskView& view) override;
  bool ReadStatistics(size_t index, StatisticsView& view) override;
  bool ReadVm(size_t index, VmView& view) override;
  uint64_t deaths() const override { return journal().crashes.count; }
  const CrashRecord* FindCrash(uint64_t sequence) override;

 private:
  bool Matches(const TaskEntry& task, std::string_view who);
  // Does it to each task that `who` names. Says so if that is none.
  template <typename Action>
  Checked<void> ForEach(std::string_view who, Action action);
  Checked<TaskEntry*> One(std::string_view who);
  Checked<VmEntry*> FindVm(std::string_view name);

  Checked<void> InjectInto(TaskEntry& task, Fault fault);
  // Bytes of a memory object, of which the first `skipped` are left alone. Page multiples but for these.
  struct Region {
    uint32_t memory;
    uint64_t offset;
    uint64_t skipped;
    uint64_t bytes;
  };
  Checked<void> Scribble(TaskEntry& task, CorruptPart part, uint64_t seed);
  Checked<void> ScribbleOver(const TaskEntry& task, const Region& region, uint64_t& state);
  Region StackOf(const TaskEntry& task);
  Checked<void> UpgradeTask(TaskEntry& task, std::string_view file);
  Checked<void> Stop(std::string_view vm, VmState state);
  Checked<void> SetPause(std::string_view vm, bool pause);

  RecoveryJournal& journal() const { return RecoveryJournalOf(kernel_); }

  KernelCalls& kernel_;
  Objects& objects_;
  TaskTable& tasks_;
  VmTable& vms_;
  TaskLoader& loader_;
  const Archive& archive_;
  CrashRecorder& recorder_;
  ServiceRecovery& recovery_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_SERVICE_OPERATIONS_H_
