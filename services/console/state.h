// What the console keeps over a restart, as it lies in the journal.
//
// The words of the journal that change together, and the indices of the rings and the UART's data register with them,
// are written in one commit (uart.h): a successor finds all of it or nothing. So each byte of a ring reaches the wire
// once, each byte that was typed is acted on once, and the console's own words are neither cut nor repeated.
#ifndef ATOLL_SERVICES_CONSOLE_STATE_H_
#define ATOLL_SERVICES_CONSOLE_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"

namespace atoll {

// How far the line on the wire is: one word of the journal.
struct WireLine {
  static constexpr uint32_t kLogWriter = 8;      // below it: guests
  static constexpr uint32_t kMonitorWriter = 9;  // lines of the supervisor's monitor
  static constexpr uint32_t kPromptWriter = 10;  // its prompt and what is typed there

  uint16_t words_end = 0;        // of the console's own words, those that are to be sent
  uint8_t writer = 0;            // whose byte was sent last
  bool mid_line = false;         // that byte did not end a line
  bool carriage_return = false;  // it was the first half of a line's end that is sent as two bytes

  static constexpr WireLine Unpack(uint32_t word) {
    return {.words_end = static_cast<uint16_t>(word),
            .writer = static_cast<uint8_t>(word >> 16 & 0xf),
            .mid_line = (word >> 20 & 1) != 0,
            .carriage_return = (word >> 21 & 1) != 0};
  }
  constexpr uint32_t Pack() const {
    return words_end | uint32_t{writer} << 16 | uint32_t{mid_line} << 20 |
           uint32_t{carriage_return} << 21;
  }
};

// What typed bytes mean: one word of the journal.
struct Keys {
  uint8_t typed = 0;     // bytes of the monitor's line
  bool command = false;  // Ctrl-A was typed, its command comes next
  bool monitor = false;  // the keyboard is the monitor's
  bool running = false;  // the supervisor has a command line that it has not answered

  static constexpr Keys Unpack(uint32_t word) {
    return {.typed = static_cast<uint8_t>(word),
            .command = (word >> 8 & 1) != 0,
            .monitor = (word >> 9 & 1) != 0,
            .running = (word >> 10 & 1) != 0};
  }
  constexpr uint32_t Pack() const {
    return typed | uint32_t{command} << 8 | uint32_t{monitor} << 9 | uint32_t{running} << 10;
  }
};

// Every word is valid whatever the others hold. The guests' bytes are in their rings, not here.
struct ConsoleState {
  static constexpr uint32_t kFormat = 0x43'4f'4e'02;  // "CON", version of this layout
  static constexpr uint32_t kTaken = 1u << 31;
  static constexpr size_t kGuests = 8;
  static constexpr size_t kWordsBytes = 1024;  // a power of two
  static constexpr size_t kTypedBytes = 240;   // fits Keys::typed

  uint32_t format = 0;         // written last when the state is made
  uint32_t focus = 0;          // the guest that has the keyboard
  uint32_t taken = 0;          // kTaken and what was read from UARTDR, until it was acted on
  uint32_t keys = 0;           // Keys
  uint32_t line = 0;           // WireLine
  uint32_t words_sent = 0;     // of `words`, modulo 2^16
  uint32_t flushing = 0;       // 1: the supervisor waits until everything is on the wire
  uint32_t power_off = 0;      // PowerOffWish::kWanted: the user asked for it
  uint32_t dropped_input = 0;  // bytes
  // Of each guest's output, the position up to which expected texts have been found.
  std::array<uint32_t, kGuests> searched{};
  std::array<char, kTypedBytes> typed{};  // Keys::typed bytes count
  std::array<char, kWordsBytes>
      words{};  // byte i at i % kWordsBytes, from words_sent to WireLine::words_end
};
static_assert(std::is_trivially_copyable_v<ConsoleState> &&
              std::is_standard_layout_v<ConsoleState>);

// The state in a journal, made anew if there is none.
// RESOURCE_EXHAUSTED if the journal is too small, INVALID_ARGUMENT if it is not aligned.
Result<ConsoleState*> AttachConsoleState(std::span<std::byte> journal);

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_STATE_H_
