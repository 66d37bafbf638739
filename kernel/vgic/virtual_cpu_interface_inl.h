// The part of VirtualCpuInterface that touches list registers.
#ifndef ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_INL_H_
#define ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_INL_H_

#include "kernel/vgic/virtual_cpu_interface.h"
#include "kernel/vgic/virtual_gic.h"

namespace atoll {

inline bool VirtualCpuInterface::MoreToList() const {
  return queue_.Top(gic_.groups()) != nullptr;
}

template <typename Hardware>
void VirtualCpuInterface::Load(Hardware& hardware) {
  WriteAll(hardware);
  hardware.WriteControl(0);
  control_ = 0;
  deactivate_ = 0;  // the caller sets the physical active state
  loaded_ = true;
  dirty_ = true;
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Save(Hardware& hardware) {
  const VcpuMask kicks = Sync(hardware);
  loaded_ = false;
  return kicks;
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Sync(Hardware& hardware) {
  if (at_rest_) return 0;
  VcpuMask kicks = Refresh(hardware, used_);
  ReadInterface(hardware);
  // With EOImode 1 an EOI ends nothing, and DIR is trapped.
  if (!evicted_.empty() && !vmcr_.separate_deactivation()) kicks |= EndEvicted();
  // Off until Flush, and with it the maintenance interrupt, which is a level; this clears EOIcount too.
  hardware.WriteControl(0);
  control_ = 0;
  kicks |= ReconcileMarked();
  at_rest_ = true;
  dirty_ = true;
  return kicks;
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Flush(Hardware& hardware) {
  VcpuMask kicks = 0;
  if (reload_) [[unlikely]] WriteAll(hardware);
  // An EOI of one of these may not have been reported yet: writing ICH_HCR_EL2 would forget it.
  if (!evicted_.empty()) [[unlikely]] kicks |= Sync(hardware);
  if (marked_ != 0) {
    kicks |= Refresh(hardware, marked_);
    kicks |= ReconcileMarked();
  }
  overflow_ = false;
  if (MoreToList()) kicks |= Fill(hardware);

  for (; newer_ != 0; newer_ &= newer_ - 1) {
    const uint32_t index = std::countr_zero(newer_);
    hardware.WriteListRegister(index, image_[index]);
  }
  if (const uint64_t control = Control(); control != control_) {
    hardware.WriteControl(control);
    control_ = control;
  }
  // After the list registers: the interrupt may fire again at once, and then finds its state as it is now.
  for (; deactivate_ != 0; deactivate_ &= deactivate_ - 1) {
    hardware.DeactivatePhysical(private_[std::countr_zero(deactivate_)].physical_intid);
  }
  at_rest_ = false;
  dirty_ = false;
  return kicks & ~(VcpuMask{1} << index_);  // what came up for this vCPU has been flushed
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Refresh(Hardware& hardware, uint32_t list_registers) {
  VcpuMask kicks = 0;
  for (uint32_t left = list_registers & used_ & ~newer_; left != 0; left &= left - 1) {
    const uint32_t index = std::countr_zero(left);
    image_[index] = hardware.ReadListRegister(index);
    kicks |= Fold(index);
  }
  return kicks;
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Fill(Hardware& hardware) {
  FillFree();
  if (!MoreToList()) return 0;
  VcpuMask kicks = 0;
  if (!at_rest_) {
    // First those that the guest is done with, which takes one read.
    for (uint32_t left = hardware.ReadEmpty() & used_ & ~newer_; left != 0; left &= left - 1) {
      const uint32_t index = std::countr_zero(left);
      image_[index].Set(ListRegister::kState, false);
      kicks |= Fold(index);
    }
    FillFree();
    if (!MoreToList()) return kicks;
    kicks |= Refresh(hardware, used_);
    ReadInterface(hardware);
    FillFree();
  }
  FillFull();
  return kicks;
}

template <typename Hardware>
void VirtualCpuInterface::WriteAll(Hardware& hardware) {
  for (uint32_t index = 0; index < list_registers_; ++index) {
    hardware.WriteListRegister(index, image_[index]);
  }
  const uint32_t registers = preemption_bits_ > 5 ? 1u << (preemption_bits_ - 5) : 1;
  for (uint32_t group = 0; group < kGroups; ++group) {
    for (uint32_t index = 0; index < registers; ++index) {
      hardware.WriteActivePriorities(group, index, active_priorities_[group][index]);
    }
  }
  hardware.WriteMachineControl(vmcr_);
  newer_ = 0;
  reload_ = false;
}

template <typename Hardware>
void VirtualCpuInterface::ReadInterface(Hardware& hardware) {
  vmcr_ = hardware.ReadMachineControl();
  const uint32_t registers = preemption_bits_ > 5 ? 1u << (preemption_bits_ - 5) : 1;
  for (uint32_t group = 0; group < kGroups; ++group) {
    for (uint32_t index = 0; index < registers; ++index) {
      active_priorities_[group][index] = hardware.ReadActivePriorities(group, index);
    }
  }
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_INL_H_
