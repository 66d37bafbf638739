// Physical interrupts, and what virtual ones ask of vCPUs.
#ifndef ATOLL_KERNEL_INTERRUPTS_H_
#define ATOLL_KERNEL_INTERRUPTS_H_

#include <cstdint>

#include "kernel/cpu.h"
#include "kernel/object.h"
#include "kernel/vm.h"

namespace atoll {

// A physical shared interrupt, delivered to its driver as signal bits. Masked from then until the driver
// acknowledges it.
struct Irq : Object {
  Irq(uint32_t physical_intid, Task* irq_owner, uint64_t signal_bits)
      : Object(ObjectType::kIrq), intid(physical_intid), owner(irq_owner), bits(signal_bits) {}
  const uint32_t intid;
  Task* const owner;
  const uint64_t bits;
};

// The right to drive one virtual shared interrupt.
struct IrqLine : Object {
  IrqLine(Vm* line_vm, uint32_t virtual_intid)
      : Object(ObjectType::kIrqLine), vm(line_vm), intid(virtual_intid) {}
  Vm* const vm;
  const uint32_t intid;
};

// Takes every interrupt that the CPU interface offers.
void ServeInterrupts(Cpu& cpu) ATOLL_KERNEL_LOCKED;

// Registers the object that gets a physical interrupt and unmasks it; null: masks it and forgets the object.
Status BindIrq(uint32_t intid, Irq* irq) ATOLL_KERNEL_LOCKED;
void UnmaskIrq(const Irq& irq) ATOLL_KERNEL_LOCKED;

// Sets the level of a virtual line and wakes or kicks the vCPU that is to take it.
void SetLine(Vm& vm, uint32_t intid, bool level) ATOLL_KERNEL_LOCKED;

// The vCPUs in `mask` have something new: flush before entry, wake from WFI if it is deliverable.
void Kick(Vm& vm, uint64_t mask) ATOLL_KERNEL_LOCKED;

// Whether something would end a WFI of the vCPU, which does not run now.
bool HasDeliverableInterrupt(Vcpu& vcpu) ATOLL_KERNEL_LOCKED;
// Before a loaded vCPU runs, if kWorkInterrupts says so.
void FlushInterrupts(Vcpu& vcpu) ATOLL_KERNEL_LOCKED;

// The fields of virtual interrupts, for the VM's vgic service.
Result<uint64_t> GetInterrupts(Vm& vm, const GetInterruptsRequest& request) ATOLL_KERNEL_LOCKED;
Status SetInterrupts(Vm& vm, const SetInterruptsRequest& request) ATOLL_KERNEL_LOCKED;

// Trapped writes of the current vCPU: ICC_SGI*R_EL1 and ICC_DIR_EL1.
void SendSgi(Vcpu& source, uint64_t value, SgiRegister which) ATOLL_KERNEL_LOCKED;
void DeactivateInterrupt(Vcpu& vcpu, uint32_t intid) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_INTERRUPTS_H_
