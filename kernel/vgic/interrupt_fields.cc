// VirtualGic's Get and Set: what the vgic service reads and writes for the guest.
#include <bit>

#include "kernel/vgic/virtual_gic.h"

namespace atoll {
namespace {

using Place = VirtualInterrupt::Place;

constexpr uint32_t kIntidEnd = 1024;
constexpr uint32_t kControlBits = 3;     // EnableGrp0, EnableGrp1
constexpr uint8_t kPriorityBits = 0xf8;  // 5 bits; agrees with ICC_CTLR_EL1.PRIbits
constexpr uint64_t kRouteMask =
    0xff'00ff'ffff;  // Aff3, Aff2-Aff0; IRM reads 0 as GICD_TYPER.No1N is 1

struct Shape {
  uint32_t bits;   // of one interrupt in a value
  uint32_t count;  // interrupts in one access at most
};

// bits 0: not a field of interrupts.
constexpr Shape ShapeOf(InterruptField field) {
  switch (field) {
    case InterruptField::kGroup:
    case InterruptField::kEnabled:
    case InterruptField::kPending:
    case InterruptField::kActive:
    case InterruptField::kEdge: return {1, 32};
    case InterruptField::kPriority: return {8, 8};
    case InterruptField::kRoute: return {64, 1};
    case InterruptField::kControl:
    case InterruptField::kLines: break;
  }
  return {0, 0};
}

constexpr uint64_t LowBits(uint32_t bits) {
  return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
}

}  // namespace

bool VirtualGic::HoldsUnseen(const VirtualInterrupt& interrupt) const {
  return (interrupt.place == Place::kListed || interrupt.place == Place::kEvicted) &&
         !vcpus_[interrupt.vcpu].at_rest_;
}

VcpuMask VirtualGic::MustSync(InterruptField field, uint32_t first, uint32_t count,
                              uint32_t vcpu) const {
  VcpuMask mask = 0;
  if (field == InterruptField::kControl) {
    for (const VirtualCpuInterface& interface : vcpus_) {
      if (!interface.at_rest_) mask |= VcpuMask{1} << interface.index_;
    }
    return mask;
  }
  if (ShapeOf(field).bits == 0 || first >= kIntidEnd) return 0;
  if (first < kPrivateIntids && vcpu >= vcpus_.size()) return 0;
  count = count < ShapeOf(field).count ? count : ShapeOf(field).count;
  for (uint32_t i = 0; i < count; ++i) {
    const VirtualInterrupt* const interrupt = Find(first + i, vcpu);
    if (interrupt != nullptr && HoldsUnseen(*interrupt)) mask |= VcpuMask{1} << interrupt->vcpu;
  }
  return mask;
}

Result<uint64_t> VirtualGic::Get(InterruptField field, uint32_t first, uint32_t count,
                                 uint32_t vcpu) const {
  if (field == InterruptField::kControl) return groups_;
  if (field == InterruptField::kLines) return intids_;
  const Shape shape = ShapeOf(field);
  if (count == 0 || count > shape.count) return std::unexpected(Status::kInvalidArgument);
  if (first >= kIntidEnd) return 0;
  if (first < kPrivateIntids && (vcpu >= vcpus_.size() || !vcpus_[vcpu].attached_)) {
    return std::unexpected(Status::kOutOfRange);
  }
  const bool moves = field == InterruptField::kPending || field == InterruptField::kActive;
  if (moves && MustSync(field, first, count, vcpu) != 0) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  uint64_t value = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const VirtualInterrupt* const interrupt = Find(first + i, vcpu);
    if (interrupt == nullptr) break;
    value |= GetOne(field, *interrupt) << (i * shape.bits);
  }
  return value;
}

