#include "guests/oracle/watchdog.h"

namespace oracle {
namespace {

// SP805 (DDI0270).
inline constexpr uint32_t kLoad = 0x000, kValue = 0x004, kControl = 0x008, kClear = 0x00c,
                          kRaw = 0x010, kMasked = 0x014, kLock = 0xc00;
inline constexpr uint32_t kInterrupts = 1, kResets = 2;
inline constexpr uint32_t kUnlock = 0x1acc'e551, kLocked = 1;
inline constexpr uint64_t kClocksPerSecond = 24'000'000;
inline constexpr uint32_t kLong = 60 * kClocksPerSecond;  // beyond whatever may happen to a service
inline constexpr uint32_t kShortMicroseconds = 300;
inline constexpr uint32_t kShort = kShortMicroseconds * (kClocksPerSecond / 1'000'000);
inline constexpr uint64_t kSlack = 2;  // clocks, as both sides round

uint64_t Clocks(uint64_t ticks) { return ticks * kClocksPerSecond / BARE_READ("cntfrq_el0"); }

}  // namespace

void WatchdogOracle::Start(uint32_t slot) {
  base_ = bare::kVirtio + slot * uintptr_t{0x1000};
  Attach(slot, *this);
  Write(kLock, kUnlock);
  Feed();
}

void WatchdogOracle::Check(const char* what, uint32_t offset, uint32_t wanted) {
  const uint32_t got = Read(offset);
  if (got != wanted) report_.Lost(what, got, wanted);
}

void WatchdogOracle::Feed() {
  feeding_ = bare::Counter();
  Write(kLoad, kLong);
  Write(kControl, kInterrupts | kResets);  // if it did not run it counts from here
  fed_ = bare::Counter();
}

// By how much it has fallen since it was fed: the store came between two known moments, and the load between two others.
void WatchdogOracle::LookAtCount() {
  const uint64_t before = bare::Counter();
  const uint32_t value = Read(kValue);
  const uint64_t after = bare::Counter();
  const uint64_t fallen = kLong - uint64_t{value};
  if (value > kLong || fallen + kSlack < Clocks(before - fed_) ||
      fallen > Clocks(after - feeding_) + kSlack) {
    report_.Lost("the count: it is, at least and at most it has fallen", value,
                 Clocks(before - fed_), Clocks(after - feeding_));
  }
  Check("an interrupt of a watchdog that is fed", kRaw, 0);
}

void WatchdogOracle::Acknowledge(uintptr_t) {
  fired_at_ = bare::Counter();
  if (Read(kMasked) != 1) report_.Lost("an interrupt that nobody asked for", fired_);
  Write(kControl, 0);
  fired_ = fired_ + 1;
}

void WatchdogOracle::AwaitInterrupt() {
  const uint64_t before = fired_;
  Write(kControl, 0);
  Write(kLoad, kShort);
  const uint64_t began = bare::Counter();
  Write(kControl, kInterrupts);
  if (!WaitFor([&] { return fired_ != before; }))
    return report_.Lost("no interrupt of the watchdog");
  if (fired_ != before + 1) report_.Lost("interrupts of the watchdog", fired_ - before);
  if (Clocks(fired_at_ - began) + kSlack < kShort) {
    report_.Lost("too early: clocks", Clocks(fired_at_ - began), kShort);
  }
  Check("the interrupt is gone before it was cleared", kRaw, 1);
  Write(kClear, 1);
  Check("the interrupt stays when it is cleared", kRaw, 0);
}

void WatchdogOracle::Round(What what) {
  const bool is_turn = what == What::kBoth && rounds_++ % kRoundsPerInterrupt == 0;
  if (what == What::kInterrupt || is_turn) {
    AwaitInterrupt();
    Feed();
    report_.Done();
  }
  if (what == What::kInterrupt) return;
  LookAtCount();
  Write(kLock, 0);
  Write(kLoad, kShort);
  Check("the load register of a locked watchdog", kLoad, kLong);
  Check("the lock", kLock, kLocked);
  Write(kLock, kUnlock);
  Check("the lock", kLock, 0);
  LookAtCount();
  Feed();
  report_.Done();
}

void WatchdogOracle::Finish() {
  LookAtCount();
  Write(kControl, 0);
  report_.Begin();
  report_.Pair("fired", fired_);
  report_.End();
}

}  // namespace oracle
