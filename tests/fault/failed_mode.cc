// A guest whose clock and UART have been given up. It sees a clock that stands at 0 and a UART whose line leads nowhere,
// and goes on: it turns itself off. If something else is there it does not, for there is nobody whom it could tell.
#include "guests/bare/bare.h"

namespace {

using namespace bare;

// PL011 (DDI0183).
constexpr uintptr_t kData = kUart, kFlags = kUart + 0x18, kDivisor = kUart + 0x24,
                    kControl = kUart + 0x30, kMask = kUart + 0x38, kClear = kUart + 0x44;
constexpr uint32_t kOn = 1 | 1 << 8 | 1 << 9, kLoopback = 1 << 7;
constexpr uint32_t kReceiveEmpty = 1 << 4, kTransmitFull = 1 << 5, kTransmitEmpty = 1 << 7;
constexpr uint32_t kTransmitInterrupt = 1 << 5;
constexpr uint32_t kBytes = 2000;

volatile uint32_t interrupts;

// Stays here if not: the test then misses what is printed at the end.
void Require(bool condition) {
  if (condition) return;
  for (;;) asm volatile("");
}

void CheckClock() {
  Require(Load32(kRtc) == 0 && Load32(kRtc + 0xfe0) == 0x31);
  Store32(kRtc + 4, 1);     // RTCMR
  Store32(kRtc + 0x10, 1);  // RTCIMSC
  Require(Load32(kRtc) == 0 && Load32(kRtc + 4) == 0 && Load32(kRtc + 0x18) == 0);
}

// A driver that sends a byte at each interrupt does not wait in vain.
void CheckUart() {
  Require(Load32(kUart + 0xfe0) == 0x11);
  Store32(kControl, kOn | kLoopback);
  Store32(kData, 'x');
  Require((Load32(kFlags) & kReceiveEmpty) != 0);
  Store32(kControl, kOn);
  Store32(kDivisor, 0x1234);
  Require(Load32(kDivisor) == 0x1234);
  Store32(kClear, 0x7ff);
  SetInterruptHandler([](uint32_t) {
    Store32(kClear, kTransmitInterrupt);
    interrupts = interrupts + 1;
  });
  EnableInterrupt(kUartIntid);
  Store32(kMask, kTransmitInterrupt);
  for (uint32_t i = 0; i < kBytes; ++i) {
    const uint32_t flags = Load32(kFlags);
    Require((flags & kTransmitEmpty) != 0 &&
            (flags & (kTransmitFull | kReceiveEmpty)) == kReceiveEmpty);
    Store32(kData, 'x');
    asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
    Require(interrupts == i + 1);
  }
}

}  // namespace

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  InitializeGic();
  CheckClock();
  CheckUart();
  PowerOff();
}
