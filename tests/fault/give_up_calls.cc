// A device whose service dies of one call after the other: at its limit it is given up, and the VM ends with it.
#include "guests/bare/bare.h"
#include "tests/fault/crasher/guest.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  constexpr uint32_t kMoreThanTheLimit = 40;
  for (uint32_t i = 0; i < kMoreThanTheLimit; ++i) {
    crasher::Command(crasher::kNullWrite | crasher::kBefore);
    bare::Print("SURVIVED\n");
  }
  bare::Print("NEVER GIVEN UP\n");
}
