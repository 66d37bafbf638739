#include "kernel/scheduler.h"

#include <algorithm>

#include "kernel/cpu_setup.h"
#include "kernel/endpoint.h"
#include "kernel/guest_faults.h"
#include "kernel/interrupts.h"
#include "kernel/machine/timer.h"
#include "kernel/pools.h"
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
  kernel_lock.AssertHeld();
  Thread& thread = *static_cast<Thread*>(timer.owner);
  thread.schedule.used = 0;
  thread.work &= ~kWorkBudget;
  if (thread.schedule.throttled) {
    thread.schedule.throttled = false;
    MakeReady(thread);
  }
}

// Ticks that services worked for a VM while others waited, by VMID: so many turns its vCPUs give up. Bounded, so that
// a burst is forgiven.
constinit std::array<uint8_t, kMaxVms> debts = {};
inline constexpr uint8_t kMaxDebt = 20;

uint32_t PayerOf(const Thread& thread) {
  return thread.schedule.account != 0 && !thread.vcpu ? thread.schedule.account : thread.payer;
}

// The next thread of a queue that is not empty. One whose VM is in debt lets its equals go first, once for each tick.
Thread* TakeNext(RunQueue& queue) {
  Thread* next = queue.PopHighest();
  for (uint32_t skipped = 0; skipped < kMaxVcpus; ++skipped) {
    if (!next->vcpu || debts[next->schedule.account] == 0 ||
        queue.Highest() != static_cast<int>(next->run_priority)) {
      break;
    }
    --debts[next->schedule.account];
    queue.PushBack(*next, next->run_priority);
    next = queue.PopHighest();
  }
  return next;
}

uint64_t TickLength() { return CounterFrequency() / kTicksPerSecond; }

