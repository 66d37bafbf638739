#include "services/supervisor/crash_recorder.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "services/supervisor/task_loader.h"

namespace atoll {
namespace {

// Of the stack, from the innermost frame: deeper chains end there.
constexpr uint64_t kStackWindow = 4 * kPageSize;
constexpr uint64_t kFrameBytes = 16;  // a frame record: x29 and x30 of the caller (AAPCS64, 6.4.6)

bool IsInImage(uint64_t address) {
  return address >= abi::kImageBase.value && address < kImageEnd.value && address % 4 == 0;
}

Cause CauseOf(DeathCause cause) {
  switch (cause) {
    case DeathCause::kNone: return Cause::kNone;
    case DeathCause::kFault: return Cause::kFault;
    case DeathCause::kExit: return Cause::kExit;
    case DeathCause::kDeadline: return Cause::kDeadline;
    case DeathCause::kFlood: return Cause::kFlood;
    case DeathCause::kBadCall: return Cause::kBadCall;
    case DeathCause::kKilled: return Cause::kKilled;
  }
  return Cause::kNone;
}

Cause CauseOf(const TaskEntry& task, DeathCause cause) {
  if (cause != DeathCause::kKilled) return CauseOf(cause);
  if (task.history->ending != Cause::kNone) return task.history->ending;
  return task.history->step != 0 ? Cause::kStepped : Cause::kKilled;
}

}  // namespace

void CrashRecorder::Fill(CrashRecord& record, const TaskEntry& task,
                         const InspectTaskReply& death) {
  const std::string_view name(task.plan.name);
  std::copy_n(name.begin(), std::min(name.size(), record.task.size()), record.task.begin());
  record.generation = task.history->generation;
  record.cause = CauseOf(task, death.cause);
  record.ordered = task.history->ordered;
  record.pc = death.pc;
  record.far = death.far;
  if (death.cause == DeathCause::kExit) {
    record.exit_code = static_cast<uint32_t>(death.esr);
  } else {
    record.esr = death.esr;
  }
  const abi::Handle handle{task.plan.slot};
  record.died = kernel_.GetProgress(handle).value_or(TaskProgress{}).died;
  ReadRegisters(record, handle);
  ReadCalls(record, handle);
  ReadBacktrace(record, task);
}

void CrashRecorder::FillOwn(CrashRecord& record, const abi::RootDeath& death) {
  constexpr std::string_view kName = "supervisor";
  kName.copy(record.task.data(), record.task.size());
  record.generation = static_cast<uint32_t>(death.deaths) - 1;
  record.cause = CauseOf(static_cast<DeathCause>(death.cause));
  record.outcome = Outcome::kRestarted;
  if (record.cause == Cause::kExit) {
    record.exit_code = static_cast<uint32_t>(death.esr);
  } else {
    record.esr = death.esr;
  }
  record.far = death.far;
  record.x = death.x;
  record.sp = death.sp;
  record.pc = death.pc;
  record.pstate = death.pstate;
  record.died = death.time;
  record.detected = record.started = record.first_answer = kernel_.Ticks();
}

void CrashRecorder::ReadRegisters(CrashRecord& record, abi::Handle task) {
  std::array<uint64_t, 34> registers{};  // x0-x30, sp, pc, pstate
  for (uint32_t first = 0; first < registers.size(); first += abi::kMessageWords) {
    const Result<abi::Words> words = kernel_.ReadRegisters(task, first);
    if (!words.has_value()) return;
    std::copy_n(words->begin(), std::min<size_t>(words->size(), registers.size() - first),
                registers.begin() + first);
  }
  std::copy_n(registers.begin(), record.x.size(), record.x.begin());
  record.sp = registers[31];
  record.pc = registers[32];
  record.pstate = registers[33];
}

void CrashRecorder::ReadCalls(CrashRecord& record, abi::Handle task) {
  for (uint32_t i = 0; i < CrashRecord::kCalls; ++i) {
    const Result<abi::Words> words = kernel_.ReadCall(task, i);
    if (!words.has_value()) return;
    const auto& [token, badge, label, first, second, third] = *words;
    record.calls[i] = {
        .token = token, .badge = badge, .label = label, .words = {first, second, third}};
    record.call_count = i + 1;
  }
}

// Along the frame records. The task wrote them: each must lie further up on its stack than the one before.
void CrashRecorder::ReadBacktrace(CrashRecord& record, const TaskEntry& task) {
  const auto add = [&](uint64_t address) {
    if (record.backtrace_count == record.backtrace.size() || !IsInImage(address)) return false;
    record.backtrace[record.backtrace_count++] = address;
    return true;
  };
  // A function that has no frame (yet) returns there; for others it is the return from their last call.
  (void)add(record.x[30]);

  const VirtAddr bottom = abi::kStackTop - task.plan.stack_bytes;
  uint64_t frame = record.x[29];
  if (frame < bottom.value || frame >= abi::kStackTop.value) return;
  const uint64_t start = AlignDown(frame, kPageSize);
  const uint64_t bytes = std::min(abi::kStackTop.value - start, kStackWindow);
  const Result<std::span<std::byte>> stack =
      objects_.Open(task.plan.private_slot, start - bottom.value, bytes);
  if (!stack.has_value()) return;
  while (frame % kFrameBytes == 0 && InBounds(frame - start, kFrameBytes, bytes)) {
    std::array<uint64_t, 2> saved;
    std::memcpy(saved.data(), stack->data() + (frame - start), sizeof(saved));
    const bool repeated = record.backtrace_count == 1 && saved[1] == record.backtrace[0];
    if ((!repeated && !add(saved[1])) || saved[0] <= frame) break;
    frame = saved[0];
  }
  (void)objects_.Close();
}

std::optional<Statistics> CrashRecorder::Read(const TaskEntry& task) {
  const Result<std::span<std::byte>> page =
      objects_.Open(task.plan.private_slot, StatisticsOffset(task.plan), kPageSize);
  if (!page.has_value()) return std::nullopt;
  Statistics statistics;
  std::memcpy(&statistics, page->data(), sizeof(statistics));
  (void)objects_.Close();
  return statistics;
}

void CrashRecorder::Complete(CrashRecord& record, const TaskEntry& task) {
  if (record.started == 0 || (record.first_answer != 0 && record.first_completion != 0)) return;
  const std::optional<Statistics> said = Read(task);
  if (!said.has_value()) return;
  const uint64_t now = kernel_.Ticks();
  const auto is_likely = [&](uint64_t time) { return time >= record.started && time <= now; };
  if (is_likely(said->first_answer)) record.first_answer = said->first_answer;
  if (is_likely(said->first_completion)) record.first_completion = said->first_completion;
}

}  // namespace atoll
