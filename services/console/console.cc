#include "services/console/console.h"

#include <algorithm>
#include <utility>

#include "services/runtime/format.h"

namespace atoll {
namespace {

constexpr char kEscape = 0x01;  // Ctrl-A

constexpr std::string_view kHelp =
    "Ctrl-A 1..8: guest, Ctrl-A n: the next one, Ctrl-A l: list, Ctrl-A b: break, "
    "Ctrl-A x: power off, Ctrl-A Ctrl-A: a Ctrl-A, Ctrl-A ?: this";

// Bytes in one turn of the event loop, so that commands are seen under endless output and the
// reverse. The labels of lines count.
constexpr size_t kOutputPerTurn = 4096;
constexpr size_t kInputPerTurn = 256;

// A guest keeps the UART for this many bytes and to the end of the line, but not for more than the
// second number.
constexpr size_t kRun = 512;
constexpr size_t kLongestRun = 2048;

// Bytes looked at in one go.
constexpr size_t kChunk = 64;

// So long a guest in focus may leave its full input ring alone before input is dropped. A real UART
// would overrun.
constexpr uint64_t kPatienceSeconds = 5;

// So long the log waits for a guest to end its line.
constexpr uint64_t kLinePatiencePerSecond = 10;

// How soon to look again at a guest that has no room for input, and at a UART that is to become
// idle.
constexpr uint64_t kRetriesPerSecond = 500;

}  // namespace

Status Console::AddGuest(const Guest& guest) {
  if (guest_count_ == kMaxGuests) return Status::kResourceExhausted;
  guests_[guest_count_++].emplace(guest);
  return Status::kOk;
}

void Console::Start() {
  if (state_.focus >= guest_count_) state_.focus = 0;
  if (state_.writer >= guest_count_ && state_.writer != ConsoleState::kLogWriter) state_.writer = 0;
  ports_.uart.Initialize();
  // The earlier instance may have ended between a byte's way into a ring and the notification.
  for (uint32_t guest = 0; guest < guest_count_; ++guest) {
    const ByteRingWriter& ring = guests_[guest]->line.input;
    if (ring.Free() != ring.capacity()) guests_[guest]->input.Notify();
  }
  if (state_.power_off != 0) ports_.power_off.Notify();
  ports_.log_room.Notify();
  OnSignals(0);
}

void Console::OnSignals(uint64_t bits) {
  if ((bits & kFlushSignal) != 0) state_.flushing = 1;
  LookAtVms();
  const bool input_has_room = ReceiveInput();
  ports_.uart.EnableReceiveInterrupt(input_has_room);
  Progress output = SendOutput();
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
  if (log_since_.has_value()) deadline = *log_since_ + second / kLinePatiencePerSecond;
  if (!input_has_room || (state_.flushing != 0 && output == Progress::kDone)) {
    deadline = std::min(deadline, ports_.counter.Ticks() + second / kRetriesPerSecond);
  }
  if (output == Progress::kMore)
    deadline = 0;  // at once, but after the signals that came meanwhile
  if (deadline != DeadlineTimer::kNever) ports_.timer.Set(deadline);
}

bool Console::ReceiveInput() {
  bool delivered = false;
  bool room = true;
  const uint32_t receiver = state_.focus;
  // A byte gives at most one byte to the guest; it is taken from the UART only if that has a place.
  for (size_t i = 0; i < kInputPerTurn && receiver == state_.focus; ++i) {
    room = HasRoom(receiver);
    if (!room) break;
    const std::optional<std::byte> byte = ports_.uart.Receive();
    if (!byte.has_value()) break;
    TakeByte(*byte, delivered);
  }
  if (delivered) guests_[receiver]->input.Notify();
  return room;
}

// Room for a byte, or no hope for it: then input is dropped for the sake of the commands among it.
bool Console::HasRoom(uint32_t guest) {
  if (guest_count_ == 0 || !IsUp(guest) || guests_[guest]->line.input.Free() != 0) {
    full_since_.reset();
    return true;
  }
  const uint64_t now = ports_.counter.Ticks();
  if (!full_since_.has_value()) full_since_ = now;
  return now - *full_since_ >= kPatienceSeconds * ports_.counter.TicksPerSecond();
}

void Console::TakeByte(std::byte byte, bool& delivered) {
  const char key = static_cast<char>(byte);
  if (state_.command == 0 && key == kEscape) {
    state_.command = 1;
    return;
  }
  if (state_.command != 0 && key != kEscape) {
    state_.command = 0;
    Command(key);
    return;
  }
  if (guest_count_ != 0) {
    if (IsUp(state_.focus) && guests_[state_.focus]->line.input.Put(byte) != 0) {
      delivered = true;
    } else {
      ++state_.dropped_input;
      if (!IsUp(state_.focus) && !told_dropped_) {
        told_dropped_ = true;
        SayLine(guests_[state_.focus]->name, ": ", StateName(state_.focus),
                "; what you type is dropped");
      }
    }
  }
  state_.command = 0;
}

void Console::Command(char key) {
  if (key >= '1' && key <= '9') {
    SetFocus(static_cast<uint32_t>(key - '1'));
  } else if ((key == 'n' || key == 'N') && guest_count_ != 0) {
    SetFocus((state_.focus + 1) % guest_count_);
  } else if (key == 'l' || key == 'L') {
    SayGuests();
  } else if ((key == 'b' || key == 'B') && guest_count_ != 0) {
    guests_[state_.focus]->line.input.PutMark();
    guests_[state_.focus]->input.Notify();
  } else if (key == 'x' || key == 'X') {
    state_.power_off = 1;
    SayLine("power off");
    ports_.power_off.Notify();
  } else {
    SayLine(kHelp);
  }
}

void Console::SetFocus(uint32_t guest) {
  if (guest >= guest_count_) {
    SayLine("there is no such guest");
    return;
  }
  state_.focus = guest;
  full_since_.reset();
  told_dropped_ = false;
  if (IsUp(guest)) {
    SayLine(guests_[guest]->name);
  } else {
    SayLine(guests_[guest]->name, ": ", StateName(guest));
  }
}

// One line for each guest: its number, whether it has the focus, its name, its state, how much output waits.
void Console::SayGuests() {
  if (guest_count_ == 0) SayLine("there are no guests");
  for (uint32_t guest = 0; guest < guest_count_; ++guest) {
    std::array<char, 96> line;
    TextWriter text(line);
    text.Put(guest + 1);
    text.Put(guest == state_.focus ? "* " : "  ");
    text.Put(guests_[guest]->name);
    text.Put(": ");
    text.Put(StateName(guest));
    ListedVm* const vm = Listed(guest);
    if (vm != nullptr && vm->Starts() > 1) {
      text.Put(", start ");
      text.Put(vm->Starts());
    }
    const size_t held = guests_[guest]->line.output.Available();
    if (guest != state_.focus && held != 0) {
      text.Put(", ");
      text.Put(held);
      text.Put(" bytes wait");
    }
    SayLine(text.text());
  }
}

// ---- the guests' VMs -------------------------------------------------------------------------------------------

ListedVm* Console::Listed(uint32_t guest) {
  if (ports_.vms == nullptr) return nullptr;
  for (ListedVm& vm : *ports_.vms) {
    if (vm.IsNamed(guests_[guest]->name)) return &vm;
  }
  return nullptr;
}

// A reader of its input may be there.
bool Console::IsUp(uint32_t guest) {
  ListedVm* const vm = Listed(guest);
  if (vm == nullptr) return true;
  const ListedState state = vm->State();
  return state == ListedState::kOn || state == ListedState::kStarting ||
         state == ListedState::kNone;
}

std::string_view Console::StateName(uint32_t guest) {
  ListedVm* const vm = Listed(guest);
  switch (vm == nullptr ? ListedState::kOn : vm->State()) {
    case ListedState::kEnding: return "ending";
    case ListedState::kWaiting: return "off, will start again";
    case ListedState::kStarting: return "starting";
    case ListedState::kOff: return "off";
    case ListedState::kCrashed: return "crashed";
    case ListedState::kNone:
    case ListedState::kOn: break;
  }
  return "on";
}

// What was typed for a VM that has ended is not for the one that comes.
void Console::LookAtVms() {
  for (uint32_t guest = 0; guest < guest_count_; ++guest) {
    if (IsUp(guest)) {
      if (guest == state_.focus) told_dropped_ = false;
      continue;
    }
    ByteRingWriter& input = guests_[guest]->line.input;
    if (input.Free() != input.capacity()) input.Discard();
  }
}

Console::Progress Console::SendOutput() {
  size_t budget = kOutputPerTurn;
  while (budget != 0) {
    if (!SendText()) return Progress::kBlocked;
    const std::optional<uint32_t> guest = InLogLine() ? std::nullopt : NextWriter();
    if (guest.has_value() && SendFrom(*guest, budget) == Progress::kBlocked) {
      return Progress::kBlocked;
    }
    const bool log = LogIsDue();
    if (log && SendLog(budget) == Progress::kBlocked) return Progress::kBlocked;
    if (!guest.has_value() && !log) return Progress::kDone;
  }
  return Progress::kMore;
}

// Makes `writer` the source of what comes next, on a line of its own.
bool Console::TakeOver(uint32_t writer) {
  if (writer == state_.writer) return true;
  if (state_.mid_line != 0) Say("\r\n");
  state_.mid_line = 0;
  state_.writer = writer;
  return SendText();
}

// A line of the log was begun: nothing else may come before its end.
bool Console::InLogLine() const {
  return state_.writer == ConsoleState::kLogWriter && state_.mid_line != 0 &&
         ports_.log.Available() != 0;
}

// There are lines of the log, and no guest's line in the way.
bool Console::LogIsDue() {
  if (InLogLine()) return true;
  const std::optional<uint64_t> since = std::exchange(log_since_, std::nullopt);
  if (ports_.log.Available() == 0) return false;
  if (state_.flushing != 0) return !NextWriter().has_value();  // after the guests' last words
  if (state_.mid_line == 0) return true;
  const uint64_t now = ports_.counter.Ticks();
  log_since_ = since.value_or(now);
  return now - *log_since_ >= ports_.counter.TicksPerSecond() / kLinePatiencePerSecond;
}

// Sends a run of whole lines.
Console::Progress Console::SendLog(size_t& budget) {
  if (!TakeOver(ConsoleState::kLogWriter)) return Progress::kBlocked;
  log_since_.reset();
  for (size_t sent = 0; sent < kLongestRun || state_.mid_line != 0; ++sent) {
    std::array<std::byte, 1> next;
    if (ports_.log.Peek(next) == 0) {
      ports_.log_room.Notify();
      return Progress::kDone;
    }
    if (next[0] == std::byte{'\n'}) {
      Say("\r\n");
      ports_.log.Consume(1);
      state_.mid_line = 0;
      if (!SendText()) return Progress::kBlocked;
    } else {
      if (!ports_.uart.CanSend()) return Progress::kBlocked;
      ports_.uart.Send(next[0]);
      ports_.log.Consume(1);
      state_.mid_line = 1;
    }
    budget -= std::min<size_t>(budget, 1);
  }
  return Progress::kDone;
}

// Sends a run of a guest's bytes, or the text that has to come first.
Console::Progress Console::SendFrom(uint32_t guest, size_t& budget) {
  if (!TakeOver(guest)) return Progress::kBlocked;
  ByteRingReader& ring = guests_[guest]->line.output;
  const bool labelled = guest != state_.focus;
  size_t sent = 0;
  while (sent < kLongestRun && budget != 0) {
    std::array<std::byte, kChunk> chunk;
    const size_t count = ring.Peek(std::span(chunk).first(std::min(chunk.size(), budget)));
    if (count == 0) return Progress::kDone;
    for (size_t i = 0; i < count && budget != 0; ++i, ++sent, --budget) {
      if (labelled && state_.mid_line == 0) {
        Say("[");
        Say(guests_[guest]->name);
        Say("] ");
        state_.mid_line = 1;
        budget -= std::min(budget - 1, guests_[guest]->name.size());
        if (!SendText()) return Progress::kBlocked;
      }
      if (!ports_.uart.CanSend()) return Progress::kBlocked;
      // In this order an end of the instance between the two repeats the byte; in the other it
      // would be lost.
      ports_.uart.Send(chunk[i]);
      ring.Consume(1);
      state_.mid_line = chunk[i] != std::byte{'\n'} ? 1 : 0;
      if (state_.mid_line == 0 && sent >= kRun) return Progress::kDone;
    }
  }
  return Progress::kDone;
}

// The guest whose output is to be printed next: those with something to print in turn.
std::optional<uint32_t> Console::NextWriter() {
  for (uint32_t step = 1; step <= guest_count_; ++step) {
    const uint32_t guest = (state_.writer + step) % guest_count_;
    const ByteRingReader& ring = guests_[guest]->line.output;
    const size_t held = ring.Available();
    if (held == 0) spilling_ &= ~(1u << guest);
    if (held >= ring.capacity() / 2) spilling_ |= 1u << guest;
    const bool wanted =
        guest == state_.focus || state_.flushing != 0 || (spilling_ >> guest & 1) != 0;
    if (held != 0 && wanted) return guest;
  }
  return std::nullopt;
}

bool Console::SendText() {
  while (text_begin_ != text_end_) {
    if (!ports_.uart.CanSend()) return false;
    ports_.uart.Send(static_cast<std::byte>(text_[text_begin_]));
    ++text_begin_;
  }
  text_begin_ = text_end_ = 0;
  return true;
}

void Console::Say(std::string_view text) {
  // More than fits is dropped: these are the console's own words, and only a stuck UART fills the
  // buffer.
  const size_t count = std::min(text.size(), text_.size() - text_end_);
  std::copy_n(text.data(), count, text_.data() + text_end_);
  text_end_ += count;
}

}  // namespace atoll
