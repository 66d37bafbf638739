// Has the brittle device look up a good number, then one that it dies of.
#include "guests/bare/bare.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  constexpr uintptr_t kGood = bare::kRam + 0x0100'0000;
  constexpr uintptr_t kBad = bare::kRam + 0x0100'1000;
  bare::Store32(kGood, 7);
  bare::Store32(kBad, 0x3000'0000);
  bare::Store32(bare::kVirtio, kGood);
  bare::Print(bare::Load32(bare::kVirtio) == 49 ? "FOUND 49\n" : "FOUND ANOTHER\n");
  bare::Store32(bare::kVirtio,
                kBad);  // two instances die of it; then the access fails, and the guest with it
  bare::Print("NOT REACHED\n");
  for (;;) asm volatile("wfi");
}