// One tick of running time, which ended at `now`, for the thread on whose time `running` runs.
void Charge(Cpu& cpu, Thread& running, uint64_t now) ATOLL_KERNEL_LOCKED {
  ++running.ticks;
  Thread& charged = ChargedThread(running);
  if (!charged.vcpu && !cpu.run_queue.empty()) {
    uint8_t& debt = debts[PayerOf(charged)];
    if (&debt != &debts[0] && debt < kMaxDebt) ++debt;
  }
  SchedulingContext& schedule = charged.schedule;
  if (schedule.budget == 0) return;
  if (schedule.used++ == 0) {
    charged.replenish.expired = EndPeriod;
    charged.replenish.owner = &charged;
    // The period began with that tick. It ends at a tick too, so that the first one of the next period is a whole one.
    SetTimer(charged.replenish, now + (schedule.period - 1) * TickLength());
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
  kernel_lock.AssertHeld();
  Cpu& cpu = *static_cast<Cpu*>(timer.owner);
  const uint64_t due = timer.deadline;
  // Ticks keep to their grid; those that a stalled machine missed are not made up for.
  SetTimer(cpu.tick, std::max(due, CntpctEl0::Read() - TickLength()) + TickLength());
  Thread* const running = cpu.current;
  if (running == nullptr) return;
  Charge(cpu, *running, due);
  if (!running->vcpu) CountTick(*static_cast<Task*>(running));
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
void Idle(Cpu& cpu) ATOLL_KERNEL_LOCKED {
  const uint64_t since = CntpctEl0::Read();
  cpu.idle = true;
  SetTimer(cpu.tick, Timer::kNever);
  // Host configuration: no virtual interrupt of the loaded vCPU may end the WFI below by itself.
  HcrEl2::Write(kHostHcr);
  while (cpu.run_queue.empty()) {
    // Whoever makes work for this CPU from here on sends an interrupt, which ends the WFI.
    kernel_lock.Unlock();
    DsbSy();                           // what was written before sleeping is visible (DDI0487, WFI)
    asm volatile("wfi" ::: "memory");  // ends for a pending interrupt although PSTATE.I masks it
    kernel_lock.Lock(cpu);
    ServeInterrupts(cpu);
  }
  cpu.idle = false;
  cpu.idle_ticks += CntpctEl0::Read() - since;
  StartTick(cpu);
}

// What must happen before a vCPU goes on. False: it waits instead.
bool PrepareVcpu(Cpu& cpu, Vcpu& vcpu) ATOLL_KERNEL_LOCKED {
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
  if ((vcpu.work & kWorkAbort) != 0) InjectDeviceAbort(vcpu);
  if ((vcpu.work & kWorkInterrupts) != 0) FlushInterrupts(vcpu);
  return true;
}

// Where a thread that becomes ready now is to run: at home, in a call at the home of the first caller.
Cpu& CpuFor(Thread& thread) {
  uint32_t home = thread.schedule.home_cpu;
  if (home == kAnyCpu) home = ChargedThread(thread).schedule.home_cpu;
  return home < cpu_count ? cpus[home] : Cpu::This();
}

// A thread has come into the run queue of `cpu`.
void NoticeReady(Cpu& cpu, const Thread& thread) ATOLL_KERNEL_LOCKED {
  // Without a current thread it is on its way to Schedule, or asleep.
  if (cpu.current != nullptr && thread.run_priority <= BasePriority(*cpu.current)) return;
  cpu.work = 1;
  if (&cpu != &Cpu::This() && (cpu.idle || cpu.current != nullptr)) Interrupt(cpu);
}

void Enter(Cpu& cpu, Thread& thread, Place place = Place::kLast) ATOLL_KERNEL_LOCKED {
  thread.ready_on = &cpu;
  if (thread.serving != nullptr) NoteServed(*thread.serving, cpu);
  if (place == Place::kFirst) {
    cpu.run_queue.PushFront(thread, EffectivePriority(thread));
  } else {
    cpu.run_queue.PushBack(thread, EffectivePriority(thread));
  }
  NoticeReady(cpu, thread);
}

// The current thread has to go elsewhere, or may not go on now; false, and it does.
bool MayGoOn(Cpu& cpu, Thread& current) ATOLL_KERNEL_LOCKED {
  if ((current.work & kWorkMove) != 0) {
    current.work &= ~kWorkMove;
    Cpu& home = CpuFor(current);
    if (&home != &cpu) {
      BlockCurrent(cpu);
      Enter(home, current);
      return false;
    }
  }
  if ((current.work & kWorkBudget) != 0) {
    current.work &= ~kWorkBudget;
    current.schedule.throttled = true;
  } else if ((current.work & kWorkPaused) == 0) {
    return true;
  }
  BlockCurrent(cpu);
  return false;
}

// OnCpu: to have entered the kernel is all.
void DoNothing(void*) {}

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
  for (Thread* changed = &thread; changed != nullptr;) {
    if (changed->ready) {
      Cpu& cpu = *changed->ready_on;
      cpu.run_queue.Remove(*changed);
      Enter(cpu, *changed);
    }
    Endpoint* const endpoint = changed->queued_at;
    changed = endpoint != nullptr ? endpoint->owner : changed->server;
  }
}

void MakeReady(Thread& thread, Place place) {
  if (thread.stopped || thread.ready || thread.schedule.throttled) return;
  if ((thread.work & kWorkPaused) != 0) return;  // made ready when its VM goes on
  Cpu& cpu = CpuFor(thread);
  if (cpu.current == &thread) return;
  const bool turn_goes_on = &cpu == &Cpu::This() && (thread.work & kWorkTurn) == 0;
  Enter(cpu, thread, turn_goes_on ? place : Place::kLast);
}

void MakeReadyAfterCurrent(Thread& thread) {
  Cpu& cpu = CpuFor(thread);
  if (&cpu != &Cpu::This() || cpu.current == nullptr || thread.stopped ||
      thread.schedule.throttled) {
    return MakeReady(thread);
  }
  thread.ready_on = &cpu;
  cpu.run_queue.PushFront(thread,
                          std::min(EffectivePriority(thread), EffectivePriority(*cpu.current)));
}

uint32_t CurrentPayer(const Cpu& cpu) {
  if (cpu.current == nullptr) return 0;
  const Thread& charged = ChargedThread(*cpu.current);
  return charged.vcpu ? charged.schedule.account : PayerOf(charged);
}

void BlockCurrent(Cpu& cpu) { cpu.current = nullptr; }

void Unschedule(Thread& thread) {
  if (thread.ready) thread.ready_on->run_queue.Remove(thread);
  thread.waiting_for_interrupt = false;
  for (Cpu& cpu : OnlineCpus()) {
    if (cpu.current != &thread) continue;
    // Once it is in the kernel, its registers are saved and it looks at `current` before it goes on.
    OnCpu(cpu, DoNothing, nullptr);
    cpu.current = nullptr;
  }
}

Cpu* CurrentOn(const Thread& thread) {
  for (Cpu& cpu : OnlineCpus()) {
    if (cpu.current == &thread) return &cpu;
  }
  return nullptr;
}

void BringIn(const Thread& thread) {
  if (Cpu* const cpu = CurrentOn(thread); cpu != nullptr) OnCpu(*cpu, DoNothing, nullptr);
}

void SetHome(Thread& thread, uint32_t home_cpu) {
  thread.schedule.home_cpu = home_cpu;
  if (home_cpu >= cpu_count) return;
  Cpu& home = cpus[home_cpu];
  // It goes by itself when it is next scheduled: it may be on its way into the kernel with a call, which must not be
  // lost. Until then no reply may let it go on by the fast path: a vCPU's registers are on the CPU that it leaves.
  thread.work |= kWorkMove;
  if (thread.ready) {
    thread.ready_on->run_queue.Remove(thread);
    Enter(home, thread);
  }
  for (Cpu& cpu : OnlineCpus()) {
    if (cpu.current == &thread && &cpu != &home && &cpu != &Cpu::This()) Interrupt(cpu);
  }
}

void NoteServed(Thread& caller, const Cpu& cpu) {
  const uint32_t home = ChargedThread(caller).schedule.home_cpu;
  if (home < cpu_count && home != cpu.index) caller.work |= kWorkElsewhere;
}

Thread* Schedule(Cpu& cpu) {
  for (;;) {
    Thread* next = cpu.current;
    const int highest = cpu.run_queue.Highest();
    if (next == nullptr || highest > static_cast<int>(EffectivePriority(*next))) {
      if (next != nullptr) {  // preempted: first of its priority
        next->ready_on = &cpu;
        cpu.run_queue.PushFront(*next, EffectivePriority(*next));
      }
      next = cpu.run_queue.empty() ? nullptr : TakeNext(cpu.run_queue);
      cpu.current = next;
    }
    if (next == nullptr) {
      Idle(cpu);
      continue;
    }
    if ((next->work & (kWorkMove | kWorkPaused | kWorkBudget)) != 0 && !MayGoOn(cpu, *next))
      continue;
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
      if ((next->work & kWorkStep) != 0) StepHere();
    }
    cpu.work = cpu.run_queue.Highest() > static_cast<int>(BasePriority(*next)) ? 1 : 0;
    return next;
  }
}

