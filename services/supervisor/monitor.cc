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
  script_text_ = script_text_.substr(0, script_text_.find('\0'));
  position_ = journal.position;
  script_done_ = offset() >= script_text_.size();
  if (!script_done_ && journal.wait_line == line_number()) {
    // It was good when it began.
    if (const auto line = NextLine()) (void)script_.Begin(*line, journal.wait_end);
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
  uint64_t deadline = user_.Deadline();
  if (!script_done_) {
    const uint64_t blocked = script_.busy() ? script_.Deadline() : output_.Deadline();
    deadline = std::min(deadline, !script_.busy() && blocked == kNever ? not_before_ : blocked);
  }
  return deadline;
}

// ---- the user --------------------------------------------------------------------------------------------------

void Monitor::ServeUser() {
  if (!input_.has_value()) return;
  Checked<void> done;
  if (user_.busy()) {
    done = user_.Work();
  } else {
    std::array<char, MonitorCommand::kLineBytes + 2> line;
    const size_t count = input_->Peek(std::as_writable_bytes(std::span(line)));
    const auto end = std::ranges::find(std::span(line).first(count), '\n');
    const auto bytes = static_cast<size_t>(end - line.begin());
    if (bytes == count && count < line.size()) return;  // its end is to come
    // Before it is executed: a line that kills the supervisor is not executed again by the next one.
    input_->Consume(std::min(bytes + 1, count));
    done = user_.Begin({line.data(), bytes});
    if (done) done = user_.Work();
  }
  if (!done) output_.Print("", done.error().view());
  if (!user_.busy()) output_.Answered();
}

// ---- the script ------------------------------------------------------------------------------------------------

// The line at position_.
std::optional<std::string_view> Monitor::NextLine() {
  if (offset() >= script_text_.size()) return std::nullopt;
  const std::string_view rest = script_text_.substr(offset());
  return rest.substr(0, rest.find('\n'));
}

// What has an effect, with the time.
void Monitor::Announce(std::string_view line) {
  const Checked<MonitorCommand> command = ParseMonitorCommand(line);
  if (!command || command->waits() || command->lists()) return;
  if (command->verb == MonitorCommand::Verb::kNothing) return;
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
    if (kernel_.Ticks() < not_before_) return Wish::kNone;
    if (!output_.HasRoom()) return Wish::kNone;
    // Lines without a command cost no turn of their own, as long as they are few.
    const std::optional<std::string_view> line = NextLine();
    if (!line.has_value()) {
      script_done_ = true;
      output_.Print(kScriptPrefix, "the script has ended");
      return Wish::kNone;
    }
    Announce(*line);
    const Checked<MonitorCommand> command = ParseMonitorCommand(*line);
    const bool waits = command && command->waits();
    // From now on the line is not executed again, unless it is one that waits.
    const uint64_t next =
        (position_ & ~uint64_t{0xffff'ffff}) + (uint64_t{1} << 32) + offset() + line->size() + 1;
    if (!waits) Store(journal_->position, next);
    if (const auto begun = script_.Begin(*line); !begun) return FailScript(begun.error());
    if (script_.power_off()) return Wish::kPowerOff;
    if (waits) {
      Store(journal_->wait_end, script_.wait_end());
      Store(journal_->wait_line, line_number());
    }
  }
  if (const auto done = script_.Work(); !done) return FailScript(done.error());
  if (script_.busy()) return Wish::kNone;
  const std::string_view line = NextLine().value_or("");
  position_ =
      (position_ & ~uint64_t{0xffff'ffff}) + (uint64_t{1} << 32) + offset() + line.size() + 1;
  Store(journal_->position, position_);
  not_before_ = kernel_.Ticks() + kernel_.TicksPerSecond() / kPausesPerSecond;
  return Wish::kNone;
}

}  // namespace atoll
