// The per-CPU block, found through TPIDR_EL2.
#ifndef ATOLL_KERNEL_CPU_H_
#define ATOLL_KERNEL_CPU_H_

#include <cstddef>
#include <cstdint>

#include "kernel/offsets.h"
#include "kernel/run_queue.h"
#include "kernel/spinlock.h"
#include "kernel/system_register.h"
#include "kernel/thread.h"
#include "kernel/timer_queue.h"

namespace atoll {

struct alignas(64) Cpu {
  Thread* current = nullptr;         // CPU_CURRENT
  uint64_t stack_top = 0;            // CPU_STACK_TOP
  uint64_t emergency_stack_top = 0;  // CPU_EMERGENCY_STACK_TOP
  uint64_t ttbr0 = 0;                // what TTBR0_EL2 holds
  uint64_t work = 0;                 // not 0: the fast path's reply must look at the run queue
  Vcpu* loaded_vcpu = nullptr;       // whose EL1 state is in the registers
  uint32_t index = 0;
  bool idle = false;

  Spinlock run_queue_lock;  // threads and timers below
  RunQueue run_queue;
  TimerQueue timers;
  Timer tick;
  uint64_t tick_count = 0;

  static Cpu& This() {
    // Not volatile: TPIDR_EL2 never changes after boot, so the compiler may reuse the value.
    Cpu* cpu;
    asm("mrs %0, tpidr_el2" : "=r"(cpu));
    return *cpu;
  }
};
static_assert(offsetof(Cpu, current) == CPU_CURRENT && offsetof(Cpu, stack_top) == CPU_STACK_TOP);
static_assert(offsetof(Cpu, emergency_stack_top) == CPU_EMERGENCY_STACK_TOP);

}  // namespace atoll

#endif  // ATOLL_KERNEL_CPU_H_
