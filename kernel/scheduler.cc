#include "kernel/scheduler.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

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

uint64_t TickLength() { return CounterFrequency() / kTicksPerSecond; }

constinit std::array<uint8_t, kMaxVms> vcpu_priorities ABSL_GUARDED_BY(kernel_lock) = {};
static_assert(kMaxVms - 1 <= std::numeric_limits<Account>::max());
inline constexpr uint64_t kMostAhead = 20;  // ticks

// The priority of a task that works on signals: its own, or that of the vCPUs of the VM that favours it, if all for
// whom it works have had more than their part. Until the next tick a little more is no harm, and lets short work be
// done at once. The root ends and recovers services of all VMs: it waits for none, whoever gave it work.
[[gnu::noinline]] uint32_t PriorityForSignals(const Thread& task) ATOLL_KERNEL_LOCKED {
  const Shares& shares = task.ready_on->shares;
  const uint64_t slack = task.ready_on->turn_ended ? 0 : TickLength() / 8;
  const uint32_t priority = task.schedule.priority;
  if (priority == kRootPriority || !shares.Owes(task.payers.favoured, slack) ||
      !shares.Owes(task.next_payers.favoured, slack)) {
    return priority;
  }
  return std::min<uint32_t>(priority, vcpu_priorities[task.payers.favoured]);
}

// One of several of a priority that share by time: the first, but it lets another go first whose VM has had less.
// In its turn it may have had a turn more.
[[gnu::noinline]] Thread* Fairest(Cpu& cpu, Thread& first) ATOLL_KERNEL_LOCKED {
  Shares& shares = cpu.shares;
  shares.Settle(CntpctEl0::Read(), shares.account());
  Thread* fairest = &first;
  uint64_t least = shares.had(AccountOf(first));
  if (!cpu.turn_ended) least -= std::min(least, TickLength());
  for (Thread* other = &first; (other = RunQueue::Next(*other)) != nullptr;) {
    const uint64_t had = shares.had(AccountOf(*other));
    if (had >= least) continue;
    fairest = other;
    least = had;
  }
  return fairest;
}

// The next thread of a queue that is not empty.
Thread* TakeNext(Cpu& cpu) ATOLL_KERNEL_LOCKED {
  Thread* next = cpu.run_queue.First();
  // vCPUs, and services that wait among them.
  const bool share = next->vcpu || next->run_priority < next->schedule.priority;
  if (share && RunQueue::Next(*next) != nullptr) next = Fairest(cpu, *next);
  cpu.run_queue.Remove(*next);
  NoteWork(cpu, *next);
  if (share) {
    cpu.shares.Choose(cpu.shares.account());
    cpu.turn_ended = false;
  }
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
  const uint64_t now = CntpctEl0::Read();
  const uint64_t length = TickLength();
  // Ticks keep to their grid; those that a stalled machine missed are not made up for.
  SetTimer(cpu.tick, (now - due < length ? due : now) + length);
  Thread* const running = cpu.current;
  if (running == nullptr) return;
  Charge(cpu, *running, due);
  // A tick that went by waiting for the kernel lock is none of the task's.
  const bool waited = cpu.contended_ticks - cpu.contended_at_tick > length / 4;
  cpu.contended_at_tick = cpu.contended_ticks;
  if (!running->vcpu && !waited) CountTick(*static_cast<Task*>(running), now - due > length / 4);
  Shares& shares = cpu.shares;
  shares.Settle(CntpctEl0::Read(), shares.account());
  shares.Forgive(kMostAhead * length);
  // Turns among equals: to the back of its queue.
  if (cpu.current == nullptr) return;
  Thread& charged = ChargedThread(*running);
  cpu.turn_ended = !charged.vcpu;
  const int highest = cpu.run_queue.Highest();
  const uint32_t priority = EffectivePriority(*running);
  if (highest == static_cast<int>(priority)) {
    BlockCurrent(cpu);
    // A service that waits among vCPUs goes on before those of the VM that it works for.
    MakeReady(*running, priority < running->schedule.priority ? Place::kFirst : Place::kLast);
    return;
  }
  // A caller's turn ends too while others work for it, or one that does nothing but call would never yield.
  if (&charged != running && highest == static_cast<int>(charged.schedule.priority)) {
    charged.work |= kWorkTurn;
  } else if (charged.vcpu) {
    shares.Choose(shares.account());  // once more: nobody else wants its time
  }
}

// Waits for an interrupt and serves it. The CPU is really idle: no tick runs. Apart, as everything that Schedule seldom
// needs: what it keeps in registers over these calls is saved on each of its ways.
[[gnu::noinline]] void Idle(Cpu& cpu) ATOLL_KERNEL_LOCKED {
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
  cpu.shares.Skip(now);
  StartTick(cpu);
}

// Something more urgent than the current thread is ready.
bool IsPreempted(const Cpu& cpu, const Thread& current) ATOLL_KERNEL_LOCKED {
  const int highest = cpu.run_queue.Highest();
  // At most times its own priority is enough to tell: callers only raise it.
  const bool for_signals = current.payers.favoured != 0 && current.serving == nullptr;
  if (!for_signals && highest <= static_cast<int>(current.schedule.priority)) return false;
  return highest > static_cast<int>(EffectivePriority(current));
}

// What must happen before a vCPU goes on. False: it waits instead.
[[gnu::noinline]] bool PrepareVcpu(Cpu& cpu, Vcpu& vcpu) ATOLL_KERNEL_LOCKED {
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
  if (thread.serving == nullptr) cpu.shares.Join(thread.payers.charged);
  if (thread.vcpu)
    vcpu_priorities[thread.payers.charged] = static_cast<uint8_t>(thread.schedule.priority);
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
[[gnu::noinline]] bool MayGoOn(Cpu& cpu, Thread& current) ATOLL_KERNEL_LOCKED {
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
    const bool for_signals = served->payers.favoured != 0 && served->serving == nullptr;
    priority =
        std::max(priority, for_signals ? PriorityForSignals(*served) : served->schedule.priority);
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

void AddPayers(Thread& task, Payers more) {
  const Shares& shares = Cpu::This().shares;
  Payers& all = task.next_payers;
  if (all.charged == 0 || shares.had(more.charged) > shares.had(all.charged))
    all.charged = more.charged;
  if (more.favoured == 0 || shares.had(more.favoured) < shares.had(all.favoured))
    all.favoured = more.favoured;
}

void OpenAccount(Account account) {
  for (Cpu& cpu : cpus) cpu.shares.Open(account);
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
    if (next == nullptr || IsPreempted(cpu, *next)) {
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
