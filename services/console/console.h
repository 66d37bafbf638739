// The machine's UART shared by the guests' consoles and the user's commands.
//
// One guest has the focus: it gets the keyboard, and its output appears as it is. The others'
// output stays in their rings until they get the focus. When such a ring is half full it is printed
// too, each line headed by the guest's name: so no guest ever waits for a user, and no byte is
// dropped. Input that the guest in focus does not take stays in its ring, and beyond that in the
// UART; only if the guest takes none for seconds it is dropped, since commands come the same way.
//
// A VM that has ended keeps its place: what it printed last is there when it gets the focus, what is typed for it is
// dropped, and when it starts again nothing typed before reaches it.
//
// The kernel's log is one more source of output, printed whatever has the focus, line by line and between
// the guests' lines. A guest that leaves its line unfinished (a prompt) gets an end of line after a while.
#ifndef ATOLL_SERVICES_CONSOLE_CONSOLE_H_
#define ATOLL_SERVICES_CONSOLE_CONSOLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/console/line.h"
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
  static constexpr size_t kMaxGuests = 8;

  struct Guest {
    std::string_view name;
    ConsoleLine line;
    Notifier& input;  // there are bytes in line.input
  };
  struct Ports {
    Uart& uart;
    DeadlineTimer& timer;
    const Counter& counter;
    Notifier& power_off;    // the user wants the machine off
    Notifier& flushed;      // everything that was in the rings is on the wire
    ByteRingReader log;     // whole lines of the kernel's log, each ended by a line feed
    Notifier& log_room;     // `log` is empty again
    VmList* vms = nullptr;  // what the supervisor says of the VMs; null: nothing
  };

  Console(const Ports& ports, ConsoleState& state) : ports_(ports), state_(state) {}

  // Before Start, in the order of their numbers. RESOURCE_EXHAUSTED beyond kMaxGuests.
  Status AddGuest(const Guest& guest);

  // Takes the UART and goes on where an earlier instance ended.
  void Start();

  // Whatever the signal was, looks at everything that there is to do. Bounded: takes the timer to
  // come back for more.
  void OnSignals(uint64_t bits);

 private:
  enum class Progress { kDone, kBlocked, kMore };

  bool ReceiveInput();  // false: the guest in focus has no room
  bool HasRoom(uint32_t guest);
  void TakeByte(std::byte byte, bool& delivered);
  void Command(char key);
  void SetFocus(uint32_t guest);
  void SayGuests();

  // The guest's VM in the supervisor's list; null if it is not there.
  ListedVm* Listed(uint32_t guest);
  bool IsUp(uint32_t guest);
  std::string_view StateName(uint32_t guest);
  void LookAtVms();

  Progress SendOutput();
  Progress SendFrom(uint32_t guest, size_t& budget);
  bool InLogLine() const;
  bool LogIsDue();
  Progress SendLog(size_t& budget);
  bool TakeOver(uint32_t writer);  // false: the UART is full
  bool SendText();                 // false: the UART is full
  std::optional<uint32_t> NextWriter();
  // A line of its own.
  void SayLine(auto... parts) {
    Say("\r\n[console] ");
    (Say(parts), ...);
    Say("\r\n");
    state_.mid_line = 0;
  }
  void Say(std::string_view text);

  void SetTimer(Progress output, bool input_has_room);

  Ports ports_;
  ConsoleState& state_;
  std::array<std::optional<Guest>, kMaxGuests> guests_;  // the first guest_count_ are there
  uint32_t guest_count_ = 0;
  std::optional<uint64_t> full_since_;  // ticks: the guest in focus has no room for input
  // Bit per guest: without focus, but its ring is printed until it is empty.
  uint32_t spilling_ = 0;

  bool told_dropped_ = false;  // that what is typed is dropped: once for each time that it is

  std::optional<uint64_t> log_since_;  // ticks: the log waits for the end of a guest's line

  // The console's own words, sent before anything else. Lost with the instance.
  std::array<char, 1024> text_{};
  size_t text_begin_ = 0;
  size_t text_end_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_CONSOLE_H_
