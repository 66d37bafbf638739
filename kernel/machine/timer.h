// The physical counter and the hypervisor's own timer, CNTHP (PPI 26). Arm ARM (DDI0487) D11.
#ifndef ATOLL_KERNEL_MACHINE_TIMER_H_
#define ATOLL_KERNEL_MACHINE_TIMER_H_

#include <cstdint>

namespace atoll {

inline constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

// No product wraps: the remainder is below hz, and hz below 2^32 (CNTFRQ_EL0 has 32 bits; hz > 0).
// The result wraps after 584 years.
constexpr uint64_t TicksToNanoseconds(uint64_t ticks, uint64_t hz) {
  return ticks / hz * kNanosecondsPerSecond + ticks % hz * kNanosecondsPerSecond / hz;
}
constexpr uint64_t NanosecondsToTicks(uint64_t nanoseconds, uint64_t hz) {
  return nanoseconds / kNanosecondsPerSecond * hz +
         nanoseconds % kNanosecondsPerSecond * hz / kNanosecondsPerSecond;
}

}  // namespace atoll

#ifdef __aarch64__
#include "kernel/system_register.h"

namespace atoll {

// Ticks of CNTPCT_EL0 per second.
inline uint64_t CounterFrequency() { return CntfrqEl0::Read(); }

// Not read ahead of earlier instructions.
inline uint64_t ReadCounter() {
  Isb();
  return CntpctEl0::Read();
}

inline constexpr uint64_t kCnthpCtlEnable = 1u << 0;  // CNTHP_CTL_EL2.ENABLE; IMASK = 0

// Raises PPI 26 on this CPU from the moment that CNTPCT_EL0 >= deadline; all ones: never. Level:
// the interrupt stays until the timer is programmed anew.
inline void ProgramHypervisorTimer(uint64_t deadline) {
  if (deadline == ~uint64_t{0}) {
    asm volatile("msr cnthp_ctl_el2, xzr" ::: "memory");
  } else {
    asm volatile("msr cnthp_cval_el2, %0\n\tmsr cnthp_ctl_el2, %1" ::"r"(deadline),
                 "r"(kCnthpCtlEnable)
                 : "memory");
  }
  Isb();
}

}  // namespace atoll
#endif  // __aarch64__

#endif  // ATOLL_KERNEL_MACHINE_TIMER_H_
