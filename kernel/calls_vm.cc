// Kernel calls of a VM's vmm and vgic.
#include "kernel/calls.h"
#include "kernel/interrupts.h"
#include "kernel/memory/page_table.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vm.h"

namespace atoll {

template <>
Result<GetInterruptsReply> Execute<KernelCall::kGetInterrupts>(
    Task&, HandleEntry* handle, const GetInterruptsRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  const Result<uint64_t> value = GetInterrupts(vm, request);
  if (!value.has_value()) return std::unexpected(value.error());
  return GetInterruptsReply{.value = *value};
}

template <>
Result<Empty> Execute<KernelCall::kSetInterrupts>(Task&, HandleEntry* handle,
                                                  const SetInterruptsRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  return FromStatus(SetInterrupts(vm, request));
}

template <>
Result<Empty> Execute<KernelCall::kStartVcpu>(Task&, HandleEntry* handle,
                                              const StartVcpuRequest& request) {
  Vcpu& vcpu = ObjectOf<Vcpu>(*handle);
  Vm& vm = *vcpu.vm;
  if (vcpu.power == VcpuState::kOn) return std::unexpected(Status::kAlreadyExists);
  if (vm.state != VmState::kCreated && vm.state != VmState::kRunning) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  if (!IsGuestEntry(request.entry)) return std::unexpected(Status::kOutOfRange);
  const auto mapping = Stage2Table(vm.root, vm.tables).Query(GuestPhys(request.entry));
  if (!mapping || !mapping->attributes.execute) return std::unexpected(Status::kOutOfRange);
  TurnOn(vcpu, request.entry, request.context);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kStopVcpu>(Task&, HandleEntry* handle, const Empty&) {
  Vcpu& vcpu = ObjectOf<Vcpu>(*handle);
  TurnOff(vcpu);
  return Empty{};
}

template <>
Result<GetVcpuStateReply> Execute<KernelCall::kGetVcpuState>(Task&, HandleEntry* handle,
                                                             const Empty&) {
  Vcpu& vcpu = ObjectOf<Vcpu>(*handle);
  return GetVcpuStateReply{.state = vcpu.power};
}

template <>
Result<Empty> Execute<KernelCall::kStopVm>(Task&, HandleEntry* handle,
                                           const StopVmRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  if (request.state == VmState::kCreated || request.state == VmState::kRunning) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (vm.state != VmState::kRunning &&
      !(vm.state == VmState::kCreated && request.state == VmState::kCrashed)) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  StopVm(vm, request.state);
  return Empty{};
}

template <>
Result<GetVmStateReply> Execute<KernelCall::kGetVmState>(Task&, HandleEntry* handle, const Empty&) {
  Vm& vm = ObjectOf<Vm>(*handle);
  return GetVmStateReply{.state = vm.state};
}

template <>
Result<Empty> Execute<KernelCall::kSetIdRegister>(Task&, HandleEntry* handle,
                                                  const SetIdRegisterRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  if (vm.state != VmState::kCreated) return std::unexpected(Status::kFailedPrecondition);
  return FromStatus(vm.id_registers.Set({request.crm, request.op2}, request.value));
}

template <>
Result<GetIdRegisterReply> Execute<KernelCall::kGetIdRegister>(
    Task&, HandleEntry* handle, const GetIdRegisterRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  return GetIdRegisterReply{.value = vm.id_registers.Get({request.crm, request.op2})};
}

template <>
Result<Empty> Execute<KernelCall::kSuspendVcpu>(Task& caller, HandleEntry* handle, const Empty&) {
  Vcpu& vcpu = ObjectOf<Vcpu>(*handle);
  // One that computes would wait for an interrupt that nobody owes it.
  if (vcpu.server != &caller) return std::unexpected(Status::kFailedPrecondition);
  vcpu.work |= kWorkSuspend;  // takes effect when it would run again: at the reply
  return Empty{};
}

}  // namespace atoll
