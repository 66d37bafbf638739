// What makes a vCPU leave the guest, and how it goes on.
#ifndef ATOLL_KERNEL_EXITS_H_
#define ATOLL_KERNEL_EXITS_H_

#include "ipc/abi.h"
#include "kernel/vm.h"
#include "proto/device.atoll.h"

namespace atoll {

// The device access that `vcpu` is stopped at, from what was kept of its exit.
MmioAccessRequest MmioRequest(const Vcpu& vcpu);

// Completes it: a load gets `value`, PC steps. Not ok: an external abort in the guest.
void CompleteMmio(Vcpu& vcpu, bool ok, uint64_t value);

// After a change of the vCPU's debug registers: chooses between fast and slow exits.
void UpdateDebug(Vcpu& vcpu);

// Completes hvc or smc: x0-x3. Not ok: x0 = -1 (NOT_SUPPORTED, DEN0028).
void CompleteHypercall(Vcpu& vcpu, bool ok, const abi::Words& words);

}  // namespace atoll

#endif  // ATOLL_KERNEL_EXITS_H_
