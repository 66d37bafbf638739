#include "kernel/vgic/virtual_gic.h"

#include <bit>
#include <new>

namespace atoll {
namespace {

using Place = VirtualInterrupt::Place;

constexpr size_t kAlignment = 64;
static_assert(alignof(VirtualGic) <= kAlignment && alignof(VirtualCpuInterface) <= kAlignment &&
              alignof(VirtualInterrupt) <= kAlignment);

struct Layout {
  size_t vcpus;
  size_t shared;
  size_t end;
};

constexpr uint32_t SharedCount(uint32_t intids) {
  return (intids < kIntidLimit ? intids : kIntidLimit) - kPrivateIntids;
}

constexpr Layout LayoutOf(uint32_t intids, uint32_t vcpus) {
  Layout layout = {};
  layout.vcpus = AlignUp(sizeof(VirtualGic), kAlignment);
  layout.shared = AlignUp(layout.vcpus + vcpus * sizeof(VirtualCpuInterface), kAlignment);
  layout.end = layout.shared + SharedCount(intids) * sizeof(VirtualInterrupt);
  return layout;
}

// ICC_SGI1R_EL1 and its like (IHI0069).
struct SgiRequest {
  uint64_t value;
  uint32_t targets() const { return value & 0xffff; }
  uint32_t intid() const { return (value >> 24) & 0xf; }
  bool all_others() const { return (value >> 40) & 1; }
  uint32_t range() const { return (value >> 44) & 0xf; }
  uint32_t affinity() const {  // Aff3.Aff2.Aff1.0
    return static_cast<uint32_t>(((value >> 48) & 0xff) << 24 | ((value >> 32) & 0xff) << 16 |
                                 ((value >> 16) & 0xff) << 8);
  }
};

}  // namespace

size_t VirtualGic::BytesNeeded(uint32_t intids, uint32_t vcpus) {
  return LayoutOf(intids, vcpus).end;
}

Result<VirtualGic*> VirtualGic::Create(std::span<std::byte> memory, uint32_t intids, uint32_t vcpus,
                                       VirtualTypeRegister type) {
  if (!IsValid(intids, vcpus) || type.list_registers() > kMaxListRegisters ||
      type.preemption_bits() > 7 || reinterpret_cast<uintptr_t>(memory.data()) % kAlignment != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  const Layout layout = LayoutOf(intids, vcpus);
  if (memory.size() < layout.end) return std::unexpected(Status::kResourceExhausted);

  auto* const interfaces = reinterpret_cast<VirtualCpuInterface*>(memory.data() + layout.vcpus);
  auto* const shared = reinterpret_cast<VirtualInterrupt*>(memory.data() + layout.shared);
  auto* const gic =
      new (memory.data()) VirtualGic(intids, {interfaces, vcpus}, {shared, SharedCount(intids)});
  for (uint32_t index = 0; index < vcpus; ++index) {
    new (&interfaces[index]) VirtualCpuInterface(*gic, index, type);
  }
  for (uint32_t i = 0; i < SharedCount(intids); ++i) {
    new (&shared[i]) VirtualInterrupt();
    shared[i].intid = static_cast<uint16_t>(kPrivateIntids + i);
  }
  return gic;
}

Status VirtualGic::Attach(uint32_t index, uint32_t affinity, VcpuMask& kicks) {
  kicks = 0;
  if (index >= vcpus_.size()) return Status::kOutOfRange;
  if (vcpus_[index].attached_ || TargetOf(affinity) != kNoVcpu) return Status::kAlreadyExists;
  vcpus_[index].affinity_ = affinity;
  vcpus_[index].attached_ = true;
  for (VirtualInterrupt& interrupt : shared_) {
    if (interrupt.route != affinity) continue;
    interrupt.target = static_cast<uint8_t>(index);
    kicks |= Evaluate(interrupt);
  }
  return Status::kOk;
}

VcpuMask VirtualGic::SetLine(uint32_t intid, bool level) {
  const uint32_t index = intid - kPrivateIntids;  // wraps for private ones: beyond the end too
  if (index >= shared_.size()) return 0;
  VirtualInterrupt& interrupt = shared_[index];
  if (interrupt.line == level) return 0;
  interrupt.line = level;
  if (interrupt.edge) {
    if (!level) return 0;
    interrupt.latch = true;
  }
  return Evaluate(interrupt);
}

VcpuMask VirtualGic::SendSgi(uint32_t source, uint64_t value, SgiRegister which) {
  const SgiRequest request{value};
  if (!request.all_others() && request.range() != 0) return 0;  // RSS = 0: Aff0 reaches 15
  const uint32_t affinity = request.affinity();
  const uint32_t intid = request.intid();
  const bool both_groups = which == SgiRegister::kSgi1;
  VcpuMask kicks = 0;
  for (VirtualCpuInterface& vcpu : vcpus_) {
    if (request.all_others()) {
      if (vcpu.index_ == source) continue;
    } else if ((vcpu.affinity_ & ~15u) != affinity ||
               ((request.targets() >> (vcpu.affinity_ & 15)) & 1) == 0) {
      continue;
    }
    if (!vcpu.attached_) continue;
    VirtualInterrupt& interrupt = vcpu.private_[intid];
    if (!both_groups && interrupt.group1) continue;
    interrupt.latch = true;
    kicks |= Evaluate(interrupt);
  }
  return kicks;
}

VcpuMask VirtualGic::EvaluateSlow(VirtualInterrupt& interrupt) {
  if (interrupt.place == Place::kListed) {  // at rest
    vcpus_[interrupt.vcpu].dirty_ = true;
    return vcpus_[interrupt.vcpu].Reconcile(interrupt.list_register);
  }

  const bool wanted =
      interrupt.enabled && !interrupt.active && interrupt.target != kNoVcpu && interrupt.Pending();
  if (interrupt.place == Place::kQueued) {
    if (wanted && interrupt.vcpu == interrupt.target) return 0;
    Dequeue(interrupt);
  }
  if (!wanted) return 0;
  VirtualCpuInterface& target = vcpus_[interrupt.target];
  const bool on = GroupOn(interrupt);
  const uint32_t free = target.all_ & ~target.used_;
  if (on && free != 0 && target.queue_.empty()) {
    target.List(std::countr_zero(free), interrupt);
  } else {
    target.queue_.PushBack(interrupt);
    interrupt.place = Place::kQueued;
    interrupt.vcpu = interrupt.target;
    if (!on) return 0;
  }
  target.dirty_ = true;
  return VcpuMask{1} << interrupt.target;
}

void VirtualGic::Dequeue(VirtualInterrupt& interrupt) {
  if (interrupt.place != Place::kQueued) return;
  vcpus_[interrupt.vcpu].queue_.Remove(interrupt);
  interrupt.place = Place::kNone;
}

VcpuMask VirtualGic::NoteActivation() {
  if (traps_deactivation()) return 0;
  activated_ = true;
  vcpus_.front().dirty_ = true;  // the only one: TDIR must reach the hardware
  return 1;
}

VirtualInterrupt* VirtualGic::Find(uint32_t intid, uint32_t vcpu) const {
  if (intid < kPrivateIntids) return &vcpus_[vcpu].private_[intid];
  const uint32_t index = intid - kPrivateIntids;
  return index < shared_.size() ? &shared_[index] : nullptr;
}

uint8_t VirtualGic::TargetOf(uint32_t affinity) const {
  for (const VirtualCpuInterface& vcpu : vcpus_) {
    if (vcpu.attached_ && vcpu.affinity_ == affinity) return static_cast<uint8_t>(vcpu.index_);
  }
  return kNoVcpu;
}

void VirtualGic::Reset() {
  groups_ = 0;
  activated_ = false;
  for (VirtualCpuInterface& vcpu : vcpus_) vcpu.ForgetAll();
  const uint8_t first = TargetOf(0);
  for (VirtualInterrupt& interrupt : shared_) {
    interrupt.place = Place::kNone;
    interrupt.Reset();
    interrupt.route = 0;
    interrupt.target = first;
  }
}

}  // namespace atoll
