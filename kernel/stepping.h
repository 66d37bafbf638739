// Tasks that run instruction by instruction: to die after a given one, or to leave their commit window first.
//
// Software step (DDI0487, self-hosted debug): with MDSCR_EL1.SS a task whose PSTATE.SS is set executes one instruction
// and takes an exception to EL2. A call to the kernel clears PSTATE.SS, so the exception comes at its return.
//
// The fast path knows nothing of it. What it resumes after a call has no work bits, and kWorkStep is one. What it
// delivers a message to has waited with PSTATE.IL, if it is to be stepped: that is an exception before the first
// instruction. And a stepped task's reply is made slow by a work bit of its caller. Whoever else runs next on the CPU
// takes one stray exception, which turns stepping off; MDCR_EL2.TDE brings a guest's to EL2.
#ifndef ATOLL_KERNEL_STEPPING_H_
#define ATOLL_KERNEL_STEPPING_H_

#include <cstdint>

#include "kernel/kernel_lock.h"

namespace atoll {

struct Task;

struct Stepping {
  uint32_t steps = 0;     // it dies after so many; 0: it is not to be stepped
  uint64_t executed = 0;  // since it was told to
  bool begun = false;     // it has received work since
  // Commit window, of a task that computes: PC behind `window`, less than `window_bytes`.
  uint64_t window = 0;
  uint32_t window_bytes = 0;
  uint32_t leaving = 0;   // so many more instructions to leave it
  uint32_t priority = 0;  // its own; while it leaves it has the highest
};

// From its next reception on the task is stepped (StepTask).
void ArmStepping(Task& task, uint32_t steps) ATOLL_KERNEL_LOCKED;

// It is dead, or begins anew: nothing of its stepping or its window is left but what it executed.
void ForgetStepping(Task& task) ATOLL_KERNEL_LOCKED;

// In the kernel, it is about to receive: the next instruction outside is not executed but an exception.
void StopAtReception(Task& task) ATOLL_KERNEL_LOCKED;

// An exception of the current task. True if it is of those that stepping causes.
bool OnStep(Task& task, uint64_t esr_value) ATOLL_KERNEL_LOCKED;

// This CPU steps what it runs next, or nothing any more.
void StepHere();
void StepNothingHere();

bool InCommitWindow(const Task& task);
// `task` is to be stopped. True: it leaves its commit window first, at the highest priority; `caller` makes its call
// again afterwards.
bool LeavesCommitWindow(Task& caller, Task& task) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_STEPPING_H_
