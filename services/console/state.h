// What the console keeps over a restart, as it lies in the journal.
#ifndef ATOLL_SERVICES_CONSOLE_STATE_H_
#define ATOLL_SERVICES_CONSOLE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"

namespace atoll {

// Every word is valid whatever the others hold. The guests' bytes are in their rings, not here.
struct ConsoleState {
  static constexpr uint32_t kFormat = 0x43'4f'4e'01;  // "CON", version of this layout
  static constexpr uint32_t kLogWriter = 8;

  uint32_t format = 0;         // written last when the state is made
  uint32_t focus = 0;          // the guest that has the keyboard
  uint32_t writer = 0;         // the guest whose byte was sent last, or kLogWriter
  uint32_t mid_line = 0;       // 1: that byte did not end a line
  uint32_t command = 0;        // 1: Ctrl-A was typed, its command comes next
  uint32_t flushing = 0;       // 1: the supervisor waits until everything is on the wire
  uint32_t power_off = 0;      // 1: the user asked for it
  uint32_t dropped_input = 0;  // bytes
};
static_assert(std::is_trivially_copyable_v<ConsoleState> &&
              std::is_standard_layout_v<ConsoleState>);

// The state in a journal, made anew if there is none.
// RESOURCE_EXHAUSTED if the journal is too small, INVALID_ARGUMENT if it is not aligned.
Result<ConsoleState*> AttachConsoleState(std::span<std::byte> journal);

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_STATE_H_
