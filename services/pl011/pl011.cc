#include "services/pl011/pl011.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: this file is about nothing else

// The console is woken this long after the first byte that it does not know of, so that a line of
// output costs one signal and not one for each byte.
constexpr uint64_t kNotifyDelayMicroseconds = 1000;

// Receive timeout: 32 bit times (DDI0183, UARTRTINTR) at 115,200 baud. The guest's divisors do not
// change it: there is no line with a speed behind the ring.
constexpr uint64_t kReceiveTimeoutMicroseconds = 32 * 1'000'000 / 115'200;

uint64_t Microseconds(const Counter& counter, uint64_t microseconds) {
  return counter.TicksPerSecond() / 1000 * microseconds / 1000;
}

// UARTIFLS encodings 0..4 are 1/8, 1/4, 1/2, 3/4, 7/8 of the FIFO; reserved ones act as 7/8.
constexpr std::array<uint8_t, kIflsMask + 1> kTriggerEighths = {1, 2, 4, 6, 7, 7, 7, 7};

}  // namespace

Pl011::Pl011(const Ports& ports, const GuestLine& line, Pl011State& state)
    : ports_(ports),
      state_(state),
      output_(line.output),
      input_(line.input),
      output_half_(line.output.capacity() / 2),
      notify_delay_(Microseconds(ports.counter, kNotifyDelayMicroseconds)),
      receive_timeout_(Microseconds(ports.counter, kReceiveTimeoutMicroseconds)) {}

void Pl011::Start() {
  Configure();
  line_level_ = (state_.registers[kRis] & state_.registers[kImsc]) != 0;
  ports_.line.Set(line_level_);
  FinishLeaving();
  UpdateTransmit();
  UpdateReceive();
  write_is_announced_ = false;  // a call that comes again is not to take the fast way
  // The predecessor may have ended between a byte's way into the ring and the notification.
  if (output_.Free() != output_.capacity()) ports_.console.Notify();
}

// A guest prints by one load of UARTFR and one store of UARTDR for each byte. Both are answered
// here as long as nothing else is going on, in 40 to 50 instructions; OtherAccess gives the same
// answers at all times.
Result<uint64_t> Pl011::Access(const RegisterAccess& access) {
  const size_t index = kTable.Find(access);
  if (index == kFr && !access.write) {
    // These flags fit any width: RI, the only one above bit 7, is 0 outside loopback.
    if (!derived_.loop_in_use && input_.Available() == 0 && output_.Free() > output_half_)
        [[likely]] {
      return derived_.idle_flags;
    }
  } else if (index == kDr && access.write) {
    if (write_is_announced_) [[likely]] {
      state_.Note(access.token, {.position = output_.position()});
      const size_t held = output_.Put(static_cast<std::byte>(access.value));
      if (held - 1 < output_half_ - 1) [[likely]]
        return 0;
      if (held != 0) AfterWrite(held);
      return 0;
    }
  }
  return OtherAccess(index, access);
}

Result<uint64_t> Pl011::OtherAccess(size_t index, const RegisterAccess& access) {
  if (index == Table::kReserved) return 0;
  // A predecessor may have left bytes that can go on. Not before a call that comes again: it looks where they are.
  if (!Noted(access.token).has_value()) SendHeld();
  if (!access.write) {
    return kTable.Loaded(index, access, index == kDr ? ReadData(access.token) : Read(index));
  }
  const uint32_t value = kTable.Stored(index, access, state_.registers[index]);
  if (index == kDr) {
    WriteData(static_cast<uint8_t>(value), access.token);
  } else {
    Write(index, value, access.token);
  }
  return 0;
}

// The change that this call has noted already, if it is delivered again.
std::optional<Pl011Change> Pl011::Noted(uint64_t token) const {
  if (token == 0 || token != state_.token) return std::nullopt;
  return std::bit_cast<Pl011Change>(state_.change);
}

