// Adds numbers by a chain of two services, which are killed all the time. Each counts once.
#include "guests/bare/bare.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  constexpr uintptr_t kRelay = bare::kVirtio;  // slot 0
  constexpr uint64_t kMicroseconds = 130'000;
  const uint64_t end = bare::Counter() + BARE_READ("cntfrq_el0") / 1'000'000 * kMicroseconds;
  uint32_t sum = 0;
  uint64_t rounds = 0;
  for (uint32_t number = 1; bare::Counter() < end; number = number * 5 + 1) {
    const uint32_t amount = number >> 8;
    bare::Store32(kRelay, amount);
    sum += amount;
    if (bare::Load32(kRelay) != sum) {
      bare::Print("LOST after ");
      bare::PrintNumber(rounds);
      bare::Print("\n");
      break;
    }
    ++rounds;
    // Each call of a service by a service costs QEMU its TLB.
    for (const uint64_t next = bare::Counter() + BARE_READ("cntfrq_el0") / 200'000;
         bare::Counter() < next;) {
    }
  }
  bare::Print("\nCHAIN ");
  bare::PrintNumber(rounds);
  bare::Print("\n");
  bare::PowerOff();
}
