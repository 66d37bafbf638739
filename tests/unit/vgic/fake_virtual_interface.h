// A CPU's GIC virtualization hardware (IHI0069): ICH_* registers towards the kernel, ICV_* towards the guest.
#ifndef ATOLL_TESTS_UNIT_VGIC_FAKE_VIRTUAL_INTERFACE_H_
#define ATOLL_TESTS_UNIT_VGIC_FAKE_VIRTUAL_INTERFACE_H_

#include <array>
#include <cstdint>
#include <set>

#include "kernel/vgic/list_register.h"

namespace atoll {

class FakeVirtualInterface {
 public:
  explicit FakeVirtualInterface(uint32_t list_registers) : list_registers_(list_registers) {}

  // ---- what ListRegisterHardware offers ---------------------------------------------------------------
  VirtualTypeRegister ReadType() const {
    // ListRegs, TDS, A3V, 5 preemption and priority bits.
    return {(list_registers_ - 1) | 1u << 19 | 1u << 21 | 4u << 26 | 4u << 29};
  }
  ListRegister ReadListRegister(uint32_t index);
  void WriteListRegister(uint32_t index, ListRegister value);
  uint32_t ReadActivePriorities(uint32_t group, uint32_t index) const;
  void WriteActivePriorities(uint32_t group, uint32_t index, uint32_t value);
  uint64_t ReadControl() const { return control_; }
  void WriteControl(uint64_t hcr) { control_ = hcr; }
  VirtualMachineControl ReadMachineControl() const { return {vmcr_}; }
  void WriteMachineControl(VirtualMachineControl vmcr) { vmcr_ = vmcr.value; }
  uint32_t ReadEmpty() const;  // ICH_ELRSR_EL2
  void DeactivatePhysical(uint32_t intid) { physical_active.erase(intid); }

  // ---- outputs ----------------------------------------------------------------------------------------
  bool Irq() const { return Signals(1); }
  bool Fiq() const { return Signals(0); }
  uint32_t EndOfInterruptStatus() const;  // ICH_EISR_EL2
  uint32_t MaintenanceStatus() const;     // ICH_MISR_EL2
  bool Maintenance() const { return (control_ & ich_hcr::kEn) != 0 && MaintenanceStatus() != 0; }

  // ---- ICC_*_EL1 as the guest uses them -----------------------------------------------------------------
  static constexpr uint32_t kSpurious = 1023;
  uint32_t ReadIar(uint32_t group);
  uint32_t ReadHppir(uint32_t group) const;
  void WriteEoir(uint32_t group, uint32_t intid);
  // False: trapped to EL2.
  bool WriteDir(uint32_t intid);
  uint32_t RunningPriority() const;
  uint32_t priority_mask() const { return static_cast<uint32_t>(vmcr_ >> 24) & 0xff; }
  void WritePmr(uint32_t value);
  void WriteBpr(uint32_t group, uint32_t value);
  void WriteGroupEnable(uint32_t group, bool on);
  void WriteCtlr(bool eoi_mode, bool common_binary_point);
  uint32_t ReadCtlr() const;
  uint32_t ReadActivePriority(uint32_t group) const { return active_priorities_[group]; }
  uint64_t vmcr() const { return vmcr_; }

  // Physical interrupts in active state.
  std::set<uint32_t> physical_active;
  // QEMU 7.2 counts an EOI that finds no list register with EOImode 1 too.
  bool counts_eoi_in_mode_1 = false;
  // Two list registers with one INTID, or HW = 1 with a state that it forbids: never to be written.
  bool misused = false;
  uint32_t list_register_reads = 0;
  uint32_t list_register_writes = 0;

  uint32_t list_register_count() const { return list_registers_; }
  ListRegister list_register(uint32_t index) const { return list_[index]; }

 private:
  int HighestPending() const;  // -1: none
  bool Signals(uint32_t group) const;
  bool CanPreempt(const ListRegister& value) const;
  int FindActive(uint32_t intid) const;
  void Deactivate(int index);
  void CountEoi();

  const uint32_t list_registers_;
  std::array<ListRegister, kMaxListRegisters> list_ = {};
  std::array<uint32_t, 2> active_priorities_ = {};
  uint64_t control_ = 0;
  uint64_t vmcr_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VGIC_FAKE_VIRTUAL_INTERFACE_H_
