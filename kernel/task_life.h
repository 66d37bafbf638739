// Start and death of tasks, and where vCPUs are turned on and off.
#ifndef ATOLL_KERNEL_TASK_LIFE_H_
#define ATOLL_KERNEL_TASK_LIFE_H_

#include <cstdint>

#include "kernel/task.h"
#include "kernel/vm.h"

namespace atoll {

// A dead or new task runs from `pc`; nothing of an earlier life is left in its registers. Its call ids go
// on counting, so no old reply fits.
void StartTask(Task& task, uint64_t pc, uint64_t sp, uint64_t argument,
               uint64_t generation) ATOLL_KERNEL_LOCKED;

// Stops a task: its own call is cancelled, the calls it took are redelivered later, its timer is off, its
// watcher is signalled; the supervisor is started again by the kernel. No effect on a dead one.
void Die(Task& task, DeathCause cause) ATOLL_KERNEL_LOCKED;

// A task's timer is due (Timer::expired): its bit is set.
void OnTaskTimer(Timer& timer);

// PSCI CPU_ON and CPU_OFF.
void TurnOn(Vcpu& vcpu, uint64_t entry, uint64_t context) ATOLL_KERNEL_LOCKED;
void TurnOff(Vcpu& vcpu) ATOLL_KERNEL_LOCKED;

// All vCPUs off; the VM's watcher is signalled.
void StopVm(Vm& vm, VmState state) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_TASK_LIFE_H_
