#include "kernel/stepping.h"

#include "kernel/scheduler.h"
#include "kernel/system_register.h"
#include "kernel/task.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/debug_registers.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/pstate.h"

namespace atoll {
namespace {

ATOLL_SYSTEM_REGISTER(MdcrEl2, "mdcr_el2");
inline constexpr uint64_t kTde = 1u << 8;  // debug exceptions of EL1 and EL0 come to EL2
inline constexpr uint64_t kMdscrSs = 1u << 0;
inline constexpr uint32_t kInstructionBytes = 4;
// A window that is longer than this is none.
inline constexpr uint32_t kWindowInstructions = 8;

// Its reply takes the slow path.
void SlowReply(Task& task) ATOLL_KERNEL_LOCKED {
  if (task.serving != nullptr) task.serving->work |= kWorkElsewhere;
}

void SetStepped(Task& task) {
  const bool stepped = task.stepping.begun || task.stepping.leaving != 0;
  task.work = stepped ? task.work | kWorkStep : task.work & ~kWorkStep;
  task.frame.pstate = stepped ? task.frame.pstate | pstate::kSs : task.frame.pstate & ~pstate::kSs;
}

void StopLeaving(Task& task) {
  if (task.stepping.leaving == 0) return;
  task.stepping.leaving = 0;
  task.schedule.priority = task.stepping.priority;
}

// One more instruction is done.
void CountStep(Task& task) ATOLL_KERNEL_LOCKED {
  Stepping& stepping = task.stepping;
  if (stepping.leaving != 0) {
    if (stepping.leaving == 1) stepping.window_bytes = 0;  // it never leaves
    if (!InCommitWindow(task)) StopLeaving(task);
    if (stepping.leaving != 0) --stepping.leaving;
  }
  if (!stepping.begun) return;
  ++stepping.executed;
  if (stepping.executed >= stepping.steps + kWindowInstructions ||
      (stepping.executed >= stepping.steps && !InCommitWindow(task))) {
    Die(task, DeathCause::kKilled);
  }
}

}  // namespace

void ArmStepping(Task& task, uint32_t steps) {
  Stepping& stepping = task.stepping;
  stepping.steps = steps;
  stepping.begun = false;
  BringIn(task);
  SetStepped(task);
  if (steps == 0) return;  // an exception that may still come is passed over
  stepping.executed = 0;
  SlowReply(task);
  if (task.port->receiver == &task) StopAtReception(task);
}

void ForgetStepping(Task& task) {
  StopLeaving(task);
  task.stepping = {.executed = task.stepping.executed};
  task.work &= ~kWorkStep;
}

void StopAtReception(Task& task) { task.frame.pstate |= pstate::kIl; }

bool OnStep(Task& task, uint64_t esr_value) {
  Stepping& stepping = task.stepping;
  switch (esr::Class(esr_value)) {
    case ExceptionClass::kIllegalState:
      task.frame.pstate &= ~pstate::kIl;
      if (stepping.steps == 0) return true;
      // The call that it waited in was the last instruction, if it was stepped then.
      if (stepping.begun) CountStep(task);
      stepping.begun = true;
      break;
    case ExceptionClass::kSoftwareStepLower:
      if ((task.work & kWorkStep) == 0) {
        StepNothingHere();
        return true;
      }
      // A call that it waited in: this exception comes before the one of StopAtReception.
      task.frame.pstate &= ~pstate::kIl;
      CountStep(task);
      break;
    default: return false;
  }
  if (task.stopped) return true;
  SetStepped(task);
  SlowReply(task);
  return true;
}

void StepHere() {
  MdscrEl1::Write(kMdscrSs);
  MdcrEl2::Write(MdcrEl2::Read() | kTde);
}

void StepNothingHere() {
  DebugRegisters::Disable();
  MdcrEl2::Write(MdcrEl2::Read() & ~kTde);
}

bool InCommitWindow(const Task& task) {
  return task.stepping.window_bytes != 0 &&
         task.frame.pc - task.stepping.window - 1 < task.stepping.window_bytes - 1;
}

bool LeavesCommitWindow(Task& caller, Task& task) {
  Stepping& stepping = task.stepping;
  if (stepping.window_bytes == 0 || &caller == &task) return false;
  // One that waits, even for its next period, does not compute.
  if (!task.ready && CurrentOn(task) == nullptr) return false;
  if (stepping.leaving == 0) {  // else it is not disturbed until it is outside
    BringIn(task);
    if (!InCommitWindow(task)) return false;
    stepping.leaving = kWindowInstructions;
    stepping.priority = task.schedule.priority;
    task.schedule.priority = kPriorities - 1;
    SetStepped(task);
    Reprioritize(task);
  }
  caller.frame.pc -= kInstructionBytes;
  return true;
}

}  // namespace atoll
