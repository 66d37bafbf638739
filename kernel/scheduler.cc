#include "kernel/scheduler.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernel/cpu_setup.h"
#include "kernel/endpoint.h"
#include "kernel/guest_faults.h"
#include "kernel/interrupts.h"
#include "kernel/machine/timer.h"
#include "kernel/pools.h"
#include "kernel/shares.h"
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

uint64_t TickLength() { return CounterFrequency() / kTicksPerSecond; }

using CpuShares = Shares<kMaxVms>;
constinit std::array<CpuShares, kMaxCpus> shares ABSL_GUARDED_BY(kernel_lock) = {};
constinit std::array<uint8_t, kMaxVms> vcpu_priorities ABSL_GUARDED_BY(kernel_lock) = {};
inline constexpr uint64_t kMostAhead = 20;  // ticks

CpuShares& SharesOf(const Cpu& cpu) ATOLL_KERNEL_LOCKED { return shares[cpu.index]; }

uint32_t AccountOf(Thread& thread) {
  const Thread& charged = ChargedThread(thread);
  return charged.vcpu ? charged.schedule.account : charged.payers.charged;
}

void Settle(Cpu& cpu, uint32_t next_account) ATOLL_KERNEL_LOCKED {
  SharesOf(cpu).Settle(CntpctEl0::Read(), next_account, kMostAhead * TickLength());
}

// A task that works on signals only of VMs that have had more than their part. A little more is no harm, and lets short
// work be done at once.
bool Yields(const Thread& thread) ATOLL_KERNEL_LOCKED {
  if (thread.vcpu || thread.serving != nullptr || thread.payers.favoured == 0) return false;
  const CpuShares& own = SharesOf(*thread.ready_on);
  const uint64_t slack = TickLength() / 8;
  return own.Owes(thread.payers.favoured, slack) && own.Owes(thread.next_payers.favoured, slack);
}

// The next thread of a queue that is not empty: the first of the highest priority; but among those that share by time
// it lets another go first whose VM has had less. A vCPU in its turn may have had a turn more.
Thread* TakeNext(Cpu& cpu) ATOLL_KERNEL_LOCKED {
  CpuShares& own = SharesOf(cpu);
  Settle(cpu, own.account());
  Thread* next = cpu.run_queue.First();
  if (next->vcpu || Yields(*next)) {
    uint32_t account = AccountOf(*next);
    uint64_t least = own.had(account);
    if (next->vcpu && !std::exchange(cpu.turn_ended, false)) least -= std::min(least, TickLength());
    for (Thread* other = next; (other = RunQueue::Next(*other)) != nullptr;) {
      const uint32_t others = AccountOf(*other);
      if (own.had(others) >= least) continue;
      next = other;
      account = others;
      least = own.had(others);
    }
    own.Choose(account);
  }
  cpu.run_queue.Remove(*next);
  return next;
}

// One tick of running time, which ended at `now`, for the thread on whose time `running` runs.
void Charge(Cpu& cpu, Thread& running, uint64_t now) ATOLL_KERNEL_LOCKED {
  ++running.ticks;
  Thread& charged = ChargedThread(running);
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
  CpuShares& own = SharesOf(cpu);
  Settle(cpu, own.account());
  // Turns among equals: to the back of its queue.
  if (cpu.current == nullptr) return;
  const int highest = cpu.run_queue.Highest();
  if (highest == static_cast<int>(EffectivePriority(*running))) {
    BlockCurrent(cpu);
    // A service goes on before the vCPUs of the VM that it works for.
    MakeReady(*running, Yields(*running) ? Place::kFirst : Place::kLast);
    return;
  }
  // A caller's turn ends too while others work for it, or one that does nothing but call would never yield.
  Thread& charged = ChargedThread(*running);
  if (&charged != running && highest == static_cast<int>(charged.schedule.priority)) {
    charged.work |= kWorkTurn;
  } else if (charged.vcpu) {
    own.Choose(own.account());  // once more: nobody else wants its time
  } else {
    cpu.turn_ended = true;  // of the vCPU that was interrupted
  }
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
  const uint64_t now = CntpctEl0::Read();
  cpu.idle_ticks += now - since;
  SharesOf(cpu).Skip(now);
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
  const uint32_t account = AccountOf(thread);
  SharesOf(cpu).Join(account);
  if (thread.vcpu) vcpu_priorities[account] = static_cast<uint8_t>(thread.schedule.priority);
  uint32_t priority = EffectivePriority(thread);
  if (place == Place::kAfterCurrent && cpu.current != nullptr)
    priority = std::min(priority, EffectivePriority(*cpu.current));
  if (place == Place::kLast) {
    cpu.run_queue.PushBack(thread, priority);
  } else {
    cpu.run_queue.PushFront(thread, priority);
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
    uint32_t own = served->schedule.priority;
    if (Yields(*served))
      own = std::min<uint32_t>(own, vcpu_priorities[served->payers.favoured]);
    priority = std::max(priority, own);
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

uint32_t CurrentPayer(const Cpu& cpu) { return cpu.current != nullptr ? AccountOf(*cpu.current) : 0; }

void AddPayers(Task& task, const Payers& more) {
  const CpuShares& own = SharesOf(Cpu::This());
  Payers& all = task.next_payers;
  if (task.signals.load(std::memory_order_relaxed) == 0) {
    all = more;
    return;
  }
  if (all.charged == 0 || own.had(more.charged) > own.had(all.charged)) all.charged = more.charged;
  if (more.favoured == 0 || own.had(more.favoured) < own.had(all.favoured))
    all.favoured = more.favoured;
}

void OpenAccount(uint32_t account) {
  for (CpuShares& own : shares) own.Forget(account);
  vcpu_priorities[account] = kPriorities - 1;
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
      next = cpu.run_queue.empty() ? nullptr : TakeNext(cpu);
      cpu.current = next;
    }
    if (next == nullptr) {
      Idle(cpu);
      continue;
    }
    if ((next->work & (kWorkMove | kWorkPaused | kWorkBudget)) != 0 && !MayGoOn(cpu, *next))
      continue;
    if (const uint32_t account = AccountOf(*next); account != SharesOf(cpu).account())
      Settle(cpu, account);
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
