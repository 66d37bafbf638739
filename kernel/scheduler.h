// Which thread runs on a CPU: the ready one of the highest effective priority; equal ones take turns every tick.
//
// vCPUs of equal priority share by time (kernel/shares.h). Time that services spend on signals is the time of the VM
// that raised them, and as urgent as its vCPUs once it has had its part, so a VM that keeps services busy takes nothing
// from its neighbours.
//
// A vCPU runs on its home CPU. A task works for a call on the CPU of the caller that it took the call from (a
// queued one: where it was before), and for a signal on its home CPU, or where the signal was raised if it has
// none. Nothing moves by itself.
#ifndef ATOLL_KERNEL_SCHEDULER_H_
#define ATOLL_KERNEL_SCHEDULER_H_

#include "kernel/cpu.h"
#include "kernel/thread.h"

namespace atoll {

// A thread that runs for others runs at the highest priority among its own and its callers', those that wait in
// its queue included. Chains are at most four deep (ranks), so this is cheap enough to compute when it is needed
// instead of on every call.
uint32_t EffectivePriority(const Thread& thread) ATOLL_KERNEL_LOCKED;

// `thread` has a priority that it did not have before, and with it the servers that it waits for: those that are
// ready change their places in the run queue.
void Reprioritize(Thread& thread) ATOLL_KERNEL_LOCKED;

// Puts a thread that can go on into the run queue of the CPU that is to run it, and interrupts that CPU if it runs
// something less urgent. No effect on a stopped, throttled or queued one. First of its equals: one whose turn goes on
// because this CPU worked for it until now, unless the turn ended meanwhile.
// After the current thread of its CPU: that one goes on until it waits or its turn ends, whatever the priorities.
// Reprioritize ends the patience.
enum class Place { kFirst, kLast, kAfterCurrent };
void MakeReady(Thread& thread, Place place = Place::kLast) ATOLL_KERNEL_LOCKED;

// For whom the thread works.
inline Account AccountOf(Thread& thread) { return ChargedThread(thread).payers.charged; }

// `thread` goes on on this CPU, maybe for somebody else than before.
inline void NoteWork(Cpu& cpu, Thread& thread) ATOLL_KERNEL_LOCKED {
  const Account account = AccountOf(thread);
  if (account != cpu.shares.account()) cpu.shares.Settle(CntpctEl0::Read(), account);
}

// More signals came for a task that has not taken those before: the next_payers of all of them.
void AddPayers(Thread& task, Payers more) ATOLL_KERNEL_LOCKED;

// The VMID is a new VM's, which has had no time.
void OpenAccount(Account account) ATOLL_KERNEL_LOCKED;

// The current thread can not go on: the CPU has none until the next Schedule.
void BlockCurrent(Cpu& cpu) ATOLL_KERNEL_LOCKED;

// Takes a thread out of the run queue and off its CPU, whatever it was doing and wherever.
void Unschedule(Thread& thread) ATOLL_KERNEL_LOCKED;

// The CPU that runs it, or null.
Cpu* CurrentOn(const Thread& thread) ATOLL_KERNEL_LOCKED;

// If a CPU runs it, it has entered the kernel there: its registers are in its frame, and it does not go on before the
// kernel lock is free and Schedule has looked at it.
void BringIn(const Thread& thread) ATOLL_KERNEL_LOCKED;

// `caller` is served on that CPU from now on. If the first caller of its chain is at home elsewhere, the reply
// must not go on there (kWorkElsewhere).
void NoteServed(Thread& caller, const Cpu& cpu) ATOLL_KERNEL_LOCKED;

// A thread changes its home CPU; what it is doing it goes on with there.
void SetHome(Thread& thread, uint32_t home_cpu) ATOLL_KERNEL_LOCKED;

// Chooses the next thread, makes it current with all its state in the registers (but for its frame), idling
// as long as there is none. The way out of every slow path.
Thread* Schedule(Cpu& cpu) ATOLL_KERNEL_LOCKED;

// Queues `timer` on this CPU, wherever it was before, and sets the hardware timer; kNever takes it out.
void SetTimer(Timer& timer, uint64_t deadline) ATOLL_KERNEL_LOCKED;

// Runs what is due. Called on the hardware timer's interrupt.
void RunTimers(Cpu& cpu) ATOLL_KERNEL_LOCKED;

void StartTick(Cpu& cpu) ATOLL_KERNEL_LOCKED;

// A CPU begins to run threads. Does not return.
[[noreturn]] void StartScheduling(Cpu& cpu);

}  // namespace atoll

#endif  // ATOLL_KERNEL_SCHEDULER_H_
