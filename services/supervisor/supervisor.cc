#include "services/supervisor/supervisor.h"

#include <algorithm>
#include <atomic>

#include "services/console/monitor_channel.h"
#include "services/supervisor/journal.h"
#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

constexpr uint64_t kFlushSeconds = 1;  // the console's time to write out what it has

// A heartbeat may come so much later, in deadlines for a job: a second, more on a machine that is slow.
constexpr uint32_t kSilentDeadlines = 100;

}  // namespace

// ---- start
// --------------------------------------------------------------------------------------

void Supervisor::Boot() {
  Checked<void> started = ReadInputs();
  if (started) started = ExecutePlan(0);
  if (started) return Continue();
  reporter_.Warn(started.error());
  // The console, if it runs already, must not hide the reason: nothing to
  // flush, nothing to wait for.
  kernel_.PowerOff({.status = kExitBadInput});
}

Checked<void> Supervisor::ReadInputs() {
  if (auto ok = resources_.Read(kernel_, pages_); !ok) return ok;
  total_bytes_ = pages_.free_bytes();
  const GetResourceReply* archive = resources_.Find(ResourceKind::kArchive);
  if (auto ok = archive_.Open(kernel_.OwnMemory(kArchiveBase, archive->bytes)); !ok) return ok;
  const Archive::File* plan = archive_.Find(kPlanFile);
  if (plan == nullptr) {
    return std::unexpected(LogLine("boot archive: there is no \"").Append(kPlanFile).Append("\""));
  }
  plan_ = plan->data;
  return {};
}

Checked<PlanReader> Supervisor::OpenPlan() {
  Checked<PlanReader> reader = PlanReader::Open(plan_);
  if (reader) {
    reporter_.set_quiet(reader->header().quiet);
    heartbeat_ms_ = reader->header().heartbeat_ms;
    deadline_ms_ = reader->header().deadline_ms;
  }
  return reader;
}

Checked<void> Supervisor::ExecutePlan(uint32_t under_way) {
  SupervisorJournal& journal = JournalOf(kernel_);
  Checked<PlanReader> reader = OpenPlan();
  if (!reader) return std::unexpected(reader.error());
  PlanOutline outline;
  while (true) {
    const Checked<bool> more = reader->Next(outline);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (reader->index() < under_way) continue;
    atoll_PlanRecord record;
    if (auto decoded = reader->Decode(record); !decoded) return decoded;
    Journal(journal.record, reader->index());
    const bool is_begun = reader->index() == under_way;
    if (const auto done = executor_.Execute(record, is_begun); !done) {
      return std::unexpected(PlanProblem(reader->index(), done.error().view()));
    }
    if (VmEntry* vm = vms_.Find(record.owner_vm)) vm->last_record = reader->index();
  }
  reporter_.Info(LogLine("started ")
                     .Decimal(tasks_.entries().size())
                     .Append(" services for ")
                     .Decimal(vms_.entries().size())
                     .Append(" VMs"));
  started_ = true;
  Journal(journal.record, SupervisorJournal::kAllRecords);
  RelayLog();
  BeginHeartbeat();
  life_.Start(plan_);
  StartMonitor();
  return {};
}

void Supervisor::BeginHeartbeat() {
  recovery_.Begin(uint64_t{heartbeat_ms_} * kernel_.TicksPerSecond() / 1000);
}

void Supervisor::SetOwnLimits() {
  const bool watched = deadline_ms_ != 0 && heartbeat_ms_ != 0;
  const uint32_t again_ms = watched ? heartbeat_ms_ + kSilentDeadlines * deadline_ms_ : 0;
  // It runs without them as well.
  (void)kernel_.SetOwnLimits(deadline_ms_, again_ms);
}

void Supervisor::RelayLog() {
  if (!executor_.has_log()) return;
  namespace own = supervisor_manifest;
  const Status relayed = log_.Resume(kernel_.OwnMemory(own::kLogAddress, own::kLogBytes));
  if (!IsOk(relayed)) {
    reporter_.Warn(LogLine("log: goes past the console: ").Append(StatusName(relayed)));
  }
}

void Supervisor::StartMonitor() {
  namespace own = supervisor_manifest;
  std::span<std::byte> channel;
  if (executor_.has_monitor()) {
    channel = kernel_.OwnMemory(own::kMonitorAddress, own::kMonitorBytes);
  }
  const Archive::File* script = archive_.Find(Monitor::kScriptFile);
  monitor_.Start(channel, script != nullptr ? script->data : std::span<const std::byte>{},
                 JournalOf(kernel_).monitor);
}

// ---- events
// -------------------------------------------------------------------------------------