// Stores a register that is the guest's alone, and gives what it held before this call.
Pl011Change Pl011::Change(size_t index, uint32_t value, uint64_t token) {
  uint32_t& held = state_.registers[index];
  const std::optional<Pl011Change> noted = Noted(token);
  const Pl011Change change = noted.value_or(Pl011Change{.position = state_.loop_write,
                                                        .value = static_cast<uint16_t>(held),
                                                        .detail = static_cast<uint8_t>(index),
                                                        .kind = Pl011Change::Kind::kRegister});
  if (!noted.has_value()) state_.Note(token, change);
  const uint32_t check = state_.check ^ Pl011Check(index, held) ^ Pl011Check(index, value);
  StoreRelease(held, value);
  StoreRelease(state_.check, check);
  return change;
}

void Pl011::OnSignals(uint64_t bits) {
  if ((bits & kConsoleSignal) != 0) {
    UpdateTransmit();
    UpdateReceive();
  }
  if ((bits & kTimerSignal) != 0) OnTimer();
}

uint32_t Pl011::Read(size_t index) const {
  switch (index) {
    case kFr: return Flags();
    case kMis: return state_.registers[kRis] & state_.registers[kImsc];
    default: return state_.registers[index];
  }
}

void Pl011::Write(size_t index, uint32_t value, uint64_t token) {
  switch (index) {
    // UARTECR: any store clears all errors. May be done twice, as may UARTICR: it is one store of the guest's that takes
    // effect when it is done last, for nobody else's access was served in between.
    case kRsr: StoreRelease(state_.registers[kRsr], 0); break;
    case kIcr:
      Clear(value);
      // What lies in the FIFO is announced again when a further timeout has passed.
      if ((value & kInterruptReceiveTimeout) != 0 && ReceiveLevel() != 0) RestartReceiveTimeout();
      break;
    case kLcrH:
    case kIfls: {
      const Pl011Change change = Change(index, value, token);
      Configure();
      if (index == kLcrH && derived_.loopback && (value & ~change.value & kLcrHBreak) != 0) {
        Raise(kInterruptBreak);
        if (state_.loop_write == change.position) ReceiveLooped(kDrBreak);
      }
      UpdateTransmit();
      UpdateReceive();
      SendHeld();
      break;
    }
    case kCr: WriteControl(Change(index, value, token).value); break;
    case kImsc:
      Change(index, value, token);
      DriveLine();
      break;
    default:
      if (kTable.writable(index) != 0) Change(index, value, token);
      break;
  }
}

void Pl011::WriteControl(uint32_t old_control) {
  // In loopback the modem outputs are the modem inputs; their changes raise interrupts
  // (UARTCR.LBE).
  Configure();
  if (derived_.loopback) {
    const uint32_t changed = state_.registers[kCr] ^ old_control;
    uint32_t interrupts = 0;
    if ((changed & kCrRts) != 0) interrupts |= kInterruptCts;
    if ((changed & kCrDtr) != 0) interrupts |= kInterruptDsr;
    if ((changed & kCrOut1) != 0) interrupts |= kInterruptDcd;
    if ((changed & kCrOut2) != 0) interrupts |= kInterruptRi;
    Raise(interrupts);
  }
  UpdateReceive();  // RXE, UARTEN and LBE decide what is in the receive FIFO
  SendHeld();
}

