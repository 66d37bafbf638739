#include "services/pl011/state.h"

#include <algorithm>

namespace atoll {

namespace {

using namespace pl011;  // NOLINT: registers only

uint32_t CheckOf(const Table::Values& registers) {
  uint32_t check = 0;
  for (size_t i = 0; i < kRegisterCount; ++i) check ^= Pl011Check(i, registers[i]);
  return check;
}

// Whether the registers are as an instance left them, which may have died between a register and its check.
bool IsIntact(const Pl011State& state) {
  const uint32_t check = CheckOf(state.registers);
  if (check == state.check) return true;
  const auto change = std::bit_cast<Pl011Change>(state.change);
  if (change.kind != Pl011Change::Kind::kRegister || change.detail >= kRegisterCount) return false;
  const size_t index = change.detail;
  return (check ^ Pl011Check(index, state.registers[index]) ^ Pl011Check(index, change.value)) ==
         state.check;
}

// Takes no value that could not have been. Returns whether there was one.
bool Sanitize(Pl011State& state) {
  const Pl011State found = state;
  for (size_t i = 0; i < kRegisterCount; ++i) {
    uint32_t& held = state.registers[i];
    if (i == kRis) {
      held &= kInterruptAll;
    } else {
      held = (held & kTable.writable(i)) | (kTable.reset(i) & ~kTable.writable(i));
    }
  }
  state.receive_level = std::min(state.receive_level, kFifoDepth);
  state.transmit_level = std::min(state.transmit_level, kFifoDepth);
  if (state.loop_entries() > state.loop.size()) state.loop_read = state.loop_write;
  if (state.held_entries() > state.held.size()) state.held_read = state.held_write;
  state.break_waits = state.break_waits != 0 ? 1 : 0;
  return state.registers != found.registers || state.receive_level != found.receive_level ||
         state.transmit_level != found.transmit_level || state.loop_read != found.loop_read ||
         state.held_read != found.held_read || state.break_waits != found.break_waits;
}

}  // namespace

void ResetPl011State(Pl011State& state) {
  Pl011State fresh;
  fresh.registers = kTable.reset_values();
  fresh.check = CheckOf(fresh.registers);
  StoreRelease(state.format, 0);
  state = fresh;  // format 0: not valid until the last store
  StoreRelease(state.format, Pl011State::kFormat);
}

Result<Pl011Journal> AttachPl011State(std::span<std::byte> journal) {
  const Result<Pl011State*> found = JournalIn<Pl011State>(journal);
  if (!found.has_value()) return std::unexpected(found.error());
  Pl011State& state = **found;
  if (state.format != Pl011State::kFormat || !IsIntact(state)) {
    // 0: fresh, or the first instance died while it made the state, of which no guest knows yet.
    const bool damaged = state.format != 0;
    ResetPl011State(state);
    return Pl011Journal{.state = &state, .damaged = damaged};
  }
  const bool damaged = Sanitize(state);
  StoreRelease(state.check, CheckOf(state.registers));
  return Pl011Journal{.state = &state, .damaged = damaged};
}

}  // namespace atoll
