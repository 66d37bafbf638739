// How bytes move through a PL011, each once: an access notes in the journal what it is about to move, then moves it by one
// store of an index, then does what follows, which may be done again.
#include <algorithm>
#include <bit>
#include <optional>

#include "services/pl011/pl011.h"

namespace atoll {

using namespace pl011;  // NOLINT: this file is about nothing else
using Kind = Pl011Change::Kind;

// Whether the index of a move has gone on from where it was.
bool Pl011::IsDone(const Pl011Change& change) const {
  switch (change.kind) {
    case Kind::kSend: return output_.position() != change.position;
    case Kind::kLoop: return state_.loop_write != change.position;
    case Kind::kHold: return state_.held_write != change.position;
    case Kind::kTake: return input_.position() != change.position;
    case Kind::kTakeLooped: return state_.loop_read != change.position;
    case Kind::kTakeBreak: return state_.break_waits == 0 || state_.breaks != change.position;
    case Kind::kRegister: break;
  }
  return false;
}

// ---- from the guest ----------------------------------------------------------------------------

void Pl011::WriteData(uint8_t byte, uint64_t token) {
  if (const auto noted = Noted(token); noted.has_value() && IsDone(*noted)) {
    return AfterData(noted->kind, output_.capacity() - output_.Free());
  }
  if (!derived_.loopback) {
    state_.Note(token, {.position = output_.position()});
    const size_t held = output_.Put(static_cast<std::byte>(byte));
    if (held != 0) AfterData(Kind::kSend, held);  // else it is dropped, as UARTFR.TXFF says
  } else if (IsClearToSend()) {
    state_.Note(token, {.position = state_.loop_write, .kind = Kind::kLoop});
    ReceiveLooped(byte);
    AfterData(Kind::kLoop, 0);
  } else if (state_.held_entries() < derived_.depth) {
    state_.Note(token, {.position = state_.held_write, .kind = Kind::kHold});
    state_.held[state_.held_write % state_.held.size()] = byte;
    StoreRelease(state_.held_write, state_.held_write + 1);
    AfterData(Kind::kHold, 0);
  }
}

void Pl011::AfterData(Kind kind, size_t held) {
  switch (kind) {
    // The console may have taken it by now.
    case Kind::kSend: return AfterWrite(std::max<size_t>(held, 1));
    case Kind::kLoop: UpdateReceive(); return Raise(kInterruptTransmit);
    default: return UpdateTransmit();
  }
}

// `held`: bytes in the ring with the new one, at least 1.
void Pl011::AfterWrite(size_t held) {
  // The writer alone makes the ring fuller, byte by byte: it cannot pass the half without this.
  if (held == output_half_) ports_.console.Notify();
  NotifyWithinDelay();
  const uint32_t level = TransmitLevel();
  if (level == 0) Raise(kInterruptTransmit);  // the byte has passed through the FIFO
  StoreRelease(state_.transmit_level, level);
  if (level > TransmitTrigger()) Clear(kInterruptTransmit);
  write_is_announced_ = level == 0;
}

// Whether the next byte may leave (UARTCR.CTSEn). Outside loopback CTS is always asserted.
bool Pl011::IsClearToSend() const {
  if (!derived_.loopback || (state_.registers[kCr] & kCrCtsFlow) == 0) return true;
  return derived_.clear_to_send;
}

// What waited for CTS goes on, as far as it may. Bytes wait only while CTS does not let them go: no other overtakes them.
void Pl011::SendHeld() {
  if (state_.held_entries() == 0) return;
  while (state_.held_entries() != 0 && IsClearToSend()) {
    const uint8_t byte = state_.held[state_.held_read % state_.held.size()];
    const Pl011Change leaving = {
        .position = derived_.loopback ? state_.loop_write : output_.position(),
        .value = 1,
        .detail = static_cast<uint8_t>(state_.held_read),
        .kind = derived_.loopback ? Kind::kLoop : Kind::kSend};
    StoreRelease(state_.leaving, std::bit_cast<uint64_t>(leaving));
    if (derived_.loopback) {
      ReceiveLooped(byte);
    } else if (const size_t held = output_.Put(static_cast<std::byte>(byte)); held != 0) {
      AfterWrite(held);
    }
    StoreRelease(state_.held_read, state_.held_read + 1);
  }
  UpdateTransmit();
}

// A predecessor may have sent a byte and not counted it.
void Pl011::FinishLeaving() {
  const auto leaving = std::bit_cast<Pl011Change>(state_.leaving);
  const bool of_next = state_.held_entries() != 0 && leaving.value == 1 &&
                       leaving.detail == static_cast<uint8_t>(state_.held_read);
  if (of_next && IsDone(leaving)) StoreRelease(state_.held_read, state_.held_read + 1);
  StoreRelease(state_.leaving, 0);
}

// ---- to the guest ------------------------------------------------------------------------------

uint32_t Pl011::ReadData(uint64_t token) {
  if (const auto noted = Noted(token); noted.has_value() && IsDone(*noted)) {
    return AfterRead(noted->value, noted->detail);
  }
  const uint32_t level = ReceiveLevel();
  if (level == 0) return 0;
  const auto note = [&](Kind kind, uint32_t position, uint16_t entry) {
    state_.Note(token, {.position = position,
                        .value = entry,
                        .detail = static_cast<uint8_t>(level),
                        .kind = kind});
  };
  uint16_t entry = 0;
  if (state_.loop_entries() != 0) {
    entry = state_.loop[state_.loop_read % state_.loop.size()];
    note(Kind::kTakeLooped, state_.loop_read, entry);
    StoreRelease(state_.loop_read, state_.loop_read + 1);
  } else if (state_.break_waits != 0 && input_.IsNext(state_.break_position)) {
    entry = kDrBreak;
    note(Kind::kTakeBreak, state_.breaks, entry);
    StoreRelease(state_.break_waits, 0);
  } else {
    const std::optional<std::byte> byte = input_.Front();
    if (!byte.has_value()) return 0;  // the console broke its index in between
    entry = std::to_integer<uint16_t>(*byte);
    note(Kind::kTake, input_.position(), entry);
    input_.Pop();
  }
  return AfterRead(entry, level);
}

// `level`: entries in the FIFO with this one.
uint32_t Pl011::AfterRead(uint16_t entry, uint32_t level) {
  derived_.loop_in_use = derived_.loopback || state_.loop_entries() != 0 || state_.break_waits != 0;
  const uint32_t errors = state_.registers[kRsr] & kRsrOverrun;
  StoreRelease(state_.registers[kRsr], errors | entry >> kDrErrorShift);
  // The FIFO as it is before the next waiting byte moves up: falling below the level and rising to
  // it again, as it does byte by byte with a FIFO of one, is a new interrupt.
  StoreRelease(state_.receive_level, level - 1);
  uint32_t gone = 0;
  if (state_.receive_level < ReceiveTrigger()) gone |= kInterruptReceive;
  if (state_.receive_level == 0) gone |= kInterruptReceiveTimeout;
  Clear(gone);
  UpdateReceive();
  SendHeld();
  if (state_.receive_level != 0) RestartReceiveTimeout();
  return entry;
}

// An entry comes into the receive FIFO from the transmitter.
void Pl011::ReceiveLooped(uint16_t entry) {
  const uint32_t entries = state_.loop_entries();
  if (entries >= derived_.depth) {
    // DDI0183 UARTRSR.OE: the FIFO's content stays valid, the new byte is lost.
    ++state_.overruns;
    state_.loop[(state_.loop_write - 1) % state_.loop.size()] |= kDrOverrun;
    state_.registers[kRsr] |= kRsrOverrun;
    Raise(kInterruptOverrun);
  } else {
    state_.loop[state_.loop_write % state_.loop.size()] = entry;
    StoreRelease(state_.loop_write, state_.loop_write + 1);
  }
  UpdateReceive();
}

// The console puts a break into the input: an entry of its own, before the byte at its position. One that comes before
// the last was read takes its place.
void Pl011::NoticeBreak() {
  if (!derived_.receiving) return;
  const ByteRing::Mark mark = input_.LastMark();
  if (mark.count == state_.breaks) return;
  StoreRelease(state_.break_position, mark.position);
  StoreRelease(state_.break_waits, 1);
  derived_.loop_in_use = true;
  Raise(kInterruptBreak);
  StoreRelease(state_.breaks, mark.count);
}

}  // namespace atoll
