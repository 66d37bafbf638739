// The machine's UART shared by the guests' consoles, the supervisor's monitor and the user's commands.
//
// One guest has the focus: it gets the keyboard, and its output appears as it is. The others'
// output stays in their rings until they get the focus. When such a ring is half full it is printed
// too, each line headed by the guest's name: so no guest ever waits for a user, and no byte is
// dropped. Input that the guest in focus does not take stays in its ring, and beyond that in the
// UART; only if the guest takes none for seconds it is dropped, since commands come the same way.
//
// A line that was begun is finished before another guest's begins: the others wait a moment for its rest, as long as
// they have room.
//
// A VM that has ended keeps its place: what it printed last is there when it gets the focus, what is typed for it is
// dropped, and when it starts again nothing typed before reaches it.
//
// The kernel's log and the monitor's answers are two more sources of output, printed whatever has the focus, line by
// line and between the guests' lines. A guest that leaves its line unfinished (a prompt) gets an end of line after a
// while. While the keyboard is the monitor's, no guest has the focus.
//
// Whenever the console dies, its successor goes on with the next byte, in and out: see state.h.
#ifndef ATOLL_SERVICES_CONSOLE_CONSOLE_H_
#define ATOLL_SERVICES_CONSOLE_CONSOLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/console/line.h"
#include "services/console/matcher.h"
#include "services/console/monitor_channel.h"
#include "services/console/monitor_line.h"
#include "services/console/own_words.h"
#include "services/console/state.h"
#include "services/console/uart.h"
#include "services/console/vm_list.h"
#include "services/runtime/ports.h"

namespace atoll {

class Console {
 public:
  // Signal bits for OnSignals; main.cc asserts that the manifest agrees. Other bits: a guest's
  // output.
  static constexpr uint64_t kFlushSignal = 1u << 2;
  static constexpr uint64_t kLogSignal = 1u << 3;
  static constexpr uint64_t kVmsSignal = 1u << 4;
  static constexpr uint64_t kMonitorSignal = 1u << 5;
  static constexpr size_t kMaxGuests = ConsoleState::kGuests;

  struct Guest {
    std::string_view name;  // its VM's, which ends at a point if it has several lines
    ConsoleLine line;
    Notifier& input;  // there are bytes in line.input, or room in line.output again
  };
  struct Monitor {
    ByteRingReader output;  // whole lines, and what MonitorChannel says
    ByteRingWriter input;   // lines that were typed
    Expectation& expectation;
    PowerOffWish& power_off;
    Notifier& supervisor;  // room in `output`, a line in `input`, or the expectation was met
  };
  struct Ports {
    Uart& uart;
    DeadlineTimer& timer;
    const Counter& counter;
    Notifier& power_off;  // the wish is in monitor.power_off
    Notifier& flushed;    // everything that was in the rings is on the wire
    ByteRingReader log;   // whole lines of the kernel's log, each ended by a line feed
    Notifier& log_room;   // `log` is empty again
    Monitor monitor;
    VmList* vms = nullptr;  // what the supervisor says of the VMs; null: nothing
  };

  Console(const Ports& ports, ConsoleState& state);

  // Before Start, in the order of their numbers. RESOURCE_EXHAUSTED beyond kMaxGuests.
  Status AddGuest(const Guest& guest);

  // Takes the UART and goes on where an earlier instance ended.
  void Start();

  // Whatever the signal was, looks at everything that there is to do. Bounded: takes the timer to
  // come back for more.
  void OnSignals(uint64_t bits);

 private:
  enum class Progress { kDone, kBlocked, kMore };

  // ---- keys (keys.cc)
  bool ReceiveInput();  // false: the guest in focus has no room
  bool HasRoom(uint32_t guest);
  void ActOnTaken(bool& delivered);
  void TypeForGuest(std::byte byte, bool& delivered);
  void TypeForMonitor(char key);
  void Command(char key);
  void AskForPowerOff();
  void SetFocus(uint32_t guest);
  void EnterOrLeaveMonitor();
  void SayGuests();
  // The byte in the journal's `taken` was acted on, with these stores.
  void Acted(WordStore further = {});

  // The guest's VM in the supervisor's list; null if it is not there.
  ListedVm* Listed(uint32_t guest);
  bool IsUp(uint32_t guest);
  std::string_view StateName(uint32_t guest);
  void LookAtVms();
  bool LookForExpected();  // false: not at all yet

  // ---- output
  // Something that comes in whole lines.
  struct LineSource {
    ByteRingReader ring;
    uint8_t writer;
    Notifier& room;
  };
  Progress SendOutput();
  Progress SendFrom(uint32_t guest, size_t& budget);
  Progress SendLines(LineSource& source, size_t& budget);
  bool InLineOf(const LineSource& source) const;
  void TakeAnswers();
  LineSource* DueSource();
  bool TakeOver(uint8_t writer);  // false: the UART is full
  bool ShowPrompt();              // false: the UART is full
  bool HasFocus(uint32_t guest) const { return guest == state_.focus && !keys_.monitor; }
  static bool HasLine(const ByteRingReader& ring);
  bool IsWanted(uint32_t guest);
  std::optional<uint32_t> NextWriter();
  bool MayFinishLine(uint32_t last);
  // A line of its own.
  void SayLine(auto... parts) {
    words_.Put("\r\n[console] ");
    (words_.Put(parts), ...);
    words_.Put("\r\n");
    line_.mid_line = false;
    line_.carriage_return = false;
  }
  WordStore LineStore() { return {.word = &state_.line, .value = line_.Pack()}; }
  void StoreLine() { ports_.uart.Commit({LineStore()}); }

  void SetTimer(Progress output, bool input_has_room);

  Ports ports_;
  ConsoleState& state_;
  WireLine line_;  // as in the journal, but for what is about to be stored
  Keys keys_;      // likewise
  OwnWords words_;
  MonitorLine monitor_line_;
  Matcher matcher_;
  LineSource log_;
  LineSource monitor_;
  std::array<std::optional<Guest>, kMaxGuests> guests_;  // the first guest_count_ are there
  uint32_t guest_count_ = 0;
  std::optional<uint64_t> full_since_;  // ticks: the guest in focus has no room for input
  // Bit per guest: without focus, but its ring is printed until it is empty.
  uint32_t spilling_ = 0;
  size_t run_ = 0;  // bytes that the guest that has the wire sent in one go

  bool told_dropped_ = false;  // that what is typed is dropped: once for each time that it is

  // Ticks: since when something waits for the end of a guest's line.
  std::optional<uint64_t> lines_wait_since_;   // the log or the monitor
  std::optional<uint64_t> guests_wait_since_;  // other guests
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_CONSOLE_H_
