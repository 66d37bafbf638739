// Which thread runs: the ready one of the highest effective priority; equal ones take turns every tick.
#ifndef ATOLL_KERNEL_SCHEDULER_H_
#define ATOLL_KERNEL_SCHEDULER_H_

#include "kernel/cpu.h"
#include "kernel/thread.h"

namespace atoll {

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
