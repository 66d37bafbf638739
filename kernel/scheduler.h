// Which thread runs: the ready one of the highest effective priority; equal ones take turns every tick.
#ifndef ATOLL_KERNEL_SCHEDULER_H_
#define ATOLL_KERNEL_SCHEDULER_H_

#include "kernel/cpu.h"
#include "kernel/thread.h"

namespace atoll {

// A thread that runs for others runs at the highest priority among its own and its callers', those that wait in
// its queue included. Chains are at most four deep (ranks), so this is cheap enough to compute when it is needed
// instead of on every call.
uint32_t EffectivePriority(const Thread& thread);

// `thread` has a priority that it did not have before, and with it the servers that it waits for: those that are
// ready change their places in the run queue.
void Reprioritize(Thread& thread);

// Puts a thread that can go on into its CPU's run queue. No effect on a stopped, throttled or queued one.
void MakeReady(Thread& thread);

// The current thread can not go on: the CPU has none until the next Schedule.
void BlockCurrent(Cpu& cpu);

// Takes a thread out of the run queue and off its CPU, whatever it was doing.
void Unschedule(Thread& thread);

// Chooses the next thread, makes it current with all its state in the registers (but for its frame), idling
// as long as there is none. The way out of every slow path.
Thread* Schedule(Cpu& cpu);

// Sets `timer` of this CPU and the hardware timer with it.
void SetTimer(Cpu& cpu, Timer& timer, uint64_t deadline);

// Runs what is due. Called on the hardware timer's interrupt.
void RunTimers(Cpu& cpu);

void StartTick(Cpu& cpu);

}  // namespace atoll

#endif  // ATOLL_KERNEL_SCHEDULER_H_
