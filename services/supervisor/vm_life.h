// How VMs end and start again. However a VM ended (it turned itself off, asked for a reset, crashed, lost a service for
// good), the way is one: its tasks are killed, the drivers let go of its memory, everything that belongs to it is taken
// down and its memory is free; then, if it is to start again, the plan's records of it are executed again.
//
// The supervisor runs above everything else. So this work is done in pieces, with pauses in which the others run.
#ifndef ATOLL_SERVICES_SUPERVISOR_VM_LIFE_H_
#define ATOLL_SERVICES_SUPERVISOR_VM_LIFE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/console/vm_list.h"
#include "services/supervisor/dma_windows.h"
#include "services/supervisor/journal.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/plan_executor.h"
#include "services/supervisor/reporter.h"
#include "services/supervisor/tables.h"

namespace atoll {

class VmLife {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};

  // A piece of work takes about so long; then a pause is made, as long as it took.
  static constexpr uint64_t kPiecesPerSecond = 5000;
  // A VM starts again not sooner than this after its last start, and after a crash.
  static constexpr uint64_t kStartsPerSecond = 4;
  static constexpr uint64_t kCrashSeconds = 1;

  constexpr VmLife(KernelCalls& kernel, Objects& objects, PlanExecutor& executor, TaskTable& tasks,
                   VmTable& vms, DmaWindows& dma, Reporter& reporter)
      : kernel_(kernel),
        objects_(objects),
        executor_(executor),
        tasks_(tasks),
        vms_(vms),
        dma_(dma),
        reporter_(reporter) {}

  // All records of the plan have been executed: the VMs are on.
  void Start(std::span<const std::byte> plan);

  // After the supervisor's own death (recovery.cc): each VM is where an earlier instance left it. `total_bytes`: of RAM
  // that was free when the machine started.
  Checked<void> Resume(std::span<const std::byte> plan, uint64_t total_bytes);

  // The kernel says that some VM stopped.
  void Look();

  // A VM has lost a service for good.
  void GiveUp(VmEntry& vm);

  // A piece of whatever there is to do.
  void Work();
  // When there will be something to do: ticks, kNever if nothing is under way.
  uint64_t Deadline();

  // No VM runs or will run.
  bool all_ended() const;
  bool any_crashed() const;

 private:
  void End(VmEntry& vm, VmState why);
  bool IsDue(const VmEntry& vm, uint64_t now);
  void Step(VmEntry& vm, uint64_t now);
  void Close(VmEntry& vm, uint64_t now);
  void Dismantle(VmEntry& vm, uint64_t now);
  void AfterEnd(VmEntry& vm, uint64_t now);
  void Begin(VmEntry& vm);
  void Build(VmEntry& vm, uint64_t now);
  void Set(VmEntry& vm, VmEntry::State state);
  void Show(const VmEntry& vm);
  void Open(std::span<const std::byte> plan);
  JournaledVm& Journaled(const VmEntry& vm);
  Checked<void> Resume(VmEntry& vm);
  // The VM's handles, which are taken away first.
  Checked<void> LearnGrants(VmEntry& vm);
  void Lose(VmEntry& vm, const LogLine& problem);
  uint64_t MissingBytes() const;

  KernelCalls& kernel_;
  Objects& objects_;
  PlanExecutor& executor_;
  TaskTable& tasks_;
  VmTable& vms_;
  DmaWindows& dma_;
  Reporter& reporter_;
  std::span<const std::byte> plan_;
  VmList* list_ = nullptr;    // what the console sees
  uint64_t total_bytes_ = 0;  // free and in use: always the same
  uint64_t pause_end_ = 0;    // ticks: no work before that
  size_t turn_ = 0;           // of the VM whose turn it is
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_VM_LIFE_H_
