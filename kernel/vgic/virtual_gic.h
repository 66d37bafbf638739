// A VM's virtual GICv3: the state of every virtual interrupt, and which vCPU each one waits for.
//
// It knows no register layout but those of the CPU: GICD and GICR registers are decoded by the vgic service,
// which reads and writes fields of interrupts by Get and Set. See virtual_cpu_interface.h for list registers.
//
// All memory is one span, handed in at creation. The caller holds the VM's interrupt lock for every function.
// Each VcpuMask returned names vCPUs that have something new: they must flush before they run on.
#ifndef ATOLL_KERNEL_VGIC_VIRTUAL_GIC_H_
#define ATOLL_KERNEL_VGIC_VIRTUAL_GIC_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/status.h"
#include "kernel/vgic/interrupt.h"
#include "kernel/vgic/list_register.h"
#include "kernel/vgic/virtual_cpu_interface.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// The register that a vCPU wrote: which groups of SGIs it reaches.
enum class SgiRegister {
  kSgi0,  // ICC_SGI0R_EL1: Group 0
  kSgi1,  // ICC_SGI1R_EL1: both
  kAsgi1,  // ICC_ASGI1R_EL1: the other Security state's Group 1, which is Group 0 where there is one state
};

class VirtualGic {
 public:
  static constexpr uint32_t kVcpuLimit = 64;  // bits of a VcpuMask

  // Interrupts 0..intids-1 (a multiple of 32 in 64..1024; 1020-1023 do not exist), vCPUs 0..vcpus-1.
  static constexpr bool IsValid(uint32_t intids, uint32_t vcpus) {
    return intids >= 64 && intids <= 1024 && intids % 32 == 0 && vcpus >= 1 && vcpus <= kVcpuLimit;
  }
  static size_t BytesNeeded(uint32_t intids, uint32_t vcpus);

  // Builds one in `memory`, 64-byte aligned, which it occupies from then on. INVALID_ARGUMENT: not IsValid;
  // RESOURCE_EXHAUSTED: memory too small. It needs no destruction.
  [[gnu::cold, clang::minsize]] static Result<VirtualGic*> Create(std::span<std::byte> memory,
                                                                  uint32_t intids, uint32_t vcpus,
                                                                  VirtualTypeRegister type);

  // vCPU `index` exists from now on. affinity: Aff3.Aff2.Aff1.Aff0, one byte each.
  // OUT_OF_RANGE: no such index. ALREADY_EXISTS: that index or affinity is taken.
  [[gnu::cold, clang::minsize]] Status Attach(uint32_t index, uint32_t affinity, VcpuMask& kicks);

  VirtualCpuInterface& vcpu(uint32_t index) { return vcpus_[index]; }
  uint32_t vcpu_count() const { return static_cast<uint32_t>(vcpus_.size()); }
  uint32_t intids() const { return intids_; }

  // ---- sources ----------------------------------------------------------------------------------------

  // Level of the wire of SPI `intid`. Other INTIDs: nothing happens.
  VcpuMask SetLine(uint32_t intid, bool level);

  // A vCPU wrote `value` to `which`. Its own bit may be in the result.
  VcpuMask SendSgi(uint32_t source, uint64_t value, SgiRegister which);

  // A trapped write of ICC_DIR_EL1 by a vCPU at rest. Ignored with EOImode 0.
  // FAILED_PRECONDITION: MustSync(kActive, intid, 1, vcpu) is not 0.
  Result<VcpuMask> Deactivate(uint32_t vcpu, uint32_t intid);

  // ---- fields (proto/kernel.proto, GetInterrupts and SetInterrupts) --------------------------------------

  // The vCPUs that have to be brought to rest first, and kept there until Get or Set returned: their list
  // registers hold some of these interrupts. A vCPU that runs elsewhere has to be interrupted.
  VcpuMask MustSync(InterruptField field, uint32_t first, uint32_t count, uint32_t vcpu) const;

  // INVALID_ARGUMENT: count 0 or more than fits (32; 8 priorities; 1 route). OUT_OF_RANGE: interrupts below
  // 32 of a vCPU that does not exist. FAILED_PRECONDITION: MustSync is not 0.
  Result<uint64_t> Get(InterruptField field, uint32_t first, uint32_t count, uint32_t vcpu) const;

  // As Get; the count is that of `mask`. PERMISSION_DENIED: kLines. When it returns, no vCPU takes an
  // interrupt that was disabled, since those that could were at rest.
  Result<VcpuMask> Set(InterruptField field, uint32_t first, uint64_t mask, uint64_t value,
                       uint32_t vcpu);

  // Everything as at creation but the vCPUs, mapped PPIs and the levels of lines. All vCPUs are off.
  [[gnu::cold, clang::minsize]] void Reset();

  // ---- for VirtualCpuInterface ----------------------------------------------------------------------------

  // Puts an interrupt whose state changed where it belongs now.
  VcpuMask Evaluate(VirtualInterrupt& interrupt) {
    return MarkListed(interrupt) ? VcpuMask{1} << interrupt.vcpu : EvaluateSlow(interrupt);
  }

  uint32_t groups() const { return groups_; }
  bool GroupOn(const VirtualInterrupt& interrupt) const {
    return (groups_ >> interrupt.group()) & 1;
  }
  // An interrupt is or may become active without being in a list register of the vCPU that will deactivate
  // it by ICC_DIR_EL1.
  bool traps_deactivation() const { return vcpus_.size() > 1 || activated_; }
  VcpuMask NoteActivation();

 private:
  VirtualGic(uint32_t intids, std::span<VirtualCpuInterface> vcpus,
             std::span<VirtualInterrupt> shared)
      : intids_(intids), vcpus_(vcpus), shared_(shared) {}

  // In a list register of a vCPU that runs: Flush deals with it.
  bool MarkListed(VirtualInterrupt& interrupt);
  VcpuMask EvaluateSlow(VirtualInterrupt& interrupt);
  VirtualInterrupt* Find(uint32_t intid, uint32_t vcpu) const;
  uint8_t TargetOf(uint32_t affinity) const;
  bool HoldsUnseen(const VirtualInterrupt& interrupt) const;
  uint64_t GetOne(InterruptField field, const VirtualInterrupt& interrupt) const;
  VcpuMask SetOne(InterruptField field, VirtualInterrupt& interrupt, uint32_t value);
  VcpuMask SetActive(VirtualInterrupt& interrupt, bool active);
  VcpuMask SetRoute(VirtualInterrupt& interrupt, uint64_t mask, uint64_t value);
  VcpuMask SetGroups(uint32_t groups);
  // Takes it out of the queue, whose order depends on what will change.
  void Dequeue(VirtualInterrupt& interrupt);

  const uint32_t intids_;
  uint32_t groups_ = 0;  // bit g: GICD_CTLR.EnableGrp<g>
  bool activated_ = false;
  std::span<VirtualCpuInterface> vcpus_;
  std::span<VirtualInterrupt> shared_;  // SPIs, from 32
};

inline bool VirtualGic::MarkListed(VirtualInterrupt& interrupt) {
  if (interrupt.place != VirtualInterrupt::Place::kListed) return false;
  VirtualCpuInterface& holder = vcpus_[interrupt.vcpu];
  if (holder.at_rest_) return false;
  holder.marked_ |= holder.BitOf(interrupt.list_register);
  holder.dirty_ = true;
  return true;
}

}  // namespace atoll

#include "kernel/vgic/virtual_cpu_interface_inl.h"

#endif  // ATOLL_KERNEL_VGIC_VIRTUAL_GIC_H_
