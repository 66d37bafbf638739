#include "tests/unit/vgic/fake_virtual_interface.h"

#include <bit>

namespace atoll {
namespace {

constexpr uint32_t kIdle = 0xff;
constexpr uint32_t kMinimumBinaryPoint = 2;  // 5 preemption bits

}  // namespace

ListRegister FakeVirtualInterface::ReadListRegister(uint32_t index) {
  ++list_register_reads;
  if (index >= list_registers_) misused = true;
  return list_[index];
}

void FakeVirtualInterface::WriteListRegister(uint32_t index, ListRegister value) {
  ++list_register_writes;
  if (index >= list_registers_) misused = true;
  if (value.hardware() && value.pending() && value.active()) misused = true;
  list_[index] = value;
}

uint32_t FakeVirtualInterface::ReadActivePriorities(uint32_t group, uint32_t index) const {
  return index == 0 ? active_priorities_[group] : 0;
}

void FakeVirtualInterface::WriteActivePriorities(uint32_t group, uint32_t index, uint32_t value) {
  if (index != 0) misused = true;  // UNDEFINED with 5 bits
  active_priorities_[group] = value;
}

uint32_t FakeVirtualInterface::EndOfInterruptStatus() const {
  uint32_t status = 0;
  for (uint32_t i = 0; i < list_registers_; ++i) {
    if (!list_[i].valid() && list_[i].maintenance()) status |= 1u << i;
  }
  return status;
}

uint32_t FakeVirtualInterface::ReadEmpty() const {
  uint32_t status = 0;
  for (uint32_t i = 0; i < list_registers_; ++i) {
    if (!list_[i].valid() && !list_[i].maintenance()) status |= 1u << i;
  }
  return status;
}

uint32_t FakeVirtualInterface::MaintenanceStatus() const {
  uint32_t valid = 0;
  uint32_t pending = 0;
  for (uint32_t i = 0; i < list_registers_; ++i) {
    valid += list_[i].valid() ? 1 : 0;
    pending += list_[i].pending() && !list_[i].active() ? 1 : 0;
  }
  const bool group0 = (vmcr_ & VirtualMachineControl::kGroup0Enable) != 0;
  const bool group1 = (vmcr_ & VirtualMachineControl::kGroup1Enable) != 0;
  uint32_t status = 0;
  if (EndOfInterruptStatus() != 0) status |= 1 << 0;
  if ((control_ & ich_hcr::kUnderflow) != 0 && valid <= 1) status |= 1 << 1;
  if ((control_ & ich_hcr::kNoEntryForEoi) != 0 && ich_hcr::EoiCount(control_) != 0)
    status |= 1 << 2;
  if ((control_ & ich_hcr::kNoPending) != 0 && pending == 0) status |= 1 << 3;
  if ((control_ & ich_hcr::kGroup0Enabled) != 0 && group0) status |= 1 << 4;
  if ((control_ & ich_hcr::kGroup0Disabled) != 0 && !group0) status |= 1 << 5;
  if ((control_ & ich_hcr::kGroup1Enabled) != 0 && group1) status |= 1 << 6;
  if ((control_ & ich_hcr::kGroup1Disabled) != 0 && !group1) status |= 1 << 7;
  return status;
}

int FakeVirtualInterface::HighestPending() const {
  int best = -1;
  for (uint32_t i = 0; i < list_registers_; ++i) {
    const ListRegister value = list_[i];
    if (!value.pending() || value.active()) continue;
    if (((vmcr_ >> value.group()) & 1) == 0) continue;
    if (best < 0 || value.priority() < list_[best].priority()) best = static_cast<int>(i);
  }
  return best;
}

bool FakeVirtualInterface::CanPreempt(const ListRegister& value) const {
  if (value.priority() >= priority_mask()) return false;
  const uint32_t running = RunningPriority();
  return running == kIdle ||
         (value.priority() & ReadMachineControl().GroupPriorityMask(value.group())) < running;
}

bool FakeVirtualInterface::Signals(uint32_t group) const {
  const int index = HighestPending();
  return (control_ & ich_hcr::kEn) != 0 && index >= 0 && list_[index].group() == group &&
         CanPreempt(list_[index]);
}

uint32_t FakeVirtualInterface::RunningPriority() const {
  const uint32_t active = active_priorities_[0] | active_priorities_[1];
  return active == 0 ? kIdle : static_cast<uint32_t>(std::countr_zero(active)) << 3;
}

uint32_t FakeVirtualInterface::ReadHppir(uint32_t group) const {
  const int index = HighestPending();
  if (index < 0 || list_[index].group() != group) return kSpurious;
  return list_[index].virtual_intid();
}

uint32_t FakeVirtualInterface::ReadIar(uint32_t group) {
  if (!Signals(group)) return kSpurious;
  ListRegister& value = list_[HighestPending()];
  const uint32_t mask = ReadMachineControl().GroupPriorityMask(group);
  active_priorities_[group] |= 1u << ((value.priority() & mask) >> 3);
  value.Set(ListRegister::kPending, false);
  value.Set(ListRegister::kActive, true);
  return value.virtual_intid();
}

int FakeVirtualInterface::FindActive(uint32_t intid) const {
  for (uint32_t i = 0; i < list_registers_; ++i) {
    if (list_[i].active() && list_[i].virtual_intid() == intid) return static_cast<int>(i);
  }
  return -1;
}

void FakeVirtualInterface::Deactivate(int index) {
  ListRegister& value = list_[index];
  value.Set(ListRegister::kActive, false);
  if (value.hardware()) physical_active.erase(value.physical_intid());
}

void FakeVirtualInterface::CountEoi() {
  const uint64_t count = (ich_hcr::EoiCount(control_) + 1) & 0x1f;
  control_ =
      (control_ & ~(uint64_t{0x1f} << ich_hcr::kEoiCountShift)) | count << ich_hcr::kEoiCountShift;
}

void FakeVirtualInterface::WriteEoir(uint32_t group, uint32_t intid) {
  if (intid >= 1020) return;
  const uint32_t running = RunningPriority();
  if (running == kIdle) return;
  for (uint32_t& active : active_priorities_) {
    if ((active >> (running >> 3)) & 1) {
      active &= ~(1u << (running >> 3));
      break;
    }
  }
  const bool separate = ReadMachineControl().separate_deactivation();
  const int index = FindActive(intid);
  if (index < 0) {
    if (!separate || counts_eoi_in_mode_1) CountEoi();
    return;
  }
  const uint32_t mask = ReadMachineControl().GroupPriorityMask(group);
  if (list_[index].group() == group && (list_[index].priority() & mask) == running && !separate) {
    Deactivate(index);
  }
}

bool FakeVirtualInterface::WriteDir(uint32_t intid) {
  if ((control_ & ich_hcr::kTrapDir) != 0) return false;
  if (intid >= 1020 || !ReadMachineControl().separate_deactivation()) return true;
  const int index = FindActive(intid);
  if (index < 0) {
    CountEoi();
  } else {
    Deactivate(index);
  }
  return true;
}

void FakeVirtualInterface::WritePmr(uint32_t value) {
  vmcr_ = (vmcr_ & ~(uint64_t{0xff} << 24)) | uint64_t{value & 0xf8} << 24;
}

void FakeVirtualInterface::WriteBpr(uint32_t group, uint32_t value) {
  const uint32_t minimum = kMinimumBinaryPoint + group;
  const uint64_t point = (value & 7) < minimum ? minimum : value & 7;
  const uint32_t shift = group == 0 ? 21 : 18;
  vmcr_ = (vmcr_ & ~(uint64_t{7} << shift)) | point << shift;
}

void FakeVirtualInterface::WriteGroupEnable(uint32_t group, bool on) {
  vmcr_ = (vmcr_ & ~(uint64_t{1} << group)) | uint64_t{on} << group;
}

void FakeVirtualInterface::WriteCtlr(bool eoi_mode, bool common_binary_point) {
  vmcr_ &= ~(VirtualMachineControl::kEoiMode | VirtualMachineControl::kCommonBinaryPoint);
  if (eoi_mode) vmcr_ |= VirtualMachineControl::kEoiMode;
  if (common_binary_point) vmcr_ |= VirtualMachineControl::kCommonBinaryPoint;
}

uint32_t FakeVirtualInterface::ReadCtlr() const {
  const VirtualMachineControl control = ReadMachineControl();
  uint32_t value = 1u << 15 | 4u << 8;  // A3V, PRIbits
  if ((control.value & VirtualMachineControl::kCommonBinaryPoint) != 0) value |= 1;
  if (control.separate_deactivation()) value |= 2;
  return value;
}

}  // namespace atoll
