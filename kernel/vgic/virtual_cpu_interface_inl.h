// The part of VirtualCpuInterface that touches list registers.
#ifndef ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_INL_H_
#define ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_INL_H_

#include "kernel/vgic/virtual_cpu_interface.h"
#include "kernel/vgic/virtual_gic.h"

namespace atoll {

inline bool VirtualCpuInterface::MoreToList() const { return queue_.Top(gic_.groups()) != nullptr; }

inline void VirtualCpuInterface::TakeOver(uint32_t index) {
  VirtualInterrupt& interrupt = *listed_[index];
  const ListRegister guest = image_[index];
  if (guest.pending()) {
    interrupt.active = guest.active();
    return;
  }
  interrupt.listed_latch = false;  // acknowledged: the latch is used up
  interrupt.active = guest.active();
  if (!guest.active()) EndActive(interrupt, guest.hardware());
}

[[gnu::always_inline]] inline ListRegister VirtualCpuInterface::Compose(
    const VirtualInterrupt& interrupt) {
  uint64_t value = ListRegister::kPending | interrupt.intid |
                   uint64_t{interrupt.priority} << ListRegister::kPriorityShift;
  if (interrupt.group1) value |= ListRegister::kGroup1;
  if (interrupt.physical_active) {
    value |= ListRegister::kHardware | uint64_t{interrupt.physical_intid}
                                           << ListRegister::kPhysicalIntidShift;
  } else if (interrupt.line && !interrupt.edge) {
    value |= ListRegister::kMaintenance;  // the line is looked at again when the guest deactivates
  }
  return {value};
}

inline void VirtualCpuInterface::List(uint32_t index, VirtualInterrupt& interrupt) {
  interrupt.listed_latch = interrupt.latch | interrupt.listed_latch;
  interrupt.latch = 0;
  interrupt.place = VirtualInterrupt::Place::kListed;
  interrupt.vcpu = static_cast<uint8_t>(index_);
  interrupt.list_register = static_cast<uint8_t>(index);
  image_[index] = Compose(interrupt);
  listed_[index] = &interrupt;
  used_ |= BitOf(index);
  newer_ |= BitOf(index);
}

[[gnu::always_inline]] inline bool VirtualCpuInterface::CanRelist(
    const VirtualInterrupt& interrupt) const {
  return interrupt.enabled && interrupt.Pending() && interrupt.target == index_ &&
         gic_.GroupOn(interrupt) && queue_.empty();
}

inline bool VirtualCpuInterface::Relist(uint32_t index) {
  VirtualInterrupt& interrupt = *listed_[index];
  if (interrupt.active || !CanRelist(interrupt)) return false;
  List(index, interrupt);
  return true;
}

inline uint64_t VirtualCpuInterface::PlainControl() const {
  return gic_.traps_deactivation() ? ich_hcr::kEn | ich_hcr::kTrapDir : ich_hcr::kEn;
}

inline uint64_t VirtualCpuInterface::Control() const {
  uint64_t control = PlainControl();
  if (!evicted_.empty()) control |= ich_hcr::kNoEntryForEoi | ich_hcr::kTrapDir;
  if (overflow_) {
    // The underflow interrupt would come earlier than no-pending, but never be needed: what is queued has
    // no higher priority than what is listed. A group switched on or off turns that round.
    control |= ich_hcr::kNoPending;
    control |= (vmcr_.groups() & 1) != 0 ? ich_hcr::kGroup0Disabled : ich_hcr::kGroup0Enabled;
    control |= (vmcr_.groups() & 2) != 0 ? ich_hcr::kGroup1Disabled : ich_hcr::kGroup1Enabled;
  }
  return control;
}

inline bool VirtualCpuInterface::NeedsCare() const {
  // Overflow, evicted interrupts and a virtual interface that is off (after Sync, Load and resets) all show in
  // ICH_HCR_EL2.
  return control_ != PlainControl() || !queue_.empty();
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
  if (!evicted_.empty()) {
    // With EOImode 1 an EOI ends nothing, even where it is counted (QEMU 7.2), and DIR is trapped.
    const uint32_t count = ich_hcr::EoiCount(hardware.ReadControl());
    kicks |= EndEvicted(vmcr_.separate_deactivation() ? 0 : count);
  }
  // Off until Flush, and with it the maintenance interrupt, which is a level; this clears EOIcount too.
  hardware.WriteControl(0);
  control_ = 0;
  at_rest_ = true;
  dirty_ = true;
  return kicks;
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::Flush(Hardware& hardware) {
  if (NeedsCare() || (marked_ != 0 && !FlushOne(hardware))) [[unlikely]]
    return FlushAll(hardware);
  WriteNewer(hardware);
  at_rest_ = false;
  dirty_ = false;
  return 0;
}

// What most flushes find: one emulated interrupt, which pends again after the guest has ended it, or whose line
// the guest's handler has just lowered.
template <typename Hardware>
[[gnu::always_inline]] inline bool VirtualCpuInterface::FlushOne(Hardware& hardware) {
  if ((marked_ & (marked_ - 1)) != 0 || (marked_ & newer_) != 0) return false;
  const uint32_t index = std::countr_zero(marked_);
  VirtualInterrupt& interrupt = *listed_[index];
  ListRegister value = hardware.ReadListRegister(index);
  if (value.pending() || interrupt.physical_intid != 0) return false;
  interrupt.listed_latch = 0;  // acknowledged: used up
  if (value.active()) {
    if (interrupt.latch) return false;
    interrupt.active = 1;
    value.Set(ListRegister::kMaintenance, interrupt.line && !interrupt.edge);
  } else {
    if (!CanRelist(interrupt)) return false;
    interrupt.listed_latch = interrupt.latch;
    interrupt.latch = interrupt.active = interrupt.made_active = 0;
    value = Compose(interrupt);
  }
  image_[index] = value;
  marked_ = 0;
  hardware.WriteListRegister(index, value);
  return true;
}

template <typename Hardware>
void VirtualCpuInterface::WriteNewer(Hardware& hardware) {
  for (; newer_ != 0; newer_ &= newer_ - 1) {
    const uint32_t index = std::countr_zero(newer_);
    hardware.WriteListRegister(index, image_[index]);
  }
}

template <typename Hardware>
VcpuMask VirtualCpuInterface::FlushAll(Hardware& hardware) {
  VcpuMask kicks = 0;
  if (reload_) WriteAll(hardware);
  // An EOI of one of these may not have been reported yet: writing ICH_HCR_EL2 would forget it.
  if (!evicted_.empty()) kicks |= Sync(hardware);
  if (marked_ != 0) kicks |= Refresh(hardware, marked_);
  overflow_ = false;
  if (MoreToList()) kicks |= Fill(hardware);

  WriteNewer(hardware);
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
  for (uint32_t left = list_registers & used_; left != 0; left &= left - 1) {
    const uint32_t index = std::countr_zero(left);
    if ((newer_ & BitOf(index)) == 0) {
      image_[index] = hardware.ReadListRegister(index);
      TakeOver(index);
    }
    if ((marked_ & BitOf(index)) != 0 || !image_[index].valid()) {
      marked_ &= ~BitOf(index);
      kicks |= Reconcile(index);
    }
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
      TakeOver(index);
      kicks |= Reconcile(index);
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
