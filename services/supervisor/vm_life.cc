#include "services/supervisor/vm_life.h"

#include <algorithm>

#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

LogLine About(const VmEntry& vm) { return LogLine("VM ").Append(vm.plan.name); }

bool StartsAgain(const VmEntry& vm) {
  switch (vm.why) {
    case VmState::kReset: return true;
    case VmState::kOff: return vm.plan.when_off == atoll_PlanVm_OnEnd_START_AGAIN;
    default: return vm.plan.when_crashed == atoll_PlanVm_OnEnd_START_AGAIN;
  }
}

ListedState Listed(VmEntry::State state) {
  switch (state) {
    case VmEntry::State::kOn: return ListedState::kOn;
    case VmEntry::State::kClosing:
    case VmEntry::State::kDismantling: return ListedState::kEnding;
    case VmEntry::State::kWaiting: return ListedState::kWaiting;
    case VmEntry::State::kBuilding: return ListedState::kStarting;
    case VmEntry::State::kOff: return ListedState::kOff;
    case VmEntry::State::kCrashed: return ListedState::kCrashed;
  }
  return ListedState::kNone;
}

}  // namespace

void VmLife::Start(std::span<const std::byte> plan) {
  total_bytes_ = objects_.free_bytes() + objects_.ledger().bytes();
  Open(plan);
  for (VmEntry& vm : vms_.entries()) {
    vm.started = kernel_.Ticks();
    Set(vm, VmEntry::State::kOn);
  }
}

void VmLife::Open(std::span<const std::byte> plan) {
  namespace own = supervisor_manifest;
  plan_ = plan;
  if (!executor_.has_vms()) return;
  list_ = reinterpret_cast<VmList*>(kernel_.OwnMemory(own::kVmsAddress, own::kVmsBytes).data());
  for (size_t i = 0; i < vms_.entries().size(); ++i) (*list_)[i].Name(vms_.entries()[i].plan.name);
}

// ---- ends ------------------------------------------------------------------------------------------------------

void VmLife::Look() {
  for (VmEntry& vm : vms_.entries()) {
    if (!vm.runs()) continue;
    const auto reply = kernel_.GetVmState(abi::Handle{vm.plan.slot});
    if (!reply.has_value()) continue;
    if (reply->state == VmState::kCreated || reply->state == VmState::kRunning) continue;
    End(vm, reply->state);
  }
}

void VmLife::GiveUp(VmEntry& vm) {
  if (!vm.runs()) return;
  // FAILED_PRECONDITION: it stopped just now, or never ran.
  (void)kernel_.StopVm(abi::Handle{vm.plan.slot}, {.state = VmState::kCrashed});
  End(vm, VmState::kCrashed);
}

void VmLife::End(VmEntry& vm, VmState why) {
  vm.why = why;
  vm.paused = false;
  Journaled(vm).paused = 0;
  vm.bytes = objects_.ledger().bytes(vm.plan.slot);
  vm.deadline = kernel_.Ticks() + kDmaCloseSeconds * kernel_.TicksPerSecond();
  switch (why) {
    case VmState::kOff: reporter_.Info(About(vm).Append(" is off")); break;
    case VmState::kReset: reporter_.Info(About(vm).Append(" resets")); break;
    default: reporter_.Warn(About(vm).Append(" crashed"));
  }
  for (TaskEntry& task : tasks_.entries()) {
    if (task.plan.vm != vm.plan.slot) continue;
    task.state = TaskEntry::State::kStopped;
    // A task that cannot be killed cannot be destroyed either, which is noticed then.
    (void)kernel_.KillTask(abi::Handle{task.plan.slot});
  }
  dma_.BeginClose(vm.plan.slot);
  Set(vm, VmEntry::State::kClosing);
}

void VmLife::Set(VmEntry& vm, VmEntry::State state) {
  vm.state = state;
  JournaledVm& journaled = Journaled(vm);
  Journal(journaled.deadline, vm.deadline);
  Journal(journaled.started, vm.started);
  Journal(journaled.bytes, vm.bytes);
  if (state == VmEntry::State::kBuilding) Journal(journaled.record, uint32_t{0});
  Journal(journaled.state, JournaledVm::Pack(static_cast<uint32_t>(state),
                                             static_cast<uint32_t>(vm.why), vm.starts));
  Show(vm);
}

void VmLife::Show(const VmEntry& vm) {
  if (list_ == nullptr) return;
  const auto index = static_cast<size_t>(&vm - vms_.entries().data());
  (*list_)[index].Set(Listed(vm.state), vm.starts);
  (void)kernel_.SetSignal(supervisor_manifest::kConsoleVms);
}

JournaledVm& VmLife::Journaled(const VmEntry& vm) {
  return JournalOf(kernel_).vms[static_cast<size_t>(&vm - vms_.entries().data())];
}

bool VmLife::all_ended() const {
  return std::ranges::all_of(vms_.entries(), [](const VmEntry& vm) { return vm.is_final(); });
}

bool VmLife::any_crashed() const {
  return std::ranges::any_of(
      vms_.entries(), [](const VmEntry& vm) { return vm.state == VmEntry::State::kCrashed; });
}

// ---- work in pieces --------------------------------------------------------------------------------------------

void VmLife::Work() {
  const uint64_t begin = kernel_.Ticks();
  if (begin < pause_end_) return;
  const uint64_t piece = kernel_.TicksPerSecond() / kPiecesPerSecond;
  const auto vms = vms_.entries();
  size_t idle = 0;  // VMs in a row that have nothing to do
  for (uint64_t now = begin; idle < vms.size(); now = kernel_.Ticks()) {
    if (now - begin > piece) {
      pause_end_ = now + (now - begin);
      return;
    }
    VmEntry& vm = vms[turn_];
    if (IsDue(vm, now)) {
      idle = 0;
      Step(vm, now);
    } else {
      ++idle;
      turn_ = (turn_ + 1) % vms.size();
    }
  }
}

