#include "services/console/state.h"

#include <atomic>

namespace atoll {

Result<ConsoleState*> AttachConsoleState(std::span<std::byte> journal) {
  if (journal.size() < sizeof(ConsoleState)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(journal.data()) % alignof(ConsoleState) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  auto* state = reinterpret_cast<ConsoleState*>(journal.data());
  if (state->format != ConsoleState::kFormat) {
    *state = ConsoleState{};  // format 0: not valid until the last store
    std::atomic_ref(state->format).store(ConsoleState::kFormat, std::memory_order_release);
  }
  return state;
}

}  // namespace atoll
