// One of several VMs that do the same at the same time: device reads and hypercalls, between two marks.
// What all of them took together is for scripts/instruction_counter.c to say.
#include "guests/bench/bench.h"

namespace {

using namespace bare;

inline constexpr uint64_t kRounds = 20'000;
inline constexpr uint64_t kPsciVersion = 0x8400'0000;

}  // namespace

extern "C" void GuestMain(uint64_t) {
  MarkBegin();
  for (uint64_t i = 0; i < kRounds; ++i) {
    Load32(kUart + 0x18);
    Load32(kDistributor + 4);
    Hvc(kPsciVersion);
  }
  MarkEnd();
  Print("BENCH done 0\n");
}

extern "C" void SecondaryMain() {}
