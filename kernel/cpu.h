// The per-CPU block, found through TPIDR_EL2, and what one CPU may ask of another.
#ifndef ATOLL_KERNEL_CPU_H_
#define ATOLL_KERNEL_CPU_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/boot/stacks.h"
#include "kernel/kernel_lock.h"
#include "kernel/offsets.h"
#include "kernel/run_queue.h"
#include "kernel/shares.h"
#include "kernel/system_register.h"
#include "kernel/thread.h"
#include "kernel/timer_queue.h"

namespace atoll {

// What a CPU is asked to do. It runs there with the asking CPU's kernel lock.
using RemoteFunction = void (*)(void* argument);

struct alignas(64) Cpu {
  Thread* current = nullptr;         // CPU_CURRENT
  uint64_t stack_top = 0;            // CPU_STACK_TOP
  uint64_t emergency_stack_top = 0;  // CPU_EMERGENCY_STACK_TOP
  uint64_t ttbr0 = 0;                // what TTBR0_EL2 holds
  uint64_t work = 0;                 // not 0: the fast path's reply must look at the run queue
  Vcpu* loaded_vcpu = nullptr;       // whose EL1 state is in the registers
  uint32_t index = 0;
  bool idle = false;
  uint64_t affinity = 0;  // MPIDR_EL1

  // Threads and timers.
  RunQueue run_queue ABSL_GUARDED_BY(kernel_lock);
  TimerQueue timers ABSL_GUARDED_BY(kernel_lock);
  Timer tick;
  Shares shares ABSL_GUARDED_BY(kernel_lock);
  // The interrupted vCPU's turn, while a task worked on signals: what is chosen next is not the rest of it.
  bool turn_ended = false;

  // Written by the CPU that asks, cleared by this one when it is done.
  std::atomic<RemoteFunction> remote{nullptr};
  void* remote_argument = nullptr;

  // Since the start (GetCpu).
  uint64_t idle_ticks = 0;         // of CNTPCT_EL0
  uint64_t contended = 0;          // how often it had to wait for the kernel lock ...
  uint64_t contended_ticks = 0;    // ... and how long, in ticks of CNTPCT_EL0
  uint64_t contended_at_tick = 0;  // the same at the last 1 ms tick
  std::atomic<bool> online{false};

  static Cpu& This() {
    // Not volatile: TPIDR_EL2 never changes after boot, so the compiler may reuse the value.
    Cpu* cpu;
    asm("mrs %0, tpidr_el2" : "=r"(cpu));
    return *cpu;
  }
};
static_assert(offsetof(Cpu, current) == CPU_CURRENT && offsetof(Cpu, stack_top) == CPU_STACK_TOP);
static_assert(offsetof(Cpu, emergency_stack_top) == CPU_EMERGENCY_STACK_TOP);

extern constinit std::array<Cpu, kMaxCpus> cpus;
// Set by LeaveBoot: the other CPUs may run threads.
inline constinit std::atomic<bool> boot_is_over{false};
// TTBR0_EL2 while no task's space is there. Written at boot.
inline constinit uint64_t empty_space = 0;
// Those that run: [0, cpu_count) of them. Written at boot.
inline constinit uint32_t cpu_count = 1;
inline std::span<Cpu> OnlineCpus() { return std::span(cpus).first(cpu_count); }

// Runs `function` on that CPU and returns when it is done. What runs there meanwhile has entered the kernel: its
// registers are in its frame.
void OnCpu(Cpu& cpu, RemoteFunction function, void* argument) ATOLL_KERNEL_LOCKED;

// The only SGI that the kernel uses. Whoever gets it has nothing to do but to have come.
inline constexpr uint32_t kInterruptSgi = 0;

// Makes a CPU enter the kernel soon: it has work, or its vCPU does.
void Interrupt(Cpu& cpu) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_CPU_H_
