#include "kernel/task_life.h"

#include "kernel/ipc.h"
#include "kernel/root_restart.h"
#include "kernel/scheduler.h"
#include "kernel/vcpu/pstate.h"
#include "kernel/vcpu_switch.h"

namespace atoll {

void StartTask(Task& task, uint64_t pc, uint64_t sp, uint64_t argument, uint64_t generation) {
  task.frame = {};
  task.frame.x[0] = argument;
  task.frame.x[1] = generation;
  task.frame.pc = pc;
  task.frame.sp_el0 = sp;
  task.frame.pstate = 0;  // EL0t, nothing masked
  task.limits.halves_used = 0;
  task.limits.effects_used = 0;
  task.log_dropped =
      0;  // a flood was its predecessor's; what it may log in this second is used up all the same
  task.cause = DeathCause::kNone;
  task.death_esr = 0;
  task.death_far = 0;
  task.state = TaskState::kRunning;
  task.stopped = false;
  task.payers = {.charged = task.schedule.account, .favoured = 0};
  MakeReady(task);
}

void Die(Task& task, DeathCause cause) {
  if (task.state != TaskState::kRunning) return;
  task.state = TaskState::kDead;
  task.cause = cause;
  task.died = CntpctEl0::Read();
  SetTimer(task.timer, Timer::kNever);
  CancelCall(task);
  Unschedule(task);
  task.stopped = true;
  ForgetStepping(task);
  AbandonCalls(task);
  // Signals stay set: the next instance must see the doorbells that this one did not.
  if (task.death_watcher == nullptr) return RestartRootSoon(task);
  RaiseSignal(*task.death_watcher, task.death_bits);
}

void OnTaskTimer(Timer& timer) {
  kernel_lock.AssertHeld();
  Task& task = *static_cast<Task*>(timer.owner);
  // Its own timer: it goes on with what it did.
  RaiseSignalFor(task.payers.charged, task, uint64_t{1} << task.timer_bit);
}

void TurnOn(Vcpu& vcpu, uint64_t entry, uint64_t context) {
  ResetVcpu(vcpu);
  vcpu.frame = {};
  vcpu.frame.x[0] = context;
  vcpu.frame.pc = entry;
  vcpu.frame.pstate = pstate::kEl1h | pstate::kDaif;
  vcpu.power = VcpuState::kOn;
  vcpu.vm->state = VmState::kRunning;
  vcpu.vm->id_registers.Freeze();
  // Its code was written through the data side, by its vmm or a sibling: no CPU may run what it had before.
  DsbIsh();
  asm volatile("ic ialluis" ::: "memory");
  DsbIsh();
  vcpu.stopped = false;
  MakeReady(vcpu);
}

void TurnOff(Vcpu& vcpu) {
  if (vcpu.power == VcpuState::kOff) return;
  CancelCall(vcpu);
  Unschedule(vcpu);
  vcpu.stopped = true;
  vcpu.power = VcpuState::kOff;
  UnloadVcpu(vcpu);  // its timers must not fire any more
  ResetVcpu(vcpu);
}

void StopVm(Vm& vm, VmState state) {
  for (Vcpu* const vcpu : vm.vcpus) {
    if (vcpu != nullptr) TurnOff(*vcpu);
  }
  vm.state = state;
  if (vm.watcher != nullptr) RaiseSignal(*vm.watcher, vm.watcher_bits);
}

}  // namespace atoll
