// The console's keyboard: what is typed, and for whom.
//
// A byte is taken from the UART into the journal's `taken` and stays there until it was acted on: what it changes, and
// that it was acted on, is one commit.
#include <algorithm>
#include <array>
#include <atomic>

#include "services/console/console.h"
#include "services/runtime/format.h"

namespace atoll {
namespace {

constexpr char kEscape = 0x01;  // Ctrl-A

constexpr std::string_view kHelp =
    "Ctrl-A 1..8: guest, Ctrl-A n: the next one, Ctrl-A l: list, Ctrl-A m: monitor, Ctrl-A b: "
    "break, "
    "Ctrl-A x: power off, Ctrl-A Ctrl-A: a Ctrl-A, Ctrl-A ?: this";

constexpr size_t kInputPerTurn = 64;

// So long a guest in focus may leave its full input ring alone before input is dropped. A real UART
// would overrun.
constexpr uint64_t kPatienceSeconds = 5;

}  // namespace

bool Console::ReceiveInput() {
  bool delivered = false;
  bool room = true;
  const uint32_t receiver = state_.focus;
  // A byte gives at most one byte to the guest; it is taken from the UART only if that has a place.
  for (size_t i = 0; i < kInputPerTurn && receiver == state_.focus; ++i) {
    if (state_.taken == 0) {
      room = keys_.monitor || HasRoom(receiver);
      if (!room || !ports_.uart.Receive(ConsoleState::kTaken, state_.taken)) break;
    }
    ActOnTaken(delivered);
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

void Console::Acted(WordStore further) {
  ports_.uart.Commit(
      {WordStore{&state_.keys, keys_.Pack()}, LineStore(), further, WordStore{&state_.taken, 0}});
}

void Console::ActOnTaken(bool& delivered) {
  const std::optional<std::byte> byte = Uart::ByteOf(state_.taken);
  if (!byte.has_value()) return Acted();
  const char key = static_cast<char>(*byte);
  const bool command = keys_.command;
  keys_.command = !command && key == kEscape;
  if (keys_.command) return Acted();
  if (command && key != kEscape) return Command(key);
  if (keys_.monitor) return TypeForMonitor(key);
  TypeForGuest(*byte, delivered);
}

void Console::TypeForGuest(std::byte byte, bool& delivered) {
  if (guest_count_ == 0) return Acted();
  ByteRingWriter& input = guests_[state_.focus]->line.input;
  if (IsUp(state_.focus) && input.Free() != 0) {
    delivered = true;
    return Acted(input.PutLater(byte));
  }
  if (!IsUp(state_.focus) && !told_dropped_) {
    told_dropped_ = true;
    SayLine(guests_[state_.focus]->name, ": ", StateName(state_.focus),
            "; what you type is dropped");
  }
  Acted({.word = &state_.dropped_input, .value = state_.dropped_input + 1});
}

void Console::Command(char key) {
  if (key >= '1' && key <= '9') {
    SetFocus(static_cast<uint32_t>(key - '1'));
  } else if ((key == 'n' || key == 'N') && guest_count_ != 0) {
    SetFocus((state_.focus + 1) % guest_count_);
  } else if (key == 'l' || key == 'L') {
    SayGuests();
    Acted();
  } else if (key == 'm' || key == 'M') {
    EnterOrLeaveMonitor();
    Acted();
  } else if ((key == 'b' || key == 'B') && guest_count_ != 0) {
    guests_[state_.focus]->line.input.PutMark();  // twice if this instance ends here
    guests_[state_.focus]->input.Notify();
    Acted();
  } else if (key == 'x' || key == 'X') {
    SayLine("power off");
    Acted({.word = &state_.power_off, .value = PowerOffWish::kWanted});
    AskForPowerOff();
  } else {
    SayLine(kHelp);
    Acted();
  }
}

void Console::AskForPowerOff() {
  std::atomic_ref(ports_.monitor.power_off.word)
      .store(PowerOffWish::kWanted, std::memory_order_release);
  ports_.power_off.Notify();
}

// Answers the key, also when there is no such guest.
void Console::SetFocus(uint32_t guest) {
  if (guest >= guest_count_) {
    SayLine("there is no such guest");
    return Acted();
  }
  full_since_.reset();
  told_dropped_ = false;
  keys_.monitor = false;
  if (IsUp(guest)) {
    SayLine(guests_[guest]->name);
  } else {
    SayLine(guests_[guest]->name, ": ", StateName(guest));
  }
  Acted({.word = &state_.focus, .value = guest});
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

// ---- the monitor -----------------------------------------------------------------------------------------------

void Console::EnterOrLeaveMonitor() {
  keys_.monitor = !keys_.monitor;
  keys_.typed = 0;
  if (keys_.monitor) {
    SayLine("monitor; \"help\" tells its commands, \"exit\" or Ctrl-A m leaves it");
  } else {
    SayLine(guest_count_ != 0 ? guests_[state_.focus]->name : "there are no guests");
  }
}

void Console::TypeForMonitor(char key) {
  const bool prompt = line_.writer == WireLine::kPromptWriter && line_.mid_line;
  const MonitorLine::Action action = monitor_line_.Type(key, prompt);
  if (action == MonitorLine::Action::kNone) return Acted();
  if (action == MonitorLine::Action::kSubmit && !prompt) {  // typed while the last command ran
    if (line_.mid_line) words_.Put("\r\n");
    monitor_line_.Show();
  }
  if (prompt || action == MonitorLine::Action::kSubmit) words_.Put("\r\n");
  line_ = {.words_end = line_.words_end, .writer = WireLine::kPromptWriter};
  WordStore line;
  if (action == MonitorLine::Action::kSubmit) {
    if (const std::optional<WordStore> submitted = monitor_line_.SubmitLater()) {
      line = *submitted;
    } else {
      SayLine("the supervisor does not take what you type");
    }
  } else if (action == MonitorLine::Action::kExit) {
    EnterOrLeaveMonitor();
  }
  Acted(line);
  if (line.word != nullptr) ports_.monitor.supervisor.Notify();
}

// ---- the guests' VMs -------------------------------------------------------------------------------------------

ListedVm* Console::Listed(uint32_t guest) {
  if (ports_.vms == nullptr) return nullptr;
  const std::string_view name = guests_[guest]->name;
  for (ListedVm& vm : *ports_.vms) {
    if (vm.IsNamed(name.substr(0, name.find('.')))) return &vm;
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

}  // namespace atoll