uint64_t VirtualGic::GetOne(InterruptField field, const VirtualInterrupt& interrupt) const {
  switch (field) {
    case InterruptField::kGroup: return interrupt.group1;
    case InterruptField::kEnabled: return interrupt.enabled;
    case InterruptField::kPending: return interrupt.Pending();
    case InterruptField::kActive: return interrupt.active;
    case InterruptField::kEdge: return interrupt.edge;
    case InterruptField::kPriority: return interrupt.priority;
    case InterruptField::kRoute:
      if (interrupt.intid < kPrivateIntids) return 0;
      return uint64_t{interrupt.route >> 24} << 32 | (interrupt.route & 0xff'ffff);
    case InterruptField::kControl:
    case InterruptField::kLines: break;
  }
  return 0;
}

Result<VcpuMask> VirtualGic::Set(InterruptField field, uint32_t first, uint64_t mask,
                                 uint64_t value, uint32_t vcpu) {
  if (field == InterruptField::kLines) return std::unexpected(Status::kPermissionDenied);
  const Shape shape = ShapeOf(field);
  if (first < kPrivateIntids && shape.bits != 0 &&
      (vcpu >= vcpus_.size() || !vcpus_[vcpu].attached_)) {
    return std::unexpected(Status::kOutOfRange);
  }
  if (shape.bits != 0 && (mask & ~LowBits(shape.bits * shape.count)) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  const uint32_t width = static_cast<uint32_t>(std::bit_width(mask));
  const uint32_t count = shape.bits == 0 ? 0 : (width + shape.bits - 1) / shape.bits;
  if (MustSync(field, first, count, vcpu) != 0) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  if (field == InterruptField::kControl) {
    return SetGroups(static_cast<uint32_t>(((groups_ & ~mask) | (value & mask)) & kControlBits));
  }
  if (shape.bits == 0) return std::unexpected(Status::kInvalidArgument);
  if (first >= kIntidEnd) return 0;
  if (field == InterruptField::kRoute) {
    VirtualInterrupt* const interrupt = first < kPrivateIntids ? nullptr : Find(first, vcpu);
    return interrupt == nullptr ? 0 : SetRoute(*interrupt, mask, value);
  }
  VcpuMask kicks = 0;
  while (mask != 0) {
    const uint32_t i = std::countr_zero(mask) / shape.bits;
    mask &= ~(LowBits(shape.bits) << (i * shape.bits));
    VirtualInterrupt* const interrupt = Find(first + i, vcpu);
    if (interrupt == nullptr) break;
    kicks |= SetOne(field, *interrupt,
                    static_cast<uint32_t>((value >> (i * shape.bits)) & LowBits(shape.bits)));
  }
  return kicks;
}

VcpuMask VirtualGic::SetOne(InterruptField field, VirtualInterrupt& interrupt, uint32_t value) {
  switch (field) {
    case InterruptField::kGroup:
      if (interrupt.group1 == (value != 0)) return 0;
      Dequeue(interrupt);
      interrupt.group1 = value != 0;
      break;
    case InterruptField::kEnabled: interrupt.enabled = value != 0; break;
    case InterruptField::kPending:
      interrupt.latch = value != 0;
      interrupt.listed_latch = false;  // while listed, at rest: the list register follows
      break;
    case InterruptField::kActive: return SetActive(interrupt, value != 0);
    case InterruptField::kEdge:
      if (interrupt.intid < kPrivateIntids) return 0;
      interrupt.edge = value != 0;
      break;
    case InterruptField::kPriority:
      if (interrupt.priority == (value & kPriorityBits)) return 0;
      Dequeue(interrupt);
      interrupt.priority = value & kPriorityBits;
      break;
    case InterruptField::kRoute:
    case InterruptField::kControl:
    case InterruptField::kLines: return 0;
  }
  return Evaluate(interrupt);
}

VcpuMask VirtualGic::SetActive(VirtualInterrupt& interrupt, bool active) {
  if (interrupt.active == active) return 0;
  if (active) {
    interrupt.active = interrupt.made_active = true;
    if (interrupt.place == Place::kListed) {
      vcpus_[interrupt.vcpu].SetListedActive(interrupt.list_register, true);
    }
    return NoteActivation() | Evaluate(interrupt);
  }
  if (interrupt.place == Place::kListed) {
    vcpus_[interrupt.vcpu].SetListedActive(interrupt.list_register, false);
  } else if (interrupt.place == Place::kEvicted) {
    vcpus_[interrupt.vcpu].evicted_.Remove(interrupt);
    interrupt.place = Place::kNone;
  }
  // Only PPIs stand for physical interrupts, and those belong to their own vCPU.
  if (interrupt.intid < kPrivateIntids) {
    vcpus_[interrupt.target].EndActive(interrupt, false);
  } else {
    interrupt.active = interrupt.made_active = false;
  }
  return Evaluate(interrupt);
}

VcpuMask VirtualGic::SetRoute(VirtualInterrupt& interrupt, uint64_t mask, uint64_t value) {
  mask &= kRouteMask;
  const uint64_t old = GetOne(InterruptField::kRoute, interrupt);
  const uint64_t route = (old & ~mask) | (value & mask);
  interrupt.route = static_cast<uint32_t>((route >> 32) << 24 | (route & 0xff'ffff));
  interrupt.target = TargetOf(interrupt.route);
  return Evaluate(interrupt);
}

VcpuMask VirtualGic::SetGroups(uint32_t groups) {
  if (groups == groups_) return 0;
  groups_ = groups;
  VcpuMask kicks = 0;
  for (VirtualCpuInterface& vcpu : vcpus_) {
    // All are at rest.
    for (uint32_t left = vcpu.used_; left != 0; left &= left - 1) {
      kicks |= vcpu.Reconcile(std::countr_zero(left));
    }
    vcpu.dirty_ = true;
    if (vcpu.MoreToList()) kicks |= VcpuMask{1} << vcpu.index_;
  }
  return kicks;
}

Result<VcpuMask> VirtualGic::Deactivate(uint32_t vcpu, uint32_t intid) {
  if (!vcpus_[vcpu].vmcr_.separate_deactivation() || intid >= kIntidEnd) return 0;
  return Set(InterruptField::kActive, intid, 1, 0, vcpu);
}

}  // namespace atoll
