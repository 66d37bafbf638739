// The per-CPU block, found through TPIDR_EL2, and the CPU's run queue.
#ifndef ATOLL_KERNEL_CPU_H_
#define ATOLL_KERNEL_CPU_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernel/list.h"
#include "kernel/offsets.h"
#include "kernel/spinlock.h"
#include "kernel/system_register.h"
#include "kernel/thread.h"
#include "kernel/timer_queue.h"

namespace atoll {

// Ready threads by priority; equal priorities take turns.
class RunQueue {
 public:
  void PushBack(Thread& thread) { Push(thread, false); }
  void PushFront(Thread& thread) { Push(thread, true); }
  void Remove(Thread& thread);
  Thread* PopHighest();
  // Priority of the best ready thread, -1 if none.
  int Highest() const { return 31 - std::countl_zero(ready_); }
  bool empty() const { return ready_ == 0; }

 private:
  void Push(Thread& thread, bool front);

  uint32_t ready_ = 0;  // bit p: the list of priority p is not empty
  std::array<List<Thread, &Thread::run_node>, kPriorities> lists_;
};

struct alignas(64) Cpu {
  Thread* current = nullptr;          // CPU_CURRENT
  uint64_t stack_top = 0;             // CPU_STACK_TOP
  uint64_t emergency_stack_top = 0;   // CPU_EMERGENCY_STACK_TOP
  uint64_t ttbr0 = 0;                 // what TTBR0_EL2 holds
  uint64_t work = 0;                  // not 0: the fast path's reply must look at the run queue
  Vcpu* loaded_vcpu = nullptr;        // whose EL1 state is in the registers
  uint32_t index = 0;
  bool idle = false;

  Spinlock run_queue_lock;            // threads and timers below
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
