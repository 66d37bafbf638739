#include "kernel/scheduler.h"

#include <algorithm>

#include "kernel/cpu_setup.h"
#include "kernel/endpoint.h"
#include "kernel/interrupts.h"
#include "kernel/machine/timer.h"
#include "kernel/task.h"
#include "kernel/vcpu/traps_configuration.h"
#include "kernel/vcpu_switch.h"
#include "kernel/vm.h"

namespace atoll {
namespace {

inline constexpr uint64_t kTicksPerSecond = 1000;

// The base of what runs now: when it is done for its callers it falls back to this, so a ready thread
// above it must be looked at then (Cpu::work).
uint32_t BasePriority(Thread& thread) { return ChargedThread(thread).schedule.priority; }

void EndPeriod(Timer& timer) {
  Thread& thread = *static_cast<Thread*>(timer.owner);
  thread.schedule.used = 0;
  thread.work &= ~kWorkBudget;
  if (thread.schedule.throttled) {
    thread.schedule.throttled = false;
    MakeReady(thread);
  }
}

uint64_t TickLength() { return CounterFrequency() / kTicksPerSecond; }

// One tick of running time, which ended at `now`, for the thread on whose time `running` runs.
void Charge(Cpu& cpu, Thread& running, uint64_t now) {
  ++running.ticks;
  Thread& charged = ChargedThread(running);
  SchedulingContext& schedule = charged.schedule;
  if (schedule.budget == 0) return;
  if (schedule.used++ == 0) {
    charged.replenish.expired = EndPeriod;
    charged.replenish.owner = &charged;
    // The period began with that tick. It ends at a tick too, so that the first one of the next period is a whole one.
    SetTimer(cpu, charged.replenish, now + (schedule.period - 1) * TickLength());
  }
  if (schedule.used < schedule.budget) return;
  if (&charged == &running) {
    schedule.throttled = true;
    BlockCurrent(cpu);
  } else {
    charged.work |= kWorkBudget;  // settled at the reply; its server is not stopped half-way
  }
}

void OnTick(Timer& timer) {
  Cpu& cpu = *static_cast<Cpu*>(timer.owner);
  ++cpu.tick_count;
  const uint64_t due = timer.deadline;
  // Ticks keep to their grid; those that a stalled machine missed are not made up for.
  SetTimer(cpu, cpu.tick, std::max(due, CntpctEl0::Read() - TickLength()) + TickLength());
  Thread* const running = cpu.current;
  if (running == nullptr) return;
  Charge(cpu, *running, due);
  // Turns among equals: to the back of its queue.
  if (cpu.current == nullptr) return;
  const int highest = cpu.run_queue.Highest();
  if (highest == static_cast<int>(EffectivePriority(*running))) {
    BlockCurrent(cpu);
    MakeReady(*running);
    return;
  }
  // A caller's turn ends too while others work for it, or one that does nothing but call would never yield.
  Thread& charged = ChargedThread(*running);
  if (&charged != running && highest == static_cast<int>(charged.schedule.priority))
    charged.work |= kWorkTurn;
}

// Waits for an interrupt and serves it. The CPU is really idle: no tick runs.
void Idle(Cpu& cpu) {
  cpu.idle = true;
  SetTimer(cpu, cpu.tick, Timer::kNever);
  // Host configuration: no virtual interrupt of the loaded vCPU may end the WFI below by itself.
  HcrEl2::Write(kHostHcr);
  while (cpu.run_queue.empty()) {
    DsbSy();                           // what was written before sleeping is visible (DDI0487, WFI)
    asm volatile("wfi" ::: "memory");  // ends for a pending interrupt although PSTATE.I masks it
    ServeInterrupts(cpu);
  }
  cpu.idle = false;
  StartTick(cpu);
}

// What must happen before a vCPU goes on. False: it waits instead.
bool PrepareVcpu(Cpu& cpu, Vcpu& vcpu) {
  if ((vcpu.work & kWorkSuspend) != 0) {
    vcpu.work &= ~kWorkSuspend;
    if (!HasDeliverableInterrupt(vcpu)) {
      vcpu.waiting_for_interrupt = true;
      return false;
    }
  }
  if (cpu.loaded_vcpu != &vcpu) SwitchVcpu(cpu, vcpu);
  if ((vcpu.work & kWorkDebug) != 0) {
    const CpuFeatures& features = ThisCpuFeatures();
    vcpu.context.debug.Load(features.breakpoints, features.watchpoints);
  }
  if ((vcpu.work & kWorkInterrupts) != 0) FlushInterrupts(vcpu);
  return true;
}

}  // namespace

uint32_t EffectivePriority(const Thread& thread) {
  uint32_t priority = 0;
  for (const Thread* served = &thread; served != nullptr; served = served->serving) {
    priority = std::max(priority, served->schedule.priority);
    if (served->port == nullptr) continue;  // a vCPU
    for (const Thread* waiting = served->port->queue.head(); waiting != nullptr;
         waiting = List<Thread, &Thread::queue_node>::Next(*waiting)) {
      priority = std::max(priority, EffectivePriority(*waiting));
    }
  }
  return priority;
}

void Reprioritize(Thread& thread) {
  Cpu& cpu = Cpu::This();
  for (Thread* changed = &thread; changed != nullptr;) {
    if (changed->ready) {
      {
        LockGuard guard(cpu.run_queue_lock);
        cpu.run_queue.Remove(*changed);
      }
      MakeReady(*changed);
    }
    Endpoint* const endpoint = changed->queued_at;
    changed = endpoint != nullptr ? endpoint->owner : changed->server;
  }
}

void MakeReady(Thread& thread) {
  if (thread.stopped || thread.ready || thread.schedule.throttled) return;
  Cpu& cpu = Cpu::This();
  if (cpu.current == &thread) return;
  LockGuard guard(cpu.run_queue_lock);
  cpu.run_queue.PushBack(thread, EffectivePriority(thread));
  if (cpu.current != nullptr && thread.run_priority > BasePriority(*cpu.current)) cpu.work = 1;
}

void BlockCurrent(Cpu& cpu) { cpu.current = nullptr; }

void Unschedule(Thread& thread) {
  Cpu& cpu = Cpu::This();
  LockGuard guard(cpu.run_queue_lock);
  cpu.run_queue.Remove(thread);
  thread.waiting_for_interrupt = false;
  if (cpu.current == &thread) cpu.current = nullptr;
}

Thread* Schedule(Cpu& cpu) {
  for (;;) {
    Thread* next = cpu.current;
    const int highest = cpu.run_queue.Highest();
    if (next == nullptr || highest > static_cast<int>(EffectivePriority(*next))) {
      LockGuard guard(cpu.run_queue_lock);
      if (next != nullptr)
        cpu.run_queue.PushFront(*next,
                                EffectivePriority(*next));  // preempted: first of its priority
      next = cpu.run_queue.PopHighest();
      cpu.current = next;
    }
    if (next == nullptr) {
      Idle(cpu);
      continue;
    }
    if ((next->work & kWorkBudget) != 0) {
      next->work &= ~kWorkBudget;
      next->schedule.throttled = true;
      BlockCurrent(cpu);
      continue;
    }
    next->work &= ~kWorkTurn;  // it has waited behind its equals since its reply
    if (next->vcpu) {
      if (!PrepareVcpu(cpu, *static_cast<Vcpu*>(next))) {
        BlockCurrent(cpu);
        continue;
      }
      // Last: from here on virtual interrupts of this vCPU are signalled and EL1 is its own.
      HcrEl2::Write(next->hcr);
    } else {
      HcrEl2::Write(kHostHcr);
      // A guest's breakpoints and steps must not happen in a task.
      if (cpu.loaded_vcpu != nullptr && (cpu.loaded_vcpu->work & kWorkDebug) != 0) {
        DebugRegisters::Disable();
      }
      if (cpu.ttbr0 != next->ttbr0) {
        cpu.ttbr0 = next->ttbr0;
        Ttbr0El2::Write(next->ttbr0);  // eret synchronises
      }
    }
    cpu.work = cpu.run_queue.Highest() > static_cast<int>(BasePriority(*next)) ? 1 : 0;
    return next;
  }
}

void SetTimer(Cpu& cpu, Timer& timer, uint64_t deadline) {
  if (cpu.timers.Set(timer, deadline)) ProgramHypervisorTimer(cpu.timers.Earliest());
}

void RunTimers(Cpu& cpu) {
  while (Timer* const timer = cpu.timers.PopDue(CntpctEl0::Read())) timer->expired(*timer);
  ProgramHypervisorTimer(cpu.timers.Earliest());
}

void StartTick(Cpu& cpu) {
  cpu.tick.owner = &cpu;
  cpu.tick.expired = OnTick;
  SetTimer(cpu, cpu.tick, CntpctEl0::Read() + TickLength());
}

}  // namespace atoll
