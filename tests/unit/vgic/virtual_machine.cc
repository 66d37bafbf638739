#include "tests/unit/vgic/virtual_machine.h"

#include <bit>
#include <cstdlib>
#include <string>

namespace atoll {
namespace {

constexpr uint64_t kGroupr = 0x80;
constexpr uint64_t kIsenabler = 0x100;
constexpr uint64_t kPriorityr = 0x400;
constexpr uint64_t kIcfgr = 0xC00;
constexpr uint64_t kIrouter = 0x6000;
constexpr uint32_t kStorm = 1000;  // maintenance interrupts for one operation: never this many

uint64_t Base(uint32_t intid, uint32_t vcpu) { return intid < 32 ? VirtualMachine::Sgi(vcpu) : 0; }

}  // namespace

VirtualMachine::VirtualMachine(Options options) : options_(options), timer_(options.vcpus) {
  const size_t bytes = VirtualGic::BytesNeeded(options.intids, options.vcpus);
  memory_.resize(bytes + 64);
  const size_t skip = -reinterpret_cast<uintptr_t>(memory_.data()) % 64;
  for (uint32_t i = 0; i < options.vcpus; ++i) cpus_.emplace_back(options.list_registers);
  auto created = VirtualGic::Create({memory_.data() + skip, bytes}, options.intids, options.vcpus,
                                    cpus_[0].ReadType());
  if (!created.has_value()) std::abort();
  gic_ = *created;
  for (uint32_t i = 0; i < options.vcpus; ++i) {
    affinities_.push_back(i % 16 | uint64_t{i / 16} << 8);
    VcpuMask kicks = 0;
    if (!IsOk(gic_->Attach(i, static_cast<uint32_t>(affinities_[i]), kicks))) std::abort();
    gic_->vcpu(i).MapPhysical(kTimer, kTimer);
    Load(i);
  }
  registers_ = std::make_unique<RegisterFile>(*this, options.intids, affinities_);
}

// ---- what the kernel's core does ------------------------------------------------------------------------

void VirtualMachine::Exit(uint32_t vcpu) {
  if (gic_->vcpu(vcpu).loaded() && gic_->vcpu(vcpu).dirty())
    Take(gic_->vcpu(vcpu).Flush(cpus_[vcpu]));
}

void VirtualMachine::Take(VcpuMask kicks) {
  for (; kicks != 0; kicks &= kicks - 1) {
    const uint32_t vcpu = static_cast<uint32_t>(std::countr_zero(kicks));
    Exit(vcpu);
    Settle(vcpu);
  }
}

// Interrupts that the guest's last step made physical ones: maintenance, and its timer.
void VirtualMachine::Settle(uint32_t vcpu) {
  VirtualCpuInterface& interface = gic_->vcpu(vcpu);
  FakeVirtualInterface& cpu = cpus_[vcpu];
  if (!interface.loaded()) return;
  for (uint32_t n = 0; !stuck_; ++n) {
    if (n == kStorm) {
      stuck_ = true;
      return;
    }
    if (timer_[vcpu] && cpu.physical_active.insert(kTimer).second) {
      Take(interface.PhysicalPending(kTimer));
      Exit(vcpu);
    } else if (cpu.Maintenance()) {
      ++maintenance_;
      const VcpuMask kicks = interface.Sync(cpu);
      if (cpu.Maintenance())
        stuck_ = true;  // it would be taken for ever before the vCPU is entered
      Take(kicks);
      Exit(vcpu);
    } else {
      return;
    }
  }
}

VcpuMask VirtualMachine::Rest(InterruptField field, uint32_t first, uint32_t count, uint32_t vcpu) {
  VcpuMask rest = gic_->MustSync(field, first, count, vcpu);
  // The true level of a timer is read from its registers: only while it is loaded and at rest.
  if (field == InterruptField::kPending && first < 32) rest |= VcpuMask{1} << vcpu;
  VcpuMask others = 0;
  for (VcpuMask left = rest; left != 0; left &= left - 1) {
    const uint32_t i = static_cast<uint32_t>(std::countr_zero(left));
    if (!gic_->vcpu(i).loaded()) continue;
    others |= gic_->vcpu(i).Sync(cpus_[i]);
    others |= gic_->vcpu(i).SamplePhysicalLine(kTimer, timer_[i]);
  }
  Take(others & ~rest);
  return rest;
}

Result<uint64_t> VirtualMachine::Get(InterruptField field, uint32_t first, uint32_t count,
                                     uint32_t vcpu) {
  ++kernel_calls_;
  const VcpuMask rest = Rest(field, first, count, vcpu);
  const Result<uint64_t> result = gic_->Get(field, first, count, vcpu);
  Take(rest);
  return result;
}

Status VirtualMachine::Set(InterruptField field, uint32_t first, uint64_t mask, uint64_t value,
                           uint32_t vcpu) {
  ++kernel_calls_;
  const VcpuMask rest = Rest(field, first, 32, vcpu);
  const Result<VcpuMask> result = gic_->Set(field, first, mask, value, vcpu);
  Take(rest | result.value_or(0));
  return result.has_value() ? Status::kOk : result.error();
}

// ---- guest ------------------------------------------------------------------------------------------------

uint64_t VirtualMachine::Read(uint64_t offset, uint32_t size, uint32_t by) {
  const auto value =
      registers_->Access({.offset = offset, .size = size, .write = false, .value = 0});
  Exit(by);
  Settle(by);
  if (!value.has_value()) std::abort();
  return *value;
}

void VirtualMachine::Write(uint64_t offset, uint64_t value, uint32_t size, uint32_t by) {
  const auto result =
      registers_->Access({.offset = offset, .size = size, .write = true, .value = value});
  Exit(by);
  Settle(by);
  if (!result.has_value()) std::abort();
}

bool VirtualMachine::Bit(uint64_t bank, uint32_t intid, uint32_t vcpu) {
  return (Read(Base(intid, vcpu) + bank + intid / 32 * 4) >> (intid % 32)) & 1;
}
void VirtualMachine::SetBit(uint64_t bank, uint32_t intid, uint32_t vcpu) {
  Write(Base(intid, vcpu) + bank + intid / 32 * 4, uint64_t{1} << (intid % 32));
}
void VirtualMachine::SetPriority(uint32_t intid, uint32_t priority, uint32_t vcpu) {
  Write(Base(intid, vcpu) + kPriorityr + intid, priority, 1);
}
void VirtualMachine::SetGroup(uint32_t intid, uint32_t group, uint32_t vcpu) {
  const uint64_t offset = Base(intid, vcpu) + kGroupr + intid / 32 * 4;
  const uint64_t bit = uint64_t{1} << (intid % 32);
  Write(offset, (Read(offset) & ~bit) | (group != 0 ? bit : 0));
}
void VirtualMachine::SetEdge(uint32_t intid, bool edge) {
  const uint64_t offset = kIcfgr + intid / 16 * 4;
  const uint64_t bit = uint64_t{2} << (intid % 16 * 2);
  Write(offset, (Read(offset) & ~bit) | (edge ? bit : 0));
}
void VirtualMachine::Route(uint32_t intid, uint64_t affinity) {
  Write(kIrouter + uint64_t{intid} * 8, affinity, 8);
}
void VirtualMachine::Configure(uint32_t intid, uint32_t priority, uint32_t vcpu) {
  SetGroup(intid, 1, vcpu);
  SetPriority(intid, priority, vcpu);
  if (intid >= 32) Route(intid, affinities_[vcpu]);
  SetBit(kIsenabler, intid, vcpu);
}
void VirtualMachine::TurnOn() {
  Write(0, 3);
  for (uint32_t i = 0; i < options_.vcpus; ++i) {
    OnCpu(i, [](FakeVirtualInterface& cpu) {
      cpu.WritePmr(0xff);
      cpu.WriteGroupEnable(0, true);
      cpu.WriteGroupEnable(1, true);
    });
  }
}

uint32_t VirtualMachine::Acknowledge(uint32_t vcpu, uint32_t group) {
  const uint32_t intid = cpus_[vcpu].ReadIar(group);
  Settle(vcpu);
  return intid;
}
void VirtualMachine::End(uint32_t intid, uint32_t vcpu, uint32_t group) {
  cpus_[vcpu].WriteEoir(group, intid);
  Settle(vcpu);
}
void VirtualMachine::Deactivate(uint32_t intid, uint32_t vcpu) {
  if (!cpus_[vcpu].WriteDir(intid)) {
    Take(gic_->vcpu(vcpu).Sync(cpus_[vcpu]));
    const VcpuMask rest = Rest(InterruptField::kActive, intid, 1, vcpu);
    const Result<VcpuMask> result = gic_->Deactivate(vcpu, intid);
    if (!result.has_value()) std::abort();
    Take(rest | *result);
    Exit(vcpu);
  }
  Settle(vcpu);
}
void VirtualMachine::SendSgi(uint64_t value, uint32_t vcpu, SgiRegister which) {
  last_kicks_ = gic_->SendSgi(vcpu, value, which);
  Take(last_kicks_);
  Exit(vcpu);
}

std::vector<uint32_t> VirtualMachine::Drain(uint32_t vcpu, bool lower_lines) {
  std::vector<uint32_t> taken;
  while (taken.size() < 4096 && (Irq(vcpu) || Fiq(vcpu))) {
    const uint32_t group = Irq(vcpu) ? 1 : 0;
    const uint32_t intid = Acknowledge(vcpu, group);
    taken.push_back(intid);
    if (lower_lines && intid >= 32) SetLine(intid, false);
    if (lower_lines && intid == kTimer) SetTimer(vcpu, false);
    if (lower_lines && intid == kEmulatedPpi) SetPrivateLine(vcpu, intid, false);
    End(intid, vcpu, group);
    if (cpus_[vcpu].ReadMachineControl().separate_deactivation()) Deactivate(intid, vcpu);
  }
  return taken;
}

bool VirtualMachine::Wakes(uint32_t vcpu) {
  if (gic_->vcpu(vcpu).loaded()) {
    Take(gic_->vcpu(vcpu).Sync(cpus_[vcpu]));
    if (!gic_->vcpu(vcpu).at_rest()) std::abort();
    (void)gic_->vcpu(vcpu).SamplePhysicalLine(kTimer, timer_[vcpu]);
  }
  const bool wakes = gic_->vcpu(vcpu).HasDeliverable();
  Exit(vcpu);
  return wakes;
}

void VirtualMachine::SetTimer(uint32_t vcpu, bool level) {
  timer_[vcpu] = level;
  if (gic_->vcpu(vcpu).loaded()) {
    Settle(vcpu);
  } else {
    SetPrivateLine(vcpu, kTimer, level);
  }
}

void VirtualMachine::SetLine(uint32_t intid, bool level) {
  last_kicks_ = gic_->SetLine(intid, level);
  Take(last_kicks_);
}

// ---- life ---------------------------------------------------------------------------------------------------

void VirtualMachine::Unload(uint32_t vcpu) {
  if (!gic_->vcpu(vcpu).loaded()) return;
  Take(gic_->vcpu(vcpu).Save(cpus_[vcpu]));
  cpus_[vcpu].physical_active.clear();
  SetPrivateLine(vcpu, kTimer, timer_[vcpu]);
}

void VirtualMachine::Load(uint32_t vcpu) {
  if (gic_->vcpu(vcpu).loaded()) return;
  gic_->vcpu(vcpu).Load(cpus_[vcpu]);
  if (gic_->vcpu(vcpu).PhysicalActive(kTimer)) cpus_[vcpu].physical_active.insert(kTimer);
  Exit(vcpu);
  Settle(vcpu);
}

void VirtualMachine::Move(uint32_t vcpu) {
  Unload(vcpu);
  // The next user of that CPU leaves other values behind.
  FakeVirtualInterface& cpu = cpus_[vcpu];
  for (uint32_t i = 0; i < options_.list_registers; ++i)
    cpu.WriteListRegister(i, {ListRegister::kPending | 999});
  cpu.WriteMachineControl({0});
  cpu.WriteActivePriorities(0, 0, 0xffff);
  cpu.WriteActivePriorities(1, 0, 0xffff);
  Load(vcpu);
}

void VirtualMachine::ResetVcpu(uint32_t vcpu) {
  Take(gic_->vcpu(vcpu).Sync(cpus_[vcpu]));
  Take(gic_->vcpu(vcpu).ResetInterface());
  Exit(vcpu);
}

void VirtualMachine::ResetAll() {
  for (uint32_t i = 0; i < options_.vcpus; ++i) {
    timer_[i] = false;
    Unload(i);
  }
  gic_->Reset();
  for (uint32_t i = 0; i < options_.vcpus; ++i) Load(i);
}

std::string VirtualMachine::Violation() const {
  if (stuck_) return "maintenance interrupts without end";
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> seen;
  for (uint32_t v = 0; v < options_.vcpus; ++v) {
    const FakeVirtualInterface& cpu = cpus_[v];
    if (cpu.misused) return "vCPU " + std::to_string(v) + ": list register misused";
    if (!gic_->vcpu(v).loaded()) continue;
    for (uint32_t i = 0; i < options_.list_registers; ++i) {
      const ListRegister value = cpu.list_register(i);
      if (!value.valid()) continue;
      const uint32_t intid = value.virtual_intid();
      if (!seen.insert({{intid < 32 ? v : 0, intid}, v}).second) {
        return "INTID " + std::to_string(intid) + " is in two list registers";
      }
      if (value.hardware() && !cpu.physical_active.contains(value.physical_intid())) {
        return "INTID " + std::to_string(intid) +
               " has HW = 1 without an active physical interrupt";
      }
    }
  }
  return "";
}

}  // namespace atoll
