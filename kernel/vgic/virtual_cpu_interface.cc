#include "kernel/vgic/virtual_cpu_interface.h"

#include "kernel/vgic/virtual_gic.h"

namespace atoll {

VirtualCpuInterface::VirtualCpuInterface(VirtualGic& gic, uint32_t index, VirtualTypeRegister type)
    : gic_(gic),
      index_(index),
      all_((uint32_t{1} << type.list_registers()) - 1),
      list_registers_(type.list_registers()),
      preemption_bits_(type.preemption_bits()),
      vmcr_(VirtualMachineControl::Reset(type.preemption_bits())) {
  for (uint32_t intid = 0; intid < kPrivateIntids; ++intid) {
    private_[intid].intid = static_cast<uint16_t>(intid);
    private_[intid].target = static_cast<uint8_t>(index);
    private_[intid].Reset();
  }
}

// ---- PPIs ---------------------------------------------------------------------------------------------

void VirtualCpuInterface::MapPhysical(uint32_t intid, uint32_t physical_intid) {
  private_[intid].physical_intid = static_cast<uint8_t>(physical_intid);
}

VcpuMask VirtualCpuInterface::PhysicalPending(uint32_t intid) {
  VirtualInterrupt& interrupt = private_[intid];
  interrupt.line = true;
  interrupt.physical_active = true;
  if (interrupt.place == VirtualInterrupt::Place::kListed &&
      image_[interrupt.list_register].hardware()) {
    // It fired, so it was not active any more: the guest's end of interrupt has emptied the list register
    // (IHI0069, ICH_LR<n>_EL2.HW). Known without reading it.
    interrupt.active = interrupt.made_active = interrupt.listed_latch = false;
    newer_ |= BitOf(interrupt.list_register);
    dirty_ = true;
    return Reconcile(interrupt.list_register) | VcpuMask{1} << index_;
  }
  return gic_.Evaluate(interrupt);
}

VcpuMask VirtualCpuInterface::SetPrivateLine(uint32_t intid, bool level) {
  VirtualInterrupt& interrupt = private_[intid];
  if (interrupt.line == level) return 0;
  interrupt.line = level;
  // A mapped one will be the physical interrupt as soon as the vCPU is loaded.
  if (interrupt.physical_intid != 0 && !interrupt.active) interrupt.physical_active = level;
  return gic_.Evaluate(interrupt);
}

VcpuMask VirtualCpuInterface::SamplePhysicalLine(uint32_t intid, bool level) {
  VirtualInterrupt& interrupt = private_[intid];
  // A line that rose is no news: the physical interrupt tells.
  if (!interrupt.physical_active || interrupt.line == level) return 0;
  interrupt.line = level;
  if (interrupt.active)
    return 0;  // pending or not is decided by the physical interrupt, once deactivated
  interrupt.physical_active = false;
  deactivate_ |= 1u << intid;
  dirty_ = true;
  return gic_.Evaluate(interrupt);
}

// ---- list registers -----------------------------------------------------------------------------------

void VirtualCpuInterface::EndActive(VirtualInterrupt& interrupt, bool by_hardware) {
  interrupt.active = interrupt.made_active = false;
  if (!interrupt.physical_active) return;
  if (!loaded_) {
    // The level is emulated now: it pends at once or not at all.
    interrupt.physical_active = interrupt.line;
    return;
  }
  // Whether the line is still high is for the physical interrupt to say, by firing again.
  interrupt.physical_active = false;
  interrupt.line = false;
  if (!by_hardware) {
    deactivate_ |= 1u << interrupt.intid;
    dirty_ = true;
  }
}

VcpuMask VirtualCpuInterface::ReconcileSlow(uint32_t index) {
  VirtualInterrupt& interrupt = *listed_[index];
  interrupt.latch = interrupt.latch | interrupt.listed_latch;
  interrupt.listed_latch = false;
  if (!interrupt.active) {
    // An ended interrupt with maintenance shows in ICH_EISR_EL2 until its register is written.
    const ListRegister image = image_[index];
    Free(index, image.valid() || image.maintenance());
    return gic_.Evaluate(interrupt);
  }

  // Group and priority stay as acknowledged: the end of interrupt is matched against them.
  ListRegister& image = image_[index];
  const ListRegister before = image;
  if (image.hardware() && interrupt.latch) {
    // HW = 1 cannot be active and pending, nor report deactivation: end the physical one in software.
    image.Set(ListRegister::kHardware | ListRegister::kPhysicalIntidMask, false);
  }
  const bool same_event =
      image.group() == interrupt.group() && image.priority() == interrupt.priority;
  const bool deliver = interrupt.enabled && gic_.GroupOn(interrupt) && interrupt.target == index_;
  const bool pending = interrupt.latch && deliver && same_event && !image.hardware();
  image.Set(ListRegister::kPending, pending);
  interrupt.listed_latch = pending;
  interrupt.latch = interrupt.latch && !pending;
  // Whatever pends apart from this list register is looked at again when the guest deactivates.
  if (!image.hardware()) {
    image.Set(ListRegister::kMaintenance, interrupt.latch || (interrupt.line && !interrupt.edge));
  }
  if (image != before) newer_ |= BitOf(index);
  return 0;
}

void VirtualCpuInterface::Free(uint32_t index, bool write) {
  listed_[index]->place = VirtualInterrupt::Place::kNone;
  listed_[index] = nullptr;
  image_[index].value = 0;
  used_ &= ~BitOf(index);
  marked_ &= ~BitOf(index);
  if (write) newer_ |= BitOf(index);
}

void VirtualCpuInterface::Unlist(uint32_t index) {
  VirtualInterrupt& interrupt = *listed_[index];
  interrupt.latch = interrupt.latch | interrupt.listed_latch;
  interrupt.listed_latch = false;
  Free(index, true);
}

void VirtualCpuInterface::Evict(uint32_t index) {
  VirtualInterrupt& interrupt = *listed_[index];
  const ListRegister image = image_[index];
  const uint32_t group_priority = image.priority() & vmcr_.GroupPriorityMask(image.group());
  const uint32_t level = group_priority >> (8 - preemption_bits_);
  Unlist(index);
  if (interrupt.made_active || !LevelActive(level)) {
    gic_.NoteActivation();  // TDIR is written by the flush under way
    return;
  }
  interrupt.evicted_level = static_cast<uint8_t>(level);
  interrupt.place = VirtualInterrupt::Place::kEvicted;
  evicted_.PushFront(interrupt);
}

VcpuMask VirtualCpuInterface::EndEvicted(uint32_t ended) {
  VcpuMask kicks = 0;
  InterruptList kept;
  while (!evicted_.empty()) {
    VirtualInterrupt& interrupt = *evicted_.head();
    evicted_.Remove(interrupt);
    if (LevelActive(interrupt.evicted_level)) {
      kept.PushBack(interrupt);
      continue;
    }
    interrupt.place = VirtualInterrupt::Place::kNone;
    if (ended == 0) {
      kicks |= gic_.NoteActivation();  // its priority was dropped; DIR ends it
      continue;
    }
    --ended;
    EndActive(interrupt, false);
    kicks |= gic_.Evaluate(interrupt);
  }
  evicted_ = kept;
  return kicks;
}

void VirtualCpuInterface::SetListedActive(uint32_t index, bool active) {
  image_[index].Set(ListRegister::kActive, active);
  newer_ |= BitOf(index);
}

// ---- choice -------------------------------------------------------------------------------------------

void VirtualCpuInterface::FillFree() {
  for (uint32_t free = all_ & ~used_; free != 0; free &= free - 1) {
    VirtualInterrupt* const top = queue_.Top(gic_.groups());
    if (top == nullptr) return;
    queue_.Remove(*top);
    List(std::countr_zero(free), *top);
  }
}

uint32_t VirtualCpuInterface::Rank(uint32_t group, uint32_t priority) const {
  return priority + ((vmcr_.groups() >> group) & 1 ? 0 : kIdlePriority + 1);
}

void VirtualCpuInterface::FillFull() {
  const uint32_t on = gic_.groups();
  for (;;) {
    VirtualInterrupt* top = queue_.Top(on & vmcr_.groups());
    if (top == nullptr) top = queue_.Top(on);
    if (top == nullptr) return;
    if (!Replace(*top)) {
      overflow_ = true;
      return;
    }
  }
}

// Gives `top` the list register of a worse pending interrupt, or of an active one if none is pending: one
// pending interrupt must be there, or the no-pending maintenance interrupt would never end. Each success
// raises what the list registers hold, so FillFull ends.
bool VirtualCpuInterface::Replace(VirtualInterrupt& top) {
  uint32_t worst_pending = kMaxListRegisters;
  uint32_t worst_active = kMaxListRegisters;
  uint32_t pending_rank = 0;
  uint32_t active_priority = 0;
  for (uint32_t index = 0; index < list_registers_; ++index) {
    const ListRegister image = image_[index];
    if (!image.active()) {
      const uint32_t rank = Rank(image.group(), image.priority());
      if (worst_pending == kMaxListRegisters || rank > pending_rank) {
        worst_pending = index;
        pending_rank = rank;
      }
    } else if (worst_active == kMaxListRegisters || image.priority() > active_priority) {
      worst_active = index;
      active_priority = image.priority();
    }
  }
  uint32_t place = worst_pending;
  if (worst_pending != kMaxListRegisters) {
    if (Rank(top.group(), top.priority) >= pending_rank) return false;
    VirtualInterrupt& loser = *listed_[worst_pending];
    Unlist(worst_pending);
    loser.place = VirtualInterrupt::Place::kQueued;
    queue_.PushFront(loser);
  } else {
    // Lowest priority: acknowledged first, so ended last.
    place = worst_active;
    Evict(worst_active);
  }
  queue_.Remove(top);
  List(place, top);
  return true;
}

bool VirtualCpuInterface::HasDeliverable() const {
  const uint32_t on = gic_.groups() & vmcr_.groups();
  uint32_t best = kIdlePriority + 1;
  uint32_t best_group = 0;
  const auto consider = [&](uint32_t group, uint32_t priority) {
    if (priority >= best) return;
    best = priority;
    best_group = group;
  };
  if (const VirtualInterrupt* top = queue_.Top(on); top != nullptr) {
    consider(top->group(), top->priority);
  }
  for (uint32_t left = used_; left != 0; left &= left - 1) {
    const ListRegister image = image_[std::countr_zero(left)];
    if (!image.active() && (on >> image.group()) & 1) consider(image.group(), image.priority());
  }
  if (best >= vmcr_.priority_mask()) return false;

  for (uint32_t index = 0; index < kMaxActivePriorityRegisters; ++index) {
    const uint32_t active = active_priorities_[0][index] | active_priorities_[1][index];
    if (active == 0) continue;
    const uint32_t running = (index * 32 + std::countr_zero(active)) << (8 - preemption_bits_);
    return (best & vmcr_.GroupPriorityMask(best_group)) < running;
  }
  return true;
}

// ---- reset --------------------------------------------------------------------------------------------

VcpuMask VirtualCpuInterface::ResetInterface() {
  VcpuMask kicks = 0;
  for (uint32_t left = used_; left != 0; left &= left - 1) {
    const uint32_t index = std::countr_zero(left);
    VirtualInterrupt& interrupt = *listed_[index];
    Unlist(index);
    if (interrupt.active) kicks |= gic_.NoteActivation();
    kicks |= gic_.Evaluate(interrupt);
  }
  while (!evicted_.empty()) {
    VirtualInterrupt& interrupt = *evicted_.head();
    evicted_.Remove(interrupt);
    interrupt.place = VirtualInterrupt::Place::kNone;
    kicks |= gic_.NoteActivation();
  }
  vmcr_ = VirtualMachineControl::Reset(preemption_bits_);
  active_priorities_ = {};
  overflow_ = false;
  reload_ = loaded_;
  dirty_ = true;
  return kicks;
}

void VirtualCpuInterface::ForgetAll() {
  queue_ = {};
  evicted_ = {};
  image_ = {};
  listed_ = {};
  used_ = marked_ = newer_ = deactivate_ = 0;
  for (VirtualInterrupt& interrupt : private_) {
    interrupt.place = VirtualInterrupt::Place::kNone;
    if (interrupt.physical_intid != 0) {
      if (loaded_ && interrupt.physical_active) deactivate_ |= 1u << interrupt.intid;
      interrupt.line = false;  // the timers were reset too
    }
    interrupt.Reset();
  }
  vmcr_ = VirtualMachineControl::Reset(preemption_bits_);
  active_priorities_ = {};
  overflow_ = false;
  control_ = 0;
  reload_ = loaded_;
  at_rest_ = true;
  dirty_ = true;
}

}  // namespace atoll