// What follows from UARTCR and UARTLCR_H, so that the hot paths need not look at them.
void Pl011::Configure() {
  const uint32_t control = state_.registers[kCr];
  derived_.loopback = (control & kCrLoopback) != 0;
  derived_.loop_in_use = derived_.loopback || state_.loop_entries() != 0 || state_.break_waits != 0;
  write_is_announced_ = false;
  constexpr uint32_t kReceiving = kCrUartEnable | kCrReceiveEnable;
  derived_.receiving = (control & kReceiving) == kReceiving;
  derived_.depth = (state_.registers[kLcrH] & kLcrHFifoEnable) != 0 ? kFifoDepth : 1;
  derived_.modem_flags = kFrCts | kFrDsr | kFrDcd;
  if (derived_.loopback) {
    derived_.modem_flags =
        ((control & kCrRts) != 0 ? kFrCts : 0) | ((control & kCrDtr) != 0 ? kFrDsr : 0) |
        ((control & kCrOut1) != 0 ? kFrDcd : 0) | ((control & kCrOut2) != 0 ? kFrRi : 0);
  }
  derived_.rts_flow = derived_.loopback && (control & kCrRtsFlow) != 0;
  if (!derived_.rts_flow) derived_.clear_to_send = (derived_.modem_flags & kFrCts) != 0;
  derived_.idle_flags = derived_.modem_flags | kFrTxFifoEmpty | kFrRxFifoEmpty;
}

uint32_t Pl011::Flags() const {
  uint32_t flags = derived_.modem_flags;
  if (derived_.rts_flow) flags = derived_.clear_to_send ? flags | kFrCts : flags & ~kFrCts;
  const uint32_t sending = TransmitLevel();
  if (sending == 0) {
    flags |= kFrTxFifoEmpty;
  } else {
    flags |= sending == derived_.depth ? kFrBusy | kFrTxFifoFull : kFrBusy;
  }
  const uint32_t received = ReceiveLevel();
  if (received == 0) return flags | kFrRxFifoEmpty;
  return received == derived_.depth ? flags | kFrRxFifoFull : flags;
}

uint32_t Pl011::ReceiveTrigger() const {
  if (derived_.depth == 1) return 1;
  const uint32_t select = (state_.registers[kIfls] >> kIflsReceiveShift) & kIflsMask;
  return kTriggerEighths[select] * kFifoDepth / 8;
}

uint32_t Pl011::TransmitTrigger() const {
  if (derived_.depth == 1) return 0;
  const uint32_t select = (state_.registers[kIfls] >> kIflsTransmitShift) & kIflsMask;
  return kTriggerEighths[select] * kFifoDepth / 8;
}

uint32_t Pl011::ReceiveLevel() const {
  if (!derived_.receiving) return 0;
  size_t entries = state_.loop_entries();
  if (!derived_.loopback) entries += input_.Available() + state_.break_waits;
  return static_cast<uint32_t>(std::min<size_t>(entries, derived_.depth));
}

uint32_t Pl011::TransmitLevel() const {
  if (state_.held_entries() != 0) return std::min(state_.held_entries(), derived_.depth);
  const size_t room = output_.Free();
  return room >= derived_.depth ? 0 : derived_.depth - static_cast<uint32_t>(room);
}

void Pl011::UpdateReceive() {
  NoticeBreak();
  const uint32_t before = state_.receive_level;
  const uint32_t level = ReceiveLevel();
  const uint32_t trigger = ReceiveTrigger();
  if (derived_.rts_flow && derived_.clear_to_send != (level < trigger)) {
    derived_.clear_to_send = level < trigger;
    Raise(kInterruptCts);
  }
  if (level < trigger) {
    // Also when bytes went out of sight (UARTEN, RXE, LBE): an interrupt that no read can dismiss
    // must not stay.
    StoreRelease(state_.receive_level, level);
    Clear(level == 0 ? kInterruptReceive | kInterruptReceiveTimeout : kInterruptReceive);
  } else {
    if (before < trigger) Raise(kInterruptReceive);
    StoreRelease(state_.receive_level, level);
  }
  if (level == 0) {
    receive_deadline_ = DeadlineTimer::kNever;
  } else if (level > before || receive_deadline_ == DeadlineTimer::kNever) {
    RestartReceiveTimeout();
  }
}

