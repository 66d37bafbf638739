// Executes a plan's records: creates, allocates, loads, grants, maps, binds and
// starts.
#ifndef ATOLL_SERVICES_SUPERVISOR_PLAN_EXECUTOR_H_
#define ATOLL_SERVICES_SUPERVISOR_PLAN_EXECUTOR_H_

#include "proto/plan.pb.h"
#include "services/supervisor/archive.h"
#include "services/supervisor/dma_windows.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/resources.h"
#include "services/supervisor/tables.h"
#include "services/supervisor/task_loader.h"

namespace atoll {

class PlanExecutor {
 public:
  constexpr PlanExecutor(KernelCalls& kernel, Objects& objects, const Resources& resources,
                         const Archive& archive, TaskLoader& loader, TaskTable& tasks, VmTable& vms,
                         DmaWindows& dma)
      : kernel_(kernel),
        objects_(objects),
        resources_(resources),
        archive_(archive),
        loader_(loader),
        tasks_(tasks),
        vms_(vms),
        dma_(dma) {}

  // The error names kind and reason; the caller knows which record it is.
  Checked<void> Execute(const atoll_PlanRecord& record, bool is_begun = false);

  // The same in pieces: what is left in `bulk` afterwards is for Continue, piece by piece, until it is done.
  Checked<void> Begin(const atoll_PlanRecord& record, Bulk& bulk);
  Checked<void> Continue(Bulk& bulk);

  // After the supervisor's own death (recovery_records.cc). An earlier instance did all of the record: notes what this one
  // has to know of it.
  Checked<void> Adopt(const atoll_PlanRecord& record);
  // What was mapped for the supervisor itself.
  void AdoptOwn();
  // It did a part, or nothing: does the rest, as Begin.
  Checked<void> Resume(const atoll_PlanRecord& record, Bulk& bulk);

  // The plan has mapped the memory "log", or "vms", of the supervisor's own manifest.
  bool has_log() const { return has_log_; }
  bool has_vms() const { return has_vms_; }
  bool has_monitor() const { return has_monitor_; }

 private:
  Checked<void> AdoptDma(const atoll_PlanDma& dma);
  Checked<void> AdoptTask(const atoll_PlanTask& task);
  Checked<void> ResumeTask(const atoll_PlanTask& task);
  Checked<void> ResumeMapping(const atoll_PlanMapping& mapping, Bulk& bulk);
  Checked<void> ResumeStart(const atoll_PlanStart& start);
  // Whether the supervisor's own manifest names a mapping for the supervisor.
  bool NoteOwn(uint64_t address, uint64_t bytes);
  Checked<void> Vm(const atoll_PlanVm& vm);
  Checked<void> Object(const atoll_PlanObject& object);
  Checked<void> Memory(const atoll_PlanMemory& memory, Bulk& bulk);
  Checked<void> RamMemory(const atoll_PlanMemory& memory, Bulk& bulk);
  Checked<void> FileMemory(const atoll_PlanMemory& memory);
  Checked<void> Task(const atoll_PlanTask& task);
  Checked<void> Config(const atoll_PlanConfig& config);
  Checked<void> Grant(const atoll_PlanGrant& grant);
  Checked<void> Mapping(const atoll_PlanMapping& mapping, Bulk& bulk);
  Status Bound(Status status) const;
  Checked<void> Mmio(const atoll_PlanMmio& mmio);
  Checked<void> Doorbell(const atoll_PlanDoorbell& doorbell);
  Checked<void> Hypercall(const atoll_PlanHypercall& hypercall);
  Checked<void> Start(const atoll_PlanStart& start);
  Checked<void> Dma(const atoll_PlanDma& dma);
  Checked<void> Schedule(const atoll_PlanSchedule& schedule);

  KernelCalls& kernel_;
  Objects& objects_;
  const Resources& resources_;
  const Archive& archive_;
  TaskLoader& loader_;
  TaskTable& tasks_;
  VmTable& vms_;
  DmaWindows& dma_;
  bool has_log_ = false;
  bool has_vms_ = false;
  bool has_monitor_ = false;
  bool resuming_ = false;  // what a record binds may be bound already
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_PLAN_EXECUTOR_H_