void Supervisor::OnSignals(uint64_t bits) {
  namespace bit = supervisor_manifest;
  if ((bits & bit::kTimerSignal) != 0) timer_ = VmLife::kNever;
  if ((bits & bit::kTaskDeathSignal) != 0) recovery_.Look();
  if ((bits & bit::kVmStateSignal) != 0) life_.Look();
  if ((bits & bit::kPowerOffSignal) != 0 && IsPowerOffWanted()) {
    StopAllVms();
    BeginPowerOff(kExitOk);
  }
  if ((bits & bit::kLogSignal) != 0) log_.Pass();
  if ((bits & bit::kFlushedSignal) != 0 && ending_.has_value()) return PowerOff();
  Continue();
}

// The console signals it. A console that signals everybody does not mean it.
bool Supervisor::IsPowerOffWanted() {
  namespace own = supervisor_manifest;
  if (!executor_.has_monitor()) return false;
  PowerOffWish& wish =
      MonitorChannel::PowerOff(kernel_.OwnMemory(own::kMonitorAddress, own::kMonitorBytes));
  return std::atomic_ref(wish.word).load(std::memory_order_acquire) == PowerOffWish::kWanted;
}

void Supervisor::Continue() {
  if (started_ && recovery_.Work()) SetOwnLimits();
  LookAtConsole();
  if (ending_.has_value()) {
    if (kernel_.Ticks() >= flush_deadline_) return PowerOff();
    return SetTimer(std::min(flush_deadline_, recovery_.Deadline()));
  }
  if (!started_) return;
  life_.Work();
  const Monitor::Wish wish = monitor_.Work();
  if (wish != Monitor::Wish::kNone) {
    StopAllVms();
    BeginPowerOff(wish == Monitor::Wish::kFail ? kExitFailed : kExitOk);
  } else if (life_.all_ended() && monitor_.script_done()) {
    BeginPowerOff(life_.any_crashed() || any_given_up() ? kExitFailed : kExitOk);
  } else {
    SetTimer(std::min({life_.Deadline(), recovery_.Deadline(), monitor_.Deadline()}));
  }
}

// Those of a VM that has ended went with it.
bool Supervisor::any_given_up() {
  return std::ranges::any_of(tasks_.entries(), [](const TaskEntry& task) {
    return task.history != nullptr && task.history->mode != TaskMode::kNormal;
  });
}

void Supervisor::SetTimer(uint64_t deadline) {
  if (deadline == timer_) return;
  timer_ = deadline;
  // Should it fail, then so does whatever waits for it: the log says what came last.
  (void)kernel_.SetTimer({.deadline = deadline});
}

// A service died: the console may not be there any more to do what was asked of it, and to print.
void Supervisor::LookAtConsole() {
  const uint64_t deaths = RecoveryJournalOf(kernel_).crashes.count;
  if (deaths == deaths_seen_) return;
  deaths_seen_ = deaths;
  // A console that died while it wrote out the rest may have forgotten the request.
  if (ending_.has_value()) (void)kernel_.SetSignal(supervisor_manifest::kConsoleFlush);
  // One that is given up prints nothing any more: it drops what guests say, and the kernel prints the log.
  const Ledger::Mapping* const log =
      objects_.ledger().MappingAt(kOwnTask.slot, supervisor_manifest::kLogAddress.value);
  if (log == nullptr) return;
  for (const TaskEntry& task : tasks_.entries()) {
    if (task.history->mode == TaskMode::kNormal) continue;
    if (!objects_.ledger().IsMapped(log->memory, task.plan.slot)) continue;
    log_.Stop();
    monitor_.ForgetConsole();
  }
}

// ---- end
// ----------------------------------------------------------------------------------------

void Supervisor::StopAllVms() {
  for (const VmEntry& vm : vms_.entries()) {
    if (!vm.runs()) continue;
    // FAILED_PRECONDITION: it does not run, which is what is wanted.
    (void)kernel_.StopVm(abi::Handle{vm.plan.slot}, {.state = VmState::kOff});
  }
}

void Supervisor::BeginPowerOff(uint32_t status) {
  if (ending_.has_value()) return;
  ending_ = status;
  Journal(JournalOf(kernel_).ending, status + 1);
  log_.Pass();
  if (!IsOk(kernel_.SetSignal(supervisor_manifest::kConsoleFlush))) return PowerOff();
  flush_deadline_ = kernel_.Ticks() + kFlushSeconds * kernel_.TicksPerSecond();
  SetTimer(std::min(flush_deadline_, recovery_.Deadline()));
}

void Supervisor::PowerOff() {
  SetTimer(VmLife::kNever);
  log_.Stop();
  // A service may have been given up since.
  kernel_.PowerOff({.status = *ending_ == kExitOk && any_given_up() ? kExitFailed : *ending_});
}

}  // namespace atoll
