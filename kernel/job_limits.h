// How much a task may do for one job: what finds hangs and floods.
//
// A job is one call that it serves, or one reception of signals. The tick looks whether the job that it finds is still
// the last one, so that no call pays for it.
#ifndef ATOLL_KERNEL_JOB_LIMITS_H_
#define ATOLL_KERNEL_JOB_LIMITS_H_

#include <cstdint>

#include "kernel/kernel_lock.h"

namespace atoll {

struct Task;

struct Limits {
  uint32_t deadline = 0;  // ticks; 0: none
  uint32_t effects = 0;   // calls that reach others; 0: none
  // The job that was seen last, and what it took until then.
  uint64_t token = 0;  // of the call served; 0: signals
  uint64_t reception = 0;
  uint32_t halves_used = 0;  // of a tick
  uint32_t effects_used = 0;
};

// A tick found it running. It may be dead afterwards. late: the machine itself was not there for a part of the time, so
// nobody knows how much of it was the task's; it counts as a half, as time without end is a hang all the same.
void CountTick(Task& task, bool late) ATOLL_KERNEL_LOCKED;

// It, the current task, makes a call that reaches others. False: that was one too many, and it is dead.
bool CountEffect(Task& task) ATOLL_KERNEL_LOCKED;

// One of its lines was dropped: it logged faster than it may. It may be dead afterwards.
void CountDroppedLine(Task& task) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_JOB_LIMITS_H_