uint64_t VmLife::Deadline() {
  const uint64_t now = kernel_.Ticks();
  uint64_t earliest = kNever;
  for (const VmEntry& vm : vms_.entries()) {
    if (IsDue(vm, now)) return pause_end_;
    if (vm.state == VmEntry::State::kClosing || vm.state == VmEntry::State::kWaiting) {
      earliest = std::min(earliest, vm.deadline);
    }
  }
  return earliest;
}

bool VmLife::IsDue(const VmEntry& vm, uint64_t now) {
  switch (vm.state) {
    case VmEntry::State::kDismantling:
    case VmEntry::State::kBuilding: return true;
    case VmEntry::State::kClosing:
      return now >= vm.deadline || !dma_.Holder(vm.plan.slot).has_value();
    case VmEntry::State::kWaiting: return now >= vm.deadline;
    case VmEntry::State::kOn:
    case VmEntry::State::kOff:
    case VmEntry::State::kCrashed: break;
  }
  return false;
}

void VmLife::Step(VmEntry& vm, uint64_t now) {
  switch (vm.state) {
    case VmEntry::State::kClosing: return Close(vm, now);
    case VmEntry::State::kDismantling: return Dismantle(vm, now);
    case VmEntry::State::kWaiting: return Begin(vm);
    case VmEntry::State::kBuilding: return Build(vm, now);
    case VmEntry::State::kOn:
    case VmEntry::State::kOff:
    case VmEntry::State::kCrashed: return;
  }
}

// The VM's memory stays its own until no device accesses it any more: for ever, if that is never said.
void VmLife::Close(VmEntry& vm, uint64_t now) {
  const std::optional<uint32_t> holder = dma_.Holder(vm.plan.slot);
  if (!holder.has_value()) {
    vm.teardown = Teardown(vm.plan.slot);
    return Set(vm, VmEntry::State::kDismantling);
  }
  vm.deadline = now + kDmaCloseSeconds * kernel_.TicksPerSecond();
  Journal(Journaled(vm).deadline, vm.deadline);  // its next instance has as long, whatever dies
  TaskEntry* const driver = tasks_.Find(*holder);
  if (driver == nullptr || driver->state != TaskEntry::State::kRunning) return;
  reporter_.Warn(LogLine(driver->plan.name)
                     .Append(" does not let go of VM ")
                     .Append(vm.plan.name)
                     .Append("'s memory: killed"));
  driver->history->ending = Cause::kDma;
  (void)kernel_.KillTask(abi::Handle{*holder});  // its death is signalled, and it starts again
}

void VmLife::Dismantle(VmEntry& vm, uint64_t now) {
  if (const auto learned = LearnGrants(vm); !learned) return Lose(vm, learned.error());
  const Checked<bool> done = vm.teardown.Step(objects_);
  if (!done) return Lose(vm, done.error());
  if (!*done) return;
  for (size_t i = 0; i < tasks_.entries().size();) {
    if (tasks_.entries()[i].plan.vm == vm.plan.slot) {
      tasks_.Remove(i);
    } else {
      ++i;
    }
  }
  AfterEnd(vm, now);
}

void VmLife::Lose(VmEntry& vm, const LogLine& problem) {
  reporter_.Warn(
      About(vm).Append(": ").Append(problem.view()).Append("; its memory is lost, it stays off"));
  Set(vm, VmEntry::State::kCrashed);
}

// Of what was free at the start, what is neither free nor in use by what is known to be there.
uint64_t VmLife::MissingBytes() const {
  return total_bytes_ - objects_.free_bytes() - objects_.ledger().bytes();
}

void VmLife::AfterEnd(VmEntry& vm, uint64_t now) {
  LogLine line = About(vm).Append(": ").Decimal(vm.bytes).Append(" bytes given back, ");
  line.Decimal(objects_.free_bytes()).Append(" are free");
  if (const uint64_t missing = MissingBytes(); missing != 0) {
    reporter_.Warn(line.Append(", ").Decimal(missing).Append(" are missing"));
  } else {
    reporter_.Info(line);
  }
  const bool crashed = vm.why == VmState::kCrashed;
  if (!StartsAgain(vm)) {
    return Set(vm, crashed ? VmEntry::State::kCrashed : VmEntry::State::kOff);
  }
  const uint64_t second = kernel_.TicksPerSecond();
  vm.deadline = crashed ? now + kCrashSeconds * second : vm.started + second / kStartsPerSecond;
  Set(vm, VmEntry::State::kWaiting);
}

void VmLife::Begin(VmEntry& vm) {
  const Checked<VmBuilder> builder = VmBuilder::Open(plan_, vm.plan.slot, vm.last_record);
  ++vm.starts;
  Set(vm, VmEntry::State::kBuilding);
  if (builder) {
    vm.builder = *builder;
  } else {  // it was good when the machine started
    reporter_.Warn(About(vm).Append(" cannot be started: ").Append(builder.error().view()));
    End(vm, VmState::kCrashed);
  }
}

void VmLife::Build(VmEntry& vm, uint64_t now) {
  const Checked<bool> done = vm.builder.Step(executor_, Journaled(vm).record);
  if (!done) {
    reporter_.Warn(About(vm).Append(" cannot be started: ").Append(done.error().view()));
    return End(vm, VmState::kCrashed);
  }
  if (!*done) return;
  vm.started = now;
  reporter_.Info(About(vm).Append(" starts afresh: start ").Decimal(vm.starts));
  Set(vm, VmEntry::State::kOn);
}

}  // namespace atoll
