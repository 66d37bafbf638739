#include "services/pl031/pl031.h"

#include "services/pl031/registers.h"

namespace atoll {

using namespace pl031;  // NOLINT: this file is about nothing else

void Pl031::Start() {
  if (state_.alarm_ticks == DeadlineTimer::kNever) {
    SetAlarm(/*now_counts=*/false);  // fresh: RTCMR 0 is not an alarm
  } else if (IsAlarmDue()) {
    NoteAlarm();
  }
  journal_.Store(state_);
  DriveLine();
  ArmTimer();
}

// The count changes, and an alarm falls due, only where a second begins: in between one comparison does.
Result<uint64_t> Pl031::Access(const RegisterAccess& access) {
  if (access.offset == kTable.offset(kDr) && access.size == sizeof(uint32_t) && !access.write)
      [[likely]] {
    const uint64_t now = ports_.counter.Ticks();
    if (now - second_.start < second_.ticks && second_.Check() == second_.check) [[likely]]
      return second_.count;
  }
  return OtherAccess(access);
}

Result<uint64_t> Pl031::OtherAccess(const RegisterAccess& access) {
  const size_t index = kTable.Find(access);
  if (index == Table::kReserved) return 0;
  if (!IsIntact()) return std::unexpected(Status::kDataLoss);
  // An alarm that is due is seen by this access, though the timer's signal may still be on its way.
  CheckAlarm();
  if (!access.write) return kTable.Loaded(index, access, Read(index));
  if (kTable.writable(index) == 0) return 0;
  // A call that comes again, and whose change is in the journal. Setting the clock twice would not be the same as once.
  if (access.token != 0 && access.token == state_.token) return 0;
  second_ = {};
  state_.token = access.token;
  Write(index, kTable.Stored(index, access, 0));
  return 0;
}

void Pl031::OnSignals(uint64_t bits) {
  if ((bits & kTimerSignal) == 0 || !IsIntact()) return;
  CheckAlarm();
  ArmTimer();  // early or stale signals set the same alarm again
}

// RTCDR, for as long as it stays so.
uint32_t Pl031::NextCount() {
  const uint64_t elapsed = SecondsSinceOrigin();
  const uint64_t ticks = ports_.counter.TicksPerSecond();
  second_ = {
      .start = state_.origin_ticks + elapsed * ticks, .ticks = ticks, .count = CountAt(elapsed)};
  if (ports_.counter.Ticks() < second_.start)
    second_.ticks = 0;  // a damaged origin ahead of the counter
  second_.check = second_.Check();
  return second_.count;
}

uint32_t Pl031::Read(size_t index) {
  switch (index) {
    case kDr: return NextCount();
    case kMr: return state_.match;
    case kLr: return state_.load;
    case kImsc: return state_.mask;
    case kRis: return state_.interrupt;
    case kMis: return state_.interrupt & state_.mask;
    default: return kTable.reset(index);
  }
}

void Pl031::Write(size_t index, uint32_t value) {
  switch (index) {
    case kMr:
      state_.match = value;
      SetAlarm(/*now_counts=*/true);
      break;
    case kLr:
      state_.offset += value - CountAt(SecondsSinceOrigin());
      state_.load = value;
      SetAlarm(/*now_counts=*/true);
      break;
    case kImsc: state_.mask = value; break;
    case kIcr: state_.interrupt &= ~value; break;
    default: return;
  }
  // Before anybody sees a consequence.
  journal_.Store(state_);
  ArmTimer();
  DriveLine();
}

uint64_t Pl031::SecondsSinceOrigin() const {
  const uint64_t now = ports_.counter.Ticks();
  // A damaged origin that lies ahead must not count down from 2^64.
  if (now < state_.origin_ticks) return 0;
  return (now - state_.origin_ticks) / ports_.counter.TicksPerSecond();
}

uint32_t Pl031::CountAt(uint64_t seconds_since_origin) const {
  return state_.origin_seconds + state_.offset + static_cast<uint32_t>(seconds_since_origin);
}

void Pl031::CheckAlarm() {
  if (!IsAlarmDue()) return;
  NoteAlarm();
  journal_.Store(state_);
  ArmTimer();
  DriveLine();
}

void Pl031::NoteAlarm() {
  state_.interrupt = kInterruptAlarm;
  SetAlarm(/*now_counts=*/false);
}

// Finds when the count next equals RTCMR. `now_counts`: being equal at this moment is an alarm;
// else that moment is over and the count has to come round.
void Pl031::SetAlarm(bool now_counts) {
  const uint64_t elapsed = SecondsSinceOrigin();  // read once: the second may end meanwhile
  uint64_t seconds = static_cast<uint32_t>(state_.match - CountAt(elapsed));
  if (seconds == 0) {
    if (now_counts) state_.interrupt = kInterruptAlarm;
    seconds = uint64_t{1} << 32;
  }
  uint64_t ticks = 0;
  if (__builtin_add_overflow(elapsed, seconds, &seconds) ||
      __builtin_mul_overflow(seconds, ports_.counter.TicksPerSecond(), &ticks) ||
      __builtin_add_overflow(ticks, state_.origin_ticks, &ticks)) {
    ticks = DeadlineTimer::kNever;  // beyond the counter's end
  }
  state_.alarm_ticks = ticks;
}

// Nobody waits for an alarm that is masked: the next access finds it. A VM without alarm has no timer of ours, so
// that an idle machine whose time is instructions does not skip to the year 2160.
void Pl031::ArmTimer() {
  ports_.timer.Set(state_.mask != 0 ? state_.alarm_ticks : DeadlineTimer::kNever);
}

void Pl031::DriveLine() { ports_.line.Set((state_.interrupt & state_.mask) != 0); }

}  // namespace atoll
