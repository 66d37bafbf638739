// What vmm may do to its VM: the kernel calls of proto/kernel.proto that carry RIGHT_POWER.
#ifndef ATOLL_SERVICES_VMM_VM_CONTROL_H_
#define ATOLL_SERVICES_VMM_VM_CONTROL_H_

#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// vCPUs go by their index. Semantics and errors are those of the kernel calls of the same names.
class VmControl {
 public:
  virtual Status StartVcpu(uint32_t vcpu, GuestPhys entry, uint64_t context) = 0;
  virtual Status StopVcpu(uint32_t vcpu) = 0;
  virtual Status SuspendVcpu(uint32_t vcpu) = 0;
  virtual Result<VcpuState> GetVcpuState(uint32_t vcpu) = 0;
  virtual Status StopVm(VmState state) = 0;
  virtual Result<VmState> GetVmState() = 0;
  virtual Result<uint64_t> GetIdRegister(uint32_t crm, uint32_t op2) = 0;
  virtual Status SetIdRegister(uint32_t crm, uint32_t op2, uint64_t value) = 0;

 protected:
  ~VmControl() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_VM_CONTROL_H_
