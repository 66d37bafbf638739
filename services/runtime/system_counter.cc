// The system counter as the CPU has it. tests/host has another one.
#include "services/runtime/kernel_ports.h"

namespace atoll {

uint64_t SystemCounter::Ticks() const {
  uint64_t ticks;
  // ISB: the counter may otherwise be read early, before what the program did last (DDI0487, Generic Timer).
  asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks)::"memory");
  return ticks;
}

uint64_t SystemCounter::TicksPerSecond() const {
  uint64_t frequency;
  asm("mrs %0, cntfrq_el0" : "=r"(frequency));
  return frequency;
}

}  // namespace atoll
