// Wakes every 10 ms and notes by how much it was late; its neighbour ends again and again meanwhile. Then has the
// machine turned off.
#include "guests/bare/bare.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  constexpr uint64_t kTicks = 1600;
  const uint64_t second = BARE_READ("cntfrq_el0");
  bare::InitializeGic();
  bare::EnableInterrupt(bare::kVirtualTimerIntid);
  bare::SetInterruptHandler([](uint32_t) { BARE_WRITE("cntv_ctl_el0", 0); });
  bare::Print("STEADY\n");
  uint64_t latest = 0, sum = 0, late_ticks = 0;
  uint64_t next = bare::Counter();
  for (uint64_t tick = 0; tick < kTicks; ++tick) {
    next += second / 100;
    BARE_WRITE("cntv_cval_el0", next);
    while (bare::Counter() < next) {
      BARE_WRITE("cntv_ctl_el0", 1);  // also after an interrupt of the tick before
      asm volatile("wfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
    }
    const uint64_t late = bare::Counter() - next;
    sum += late;
    if (late > latest) latest = late;
    if (late > second / 1000) ++late_ticks;
  }
  bare::Print("\nLATE microseconds: most ");
  bare::PrintNumber(latest * 1'000'000 / second);
  bare::Print(" mean ");
  bare::PrintNumber(sum * 1'000'000 / second / kTicks);
  bare::Print(" above 1000: ");
  bare::PrintNumber(late_ticks);
  bare::Print("\nINPUT 0178\n");  // Ctrl-A x
  for (;;) asm volatile("wfi");
}