void SetTimer(Timer& timer, uint64_t deadline) {
  Cpu& cpu = Cpu::This();
  // Another CPU's hardware timer stays as it is: at worst it fires for nothing.
  if (timer.queue != nullptr && timer.queue != &cpu.timers) timer.queue->Set(timer, Timer::kNever);
  if (cpu.timers.Set(timer, deadline)) ProgramHypervisorTimer(cpu.timers.Earliest());
}

void RunTimers(Cpu& cpu) {
  while (Timer* const timer = cpu.timers.PopDue(CntpctEl0::Read())) timer->expired(*timer);
  ProgramHypervisorTimer(cpu.timers.Earliest());
}

void StartTick(Cpu& cpu) {
  cpu.tick.owner = &cpu;
  cpu.tick.expired = OnTick;
  SetTimer(cpu.tick, CntpctEl0::Read() + TickLength());
}

extern "C" [[noreturn]] void Resume(Thread* thread);

void StartScheduling(Cpu& cpu) {
  cpu.online.store(true, std::memory_order_release);
  // Until boot is over on the first CPU; it unmaps the code that led here.
  while (!boot_is_over.load(std::memory_order_acquire)) asm volatile("yield");
  kernel_lock.Lock(cpu);
  StartTick(cpu);
  Resume(Schedule(cpu));
}

}  // namespace atoll
