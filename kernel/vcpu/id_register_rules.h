// Which fields of the ID registers a VM may see (DDI0487, ID space).
#ifndef ATOLL_KERNEL_VCPU_ID_REGISTER_RULES_H_
#define ATOLL_KERNEL_VCPU_ID_REGISTER_RULES_H_

#include <cstdint>
#include <utility>

#include "kernel/vcpu/id_registers.h"

namespace atoll {

inline constexpr unsigned kFieldBits = 4;
inline constexpr uint64_t kFieldMask = 0xf;
inline constexpr uint32_t kAlways =
    0x10;  // as `absent`: the field has no such value, the VM must show it

// A field that may be shown. It reads min(hardware, most), or `absent` if the hardware's is that.
struct FieldRule {
  IdRegister which;
  uint8_t shift;
  uint8_t most = 0xf;
  uint8_t absent = 0;
};

inline constexpr FieldRule kRules[] = {
    // ID_AA64PFR0_EL1. EL2, EL3, RAS, SVE, SEL2, MPAM, AMU, RME: hidden.
    {id::kAa64Pfr0, 0, 2,
     kAlways},  // EL0: AArch32 too if the CPU has it, for EL2 cannot prevent its use
    {id::kAa64Pfr0, 4, 1, kAlways},  // EL1: AArch64 only (HCR_EL2.RW)
    {id::kAa64Pfr0, 16, 0xe, 0xf},   // FP
    {id::kAa64Pfr0, 20, 0xe, 0xf},   // AdvSIMD
    {id::kAa64Pfr0, 48},             // DIT: in PSTATE
    {id::kAa64Pfr0, 56, 1},          // CSV2: 2 would bring SCXTNUM_ELx, which are trapped
    {id::kAa64Pfr0, 60},             // CSV3
    // ID_AA64PFR1_EL1. MTE, RAS_frac, MPAM_frac, SME, RNDR_trap, NMI: hidden.
    {id::kAa64Pfr1, 0},      // BT: in PSTATE and the guest's tables
    {id::kAa64Pfr1, 4},      // SSBS: in PSTATE
    {id::kAa64Pfr1, 32, 1},  // CSV2_frac: without SCXTNUM_ELx
    // ID_AA64DFR0_EL1. Trace, PMU, SPE, TRBE, BRBE: hidden.
    {id::kAa64Dfr0, 0, 0xf, kAlways},   // DebugVer
    {id::kAa64Dfr0, 12, 0xf, kAlways},  // BRPs, number - 1: trapped, so as many as there are
    {id::kAa64Dfr0, 20, 0xf, kAlways},  // WRPs
    {id::kAa64Dfr0, 28, 0xf, kAlways},  // CTX_CMPs
    // ID_AA64ISAR0_EL1: plain instructions. TME: hidden (its state is not switched).
    {id::kAa64Isar0, 4},   // AES
    {id::kAa64Isar0, 8},   // SHA1
    {id::kAa64Isar0, 12},  // SHA2
    {id::kAa64Isar0, 16},  // CRC32
    {id::kAa64Isar0, 20},  // Atomic
    {id::kAa64Isar0, 28},  // RDM
    {id::kAa64Isar0, 32},  // SHA3
    {id::kAa64Isar0, 36},  // SM3
    {id::kAa64Isar0, 40},  // SM4
    {id::kAa64Isar0, 44},  // DP
    {id::kAa64Isar0, 48},  // FHM
    {id::kAa64Isar0, 52},  // TS
    {id::kAa64Isar0, 56},  // TLB
    {id::kAa64Isar0, 60},  // RNDR
    // ID_AA64ISAR1_EL1. LS64: hidden (HCRX_EL2 keeps it off).
    {id::kAa64Isar1, 0},   // DPB
    {id::kAa64Isar1, 4},   // APA: keys are switched
    {id::kAa64Isar1, 8},   // API
    {id::kAa64Isar1, 12},  // JSCVT
    {id::kAa64Isar1, 16},  // FCMA
    {id::kAa64Isar1, 20},  // LRCPC
    {id::kAa64Isar1, 24},  // GPA
    {id::kAa64Isar1, 28},  // GPI
    {id::kAa64Isar1, 32},  // FRINTTS
    {id::kAa64Isar1, 36},  // SB
    {id::kAa64Isar1, 40},  // SPECRES
    {id::kAa64Isar1, 44},  // BF16
    {id::kAa64Isar1, 48},  // DGH
    {id::kAa64Isar1, 52},  // I8MM
    {id::kAa64Isar1, 56},  // XS
    // ID_AA64ISAR2_EL1. WFxT, MOPS: hidden (trapped and undefined; HCRX_EL2).
    {id::kAa64Isar2, 4},   // RPRES
    {id::kAa64Isar2, 8},   // GPA3
    {id::kAa64Isar2, 12},  // APA3
    {id::kAa64Isar2, 20},  // BC
    {id::kAa64Isar2, 24},  // PAC_frac
    // ID_AA64MMFR0_EL1. Stage-2 granules, FGT: hidden, hypervisor's.
    {id::kAa64Mmfr0, 0, 2, kAlways},  // PARange: what Stage 2 takes, 40 bits
    {id::kAa64Mmfr0, 4},              // ASIDBits
    {id::kAa64Mmfr0, 8},              // BigEnd
    {id::kAa64Mmfr0, 12},             // SNSMem
    {id::kAa64Mmfr0, 16},             // BigEndEL0
    {id::kAa64Mmfr0, 20},             // TGran16
    {id::kAa64Mmfr0, 24, 0xe, 0xf},   // TGran64
    {id::kAa64Mmfr0, 28, 0xe, 0xf},   // TGran4
    {id::kAa64Mmfr0, 44},             // ExS
    {id::kAa64Mmfr0, 60, 1},          // ECV: the counters that cannot be trapped; 2 is CNTPOFF_EL2
    // ID_AA64MMFR1_EL1. VMIDBits, VH, LO, SpecSEI, XNX, TWED, HCX: hidden.
    {id::kAa64Mmfr1, 0},   // HAFDBS
    {id::kAa64Mmfr1, 12},  // HPDS
    {id::kAa64Mmfr1, 20},  // PAN
    {id::kAa64Mmfr1, 36},  // ETS
    {id::kAa64Mmfr1, 44},  // AFP
    {id::kAa64Mmfr1, 48},  // nTLBPA
    {id::kAa64Mmfr1, 52},  // TIDCP1
    {id::kAa64Mmfr1, 56},  // CMOW
    {id::kAa64Mmfr1, 60},  // ECBHB
    // ID_AA64MMFR2_EL1. IESB, NV, FWB, EVT: hidden.
    {id::kAa64Mmfr2, 0},   // CnP
    {id::kAa64Mmfr2, 4},   // UAO
    {id::kAa64Mmfr2, 8},   // LSM
    {id::kAa64Mmfr2, 16},  // VARange
    {id::kAa64Mmfr2, 20},  // CCIDX
    {id::kAa64Mmfr2, 28},  // ST
    {id::kAa64Mmfr2, 32},  // AT
    {id::kAa64Mmfr2, 36},  // IDS
    {id::kAa64Mmfr2, 48},  // TTL
    {id::kAa64Mmfr2, 52},  // BBM
    {id::kAa64Mmfr2, 60},  // E0PD
};

// Fields that do not come from the hardware.
struct FixedField {
  IdRegister which;
  uint8_t shift;
  uint8_t value;
};
inline constexpr FixedField kFixed[] = {
    {id::kAa64Pfr0, 24,
     1},  // GIC: system registers of GICv3, whatever interface to them the CPU reports
    {id::kAa64Dfr0, 36, 0xf},  // DoubleLock: not there; OSDLR_EL1 ignores writes
};

// The AArch32 registers (CRm 1-3) are the CPU's own while AArch32 works at EL0, but for these
// fields: 0.
inline constexpr std::pair<IdRegister, unsigned> kHiddenAarch32[] = {
    {id::kPfr0Aarch32, 20},  // AMU
    {id::kPfr0Aarch32, 28},  // RAS
    {id::kPfr1Aarch32, 4},   // Security
    {id::kPfr1Aarch32, 12},  // Virtualization
    {id::kPfr1Aarch32, 20},  // Sec_frac
    {id::kPfr1Aarch32, 24},  // Virt_frac
    {id::kDfr0Aarch32, 12},  // CopTrc
    {id::kDfr0Aarch32, 16},  // MMapTrc
    {id::kDfr0Aarch32, 20},  // MProfDbg
    {id::kDfr0Aarch32, 24},  // PerfMon
    {id::kDfr0Aarch32, 28},  // TraceFilt
    {id::kMmfr4Aarch32, 0},  // SpecSEI
};
inline constexpr uint32_t kFirstAarch64Crm = 4;
inline constexpr uint32_t kEl0WithAarch32 = 2;

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_ID_REGISTER_RULES_H_
