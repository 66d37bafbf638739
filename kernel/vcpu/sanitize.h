// Whatever a guest or a service writes into a vCPU or task, by kind: the rules, all on one screen.
//
// Sane* returns the nearest legal value and never fails; Is* says whether a request is legal at
// all.
#ifndef ATOLL_KERNEL_VCPU_SANITIZE_H_
#define ATOLL_KERNEL_VCPU_SANITIZE_H_

#include <cstdint>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "kernel/vcpu/pstate.h"

namespace atoll {

// PSTATE of a vCPU that is about to run. A mode that the guest may not have (EL2, EL3, undefined,
// AArch32 other than User) becomes what a processor makes of an illegal return: the exception level
// stays EL1, and IL makes the next instruction an Illegal Execution state exception in the guest
// (CPU-12).
constexpr uint64_t SaneGuestPstate(uint64_t wanted, bool aarch32_el0) {
  using namespace pstate;
  constexpr uint64_t kCommon = kModeMask | kDaif | kIl | kSs | kPan | kNzcv;
  constexpr uint64_t kAarch64 = kCommon | kBtype | kSsbs | kUao | kDit | kTco;
  static_assert(kE == kD);  // one bit, two meanings
  constexpr uint64_t kIn32 = kCommon | kT | kE | kItHigh | kGe | kAarch32Ssbs | kDit | kItLow | kQ;
  switch (wanted & kModeMask) {
    case kEl0t:
    case kEl1t:
    case kEl1h: return wanted & kAarch64;
    case kAarch32User:
      if (aarch32_el0) return wanted & kIn32;
      break;
    default: break;
  }
  return (wanted & (kNzcv | kDaif | kSs | kPan)) | kEl1h | kIl;
}

// PSTATE of a task: EL0, AArch64, nothing masked; flags and SSBS are its own. SS is the kernel's to
// set.
constexpr uint64_t SaneTaskPstate(uint64_t wanted) {
  return (wanted & (pstate::kNzcv | pstate::kSsbs)) | pstate::kEl0t;
}

// Where a task may start: an instruction in its half of the address space.
constexpr bool IsTaskEntry(uint64_t pc) {
  return pc % 4 == 0 && pc < uint64_t{1} << abi::kTaskSpaceBits;
}
// SP of a task: 16-byte aligned; one past the end of the space is the largest.
constexpr bool IsTaskStack(uint64_t sp) {
  return sp % 16 == 0 && sp <= uint64_t{1} << abi::kTaskSpaceBits;
}

// Where a vCPU may start. Whether memory is mapped there is for Stage 2 to say.
constexpr bool IsGuestEntry(uint64_t pc) {
  return pc % 4 == 0 && pc < uint64_t{1} << abi::kGuestPhysBits;
}

// MPIDR_EL1 from an affinity: Aff3 [39:32], Aff2-Aff0 [23:0]; bit 31 is RES1, U and MT are 0.
inline constexpr uint64_t kAffinityMask = 0xff'00ff'ffff;
constexpr bool IsAffinity(uint64_t affinity) { return (affinity & ~kAffinityMask) == 0; }
constexpr uint64_t SaneMpidr(uint64_t affinity) {
  return (affinity & kAffinityMask) | uint64_t{1} << 31;
}

// Debug registers as the hardware gets them. Kept out: halting debug (HDE), traps to an external
// debugger (TDA, TXfull, RXfull, ...), PMU and trace bits.
constexpr uint64_t SaneMdscr(uint64_t wanted) {
  constexpr uint64_t kSs = 1u << 0;
  constexpr uint64_t kTdcc = 1u << 12;
  constexpr uint64_t kKde = 1u << 13;
  constexpr uint64_t kMde = 1u << 15;
  return wanted & (kSs | kTdcc | kKde | kMde);
}

// DBGBCR<n>_EL1 = E, PMC, BAS, HMC, SSC, LBN, BT. Types that match a VMID or CONTEXTIDR_EL2 (BT >=
// 8), which a guest without EL2 does not have, and conditions that match nothing but EL2 or EL3
// (SSC) never enable.
constexpr uint64_t SaneBreakpointControl(uint64_t wanted) {
  constexpr uint64_t kEnable = 1u << 0;
  constexpr uint64_t kFields = 0x00ff'e1e7;
  constexpr uint64_t kHypervisorType = 1u << 23;  // BT[3]
  constexpr uint64_t kSecurityState = 3u << 14;   // SSC
  const uint64_t value = wanted & kFields;
  return (value & (kHypervisorType | kSecurityState)) != 0 ? value & ~kEnable : value;
}
// DBGWCR<n>_EL1 = E, PAC, LSC, BAS, HMC, SSC, LBN, WT, MASK.
constexpr uint64_t SaneWatchpointControl(uint64_t wanted) {
  constexpr uint64_t kEnable = 1u << 0;
  constexpr uint64_t kFields = 0x1f1f'ffff;
  constexpr uint64_t kSecurityState = 3u << 14;
  const uint64_t value = wanted & kFields;
  return (value & kSecurityState) != 0 ? value & ~kEnable : value;
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_SANITIZE_H_
