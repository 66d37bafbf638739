// TCR_EL2 (with E2H = 1) and VTCR_EL2 for the formats of table_format.h (DDI0487, by register).
#ifndef ATOLL_KERNEL_MEMORY_TRANSLATION_REGISTERS_H_
#define ATOLL_KERNEL_MEMORY_TRANSLATION_REGISTERS_H_

#include <cstdint>

#include "ipc/abi.h"
#include "kernel/direct_map.h"

namespace atoll {

// ID_AA64MMFR0_EL1.PARange: 0 = 32 bits, 1 = 36, 2 = 40, 3 = 42, 4 = 44, 5 = 48, 6 = 52.
inline constexpr uint64_t kPhysicalRange40 = 2;
inline constexpr uint64_t kPhysicalRange48 = 5;  // the most that descriptors without FEAT_LPA hold

constexpr uint64_t OutputSize(uint64_t physical_range) {
  return physical_range < kPhysicalRange48 ? physical_range : kPhysicalRange48;
}

// Inner and outer write-back write-allocate, inner shareable: table walks are coherent with the
// caches.
constexpr uint64_t WalkAttributes(unsigned shift) {
  constexpr uint64_t kInnerWriteBack = 1;
  constexpr uint64_t kOuterWriteBack = 1 << 2;
  constexpr uint64_t kInnerShareable = 3 << 4;
  return (kInnerWriteBack | kOuterWriteBack | kInnerShareable) << shift;
}

constexpr uint64_t TcrEl2Value(uint64_t physical_range, bool asid16) {
  const uint64_t t0sz = 64 - abi::kTaskSpaceBits;
  const uint64_t t1sz = (64 - kKernelSpaceBits) << 16;
  const uint64_t tg0_4k = uint64_t{0} << 14;
  const uint64_t tg1_4k = uint64_t{2} << 30;
  const uint64_t ips = OutputSize(physical_range) << 32;
  const uint64_t as = uint64_t{asid16} << 36;  // A1 = 0: the ASID is that of TTBR0_EL2
  return t0sz | t1sz | tg0_4k | tg1_4k | WalkAttributes(8) | WalkAttributes(24) | ips | as;
}

// The CPU must have at least kPhysicalRange40: an IPA may not be wider than a physical address.
constexpr uint64_t VtcrEl2Value(uint64_t physical_range, bool vmid16) {
  const uint64_t t0sz = 64 - abi::kGuestPhysBits;
  const uint64_t sl0_level1 = 1 << 6;
  const uint64_t tg0_4k = 0 << 14;
  const uint64_t ps = OutputSize(physical_range) << 16;
  const uint64_t vs = uint64_t{vmid16} << 19;
  const uint64_t res1 = uint64_t{1} << 31;
  return t0sz | sl0_level1 | WalkAttributes(8) | tg0_4k | ps | vs | res1;
}

static_assert(TcrEl2Value(kPhysicalRange40, false) == 0x2'b519'3519);
static_assert(VtcrEl2Value(kPhysicalRange40, false) == 0x8002'3558);

// TTBR0_EL2 and VTTBR_EL2 alike: root table and ASID or VMID.
constexpr uint64_t TranslationBase(PhysAddr root, uint64_t id) { return root.value | id << 48; }

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_TRANSLATION_REGISTERS_H_
