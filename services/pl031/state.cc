#include "services/pl031/state.h"

#include <atomic>

#include "services/pl031/registers.h"

namespace atoll {

Result<Pl031State*> AttachPl031State(std::span<std::byte> journal) {
  if (journal.size() < sizeof(Pl031State)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(journal.data()) % alignof(Pl031State) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  auto* state = reinterpret_cast<Pl031State*>(journal.data());
  if (state->format != Pl031State::kFormat) return nullptr;
  // Of a damaged journal no bit is taken that a register does not have.
  state->mask &= pl031::kInterruptAlarm;
  state->interrupt &= pl031::kInterruptAlarm;
  return state;
}

Pl031State* NewPl031State(std::span<std::byte> journal, const ClockOrigin& origin) {
  auto* state = reinterpret_cast<Pl031State*>(journal.data());
  *state = Pl031State{.origin = origin};  // format 0: not valid until the last store
  std::atomic_ref(state->format).store(Pl031State::kFormat, std::memory_order_release);
  return state;
}

}  // namespace atoll
