#include "services/supervisor/service_operations.h"

#include <algorithm>
#include <cstring>

namespace atoll {
namespace {

constexpr std::string_view kSupervisor = "supervisor";
constexpr std::string_view kAll = "all";
constexpr std::string_view kMany = ".*";

constexpr uint64_t kScribbledBits = 7;  // of their number: up to 64 words

LogLine Quote(std::string_view before, std::string_view name, std::string_view after) {
  return LogLine(before).Append("\"").Append(name).Append("\"").Append(after);
}

Checked<void> Check(Status status, const TaskEntry& task, std::string_view what) {
  if (IsOk(status)) return {};
  return std::unexpected(LogLine(task.plan.name)
                             .Append(" cannot be ")
                             .Append(what)
                             .Append(": ")
                             .Append(StatusName(status)));
}

std::unexpected<LogLine> Refuse(const TaskEntry& task, std::string_view why) {
  return std::unexpected(LogLine(task.plan.name).Append(" ").Append(why));
}

std::string_view StateName(const TaskEntry& task) {
  switch (task.state) {
    case TaskEntry::State::kLoaded: return "loaded";
    case TaskEntry::State::kWaiting: return "waits to start";
    case TaskEntry::State::kStopped: return "stopped";
    case TaskEntry::State::kLost: return "lost";
    case TaskEntry::State::kRunning: break;
  }
  switch (task.history->mode) {
    case TaskMode::kFailed: return "failed";
    case TaskMode::kRefusing: return "refusing";
    default: return "running";
  }
}

std::string_view StateName(const VmEntry& vm) {
  switch (vm.state) {
    case VmEntry::State::kOn: return vm.paused ? "paused" : "on";
    case VmEntry::State::kClosing:
    case VmEntry::State::kDismantling: return "ending";
    case VmEntry::State::kWaiting: return "waiting";
    case VmEntry::State::kBuilding: return "starting";
    case VmEntry::State::kOff: return "off";
    case VmEntry::State::kCrashed: return "crashed";
  }
  return "unknown";
}

// xorshift64* (Vigna, 2016).
uint64_t Next(uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545'f491'4f6c'dd1d;
}

}  // namespace

// ---- names -----------------------------------------------------------------------------------------------------

bool ServiceOperations::Matches(const TaskEntry& task, std::string_view who) {
  if (task.state == TaskEntry::State::kLoaded) return false;
  const std::string_view name(task.plan.name);
  if (who == kAll) return true;
  if (!who.ends_with(kMany)) return name == who;
  who.remove_suffix(kMany.size());
  const VmEntry* const vm = vms_.Find(task.plan.vm);
  if (vm != nullptr && std::string_view(vm->plan.name) == who) return true;
  return name.starts_with(who) && (name.size() == who.size() || name[who.size()] == '.');
}

template <typename Action>
Checked<void> ServiceOperations::ForEach(std::string_view who, Action action) {
  Checked<void> result;
  bool found = false;
  for (TaskEntry& task : tasks_.entries()) {
    if (!Matches(task, who)) continue;
    found = true;
    if (const Checked<void> done = action(task); !done && result) result = done;
  }
  if (!found) return std::unexpected(Quote("there is no service ", who, ""));
  return result;
}

Checked<TaskEntry*> ServiceOperations::One(std::string_view who) {
  for (TaskEntry& task : tasks_.entries()) {
    if (std::string_view(task.plan.name) == who) return &task;
  }
  return std::unexpected(Quote("there is no service ", who, ""));
}

Checked<VmEntry*> ServiceOperations::FindVm(std::string_view name) {
  for (VmEntry& vm : vms_.entries()) {
    if (std::string_view(vm.plan.name) == name) return &vm;
  }
  return std::unexpected(Quote("there is no VM ", name, ""));
}

// ---- faults ----------------------------------------------------------------------------------------------------

// All of them are dead before the first is started again.
Checked<void> ServiceOperations::Kill(std::string_view who) {
  if (who == kSupervisor) {
    kernel_.GoTo(FaultEntry(Fault::kExit));
    return {};
  }
  const uint64_t now = kernel_.Ticks();
  const Checked<void> done = ForEach(who, [&](TaskEntry& task) -> Checked<void> {
    if (!task.is_alive()) return {};  // as is wanted
    task.history->ordered = now;
    recovery_.End(task, Cause::kKilled);
    return {};
  });
  recovery_.Look();
  return done;
}

Checked<void> ServiceOperations::Restart(std::string_view who) {
  if (who == kSupervisor) return Kill(who);
  const uint64_t now = kernel_.Ticks();
  const Checked<void> done = ForEach(who, [&](TaskEntry& task) -> Checked<void> {
    if (task.state == TaskEntry::State::kStopped) return Refuse(task, "has no VM that runs");
    recovery_.Forgive(task);
    if (!task.is_alive()) return Refuse(task, "cannot be started");
    task.history->ordered = now;
    recovery_.End(task, Cause::kRestarted);
    return {};
  });
  recovery_.Look();
  return done;
}

Checked<void> ServiceOperations::Inject(std::string_view who, Fault fault) {
  if (who == kSupervisor) {
    kernel_.GoTo(FaultEntry(fault));
    return {};
  }
  return ForEach(who, [&](TaskEntry& task) { return InjectInto(task, fault); });
}

Checked<void> ServiceOperations::InjectInto(TaskEntry& task, Fault fault) {
  if (!task.is_alive()) return Refuse(task, "is not running");
  const Checked<ElfImage> image = loader_.Image(task.plan.elf);
  if (!image) return std::unexpected(image.error());
  if (!TaskLoader::HasFaultTable(*image)) return Refuse(task, "has no table of faults");
  recovery_.Limit(task);  // or a hang at its start would be taken for work
  const uint64_t now = kernel_.Ticks();
  const Status status = kernel_.Divert(abi::Handle{task.plan.slot}, FaultEntry(fault));
  if (IsOk(status)) task.history->ordered = now;
  return Check(status, task, "diverted");
}

Checked<void> ServiceOperations::Corrupt(std::string_view who, CorruptPart part, uint64_t seed) {
  if (part == CorruptPart::kMessage) return Inject(who, Fault::kGarbage);
  if (who == kSupervisor) return std::unexpected(LogLine("the supervisor does not corrupt itself"));
  const Checked<void> done =
      ForEach(who, [&](TaskEntry& task) { return Scribble(task, part, seed); });
  recovery_.Look();
  return done;
}

// Some words of a task's memory: of its journal, or of its data and of its stack as far as that is in use. A journal is
// damaged between two instances: nobody but the service itself can write to it, and what is tried here is how its
// successor bears that.
Checked<void> ServiceOperations::Scribble(TaskEntry& task, CorruptPart part, uint64_t seed) {
  if (!task.is_alive()) return Refuse(task, "is not running");
  uint64_t state = seed * 2 + 1;
  Checked<void> done;
  if (part == CorruptPart::kJournal) {
    const auto mappings = objects_.ledger().mappings.entries();
    const auto journal = std::ranges::find_if(mappings, [&](const Ledger::Mapping& mapping) {
      return mapping.space == task.plan.slot && mapping.address == abi::kJournalBase.value;
    });
    if (journal == mappings.end()) return Refuse(task, "has no journal");
    recovery_.End(task, Cause::kKilled);
    done = ScribbleOver(task, {journal->memory, journal->offset, 0, journal->bytes}, state);
  } else {
    const Checked<ElfImage> image = loader_.Image(task.plan.elf);
    if (!image) return std::unexpected(image.error());
    for (const ElfSegment& segment : image->segments()) {
      if (!done || !segment.write) continue;
      const uint64_t bytes = segment.end_page() - segment.first_page();
      const uint64_t offset = segment.first_page() - image->first_page();
      done = ScribbleOver(task, {task.plan.image_slot, offset, 0, bytes}, state);
    }
    if (done) done = ScribbleOver(task, StackOf(task), state);
  }
  task.history->ordered = kernel_.Ticks();
  return done;
}

// From its stack pointer up; all of it if that is somewhere else.
ServiceOperations::Region ServiceOperations::StackOf(const TaskEntry& task) {
  constexpr uint32_t kStackPointer = 31;
  const auto registers = kernel_.ReadRegisters(abi::Handle{task.plan.slot}, kStackPointer);
  const VirtAddr bottom = abi::kStackTop - task.plan.stack_bytes;
  uint64_t used = registers.has_value() ? (*registers)[0] - bottom.value : 0;
  if (used >= task.plan.stack_bytes) used = 0;
  const uint64_t first = AlignDown(used, kPageSize);
  return {task.plan.private_slot, first, used - first, task.plan.stack_bytes - first};
}

// From one word to 64 of them, few as often as many.
Checked<void> ServiceOperations::ScribbleOver(const TaskEntry& task, const Region& region,
                                              uint64_t& state) {
  const Result<std::span<std::byte>> memory =
      objects_.Open(region.memory, region.offset, region.bytes);
  if (!memory.has_value()) return Check(memory.error(), task, "opened");
  const std::span<std::byte> words = memory->subspan(AlignUp(region.skipped, sizeof(uint64_t)));
  const uint64_t most = uint64_t{1} << Next(state) % kScribbledBits;
  for (uint64_t left = 1 + Next(state) % most; left != 0 && !words.empty(); --left) {
    const uint64_t word = Next(state);
    const uint64_t place = Next(state) % (words.size() / sizeof(word)) * sizeof(word);
    std::memcpy(words.data() + place, &word, sizeof(word));
  }
  return Check(objects_.Close(), task, "closed");
}

// ---- upgrade ---------------------------------------------------------------------------------------------------

Checked<void> ServiceOperations::Upgrade(std::string_view who, std::string_view file) {
  if (who == kSupervisor) return std::unexpected(LogLine("the supervisor's image is the kernel's"));
  const Checked<void> done = ForEach(who, [&](TaskEntry& task) { return UpgradeTask(task, file); });
  recovery_.Look();
  return done;
}

Checked<void> ServiceOperations::UpgradeTask(TaskEntry& task, std::string_view file) {
  if (!task.is_alive()) return Refuse(task, "is not running");
  if (file.size() >= TaskHistory::kFileBytes || archive_.Find(file) == nullptr) {
    return std::unexpected(Quote("there is no file ", file, " in the boot archive"));
  }
  const Checked<ElfImage> now = loader_.Image(task.plan.elf);
  const Checked<ElfImage> next = loader_.Image(file);
  if (!next) return std::unexpected(next.error());
  if (now && now->identity() != next->identity()) {
    return std::unexpected(
        Quote("", file, " is a build of ")
            .Append(next->identity().empty() ? "another program" : next->identity())
            .Append(", not of ")
            .Append(task.plan.name));
  }
  task.history->ordered = kernel_.Ticks();
  recovery_.Forgive(task);
  recovery_.End(task, Cause::kUpgraded);
  return recovery_.ChangeBuild(task, file);
}

// ---- steps -----------------------------------------------------------------------------------------------------

Checked<void> ServiceOperations::Step(std::string_view who, uint32_t steps) {
  return Sweep(who, steps, steps);
}

Checked<void> ServiceOperations::Sweep(std::string_view who, uint32_t first, uint32_t last) {
  if (who == kSupervisor) return std::unexpected(LogLine("the supervisor does not step itself"));
  if (first > last || (first == 0 && last != 0)) {
    return std::unexpected(LogLine("steps are counted from 1, the first before the last"));
  }
  const Checked<TaskEntry*> found = One(who);
  if (!found) return std::unexpected(found.error());
  TaskEntry& task = **found;
  // If it is dead already, its next instance takes the steps: that death is none of theirs.
  recovery_.Look();
  if (!task.is_alive()) return Refuse(task, "is not running");
  const Status status = kernel_.StepTask(abi::Handle{task.plan.slot}, first);
  if (IsOk(status)) {
    task.history->step = first;
    task.history->step_last = last;
    task.history->stepped = 0;
  }
  return Check(status, task, "stepped");
}

bool ServiceOperations::IsStepping(std::string_view who) {
  return std::ranges::any_of(tasks_.entries(), [&](const TaskEntry& task) {
    return Matches(task, who) && task.history->step != 0;
  });
}

bool ServiceOperations::AreRunning(std::string_view who) {
  bool any =
      who == kSupervisor;  // which looks itself; services of a VM that is off are not there at all
  return std::ranges::all_of(tasks_.entries(),
                             [&](const TaskEntry& task) {
                               if (!Matches(task, who)) return true;
                               any = true;
                               return task.is_alive() && task.history->mode == TaskMode::kNormal;
                             }) &&
         any;
}

// ---- VMs -------------------------------------------------------------------------------------------------------

Checked<void> ServiceOperations::Pause(std::string_view vm) { return SetPause(vm, true); }
Checked<void> ServiceOperations::Resume(std::string_view vm) { return SetPause(vm, false); }

Checked<void> ServiceOperations::SetPause(std::string_view name, bool pause) {
  const Checked<VmEntry*> vm = FindVm(name);
  if (!vm) return std::unexpected(vm.error());
  if ((*vm)->state != VmEntry::State::kOn) {
    return std::unexpected(LogLine("VM ").Append(name).Append(" is not on"));
  }
  const auto tell = [&](bool paused) {
    (*vm)->paused = paused;
    for (const TaskEntry& task : tasks_.entries()) {
      if (task.plan.vm == (*vm)->plan.slot) recovery_.TellPause(task);
    }
  };
  const bool was_paused = (*vm)->paused;
  if (!pause) tell(false);  // before the guest looks at a clock
  const Status status = kernel_.PauseVm(abi::Handle{(*vm)->plan.slot}, pause);
  tell(IsOk(status) ? pause : was_paused);
  if (IsOk(status)) {
    const auto index = static_cast<size_t>(*vm - vms_.entries().data());
    JournalOf(kernel_).vms[index].paused = pause ? 1 : 0;
    return {};
  }
  return std::unexpected(LogLine("VM ")
                             .Append(name)
                             .Append(pause ? " cannot be paused: " : " cannot be resumed: ")
                             .Append(StatusName(status)));
}

Checked<void> ServiceOperations::Reboot(std::string_view vm) { return Stop(vm, VmState::kReset); }
Checked<void> ServiceOperations::PowerOff(std::string_view vm) { return Stop(vm, VmState::kOff); }

Checked<void> ServiceOperations::PressPowerButton(std::string_view name) {
  const Checked<VmEntry*> vm = FindVm(name);
  if (!vm) return std::unexpected(vm.error());
  if ((*vm)->state != VmEntry::State::kOn) {
    return std::unexpected(LogLine("VM ").Append(name).Append(" is not on"));
  }
  LogLine problem = LogLine("VM ").Append(name).Append(" has no power button");
  for (TaskEntry& task : tasks_.entries()) {
    if (task.plan.vm != (*vm)->plan.slot || task.plan.power_button == 0) continue;
    if (task.history->mode == TaskMode::kNormal) {
      recovery_.PressPowerButton(task);
      return {};
    }
    problem = LogLine("the power button of VM ").Append(name).Append(", ");
    problem.Append(task.plan.name).Append(", is given up");
  }
  return std::unexpected(
      problem.Append("; \"vm poweroff ").Append(name).Append(" force\" turns it off at once"));
}

// The kernel's signal does the rest.
Checked<void> ServiceOperations::Stop(std::string_view name, VmState state) {
  const Checked<VmEntry*> vm = FindVm(name);
  if (!vm) return std::unexpected(vm.error());
  const Status status = (*vm)->runs()
                            ? kernel_.StopVm(abi::Handle{(*vm)->plan.slot}, {.state = state})
                            : Status::kFailedPrecondition;
  if (IsOk(status)) return {};
  if (status == Status::kFailedPrecondition) {
    return std::unexpected(LogLine("VM ").Append(name).Append(" does not run"));
  }
  return std::unexpected(
      LogLine("VM ").Append(name).Append(" cannot be stopped: ").Append(StatusName(status)));
}

// ---- views -----------------------------------------------------------------------------------------------------

bool ServiceOperations::ReadTask(size_t index, TaskView& view) {
  if (index >= tasks_.entries().size()) return false;
  const TaskEntry& task = tasks_.entries()[index];
  const VmEntry* const vm = vms_.Find(task.plan.vm);
  const auto state = kernel_.InspectTask(abi::Handle{task.plan.slot});
  view = {.name = task.plan.name,
          .vm = vm != nullptr ? std::string_view(vm->plan.name) : std::string_view(),
          .state = StateName(task),
          .generation = task.history->generation,
          .deaths = task.history->deaths,
          .milliseconds = state.has_value() ? state->ticks : 0};
  return true;
}

bool ServiceOperations::ReadStatistics(size_t index, StatisticsView& view) {
  if (index >= tasks_.entries().size()) return false;
  const TaskEntry& task = tasks_.entries()[index];
  view = {.name = task.plan.name};
  const CrashRecord* const record = FindCrash(task.history->record);
  if (record != nullptr) view.started = record->started;
  const std::optional<Statistics> said = recorder_.Read(task);
  if (!said.has_value()) return true;
  view.first_answer = said->first_answer;
  view.first_completion = said->first_completion;
  view.longest = said->longest;
  for (size_t i = 0; i < said->counters.size(); ++i) {
    if (said->names[i][0] == '\0') continue;
    StatisticsView::Counter& counter = view.counters[view.count++];
    counter = {.name = {}, .value = said->counters[i]};
    std::ranges::transform(said->names[i], counter.name.begin(),
                           [](char c) { return c == '\0' || (c > ' ' && c <= '~') ? c : '?'; });
  }
  return true;
}

bool ServiceOperations::ReadVm(size_t index, VmView& view) {
  if (index >= vms_.entries().size()) return false;
  const VmEntry& vm = vms_.entries()[index];
  view = {.name = vm.plan.name, .state = StateName(vm), .starts = vm.starts};
  return true;
}

const CrashRecord* ServiceOperations::FindCrash(uint64_t sequence) {
  CrashRecord* const record = journal().crashes.Find(sequence);
  if (record == nullptr) return nullptr;
  for (const TaskEntry& task : tasks_.entries()) {
    if (task.history->record == sequence && task.is_alive()) recorder_.Complete(*record, task);
  }
  return record;
}

}  // namespace atoll