void Pl011::UpdateTransmit() {
  const uint32_t before = state_.transmit_level;
  const uint32_t level = TransmitLevel();
  const uint32_t trigger = TransmitTrigger();
  if (level > trigger) {
    StoreRelease(state_.transmit_level, level);
    Clear(kInterruptTransmit);
  } else {
    if (before > trigger || (before != 0 && level == 0)) Raise(kInterruptTransmit);
    StoreRelease(state_.transmit_level, level);
  }
  // Nobody says when the ring has room again: while the FIFO holds bytes it is looked at once per
  // delay.
  if (level != 0 && state_.held_entries() == 0) NotifyWithinDelay();
}

void Pl011::OnTimer() {
  armed_deadline_ = DeadlineTimer::kNever;
  const uint64_t now = ports_.counter.Ticks();
  if (now >= notify_deadline_) {
    notify_deadline_ = DeadlineTimer::kNever;
    write_is_announced_ = false;
    if (output_.Free() != output_.capacity()) ports_.console.Notify();
    UpdateTransmit();
  }
  if (now >= receive_deadline_) {
    receive_deadline_ = DeadlineTimer::kNever;
    if (ReceiveLevel() != 0) Raise(kInterruptReceiveTimeout);
  }
  ArmTimer();
}

void Pl011::NotifyWithinDelay() {
  if (notify_deadline_ != DeadlineTimer::kNever) return;
  notify_deadline_ = ports_.counter.Ticks() + notify_delay_;
  ArmTimer();
}

void Pl011::RestartReceiveTimeout() {
  if ((state_.registers[kRis] & kInterruptReceiveTimeout) != 0) return;
  receive_deadline_ = ports_.counter.Ticks() + receive_timeout_;
  ArmTimer();
}

// A timer that is set to an earlier time is left alone: OnTimer sets it anew. So draining a FIFO
// byte by byte does not set it for each.
void Pl011::ArmTimer() {
  const uint64_t deadline = std::min(notify_deadline_, receive_deadline_);
  if (deadline >= armed_deadline_) return;
  armed_deadline_ = deadline;
  ports_.timer.Set(deadline);
}

// What the registers and the rings say is derived once more; timer and line are set again, and the next byte looks at
// everything.
bool Pl011::IsIntact() {
  const Derived before = derived_;
  Configure();
  const bool delays = output_half_ == output_.capacity() / 2 &&
                      notify_delay_ == Microseconds(ports_.counter, kNotifyDelayMicroseconds) &&
                      receive_timeout_ == Microseconds(ports_.counter, kReceiveTimeoutMicroseconds);
  if (std::memcmp(&before, &derived_, sizeof(before)) != 0 || !delays || !output_.IsIntact() ||
      !input_.IsIntact() || !IsSoon(notify_deadline_, notify_delay_) ||
      !IsSoon(receive_deadline_, receive_timeout_)) {
    return false;
  }
  line_level_ = (state_.registers[kRis] & state_.registers[kImsc]) != 0;
  ports_.line.Set(line_level_);
  armed_deadline_ = DeadlineTimer::kNever;
  ArmTimer();
  return true;
}

// A deadline that is set is at most so many ticks ahead.
bool Pl011::IsSoon(uint64_t deadline, uint64_t ticks) const {
  const uint64_t now = ports_.counter.Ticks();
  return deadline == DeadlineTimer::kNever || deadline <= now || deadline - now <= ticks;
}

void Pl011::Raise(uint32_t interrupts) {
  StoreRelease(state_.registers[kRis], state_.registers[kRis] | interrupts);
  DriveLine();
}

void Pl011::Clear(uint32_t interrupts) {
  if ((interrupts & kInterruptTransmit) != 0) write_is_announced_ = false;
  StoreRelease(state_.registers[kRis], state_.registers[kRis] & ~interrupts);
  DriveLine();
}

void Pl011::DriveLine() {
  const bool level = (state_.registers[kRis] & state_.registers[kImsc]) != 0;
  if (level == line_level_) return;
  line_level_ = level;
  ports_.line.Set(level);
}

}  // namespace atoll
