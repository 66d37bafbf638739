#include "services/supervisor/monitor_listing.h"

#include <algorithm>
#include <span>

namespace atoll {
namespace {

using Verb = MonitorCommand::Verb;

constexpr uint64_t kNanoseconds = 1'000'000'000;
constexpr size_t kNameColumn = 24;
constexpr size_t kStateColumn = 16;
constexpr size_t kNumberColumn = 12;
constexpr size_t kMaxLogLines = 4096;

LogLine& Column(LogLine& line, std::string_view text, size_t width) {
  line.Append(text);
  for (size_t i = text.size(); i < width; ++i) line.Append(" ");
  return line;
}

LogLine& Column(LogLine& line, uint64_t number) {
  return Column(line, LogLine().Decimal(number).view(), kNumberColumn);
}

LogLine& Register(LogLine& line, std::string_view name, uint64_t value) {
  return line.Append(" ").Append(name).Append(" ").Hex(value);
}

}  // namespace

Checked<void> MonitorListing::Begin(const MonitorCommand& command) {
  verb_ = command.verb;
  index_ = line_ = 0;
  number_ = command.number;
  who_bytes_ = command.who.copy(who_.data(), who_.size());
  const uint64_t deaths = operations_.deaths();
  if (verb_ == Verb::kCrashes) {
    end_ = deaths;
    const uint64_t wanted = number_ == 0 ? deaths : number_;
    number_ = deaths - std::min(deaths, wanted) + 1;
    // Those that are no longer kept are not even looked for.
    while (number_ <= end_ && operations_.FindCrash(number_) == nullptr) ++number_;
  }
  if (verb_ == Verb::kRecord && operations_.FindCrash(number_) == nullptr) {
    return std::unexpected(
        LogLine("record: there is no death ").Decimal(number_).Append("; \"crashes\" tells them"));
  }
  if (verb_ == Verb::kLog) number_ = 0;
  return {};
}

bool MonitorListing::Next(LogLine& line) {
  line = LogLine();
  switch (verb_) {
    case Verb::kHelp:
      if (index_ >= MonitorHelp().size()) return false;
      line.Append(MonitorHelp()[index_++]);
      return true;
    case Verb::kPs: return NextTask(line);
    case Verb::kStats: return NextStatistics(line);
    case Verb::kVmList: return NextVm(line);
    case Verb::kCrashes: return NextCrash(line);
    case Verb::kRecord: return NextOfRecord(line);
    case Verb::kLog: return NextOfLog(line);
    default: return false;
  }
}

bool MonitorListing::NextTask(LogLine& line) {
  if (line_ == 0) {
    ++line_;
    Column(line, "NAME", kNameColumn);
    Column(line, "STATE", kStateColumn);
    Column(line, "GENERATION", kNumberColumn);
    Column(line, "DEATHS", kNumberColumn).Append("RAN MS");
    return true;
  }
  TaskView task;
  if (!operations_.ReadTask(index_++, task)) return false;
  Column(line, task.name, kNameColumn).Append(" ");
  Column(line, task.state, kStateColumn - 1);
  Column(line, task.generation);
  Column(line, task.deaths).Decimal(task.milliseconds);
  return true;
}

bool MonitorListing::NextVm(LogLine& line) {
  VmView vm;
  if (!operations_.ReadVm(index_++, vm)) return false;
  Column(line, vm.name, kNameColumn).Append(" ");
  Column(line, vm.state, kStateColumn - 1).Append("start ").Decimal(vm.starts);
  return true;
}

// "vm0.*" shows all of the VM, "pl011.*" or "pl011" all of the service.
bool MonitorListing::IsShown(std::string_view task) const {
  std::string_view who(who_.data(), who_bytes_);
  if (who.empty() || who == "all" || who == task) return true;
  if (who.ends_with(".*")) who.remove_suffix(2);
  if (task.starts_with(who) && task.substr(who.size()).starts_with('.')) return true;
  const size_t dot = task.find('.');
  if (dot == std::string_view::npos) return false;
  const std::string_view vm = task.substr(dot + 1);
  return vm == who || (vm.starts_with(who) && vm.substr(who.size()).starts_with('.'));
}

bool MonitorListing::NextStatistics(LogLine& line) {
  while (true) {
    StatisticsView view;
    if (!operations_.ReadStatistics(index_, view)) return false;
    if (!IsShown(view.name) || line_ > view.count) {
      ++index_;
      line_ = 0;
      continue;
    }
    if (line_ == 0) {
      Seconds(line.Append(view.name).Append(": started at "), view.started);
      After(line, ", answered", view.first_answer, view.started);
      After(line, ", completed", view.first_completion, view.started);
      After(line, ", longest batch of signals", view.longest, 0).Append(" ns");
    } else {
      const StatisticsView::Counter& counter = view.counters[line_ - 1];
      const auto end = std::ranges::find(counter.name, '\0');
      Column(line.Append("  "),
             {counter.name.data(), static_cast<size_t>(end - counter.name.begin())}, kNameColumn)
          .Decimal(counter.value);
    }
    ++line_;
    return true;
  }
}

// ---- deaths ----------------------------------------------------------------------------------------------------

// Seconds since power-on with all digits that there are.
LogLine& MonitorListing::Seconds(LogLine& line, uint64_t ticks) const {
  const uint64_t second = kernel_.TicksPerSecond();
  line.Decimal(ticks / second).Append(".");
  const uint64_t fraction = ticks % second * kNanoseconds / second;
  for (uint64_t digit = kNanoseconds / 10; digit > 1 && fraction < digit; digit /= 10) {
    line.Append("0");
  }
  return line.Decimal(fraction);
}

// How long after `base` something was, in ns; "-": not yet.
LogLine& MonitorListing::After(LogLine& line, std::string_view what, uint64_t ticks,
                               uint64_t base) const {
  line.Append(what).Append(" ");
  if (ticks == 0 || ticks < base) return line.Append("-");
  const uint64_t second = kernel_.TicksPerSecond();
  const uint64_t passed = ticks - base;
  return line.Append("+").Decimal(passed / second * kNanoseconds +
                                  passed % second * kNanoseconds / second);
}

// Times after the user's order, or after the death if nobody ordered it.
void MonitorListing::Summary(const CrashRecord& record, LogLine& line) const {
  const uint64_t base = record.ordered != 0 ? record.ordered : record.died;
  line.Append("#").Decimal(record.sequence).Append(" ");
  Seconds(line, base).Append(" ").Append(record.name()).Append(" generation ");
  line.Decimal(record.generation).Append(": ").Append(CauseName(record.cause));
  Register(line, "pc", record.pc);
  if (record.cause == Cause::kFault) {
    Register(line, "esr", record.esr);
    Register(line, "far", record.far);
  }
  if (record.cause == Cause::kExit) line.Append(" code ").Hex(record.exit_code);
  After(line, "; died", record.died, base);
  After(line, ", detected", record.detected, base);
  After(line, ", started", record.started, base);
  After(line, ", answered", record.first_answer, base);
  After(line, ", completed", record.first_completion, base);
  line.Append(" ns; ").Append(OutcomeName(record.outcome));
}

bool MonitorListing::NextCrash(LogLine& line) {
  for (; number_ <= end_; ++number_) {
    const CrashRecord* const record = operations_.FindCrash(number_);
    if (record == nullptr) continue;  // overwritten while the list was read
    Summary(*record, line);
    ++number_;
    return true;
  }
  return false;
}

bool MonitorListing::NextOfRecord(LogLine& line) {
  static constexpr size_t kPerLine = 4;
  static constexpr size_t kRegisterLines = (31 + kPerLine - 1) / kPerLine;
  const CrashRecord* const record = operations_.FindCrash(number_);
  if (record == nullptr) return false;
  const size_t which = line_++;
  if (which == 0) {
    Summary(*record, line);
    return true;
  }
  if (which <= kRegisterLines) {
    const size_t first = (which - 1) * kPerLine;
    line.Append(" ");
    for (size_t i = first; i < std::min(first + kPerLine, record->x.size()); ++i) {
      Register(line, LogLine("x").Decimal(i).view(), record->x[i]);
    }
    return true;
  }
  if (which == kRegisterLines + 1) {
    Register(line.Append(" "), "sp", record->sp);
    Register(line, "pstate", record->pstate);
    return true;
  }
  const size_t calls = std::min<size_t>(record->call_count, record->calls.size());
  const size_t call = which - kRegisterLines - 2;
  if (call < calls) {
    const CrashRecord::Call& unanswered = record->calls[call];
    Register(line.Append("  unanswered call"), "token", unanswered.token);
    Register(line, "badge", unanswered.badge);
    Register(line, "label", unanswered.label);
    for (const uint64_t word : unanswered.words) line.Append(" ").Hex(word);
    return true;
  }
  if (call != calls) return false;
  line.Append("  backtrace");
  const size_t count = std::min<size_t>(record->backtrace_count, record->backtrace.size());
  for (size_t i = 0; i < count; ++i) line.Append(" ").Hex(record->backtrace[i]);
  return true;
}

// ---- the log ---------------------------------------------------------------------------------------------------

// A line of what the kernel still has.
bool MonitorListing::NextOfLog(LogLine& line) {
  if (index_ == kMaxLogLines) return false;  // it grows faster than it is read
  const auto reply = kernel_.ReadLog({.from = number_});
  if (!reply.has_value() || reply->bytes == 0) return false;
  std::span<const std::byte> text = kernel_.IpcPage().first(reply->bytes);
  number_ = reply->next - reply->bytes;
  const auto end = std::ranges::find(text, std::byte{'\n'});
  const auto bytes = static_cast<size_t>(end - text.begin());
  line.Append({reinterpret_cast<const char*>(text.data()), bytes});
  number_ += std::min<size_t>(bytes + 1, reply->bytes);
  ++index_;
  return true;
}

}  // namespace atoll
