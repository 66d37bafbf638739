// VmControl by kernel calls.
#ifndef ATOLL_SERVICES_VMM_KERNEL_VM_CONTROL_H_
#define ATOLL_SERVICES_VMM_KERNEL_VM_CONTROL_H_

#include "ipc/abi.h"
#include "proto/kernel_calls.atoll.h"
#include "services/vmm/vm_control.h"

namespace atoll {

// Slots of the VM and of vCPU 0; the other vCPUs follow in the order of their indices. The kernel refuses a handle that is
// not there. They are part of the code, so that a stray store cannot make vmm mean another object.
template <uint32_t kVm, uint32_t kFirstVcpu>
class KernelVmControl final : public VmControl {
 public:
  Status StartVcpu(uint32_t vcpu, GuestPhys entry, uint64_t context) override {
    return kernel::StartVcpu(Vcpu(vcpu), {.entry = entry.value, .context = context});
  }
  Status StopVcpu(uint32_t vcpu) override { return kernel::StopVcpu(Vcpu(vcpu)); }
  Status SuspendVcpu(uint32_t vcpu) override { return kernel::SuspendVcpu(Vcpu(vcpu)); }
  Result<VcpuState> GetVcpuState(uint32_t vcpu) override {
    const auto reply = kernel::GetVcpuState(Vcpu(vcpu));
    if (!reply.has_value()) return std::unexpected(reply.error());
    return reply->state;
  }
  Status StopVm(VmState state) override {
    return kernel::StopVm(abi::Handle{kVm}, {.state = state});
  }
  Result<VmState> GetVmState() override {
    const auto reply = kernel::GetVmState(abi::Handle{kVm});
    if (!reply.has_value()) return std::unexpected(reply.error());
    return reply->state;
  }
  Result<uint64_t> GetIdRegister(uint32_t crm, uint32_t op2) override {
    const auto reply = kernel::GetIdRegister(abi::Handle{kVm}, {.crm = crm, .op2 = op2});
    if (!reply.has_value()) return std::unexpected(reply.error());
    return reply->value;
  }
  Status SetIdRegister(uint32_t crm, uint32_t op2, uint64_t value) override {
    return kernel::SetIdRegister(abi::Handle{kVm}, {.crm = crm, .op2 = op2, .value = value});
  }

 private:
  static constexpr abi::Handle Vcpu(uint32_t index) { return {kFirstVcpu + index}; }
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_KERNEL_VM_CONTROL_H_
