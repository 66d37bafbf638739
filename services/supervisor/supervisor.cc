#include "services/supervisor/supervisor.h"

#include <algorithm>

#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

constexpr uint64_t kFlushSeconds = 1;  // the console's time to write out what it has
constexpr uint64_t kNoDeadline = ~uint64_t{0};

std::string_view CauseName(DeathCause cause) {
  switch (cause) {
    case DeathCause::kNone: return "none";
    case DeathCause::kFault: return "fault";
    case DeathCause::kExit: return "exit";
    case DeathCause::kKilled: return "killed";
    case DeathCause::kDeadline: return "deadline";
    case DeathCause::kBadCall: return "bad call";
  }
  return "unknown";
}

}  // namespace

// ---- start
// --------------------------------------------------------------------------------------

void Supervisor::Boot() {
  const Checked<void> started = StartSystem();
  if (started) return;
  Warn(started.error());
  // The console, if it runs already, must not hide the reason: nothing to
  // flush, nothing to wait for.
  kernel_.PowerOff({.status = kExitBadInput});
}

Checked<void> Supervisor::StartSystem() {
  if (auto ok = resources_.Read(kernel_, pages_); !ok) return ok;
  const GetResourceReply* archive = resources_.Find(ResourceKind::kArchive);
  if (auto ok = archive_.Open(kernel_.OwnMemory(kArchiveBase, archive->bytes)); !ok) return ok;
  const Archive::File* plan = archive_.Find(kPlanFile);
  if (plan == nullptr) {
    return std::unexpected(LogLine("boot archive: there is no \"").Append(kPlanFile).Append("\""));
  }
  plan_ = plan->data;
  return ExecutePlan();
}

Checked<void> Supervisor::ExecutePlan() {
  Checked<PlanReader> reader = PlanReader::Open(plan_);
  if (!reader) return std::unexpected(reader.error());
  quiet_ = reader->header().quiet;
  atoll_PlanRecord record;
  while (true) {
    const Checked<bool> more = reader->Next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (const auto done = executor_.Execute(record); !done) {
      return std::unexpected(PlanProblem(reader->index(), done.error().view()));
    }
  }
  Info(LogLine("started ")
           .Decimal(tasks_.entries().size())
           .Append(" services for ")
           .Decimal(vms_.entries().size())
           .Append(" VMs"));
  if (!executor_.has_log()) return {};
  namespace own = supervisor_manifest;
  const Status relayed = log_.Start(kernel_.OwnMemory(own::kLogAddress, own::kLogBytes));
  if (!IsOk(relayed)) Warn(LogLine("log: goes past the console: ").Append(StatusName(relayed)));
  return {};
}

// ---- events
// -------------------------------------------------------------------------------------

void Supervisor::OnSignals(uint64_t bits) {
  namespace bit = supervisor_manifest;
  if ((bits & bit::kTaskDeathSignal) != 0) LookAtTasks();
  if ((bits & bit::kVmStateSignal) != 0) LookAtVms();
  if ((bits & bit::kPowerOffSignal) != 0) {
    StopAllVms();
    BeginPowerOff(kExitOk);
  }
  if ((bits & bit::kLogSignal) != 0) log_.Pass();
  const uint64_t end = bit::kFlushedSignal | bit::kTimerSignal;
  if ((bits & end) != 0 && ending_.has_value()) PowerOff();
}

void Supervisor::LookAtTasks() {
  for (TaskEntry& task : tasks_.entries()) {
    if (task.state != TaskEntry::State::kRunning) continue;
    const auto reply = kernel_.InspectTask(abi::Handle{task.plan.slot});
    if (!reply.has_value() || reply->state != TaskState::kDead) continue;
    OnDeath(task, *reply);
  }
}

void Supervisor::OnDeath(TaskEntry& task, const InspectTaskReply& death) {
  LogLine line(task.plan.name);
  line.Append(" died: ").Append(CauseName(death.cause));
  line.Append(" pc ").Hex(death.pc).Append(" esr ").Hex(death.esr).Append(" far ").Hex(death.far);

  const uint64_t window = uint64_t{task.plan.restart_seconds} * kernel_.TicksPerSecond();
  if (task.deaths.TooMany(kernel_.Ticks(), task.plan.restart_deaths, window)) {
    Warn(line.Append("; given up: more than ")
             .Decimal(task.plan.restart_deaths)
             .Append(" deaths in ")
             .Decimal(task.plan.restart_seconds)
             .Append(" s"));
    return GiveUp(task);
  }
  Warn(line.Append("; restarting as generation ").Decimal(task.generation + 1));
  if (const auto restarted = Restart(task); !restarted) {
    Warn(LogLine(task.plan.name)
             .Append(" cannot be restarted, given up: ")
             .Append(restarted.error().view()));
    return GiveUp(task);
  }
  // A console that died while it wrote out the rest may have forgotten the
  // request.
  if (ending_.has_value()) (void)kernel_.SetSignal(supervisor_manifest::kConsoleFlush);
}

Checked<void> Supervisor::Restart(TaskEntry& task) {
  if (auto fresh = loader_.Refresh(task.plan); !fresh) return fresh;
  ++task.generation;
  return loader_.Start(task.plan, task.generation);
}

void Supervisor::GiveUp(TaskEntry& task) {
  task.state = TaskEntry::State::kGivenUp;
  VmEntry* vm = vms_.Find(task.plan.vm);
  if (vm == nullptr) return BeginPowerOff(kExitFailed);
  // A guest whose device is gone would hang in the middle of an instruction:
  // its VM ends instead.
  if (vm->state != VmEntry::State::kOn) return;
  const Status stopped = kernel_.StopVm(abi::Handle{vm->plan.slot}, {.state = VmState::kCrashed});
  if (!IsOk(stopped)) OnVmEnd(*vm,
                              VmEntry::State::kCrashed);  // else its state change is signalled
}

