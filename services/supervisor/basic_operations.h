// What the user can do to services and VMs with the tables of tasks and VMs alone.
#ifndef ATOLL_SERVICES_SUPERVISOR_BASIC_OPERATIONS_H_
#define ATOLL_SERVICES_SUPERVISOR_BASIC_OPERATIONS_H_

#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/operations.h"
#include "services/supervisor/tables.h"

namespace atoll {

class BasicOperations final : public Operations {
 public:
  constexpr BasicOperations(KernelCalls& kernel, TaskTable& tasks, VmTable& vms)
      : kernel_(kernel), tasks_(tasks), vms_(vms) {}

  Checked<void> Kill(std::string_view who) override {
    for (const TaskEntry& task : tasks_.entries()) {
      if (who != task.plan.name) continue;
      const Status status = kernel_.KillTask(abi::Handle{task.plan.slot});
      if (IsOk(status)) return {};
      return std::unexpected(LogLine(who).Append(": ").Append(StatusName(status)));
    }
    return std::unexpected(LogLine("there is no service \"").Append(who).Append("\""));
  }
  Checked<void> Restart(std::string_view who) override { return Kill(who); }
  Checked<void> Inject(std::string_view who, Fault) override { return Cannot(who); }
  Checked<void> Corrupt(std::string_view who, CorruptPart, uint64_t) override {
    return Cannot(who);
  }
  Checked<void> Upgrade(std::string_view who, std::string_view) override { return Cannot(who); }
  Checked<void> Step(std::string_view who, uint32_t) override { return Cannot(who); }
  Checked<void> Sweep(std::string_view who, uint32_t, uint32_t) override { return Cannot(who); }
  bool IsStepping(std::string_view) override { return false; }
  bool AreRunning(std::string_view who) override {
    for (const TaskEntry& task : tasks_.entries()) {
      if (who == task.plan.name) return task.state == TaskEntry::State::kRunning;
    }
    return false;
  }

  Checked<void> Pause(std::string_view vm) override { return Cannot(vm); }
  Checked<void> Resume(std::string_view vm) override { return Cannot(vm); }
  Checked<void> Reboot(std::string_view vm) override { return Stop(vm, VmState::kReset); }
  Checked<void> PowerOff(std::string_view vm) override { return Stop(vm, VmState::kOff); }

  bool ReadTask(size_t index, TaskView& view) override {
    if (index >= tasks_.entries().size()) return false;
    const TaskEntry& task = tasks_.entries()[index];
    view = {.name = task.plan.name,
            .vm = {},
            .state = task.state == TaskEntry::State::kRunning ? "running" : "stopped",
            .generation = static_cast<uint32_t>(task.generation),
            .deaths = task.generation};
    return true;
  }
  bool ReadStatistics(size_t, StatisticsView&) override { return false; }
  bool ReadVm(size_t index, VmView& view) override {
    if (index >= vms_.entries().size()) return false;
    const VmEntry& vm = vms_.entries()[index];
    view = {.name = vm.plan.name, .state = vm.is_final() ? "off" : "on", .starts = vm.starts};
    return true;
  }
  uint64_t deaths() const override { return 0; }
  const CrashRecord* FindCrash(uint64_t) override { return nullptr; }

 private:
  Checked<void> Cannot(std::string_view who) {
    return std::unexpected(LogLine(who).Append(": this cannot be done yet"));
  }
  Checked<void> Stop(std::string_view name, VmState state) {
    for (const VmEntry& vm : vms_.entries()) {
      if (name != vm.plan.name) continue;
      const Status status = kernel_.StopVm(abi::Handle{vm.plan.slot}, {.state = state});
      if (IsOk(status)) return {};
      return std::unexpected(LogLine(name).Append(": ").Append(StatusName(status)));
    }
    return std::unexpected(LogLine("there is no VM \"").Append(name).Append("\""));
  }

  KernelCalls& kernel_;
  TaskTable& tasks_;
  VmTable& vms_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_BASIC_OPERATIONS_H_
