#include "services/pl011/state.h"

#include <atomic>
#include <memory>

namespace atoll {

void ResetPl011State(Pl011State& state) {
  Pl011State fresh;
  fresh.registers = pl011::kTable.reset_values();
  state = fresh;  // format 0: not valid until the last store
  std::atomic_ref(state.format).store(Pl011State::kFormat, std::memory_order_release);
}

namespace {

void Sanitize(Pl011State& state) {
  using namespace pl011;  // NOLINT: registers only
  for (size_t i = 0; i < kRegisterCount; ++i) {
    if (i == kRis) continue;
    uint32_t& held = state.registers[i];
    held = (held & kTable.writable(i)) | (kTable.reset(i) & ~kTable.writable(i));
  }
  state.registers[kRis] &= kInterruptAll;
  if (state.loop_entries() > state.loop.size()) state.loop_read = state.loop_write;
  if (state.held_entries() > state.held.size()) state.held_read = state.held_write;
  state.break_waits = state.break_waits != 0 ? 1 : 0;
}

}  // namespace

Result<Pl011State*> AttachPl011State(std::span<std::byte> journal) {
  if (journal.size() < sizeof(Pl011State)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(journal.data()) % alignof(Pl011State) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  auto* state = reinterpret_cast<Pl011State*>(journal.data());
  if (state->format != Pl011State::kFormat) {
    ResetPl011State(*state);
  } else {
    Sanitize(*state);
  }
  return state;
}

}  // namespace atoll
