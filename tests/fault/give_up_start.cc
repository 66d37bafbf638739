// A service that can no longer start: at its limit it is given up, and the VM ends although one of its vCPUs would
// wait for an answer for ever.
#include "guests/bare/bare.h"
#include "tests/fault/crasher/guest.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  crasher::Write(crasher::kEndAtStart, crasher::kEndAtStartValue);
  bare::Print("SURVIVED\n");
  crasher::Command(crasher::kExit | crasher::kBefore);
  bare::Print("NEVER GIVEN UP\n");
}