void Supervisor::LookAtVms() {
  for (VmEntry& vm : vms_.entries()) {
    if (vm.state != VmEntry::State::kOn) continue;
    const auto reply = kernel_.GetVmState(abi::Handle{vm.plan.slot});
    if (!reply.has_value()) continue;
    switch (reply->state) {
      case VmState::kOff: OnVmEnd(vm, VmEntry::State::kOff); break;
      case VmState::kCrashed: OnVmEnd(vm, VmEntry::State::kCrashed); break;
      case VmState::kReset:
        if (const auto reset = ResetVm(vm); !reset) {
          Warn(LogLine("VM ")
                   .Append(vm.plan.name)
                   .Append(" cannot be reset: ")
                   .Append(reset.error().view()));
          OnVmEnd(vm, VmEntry::State::kCrashed);
        }
        break;
      case VmState::kCreated:
      case VmState::kRunning: break;
    }
  }
}

void Supervisor::OnVmEnd(VmEntry& vm, VmEntry::State state) {
  vm.state = state;
  const LogLine line = LogLine("VM ").Append(vm.plan.name);
  if (state == VmEntry::State::kCrashed) {
    Warn(LogLine(line).Append(" crashed"));
  } else {
    Info(LogLine(line).Append(" is off"));
  }
  const auto vms = vms_.entries();
  const auto is = [](VmEntry::State wanted) {
    return [wanted](const VmEntry& entry) { return entry.state == wanted; };
  };
  if (std::ranges::any_of(vms, is(VmEntry::State::kOn))) return;
  BeginPowerOff(std::ranges::any_of(vms, is(VmEntry::State::kCrashed)) ? kExitFailed : kExitOk);
}

// ---- reset of a VM
// ------------------------------------------------------------------------------

Checked<void> Supervisor::ResetVm(VmEntry& vm) {
  Info(LogLine("VM ").Append(vm.plan.name).Append(" starts afresh"));
  for (TaskEntry& task : tasks_.entries()) {
    if (task.plan.vm != vm.plan.slot) continue;
    task.state = TaskEntry::State::kStopped;
    if (const Status status = kernel_.KillTask(abi::Handle{task.plan.slot}); !IsOk(status)) {
      return std::unexpected(LogLine(task.plan.name).Append(": ").Append(StatusName(status)));
    }
  }
  if (auto ok = ClearVmMemory(vm); !ok) return ok;
  if (const Status status = kernel_.ResetVm(abi::Handle{vm.plan.slot}); !IsOk(status)) {
    return std::unexpected(LogLine("kernel: ").Append(StatusName(status)));
  }
  return StartVmTasks(vm);
}

// Journals and shared rings: what the plan says lives as long as the VM's
// uptime.
Checked<void> Supervisor::ClearVmMemory(const VmEntry& vm) {
  Checked<PlanReader> reader = PlanReader::Open(plan_);
  atoll_PlanRecord record;
  while (reader) {
    const Checked<bool> more = reader->Next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    const atoll_PlanMemory& memory = record.record.memory;
    if (record.which_record != atoll_PlanRecord_memory_tag || memory.vm != vm.plan.slot) continue;
    if (const Status status = objects_.Clear(memory.slot, 0, memory.bytes); !IsOk(status)) {
      return std::unexpected(PlanProblem(reader->index(), StatusName(status)));
    }
  }
  return std::unexpected(reader.error());
}

// In the plan's order of starts, as if the machine had just been turned on.
Checked<void> Supervisor::StartVmTasks(const VmEntry& vm) {
  Checked<PlanReader> reader = PlanReader::Open(plan_);
  atoll_PlanRecord record;
  while (reader) {
    const Checked<bool> more = reader->Next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    if (record.which_record != atoll_PlanRecord_start_tag) continue;
    TaskEntry* task = tasks_.Find(record.record.start.task);
    if (task == nullptr || task->plan.vm != vm.plan.slot) continue;
    if (auto ok = loader_.Refresh(task->plan); !ok) return ok;
    task->generation = 0;
    if (auto ok = loader_.Start(task->plan, 0); !ok) return ok;
    task->state = TaskEntry::State::kRunning;
  }
  return std::unexpected(reader.error());
}

// ---- end
// ----------------------------------------------------------------------------------------

void Supervisor::StopAllVms() {
  for (VmEntry& vm : vms_.entries()) {
    if (vm.state != VmEntry::State::kOn) continue;
    vm.state = VmEntry::State::kOff;
    // FAILED_PRECONDITION: it does not run, which is what is wanted.
    (void)kernel_.StopVm(abi::Handle{vm.plan.slot}, {.state = VmState::kOff});
  }
}

void Supervisor::BeginPowerOff(uint32_t status) {
  if (ending_.has_value()) return;
  ending_ = status;
  log_.Pass();
  if (!IsOk(kernel_.SetSignal(supervisor_manifest::kConsoleFlush))) return PowerOff();
  const uint64_t deadline = kernel_.Ticks() + kFlushSeconds * kernel_.TicksPerSecond();
  if (!IsOk(kernel_.SetTimer({.deadline = deadline}))) PowerOff();
}

void Supervisor::PowerOff() {
  (void)kernel_.SetTimer({.deadline = kNoDeadline});
  log_.Stop();
  kernel_.PowerOff({.status = *ending_});
}

void Supervisor::Info(const LogLine& line) {
  if (!quiet_) kernel_.Log(line.view());
}

}  // namespace atoll
