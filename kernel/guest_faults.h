// Exceptions that a guest is given, and faults that are none: what seldom happens of what kernel/exits.cc serves.
#ifndef ATOLL_KERNEL_GUEST_FAULTS_H_
#define ATOLL_KERNEL_GUEST_FAULTS_H_

#include <cstdint>

#include "ipc/address.h"
#include "kernel/task.h"
#include "kernel/vcpu/exception_injection.h"
#include "kernel/vm.h"

namespace atoll {

inline GuestProgress ProgressOf(Vcpu& vcpu) {
  return {.pc = vcpu.frame.pc, .pstate = vcpu.frame.pstate};
}

// A translation fault that would not happen now, of a VM or a task.
bool IsMapped(Vm& vm, GuestPhys address, uint64_t esr_value);
bool IsMapped(Task& task, VirtAddr address, uint64_t esr_value);

// Nothing is at that address: logged, and an external abort in the guest.
void FailUnclaimed(Vcpu& vcpu, uint64_t esr_value, GuestPhys address, uint64_t far);

void InjectUndefined(Vcpu& vcpu);

// With kWorkAbort, once the vCPU is loaded: its access failed.
void InjectDeviceAbort(Vcpu& vcpu);

// Entries of the table of exits. Whatever EL2 traps and no other entry serves is hidden from guests: undefined.
void OnUndefined(Vcpu& vcpu, uint64_t esr_value);
void OnInstructionAbort(Vcpu& vcpu, uint64_t esr_value);

}  // namespace atoll

#endif  // ATOLL_KERNEL_GUEST_FAULTS_H_
