#include "services/console/console.h"

#include <algorithm>
#include <utility>

namespace atoll {
namespace {

// Bytes in one turn of the event loop, so that commands are seen under endless output and the
// reverse. The labels of lines count.
constexpr size_t kOutputPerTurn = 4096;

// Bytes of output that are looked through for an expected text, likewise.
constexpr size_t kSearchedPerTurn = 4096;

// A guest keeps the UART for this many bytes and to the end of the line, but not for more than the
// second number.
constexpr size_t kRun = 512;
constexpr size_t kLongestRun = 2048;

// Bytes looked at in one go.
constexpr size_t kChunk = 64;

// So many bytes of a guest without focus are printed though they do not end a line.
constexpr size_t kMuch = 512;

// So long the log and the monitor wait for a guest to end its line: a tenth of a second.
constexpr uint64_t kLinePatiencePerSecond = 10;
// And other guests: 20 ms.
constexpr uint64_t kGuestPatiencePerSecond = 50;

// How soon to look again at a guest that has no room for input, and at a UART that is to become
// idle.
constexpr uint64_t kRetriesPerSecond = 500;

}  // namespace

Console::Console(const Ports& ports, ConsoleState& state)
    : ports_(ports),
      state_(state),
      line_(WireLine::Unpack(state.line)),
      keys_(Keys::Unpack(state.keys)),
      words_(ports.uart, state, line_),
      monitor_line_(state, keys_, words_, ports.monitor.input),
      matcher_(ports.monitor.expectation, state),
      log_{.ring = ports.log, .writer = WireLine::kLogWriter, .room = ports.log_room},
      monitor_{.ring = ports.monitor.output,
               .writer = WireLine::kMonitorWriter,
               .room = ports.monitor.supervisor} {}

Status Console::AddGuest(const Guest& guest) {
  if (guest_count_ == kMaxGuests) return Status::kResourceExhausted;
  guests_[guest_count_++].emplace(guest);
  return Status::kOk;
}

void Console::Start() {
  if (state_.focus >= guest_count_) state_.focus = 0;
  const bool writer_is_guest = line_.writer < WireLine::kLogWriter;
  if (line_.writer > WireLine::kPromptWriter || (writer_is_guest && line_.writer >= guest_count_)) {
    line_.writer = 0;
  }
  ports_.uart.Initialize();
  // The earlier instance may have ended between a byte's way into a ring and the notification.
  for (uint32_t guest = 0; guest < guest_count_; ++guest) {
    const ConsoleLine& line = guests_[guest]->line;
    const bool has_input = line.input.Free() != line.input.capacity();
    if (has_input || line.output.Available() != 0) guests_[guest]->input.Notify();
  }
  if (state_.power_off == PowerOffWish::kWanted) AskForPowerOff();
  ports_.log_room.Notify();
  ports_.monitor.supervisor.Notify();
  OnSignals(0);
}

void Console::OnSignals(uint64_t bits) {
  if ((bits & kFlushSignal) != 0) state_.flushing = 1;
  LookAtVms();
  const bool looked = LookForExpected();
  const bool input_has_room = ReceiveInput();
  ports_.uart.EnableReceiveInterrupt(input_has_room);
  const Progress output = looked ? SendOutput() : Progress::kMore;
  ports_.uart.EnableSendInterrupt(output == Progress::kBlocked);
  if (state_.flushing != 0 && output == Progress::kDone && ports_.uart.IsIdle()) {
    ports_.flushed.Notify();  // twice if this instance ends here: the supervisor does not count
    state_.flushing = 0;
  }
  SetTimer(output, input_has_room);
}

void Console::SetTimer(Progress output, bool input_has_room) {
  const uint64_t second = ports_.counter.TicksPerSecond();
  uint64_t deadline = DeadlineTimer::kNever;
  if (lines_wait_since_.has_value()) {
    deadline = *lines_wait_since_ + second / kLinePatiencePerSecond;
  }
  if (guests_wait_since_.has_value()) {
    deadline = std::min(deadline, *guests_wait_since_ + second / kGuestPatiencePerSecond);
  }
  if (!input_has_room || (state_.flushing != 0 && output == Progress::kDone)) {
    deadline = std::min(deadline, ports_.counter.Ticks() + second / kRetriesPerSecond);
  }
  if (output == Progress::kMore)
    deadline = 0;  // at once, but after the signals that came meanwhile
  if (deadline != DeadlineTimer::kNever) ports_.timer.Set(deadline);
}

// Before room of a ring is given back: what was printed is looked at while it is there.
bool Console::LookForExpected() {
  size_t budget = kSearchedPerTurn;
  for (uint32_t guest = 0; guest < guest_count_ && matcher_.IsArmed(); ++guest) {
    const std::optional<uint32_t> end =
        matcher_.Find(guest, guests_[guest]->name, guests_[guest]->line.output, budget);
    if (!end.has_value()) continue;
    ports_.uart.Commit({WordStore{&state_.searched[guest], *end}, matcher_.MetStore()});
    ports_.monitor.supervisor.Notify();
  }
  return budget != 0;
}

Console::Progress Console::SendOutput() {
  size_t budget = kOutputPerTurn;
  while (budget != 0) {
    if (!words_.Send()) return Progress::kBlocked;
    const bool in_line = InLineOf(log_) || InLineOf(monitor_);
    const std::optional<uint32_t> guest = in_line ? std::nullopt : NextWriter();
    if (guest.has_value() && SendFrom(*guest, budget) == Progress::kBlocked) {
      return Progress::kBlocked;
    }
    LineSource* const source = DueSource();
    if (source != nullptr && SendLines(*source, budget) == Progress::kBlocked) {
      return Progress::kBlocked;
    }
    if (guest.has_value() || source != nullptr) continue;
    return ShowPrompt() ? Progress::kDone : Progress::kBlocked;
  }
  return Progress::kMore;
}

// Makes `writer` the source of what comes next, on a line of its own.
bool Console::TakeOver(uint8_t writer) {
  if (writer == line_.writer) return true;
  if (line_.mid_line) words_.Put("\r\n");
  line_.mid_line = line_.carriage_return = false;
  line_.writer = writer;
  run_ = 0;
  StoreLine();
  return words_.Send();
}

// The monitor's prompt is the last thing on the wire while it waits for a command.
bool Console::ShowPrompt() {
  const bool shown = line_.writer == WireLine::kPromptWriter && line_.mid_line;
  if (!keys_.monitor || keys_.running || state_.flushing != 0 || shown) return true;
  if (line_.mid_line) words_.Put("\r\n");
  line_ = {.words_end = line_.words_end, .writer = WireLine::kPromptWriter, .mid_line = true};
  monitor_line_.Show();
  StoreLine();
  return words_.Send();
}

// ---- whole lines -----------------------------------------------------------------------------------------------

// A line of the source was begun: nothing else may come before its end.
bool Console::InLineOf(const LineSource& source) const {
  return line_.writer == source.writer && line_.mid_line && source.ring.Available() != 0;
}

// What the supervisor says between its lines.
void Console::TakeAnswers() {
  std::array<std::byte, 1> next;
  while (monitor_.ring.Peek(next) != 0 && next[0] == MonitorChannel::kAnswered) {
    keys_.running = !monitor_line_.AllTaken();
    ports_.uart.Commit({monitor_.ring.ConsumeLater(), WordStore{&state_.keys, keys_.Pack()}});
  }
}

// The source that has lines, and no guest's line in the way.
Console::LineSource* Console::DueSource() {
  if (InLineOf(log_)) return &log_;
  if (InLineOf(monitor_)) return &monitor_;
  TakeAnswers();
  const std::optional<uint64_t> since = std::exchange(lines_wait_since_, std::nullopt);
  LineSource* const source = log_.ring.Available() != 0       ? &log_
                             : monitor_.ring.Available() != 0 ? &monitor_
                                                              : nullptr;
  if (source == nullptr) return nullptr;
  if (state_.flushing != 0) {  // after the guests' last words
    return NextWriter().has_value() ? nullptr : source;
  }
  if (!line_.mid_line || line_.writer >= WireLine::kLogWriter) return source;
  const uint64_t now = ports_.counter.Ticks();
  lines_wait_since_ = since.value_or(now);
  const bool patient =
      now - *lines_wait_since_ < ports_.counter.TicksPerSecond() / kLinePatiencePerSecond;
  return patient ? nullptr : source;
}

// Sends a run of whole lines.
Console::Progress Console::SendLines(LineSource& source, size_t& budget) {
  if (!TakeOver(source.writer)) return Progress::kBlocked;
  lines_wait_since_.reset();
  for (size_t sent = 0; sent < kLongestRun || line_.mid_line; ++sent) {
    std::array<std::byte, 1> next;
    if (source.ring.Peek(next) == 0) {
      source.room.Notify();
      return Progress::kDone;
    }
    if (next[0] == MonitorChannel::kAnswered && !line_.mid_line) return Progress::kDone;
    if (!ports_.uart.CanSend()) return Progress::kBlocked;
    const bool line_end = next[0] == std::byte{'\n'};
    if (line_end && !line_.carriage_return) {
      line_.mid_line = line_.carriage_return = true;
      ports_.uart.Send(std::byte{'\r'}, {LineStore()});
      continue;
    }
    line_.mid_line = !line_end;
    line_.carriage_return = false;
    ports_.uart.Send(next[0], {source.ring.ConsumeLater(), LineStore()});
    budget -= std::min<size_t>(budget, 1);
  }
  if (source.ring.Available() == 0) source.room.Notify();
  return Progress::kDone;
}

// ---- guests ----------------------------------------------------------------------------------------------------

// Whether the ring has a line with its end, or much.
bool Console::HasLine(const ByteRingReader& ring) {
  std::array<std::byte, kMuch> bytes;
  const size_t count = ring.Peek(bytes);
  const auto begin = bytes.begin();
  return count == bytes.size() || std::find(begin, begin + count, std::byte{'\n'}) != begin + count;
}

// Sends a run of a guest's bytes, or the text that has to come first.
Console::Progress Console::SendFrom(uint32_t guest, size_t& budget) {
  if (!TakeOver(static_cast<uint8_t>(guest))) return Progress::kBlocked;
  ByteRingReader& ring = guests_[guest]->line.output;
  const bool labelled = !HasFocus(guest);
  while (run_ < kLongestRun && budget != 0) {
    std::array<std::byte, kChunk> chunk;
    const size_t count = ring.Peek(std::span(chunk).first(std::min(chunk.size(), budget)));
    if (count == 0) return Progress::kDone;
    for (size_t i = 0; i < count && budget != 0; ++i, ++run_, --budget) {
      if (labelled && !line_.mid_line) {
        if (state_.flushing == 0 && !HasLine(ring)) {  // it is kept until more comes
          spilling_ &= ~(1u << guest);
          return Progress::kDone;
        }
        words_.Put("[");
        words_.Put(guests_[guest]->name);
        words_.Put("] ");
        line_.mid_line = true;
        StoreLine();
        budget -= std::min(budget - 1, guests_[guest]->name.size());
        if (!words_.Send()) return Progress::kBlocked;
      }
      if (!ports_.uart.CanSend()) return Progress::kBlocked;
      line_.mid_line = chunk[i] != std::byte{'\n'};
      ports_.uart.Send(chunk[i], {ring.ConsumeLater(), LineStore()});
      // A writer that waits for room gets much of it.
      if (ring.Available() == ring.capacity() / 2) guests_[guest]->input.Notify();
      if (!line_.mid_line && run_ >= kRun) {
        run_ = kLongestRun;  // the others' turn
        return Progress::kDone;
      }
    }
  }
  return Progress::kDone;
}

// It has output, which is to be printed now.
bool Console::IsWanted(uint32_t guest) {
  const ByteRingReader& ring = guests_[guest]->line.output;
  const uint32_t bit = 1u << guest;
  const size_t held = ring.Available();
  const bool in_line = line_.mid_line && line_.writer == guest;
  if (held == 0 && !in_line) spilling_ &= ~bit;
  if (held >= ring.capacity() / 2) spilling_ |= bit;
  return held != 0 && (HasFocus(guest) || state_.flushing != 0 || (spilling_ & bit) != 0);
}

// The guest whose output is to be printed next: those with something to print in turn, but a line that was begun is
// finished first.
std::optional<uint32_t> Console::NextWriter() {
  const std::optional<uint64_t> since = std::exchange(guests_wait_since_, std::nullopt);
  const uint32_t last = line_.writer;
  const bool in_line = line_.mid_line && last < guest_count_;
  if (in_line && run_ < kLongestRun && guests_[last]->line.output.Available() != 0) return last;
  for (uint32_t step = 1; step <= guest_count_; ++step) {
    const uint32_t guest = (last + step) % guest_count_;
    if (!IsWanted(guest)) continue;
    if (guest != last && in_line && run_ < kLongestRun) {
      guests_wait_since_ = since.value_or(ports_.counter.Ticks());
      if (MayFinishLine(last)) return std::nullopt;
      guests_wait_since_.reset();
    }
    run_ = 0;
    return guest;
  }
  return std::nullopt;
}

// Guests with output wait for the rest of the line of guest `last`: not for long, not if it will not come, and
// not if one of them has to wait for room soon.
bool Console::MayFinishLine(uint32_t last) {
  if (state_.flushing != 0 || !IsUp(last)) return false;
  const uint64_t patience = ports_.counter.TicksPerSecond() / kGuestPatiencePerSecond;
  if (ports_.counter.Ticks() - *guests_wait_since_ >= patience) return false;
  for (uint32_t guest = 0; guest < guest_count_; ++guest) {
    const ByteRingReader& ring = guests_[guest]->line.output;
    if (guest != last && ring.Available() >= ring.capacity() / 4 * 3) return false;
  }
  return true;
}

}  // namespace atoll
