// Has a device work for several milliseconds of its own time for each of its answers; then has it hang.
#include "services/runtime/faults.h"
#include "tests/fault/crasher/guest.h"

extern "C" void SecondaryMain() {}

extern "C" void GuestMain(uint64_t) {
  constexpr uint32_t kAnswers = 40;
  uint32_t answers = 0;
  const uint64_t start = bare::Counter();
  while (answers < kAnswers && crasher::Read(crasher::kBusy) == 1) ++answers;
  bare::Print("ANSWERS ");
  bare::PrintNumber(answers);
  bare::Print(" of generation ");
  bare::PrintNumber(crasher::Read(crasher::kGeneration));
  bare::Print(" took milliseconds ");
  bare::PrintNumber((bare::Counter() - start) * 1000 / BARE_READ("cntfrq_el0"));
  const uint64_t begin = bare::Counter();
  crasher::Command((1 + static_cast<uint32_t>(atoll::Fault::kHang)) << crasher::kFaultShift);
  bare::Print("\nHANG of generation ");
  bare::PrintNumber(crasher::Read(crasher::kGeneration));
  bare::Print(" took milliseconds ");
  bare::PrintNumber((bare::Counter() - begin) * 1000 / BARE_READ("cntfrq_el0"));
  bare::Print("\n");
  bare::PowerOff();
}
