// Whose EL1 state is in a CPU's registers. It stays there while tasks run, so a vCPU that exits to a service
// and comes back pays nothing for it.
#ifndef ATOLL_KERNEL_VCPU_SWITCH_H_
#define ATOLL_KERNEL_VCPU_SWITCH_H_

#include "kernel/cpu.h"
#include "kernel/vm.h"

namespace atoll {

// Puts the state of `vcpu` into this CPU's registers, saving that of the one before.
void SwitchVcpu(Cpu& cpu, Vcpu& vcpu) ATOLL_KERNEL_LOCKED;

// Saves it and leaves the registers to nobody. Its timers go on in software: they wake it.
void UnloadVcpu(Vcpu& vcpu) ATOLL_KERNEL_LOCKED;

// Architectural reset (DDI0487 warm reset at EL1; PSCI CPU_ON): registers, timers, CPU interface.
void ResetVcpu(Vcpu& vcpu) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_SWITCH_H_
