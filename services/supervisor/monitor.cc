#include "services/supervisor/monitor.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

constexpr std::string_view kScriptPrefix = "monitor: ";

// The others run for so long between two lines of a script: 10 us.
constexpr uint64_t kPausesPerSecond = 100'000;

void Store(uint64_t& word, uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

}  // namespace

void Monitor::Start(std::span<std::byte> channel, std::span<const std::byte> script,
                    MonitorJournal& journal) {
  journal_ = &journal;
  if (channel.size() >= MonitorChannel::kBytes) {
    const auto input = ByteRingReader::Attach(MonitorChannel::Input(channel));
    const auto output = ByteRingWriter::Attach(MonitorChannel::Output(channel));
    if (input.has_value() && output.has_value()) {
      input_ = *input;
      output_.Attach(*output);
      expectation_.Attach(&MonitorChannel::Expected(channel));
    }
  }
  // A command that an earlier instance had is forgotten.
  output_.Answered();
  script_text_ = {reinterpret_cast<const char*>(script.data()),
                  std::min(script.size(), kMaxScriptBytes)};
  // Zeros fill its last page. The rest is not looked through: recovery would take longer with a longer script.
  const size_t last_page = script_text_.size() - std::min<size_t>(script_text_.size(), kPageSize);
  script_text_ = script_text_.substr(0, script_text_.find('\0', last_page));
  position_ = journal.position;
  script_done_ = offset() >= script_text_.size();
  if (!script_done_ && journal.wait_line == line_number()) {
    // It was good when it began.
    if (const auto line = NextLine()) (void)script_.Begin(CommandOf(*line), journal.wait_end);
  } else if (expectation_.exists()) {
    expectation_.Disarm();
  }
}

Monitor::Wish Monitor::Work() {
  ServeUser();
  Wish wish = user_.power_off() ? Wish::kPowerOff : Wish::kNone;
  if (wish == Wish::kNone && !script_done_) wish = RunScript();
  if (output_.TakeWrote()) (void)kernel_.SetSignal(supervisor_manifest::kConsoleMonitor);
  return wish;
}

uint64_t Monitor::Deadline() const {
  uint64_t deadline = more_ ? 0 : user_.Deadline();
  if (script_done_) return deadline;
  if (script_.busy()) return std::min(deadline, script_.Deadline());
  const uint64_t blocked = output_.Deadline() == kNever ? 0 : output_.Deadline();
  deadline = std::min(deadline, std::max(not_before_, blocked));
  return deadline;
}

// ---- the user --------------------------------------------------------------------------------------------------

void Monitor::ServeUser() {
  more_ = false;
  if (!input_.has_value()) return;
  Checked<void> done;
  if (user_.busy()) {
    done = user_.Work();
  } else {
    std::array<char, MonitorCommand::kLineBytes + 2> buffer;
    const std::optional<std::string_view> line = TypedLine(buffer);
    if (!line.has_value()) return;
    done = user_.Begin(*line);
    if (done) done = user_.Work();
  }
  if (!done) output_.Print("", done.error().view());
  if (user_.busy()) return;
  output_.Answered();
  more_ = input_->Available() != 0;
}

// The next line, which is taken before it is executed: one that kills the supervisor is not executed again by the next
// instance. A line that is too long counts as several.
std::optional<std::string_view> Monitor::TypedLine(std::span<char> buffer) {
  const size_t count = input_->Peek(std::as_writable_bytes(buffer));
  const std::string_view typed(buffer.data(), count);
  const size_t end = typed.find('\n');
  if (end == std::string_view::npos && count < buffer.size()) return std::nullopt;
  input_->Consume(std::min(end, count - 1) + 1);
  return typed.substr(0, end);
}

// ---- the script ------------------------------------------------------------------------------------------------

// The line at position_.
std::optional<std::string_view> Monitor::NextLine() {
  if (offset() >= script_text_.size()) return std::nullopt;
  const std::string_view rest = script_text_.substr(offset());
  return rest.substr(0, rest.find('\n'));
}

uint64_t Monitor::PositionAfter(std::string_view line) const {
  constexpr uint64_t kOneLine = uint64_t{1} << 32;
  return position_ + kOneLine + line.size() + 1;  // a file is too small for a carry
}

void Monitor::Announce(std::string_view line) {
  const uint64_t second = kernel_.TicksPerSecond();
  const uint64_t now = kernel_.Ticks();
  const uint64_t microseconds = now % second * 1'000'000 / second;
  LogLine text;
  text.Decimal(now / second).Append(".");
  for (uint64_t digit = 100'000; digit > 1 && microseconds < digit; digit /= 10) text.Append("0");
  text.Decimal(microseconds).Append(" ").Append(line);
  output_.Print(kScriptPrefix, text.view());
}

Monitor::Wish Monitor::FailScript(const LogLine& reason) {
  script_done_ = true;
  output_.Print(kScriptPrefix,
                LogLine("line ").Decimal(line_number()).Append(": ").Append(reason.view()).view());
  return Wish::kFail;
}

Monitor::Wish Monitor::RunScript() {
  if (!script_.busy()) {
    if (kernel_.Ticks() < not_before_ || !output_.HasRoom()) return Wish::kNone;
    const std::optional<std::string_view> line = NextLine();
    if (!line.has_value()) {
      script_done_ = true;
      output_.Print(kScriptPrefix, "the script has ended");
      return Wish::kNone;
    }
    if (const auto begun = BeginLine(*line); !begun) return FailScript(begun.error());
    if (script_.power_off()) return Wish::kPowerOff;
  }
  if (const auto done = script_.Work(); !done && !Pardon(done.error())) {
    return FailScript(done.error());
  }
  if (script_.busy()) return Wish::kNone;
  position_ = PositionAfter(NextLine().value_or(""));
  Store(journal_->position, position_);
  not_before_ = kernel_.Ticks() + kernel_.TicksPerSecond() / kPausesPerSecond;
  return Wish::kNone;
}

std::string_view Monitor::CommandOf(std::string_view line) {
  if (line.starts_with(kMayFail)) line.remove_prefix(1);
  return line;
}

// The line may fail: it is said why, and the script goes on.
bool Monitor::Pardon(const LogLine& reason) {
  if (!NextLine().value_or("").starts_with(kMayFail)) return false;
  output_.Print(kScriptPrefix, reason.view());
  return true;
}

Checked<void> Monitor::BeginLine(std::string_view line) {
  const std::string_view text = CommandOf(line);
  const Checked<MonitorCommand> command = ParseMonitorCommand(text);
  if (!command) return std::unexpected(command.error());
  const bool waits = command->waits();
  const bool acts = !waits && !command->lists() && command->verb != MonitorCommand::Verb::kNothing;
  if (acts) Announce(text);
  // From now on the line is not executed again. One that waits is begun again, and ends when it would have ended.
  if (!waits) Store(journal_->position, PositionAfter(line));
  if (auto begun = script_.Begin(text); !begun) {
    if (Pardon(begun.error())) return {};
    return begun;
  }
  if (waits) {
    Store(journal_->wait_end, script_.wait_end());
    Store(journal_->wait_line, line_number());
  }
  return {};
}

}  // namespace atoll
