#include "services/supervisor/service_recovery.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "services/runtime/log.h"

namespace atoll {
namespace {

constexpr uint64_t kHeartbeatBits = uint64_t{1} << abi::kHeartbeatBit;

// Since then a new build counts as one that works, and the one before is forgotten.
constexpr uint64_t kTrialSeconds = 10;

// Between heartbeats while some task is not limited yet.
constexpr uint64_t kFirstBeatsPerSecond = 100;

// Between two tasks of one heartbeat: guests whose timers are due have their turn there.
constexpr uint64_t kGapsPerSecond = 10'000;

constexpr uint64_t kPressSeconds = 2;

constexpr size_t kAddressesInLine = 6;  // of a backtrace; the record has more

void CopyName(std::span<char> to, std::string_view name) {
  std::ranges::fill(to, '\0');
  std::copy_n(name.begin(), std::min(name.size(), to.size() - 1), to.begin());
}

std::string_view Text(std::span<const char> name) {
  return {name.data(), static_cast<size_t>(std::ranges::find(name, '\0') - name.begin())};
}

}  // namespace

void ServiceRecovery::Begin(uint64_t beat) {
  beat_ = beat;
  next_beat_ = beat == 0 ? VmLife::kNever : kernel_.Ticks() + Pause();
}

// ---- deaths ----------------------------------------------------------------------------------------------------

void ServiceRecovery::Look() {
  for (TaskEntry& task : tasks_.entries()) {
    if (!task.is_alive()) continue;
    const auto reply = kernel_.InspectTask(abi::Handle{task.plan.slot});
    if (reply.has_value() && reply->state == TaskState::kDead) OnDeath(task, *reply);
  }
}

void ServiceRecovery::OnDeath(TaskEntry& task, const InspectTaskReply& death) {
  TaskHistory& history = *task.history;
  if (history.started != history.generation + 1) return GoOn(task);
  const uint64_t now = kernel_.Ticks();
  if (CrashRecord* const last = journal().crashes.Find(history.record); last != nullptr) {
    recorder_.Complete(*last, task);
  }
  CrashRecord& record = journal().crashes.Add();
  history.record = record.sequence;
  ++history.deaths;
  recorder_.Fill(record, task, death);
  record.detected = now;
  task.silent = false;

  LogLine line(task.plan.name);
  line.Append(" died: ").Append(CauseName(record.cause));
  line.Append(" pc ").Hex(record.pc);
  line.Append(" esr ").Hex(record.cause == Cause::kExit ? record.exit_code : record.esr);
  line.Append(" far ").Hex(record.far);
  // Last, as it is logged when the next instance runs: the line takes time on its way to the terminal.
  Decide(task, record, line);
  history.ending = Cause::kNone;
  history.ordered = 0;
  if (record.backtrace_count != 0) line.Append("; from");
  for (size_t i = 0; i < std::min<size_t>(record.backtrace_count, kAddressesInLine); ++i) {
    line.Append(" ").Hex(record.backtrace[i]);
  }
  Report(task, line);
}

// An instance of the supervisor that died had decided what to do about this death, and did not come to it.
void ServiceRecovery::GoOn(TaskEntry& task) {
  if (task.history->restart_at != 0) {
    task.state = TaskEntry::State::kWaiting;
    return;
  }
  LogLine line(task.plan.name);
  line.Append(" was being restarted");
  StartAgain(task, line);
  Report(task, line);
}

// Whether the death says something about the service.
bool ServiceRecovery::IsBlamed(const CrashRecord& record) const {
  return record.ordered == 0 && record.cause != Cause::kStepped;
}

void ServiceRecovery::Decide(TaskEntry& task, CrashRecord& record, LogLine& line) {
  TaskHistory& history = *task.history;
  if (record.cause == Cause::kExit && record.exit_code == kExitJournalRefused &&
      TakeBack(task, line)) {
    return Restart(task, line);
  }
  if (!IsBlamed(record)) return Restart(task, line);

  const uint64_t now = kernel_.Ticks();
  const uint64_t window = uint64_t{task.plan.restart_seconds} * kernel_.TicksPerSecond();
  const uint32_t delay = history.Delay(now, window);
  const bool too_many = history.TooMany(now, task.plan.restart_deaths, window);
  if (history.mode == TaskMode::kRefusing) return Wait(task, TaskHistory::kMaxDelay, line);
  if (too_many || history.mode == TaskMode::kFailed) return GiveUp(task, record, line);
  if (delay != 0) return Wait(task, delay, line);
  Restart(task, line);
}

void ServiceRecovery::GiveUp(TaskEntry& task, CrashRecord& record, LogLine& line) {
  TaskHistory& history = *task.history;
  if (history.mode == TaskMode::kNormal) {
    if (TakeBack(task, line)) return Restart(task, line);
    line.Append("; given up: more than ").Decimal(task.plan.restart_deaths);
    line.Append(" deaths in ").Decimal(task.plan.restart_seconds).Append(" s");
  } else {
    line.Append("; given up in failed mode, too");
  }
  if (task.plan.vital && vms_.Find(task.plan.vm) != nullptr) {
    record.outcome = Outcome::kVmEnded;
    return Lose(task, line);
  }
  history.mode = history.mode == TaskMode::kNormal ? TaskMode::kFailed : TaskMode::kRefusing;
  Restart(task, line);
}

// The build before the last upgrade is put back, if it is still known.
bool ServiceRecovery::TakeBack(TaskEntry& task, LogLine& line) {
  TaskHistory& history = *task.history;
  if (history.previous[0] == '\0') return false;
  const std::array<char, TaskHistory::kFileBytes> file = history.previous;
  line.Append("; upgrade to ").Append(task.plan.elf).Append(" taken back");
  const Checked<void> changed = ChangeBuild(task, Text(file));
  history.previous = {};
  history.Forgive();
  return changed.has_value();
}

void ServiceRecovery::Wait(TaskEntry& task, uint32_t milliseconds, LogLine& line) {
  TaskHistory& history = *task.history;
  const uint64_t wait = Milliseconds(milliseconds);
  history.waited += wait;
  Journal(history.restart_at, kernel_.Ticks() + wait);
  Journal(history.generation, history.generation + 1);
  task.state = TaskEntry::State::kWaiting;
  line.Append("; restarting as generation ").Decimal(history.generation);
  line.Append(" in ").Decimal(milliseconds).Append(" ms");
}

void ServiceRecovery::Restart(TaskEntry& task, LogLine& line) {
  Journal(task.history->generation, task.history->generation + 1);
  StartAgain(task, line);
}

// As the generation that the history has.
void ServiceRecovery::StartAgain(TaskEntry& task, LogLine& line) {
  TaskHistory& history = *task.history;
  CrashRecord other;  // its own may be overwritten by younger ones
  CrashRecord* const own = journal().crashes.Find(history.record);
  CrashRecord& record = own != nullptr ? *own : other;
  Checked<void> started = loader_.Refresh(task.plan);
  record.started = kernel_.Ticks();
  const bool blamed = own != nullptr && IsBlamed(record);
  history.asked_at = 0;
  if (started) started = loader_.Start(task.plan, history.generation, history.mode, blamed);
  if (!started) {
    line.Append("; cannot be restarted, given up: ").Append(started.error().view());
    record.outcome = Outcome::kVmEnded;
    return Lose(task, line);
  }
  Journal(history.started, history.generation + 1);
  history.restart_at = 0;
  task.state = TaskEntry::State::kRunning;
  RaisePowerButton(task);
  TellPause(task);
  line.Append("; restarting as generation ").Decimal(history.generation);
  switch (history.mode) {
    case TaskMode::kNormal: record.outcome = Outcome::kRestarted; break;
    case TaskMode::kFailed:
      record.outcome = Outcome::kFailed;
      line.Append(" in failed mode");
      break;
    default: record.outcome = Outcome::kRefusing; line.Append(", which refuses all calls");
  }
  StepOn(task);
}

// It stays dead. A guest whose device is gone would hang in the middle of an instruction: its VM ends instead.
void ServiceRecovery::Lose(TaskEntry& task, LogLine& line) {
  task.state = TaskEntry::State::kLost;
  task.history->mode = TaskMode::kLost;
  if (vms_.Find(task.plan.vm) != nullptr) line.Append("; its VM ends");
}

// The line first: what it says is the reason of what comes then.
void ServiceRecovery::Report(const TaskEntry& task, const LogLine& line) {
  reporter_.Warn(line);
  if (task.state != TaskEntry::State::kLost) return;
  if (VmEntry* const vm = vms_.Find(task.plan.vm); vm != nullptr) life_.GiveUp(*vm);
}

// The next of the deaths that the user wants to see.
void ServiceRecovery::StepOn(TaskEntry& task) {
  if (task.history->step == 0) return;
  ++task.history->stepped;
  const bool more = task.history->step < task.history->step_last;
  if (more && IsOk(kernel_.StepTask(abi::Handle{task.plan.slot}, task.history->step + 1))) {
    ++task.history->step;
    return;
  }
  reporter_.Warn(LogLine(task.plan.name)
                     .Append(": died ")
                     .Decimal(task.history->stepped)
                     .Append(" times, the last after ")
                     .Decimal(task.history->step)
                     .Append(" instructions"));
  task.history->step = task.history->step_last = task.history->stepped = 0;
}

// An instance that dies when it has the signal, and has not noted it yet, forgets that. So its successor gets it, too; a
// service takes what comes within this time for the same press.
void ServiceRecovery::RaisePowerButton(TaskEntry& task) {
  const uint64_t pressed = task.history->pressed;
  if (pressed == 0 || !task.is_alive()) return;
  if (kernel_.Ticks() - pressed > kPressSeconds * kernel_.TicksPerSecond()) {
    task.history->pressed = 0;
    return;
  }
  (void)kernel_.RaiseTask(abi::Handle{task.plan.slot}, task.plan.power_button);
}

uint64_t ServiceRecovery::PauseBits(const TaskEntry& task) {
  const VmEntry* const vm = vms_.Find(task.plan.vm);
  return vm != nullptr && vm->paused ? task.plan.pause : task.plan.resume;
}

void ServiceRecovery::TellPause(const TaskEntry& task) {
  const uint64_t bits = PauseBits(task);
  if (bits != 0 && task.is_alive()) (void)kernel_.RaiseTask(abi::Handle{task.plan.slot}, bits);
}

// ---- orders ----------------------------------------------------------------------------------------------------

void ServiceRecovery::End(TaskEntry& task, Cause why) {
  task.history->ending = why;
  // A task that cannot be killed runs on, and is found alive.
  if (!IsOk(kernel_.KillTask(abi::Handle{task.plan.slot}))) task.history->ending = Cause::kNone;
}

void ServiceRecovery::Limit(TaskEntry& task) {
  const Status limited =
      kernel_.SetLimits(abi::Handle{task.plan.slot}, task.plan.deadline_ms, task.plan.effects);
  task.history->limited = IsOk(limited) ? 1 : 0;
}

void ServiceRecovery::Forgive(TaskEntry& task) {
  task.history->Forgive();
  if (task.state != TaskEntry::State::kLost && task.state != TaskEntry::State::kWaiting) return;
  if (const VmEntry* const vm = vms_.Find(task.plan.vm); vm != nullptr && !vm->runs()) return;
  LogLine line(task.plan.name);
  line.Append(" is forgiven");
  if (task.state == TaskEntry::State::kLost) {
    Restart(task, line);
  } else {
    StartAgain(task, line);
  }
  Report(task, line);
}

void ServiceRecovery::PressPowerButton(TaskEntry& task) {
  task.history->pressed = kernel_.Ticks();
  RaisePowerButton(task);
}

Checked<void> ServiceRecovery::ChangeBuild(TaskEntry& task, std::string_view file) {
  TaskHistory& history = *task.history;
  std::array<char, TaskHistory::kFileBytes> old;
  std::ranges::copy(task.plan.elf, old.begin());
  const auto change = [&](std::string_view name) -> Checked<void> {
    CopyName(task.plan.elf, name);
    CopyName(history.file, name);
    if (auto unloaded = loader_.UnloadImage(task.plan); !unloaded) return unloaded;
    return loader_.LoadImage(task.plan);
  };
  Checked<void> changed = change(file);
  if (changed) {
    history.previous = old;
    return changed;
  }
  if (const auto back = change(Text(old)); !back) {
    changed.error().Append("; and the old build is lost: ").Append(back.error().view());
  }
  return changed;
}

// ---- time ------------------------------------------------------------------------------------------------------

bool ServiceRecovery::Work() {
  const uint64_t now = kernel_.Ticks();
  for (TaskEntry& task : tasks_.entries()) {
    if (task.state != TaskEntry::State::kWaiting || task.history->restart_at > now) continue;
    LogLine line(task.plan.name);
    line.Append(" has waited");
    StartAgain(task, line);
    if (task.state != TaskEntry::State::kRunning) Report(task, line);
  }
  const bool beats = now >= next_beat_ && Beat(now);
  // Tasks of a VM that has just started.
  if (beat_ != 0) next_beat_ = std::min(next_beat_, now + Pause());
  return beats;
}

uint64_t ServiceRecovery::Pause() {
  const bool all_limited = std::ranges::all_of(tasks_.entries(), [](const TaskEntry& task) {
    return !task.is_alive() || task.history->limited != 0;
  });
  return all_limited ? beat_ : std::min(beat_, kernel_.TicksPerSecond() / kFirstBeatsPerSecond);
}

uint64_t ServiceRecovery::Deadline() const {
  uint64_t earliest = next_beat_;
  for (const TaskEntry& task : tasks_.entries()) {
    if (task.state == TaskEntry::State::kWaiting) {
      earliest = std::min(earliest, task.history->restart_at);
    }
  }
  return earliest;
}

bool ServiceRecovery::Beat(uint64_t now) {
  const uint64_t gap = kernel_.TicksPerSecond() / kGapsPerSecond;
  const std::span<TaskEntry> tasks = tasks_.entries();
  bool looked = false;
  while (beat_task_ < tasks.size() && (!looked || gap == 0)) {
    TaskEntry& task = tasks[beat_task_++];
    if (!task.is_alive()) continue;
    LookForSignsOfLife(task, now);
    looked = true;
  }
  if (beat_task_ < tasks.size()) {
    next_beat_ = now + gap;
    return false;
  }
  beat_task_ = 0;
  Look();
  next_beat_ = now + Pause();
  return true;
}

// Takes its signals, but its loop sees none of them.
bool ServiceRecovery::IsIgnorant(TaskEntry& task, uint64_t now) {
  TaskHistory& history = *task.history;
  if (history.mode == TaskMode::kRefusing) return false;  // it has no such loop
  const std::optional<Statistics> said = recorder_.Read(task);
  if (!said.has_value()) return false;
  if (history.asked_at != 0 && said->heartbeats == history.heartbeats) {
    return now - history.asked_at >= beat_;
  }
  Journal(history.heartbeats, said->heartbeats);
  Journal(history.asked_at, now);
  return false;
}

void ServiceRecovery::LookForSignsOfLife(TaskEntry& task, uint64_t now) {
  const abi::Handle handle{task.plan.slot};
  const Result<TaskProgress> progress = kernel_.GetProgress(handle);
  if (!progress.has_value()) return;
  TaskHistory& history = *task.history;
  const uint64_t second = kernel_.TicksPerSecond();

  if (history.limited == 0 && progress->jobs != 0) {
    Limit(task);
  }
  const uint64_t patience = Milliseconds(task.plan.answer_within_ms);
  if (patience != 0 && progress->owed_since != 0 && now - progress->owed_since > patience) {
    return End(task, Cause::kNoAnswer);
  }
  if ((progress->pending & kHeartbeatBits) == 0) {
    if (IsIgnorant(task, now)) return End(task, Cause::kHeartbeat);
    task.silent = false;
    (void)kernel_.RaiseTask(handle, kHeartbeatBits | PauseBits(task));
  } else if (const auto state = kernel_.InspectTask(handle); state.has_value()) {
    // Busy is not dead: whether one job takes too long is for the kernel to say.
    if (task.silent && state->ticks == task.silent_ticks) {
      // Beats come faster while a VM starts, whose loading may keep others waiting.
      if (now - task.silent_since >= beat_) return End(task, Cause::kHeartbeat);
    } else {
      task.silent = true;
      task.silent_ticks = state->ticks;
      task.silent_since = now;
    }
  }

  CrashRecord* const record = journal().crashes.Find(history.record);
  if (record == nullptr) return;
  if (now - record->started <= kTrialSeconds * second) recorder_.Complete(*record, task);
  if (now - record->started > kTrialSeconds * second) history.previous = {};
}

}  // namespace atoll
