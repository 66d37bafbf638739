#include "services/console/state.h"

#include <atomic>
#include <cstring>

#include "services/console/monitor_channel.h"

namespace atoll {
namespace {

// The layout before this one: words alone.
struct OldState {
  static constexpr uint32_t kFormat = 0x43'4f'4e'01;
  uint32_t format, focus, writer, mid_line, command, flushing, power_off, dropped_input;
};

// What of an earlier version's state goes on; a fresh one for any other content. Not valid yet: format 0.
ConsoleState Converted(const ConsoleState& journal) {
  OldState old{};
  std::memcpy(&old, &journal, sizeof(old));
  if (old.format != OldState::kFormat) return {};
  const WireLine line{.writer = static_cast<uint8_t>(old.writer & 0xf),
                      .mid_line = old.mid_line != 0};
  const Keys keys{.command = old.command != 0};
  return {.focus = old.focus,
          .keys = keys.Pack(),
          .line = line.Pack(),
          .flushing = old.flushing,
          .power_off = old.power_off == 1 ? PowerOffWish::kWanted : 0,
          .dropped_input = old.dropped_input};
}

}  // namespace

Result<ConsoleState*> AttachConsoleState(std::span<std::byte> journal) {
  if (journal.size() < sizeof(ConsoleState)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(journal.data()) % alignof(ConsoleState) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  auto* state = reinterpret_cast<ConsoleState*>(journal.data());
  if (state->format != ConsoleState::kFormat) {
    *state = Converted(*state);
    std::atomic_ref(state->format).store(ConsoleState::kFormat, std::memory_order_release);
  }
  return state;
}

}  // namespace atoll
