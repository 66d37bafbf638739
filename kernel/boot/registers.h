// System registers and fields that only boot writes. Arm ARM (DDI0487) D17.2; formats for
// HCR_EL2.E2H = 1.
#ifndef ATOLL_KERNEL_BOOT_REGISTERS_H_
#define ATOLL_KERNEL_BOOT_REGISTERS_H_

#include <cstdint>

#include "kernel/direct_map.h"
#include "kernel/system_register.h"

namespace atoll::boot {

ATOLL_SYSTEM_REGISTER(SctlrEl2, "sctlr_el2");
ATOLL_SYSTEM_REGISTER(TcrEl2, "tcr_el2");
ATOLL_SYSTEM_REGISTER(MairEl2, "mair_el2");
ATOLL_SYSTEM_REGISTER(CptrEl2, "cptr_el2");
ATOLL_SYSTEM_REGISTER(CnthctlEl2, "cnthctl_el2");
ATOLL_SYSTEM_REGISTER(MdcrEl2, "mdcr_el2");
ATOLL_SYSTEM_REGISTER(HstrEl2, "hstr_el2");
ATOLL_SYSTEM_REGISTER(PmcrEl0, "pmcr_el0");
ATOLL_SYSTEM_REGISTER(IdAa64pfr0El1, "id_aa64pfr0_el1");
ATOLL_SYSTEM_REGISTER(IdAa64dfr0El1, "id_aa64dfr0_el1");
ATOLL_SYSTEM_REGISTER(IdAa64mmfr0El1, "id_aa64mmfr0_el1");
ATOLL_SYSTEM_REGISTER(IdAa64mmfr1El1, "id_aa64mmfr1_el1");

// A 4-bit field of an ID register.
constexpr uint64_t IdField(uint64_t value, unsigned shift) { return (value >> shift) & 0xf; }

namespace id {
inline constexpr unsigned kPfr0Gic = 24;
inline constexpr unsigned kDfr0PmuVer = 8;
inline constexpr unsigned kMmfr0PaRange = 0;
inline constexpr unsigned kMmfr0AsidBits = 4;
inline constexpr unsigned kMmfr0TGran4 = 28;
inline constexpr unsigned kMmfr1Vh = 8;
inline constexpr uint64_t kTGran4None = 0xf;
inline constexpr uint64_t kAsidBits16 = 2;
inline constexpr uint64_t kPaRange48 = 5;  // the most that 4 KiB granules reach without FEAT_LPA2
inline constexpr uint64_t kPmuImplementationDefined = 0xf;
}  // namespace id

namespace hcr {
inline constexpr uint64_t kTge = uint64_t{1} << 27;
inline constexpr uint64_t kRw = uint64_t{1} << 31;
inline constexpr uint64_t kE2h = uint64_t{1} << 34;
}  // namespace hcr

namespace tcr {
inline constexpr uint64_t kSpaceBits = 64 - kKernelSpaceBits;
inline constexpr uint64_t kT0sz = kSpaceBits << 0;
inline constexpr uint64_t kWalk0WriteBackInner =
    (1u << 8) | (1u << 10) | (3u << 12);  // IRGN0 ORGN0 SH0
inline constexpr uint64_t kT1sz = kSpaceBits << 16;
inline constexpr uint64_t kWalk1WriteBackInner =
    (uint64_t{1} << 24) | (uint64_t{1} << 26) | (uint64_t{3} << 28);  // IRGN1 ORGN1 SH1
inline constexpr uint64_t kTg1Granule4k = uint64_t{2} << 30;          // TG0: 0 is 4 KiB
inline constexpr unsigned kIpsShift = 32;
inline constexpr uint64_t kAs16 = uint64_t{1} << 36;  // 16-bit ASIDs, taken from TTBR0_EL2 (A1 = 0)
}  // namespace tcr

namespace sctlr {
inline constexpr uint64_t kM = 1u << 0;
inline constexpr uint64_t kC = 1u << 2;
inline constexpr uint64_t kSa = 1u << 3;
inline constexpr uint64_t kSa0 = 1u << 4;
inline constexpr uint64_t kItd = 1u << 7;
inline constexpr uint64_t kSed = 1u << 8;
inline constexpr uint64_t kEos = 1u << 11;
inline constexpr uint64_t kI = 1u << 12;
inline constexpr uint64_t kDze = 1u << 14;
inline constexpr uint64_t kUct = 1u << 15;
inline constexpr uint64_t kWxn = 1u << 19;
inline constexpr uint64_t kTscxt = 1u << 20;
inline constexpr uint64_t kEis = 1u << 22;
inline constexpr uint64_t kUci = 1u << 26;
inline constexpr uint64_t kNtlsmd = 1u << 28;
inline constexpr uint64_t kLsmaoe = 1u << 29;
// SPAN = 0: PSTATE.PAN is set on an exception from a task. nTWI = nTWE = 0: WFI and WFE of a task
// trap, a task waits by reply_wait. UMA = 0: a task cannot mask interrupts. A = 0: tasks and kernel
// may use unaligned accesses to Normal memory.
inline constexpr uint64_t kKernel = kM | kC | kSa | kSa0 | kItd | kSed | kEos | kI | kDze | kUct |
                                    kWxn | kTscxt | kEis | kUci | kNtlsmd | kLsmaoe;
}  // namespace sctlr

namespace cnthctl {
inline constexpr uint64_t kEl0Pcten = 1u << 0;  // tasks read CNTPCT_EL0
inline constexpr uint64_t kEl0Vcten = 1u << 1;  // and CNTVCT_EL0
}  // namespace cnthctl

inline constexpr unsigned kPmcrNShift = 11;
inline constexpr uint64_t kPmcrNMask = 0x1f;  // MDCR_EL2.HPMN has the same width, from bit 0

}  // namespace atoll::boot

#endif  // ATOLL_KERNEL_BOOT_REGISTERS_H_
