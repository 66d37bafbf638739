// Typed access to system registers, by their Arm names.
//
// With HCR_EL2.E2H = 1 the *_EL1 names reach the EL2 registers and *_EL12 / *_EL02 the guest's, so the
// kernel uses the EL2 and EL12 names only.
#ifndef ATOLL_KERNEL_SYSTEM_REGISTER_H_
#define ATOLL_KERNEL_SYSTEM_REGISTER_H_

#include <cstdint>

namespace atoll {

// ATOLL_SYSTEM_REGISTER(HcrEl2, "hcr_el2") declares HcrEl2::Read() and HcrEl2::Write(value).
// A name the assembler does not know is given as S<op0>_<op1>_C<n>_C<m>_<op2>.
//
// In host unit tests every register is a plain variable, HcrEl2::value, that tests set and look at.
#if __STDC_HOSTED__
#define ATOLL_SYSTEM_REGISTER(Name, assembler)               \
  struct Name {                                              \
    static inline uint64_t value = 0;                        \
    static uint64_t Read() { return value; }                 \
    static void Write(uint64_t written) { value = written; } \
  }
#else
#define ATOLL_SYSTEM_REGISTER(Name, assembler)                       \
  struct Name {                                                      \
    static uint64_t Read() {                                         \
      uint64_t value;                                                \
      asm volatile("mrs %0, " assembler : "=r"(value)::"memory");    \
      return value;                                                  \
    }                                                                \
    static void Write(uint64_t value) {                              \
      asm volatile("msr " assembler ", %0" ::"r"(value) : "memory"); \
    }                                                                \
  }
#endif

ATOLL_SYSTEM_REGISTER(CurrentEl, "CurrentEL");
ATOLL_SYSTEM_REGISTER(TpidrEl2, "tpidr_el2");
ATOLL_SYSTEM_REGISTER(HcrEl2, "hcr_el2");
ATOLL_SYSTEM_REGISTER(EsrEl2, "esr_el2");
ATOLL_SYSTEM_REGISTER(FarEl2, "far_el2");
ATOLL_SYSTEM_REGISTER(HpfarEl2, "hpfar_el2");
ATOLL_SYSTEM_REGISTER(ElrEl2, "elr_el2");
ATOLL_SYSTEM_REGISTER(SpsrEl2, "spsr_el2");
ATOLL_SYSTEM_REGISTER(Ttbr0El2, "ttbr0_el2");
ATOLL_SYSTEM_REGISTER(Ttbr1El2, "S3_4_C2_C0_1");
ATOLL_SYSTEM_REGISTER(VttbrEl2, "vttbr_el2");
ATOLL_SYSTEM_REGISTER(VtcrEl2, "vtcr_el2");
ATOLL_SYSTEM_REGISTER(MidrEl1, "midr_el1");
ATOLL_SYSTEM_REGISTER(MpidrEl1, "mpidr_el1");
ATOLL_SYSTEM_REGISTER(CntfrqEl0, "cntfrq_el0");
ATOLL_SYSTEM_REGISTER(CntpctEl0, "cntpct_el0");

// The guest's EL1 registers, which stay live while tasks run (E2H = 1: *_EL12, or no alias needed).
ATOLL_SYSTEM_REGISTER(SctlrEl12, "sctlr_el12");
ATOLL_SYSTEM_REGISTER(CpacrEl12, "cpacr_el12");
ATOLL_SYSTEM_REGISTER(Ttbr0El12, "ttbr0_el12");
ATOLL_SYSTEM_REGISTER(Ttbr1El12, "ttbr1_el12");
ATOLL_SYSTEM_REGISTER(TcrEl12, "tcr_el12");
ATOLL_SYSTEM_REGISTER(MairEl12, "mair_el12");
ATOLL_SYSTEM_REGISTER(AmairEl12, "amair_el12");
ATOLL_SYSTEM_REGISTER(VbarEl12, "vbar_el12");
ATOLL_SYSTEM_REGISTER(EsrEl12, "esr_el12");
ATOLL_SYSTEM_REGISTER(FarEl12, "far_el12");
ATOLL_SYSTEM_REGISTER(Afsr0El12, "afsr0_el12");
ATOLL_SYSTEM_REGISTER(Afsr1El12, "afsr1_el12");
ATOLL_SYSTEM_REGISTER(ElrEl12, "elr_el12");
ATOLL_SYSTEM_REGISTER(SpsrEl12, "spsr_el12");
ATOLL_SYSTEM_REGISTER(ContextidrEl12, "contextidr_el12");
ATOLL_SYSTEM_REGISTER(CntkctlEl12, "cntkctl_el12");
ATOLL_SYSTEM_REGISTER(SpEl1, "sp_el1");
ATOLL_SYSTEM_REGISTER(TpidrEl1, "tpidr_el1");
ATOLL_SYSTEM_REGISTER(CsselrEl1, "csselr_el1");
ATOLL_SYSTEM_REGISTER(ParEl1, "par_el1");
ATOLL_SYSTEM_REGISTER(VpidrEl2, "vpidr_el2");
ATOLL_SYSTEM_REGISTER(VmpidrEl2, "vmpidr_el2");
ATOLL_SYSTEM_REGISTER(VsesrEl2, "S3_4_C5_C2_3");   // only with FEAT_RAS
ATOLL_SYSTEM_REGISTER(VdisrEl2, "S3_4_C12_C1_1");  // only with FEAT_RAS

// The guest's EL1 timers.
ATOLL_SYSTEM_REGISTER(CntvCtlEl02, "cntv_ctl_el02");
ATOLL_SYSTEM_REGISTER(CntvCvalEl02, "cntv_cval_el02");
ATOLL_SYSTEM_REGISTER(CntpCtlEl02, "cntp_ctl_el02");
ATOLL_SYSTEM_REGISTER(CntpCvalEl02, "cntp_cval_el02");

// Debug.
ATOLL_SYSTEM_REGISTER(MdscrEl1, "mdscr_el1");
ATOLL_SYSTEM_REGISTER(OslarEl1, "oslar_el1");

// Pointer authentication keys, only with FEAT_PAuth.
ATOLL_SYSTEM_REGISTER(ApiaKeyLoEl1, "S3_0_C2_C1_0");
ATOLL_SYSTEM_REGISTER(ApiaKeyHiEl1, "S3_0_C2_C1_1");
ATOLL_SYSTEM_REGISTER(ApibKeyLoEl1, "S3_0_C2_C1_2");
ATOLL_SYSTEM_REGISTER(ApibKeyHiEl1, "S3_0_C2_C1_3");
ATOLL_SYSTEM_REGISTER(ApdaKeyLoEl1, "S3_0_C2_C2_0");
ATOLL_SYSTEM_REGISTER(ApdaKeyHiEl1, "S3_0_C2_C2_1");
ATOLL_SYSTEM_REGISTER(ApdbKeyLoEl1, "S3_0_C2_C2_2");
ATOLL_SYSTEM_REGISTER(ApdbKeyHiEl1, "S3_0_C2_C2_3");
ATOLL_SYSTEM_REGISTER(ApgaKeyLoEl1, "S3_0_C2_C3_0");
ATOLL_SYSTEM_REGISTER(ApgaKeyHiEl1, "S3_0_C2_C3_1");

// A register by its encoding, for those that come in numbered rows.
template <unsigned kOp0, unsigned kOp1, unsigned kCrn, unsigned kCrm, unsigned kOp2>
struct EncodedRegister {
#if __STDC_HOSTED__
  static inline uint64_t value = 0;
  static uint64_t Read() { return value; }
  static void Write(uint64_t written) { value = written; }
#else
  static uint64_t Read() {
    uint64_t value;
    asm volatile("mrs %0, S%c1_%c2_C%c3_C%c4_%c5"
                 : "=r"(value)
                 : "i"(kOp0), "i"(kOp1), "i"(kCrn), "i"(kCrm), "i"(kOp2)
                 : "memory");
    return value;
  }
  static void Write(uint64_t value) {
    asm volatile("msr S%c1_%c2_C%c3_C%c4_%c5, %0" ::"r"(value), "i"(kOp0), "i"(kOp1), "i"(kCrn),
                 "i"(kCrm), "i"(kOp2)
                 : "memory");
  }
#endif
};

#if __STDC_HOSTED__
inline void Isb() {}
inline void DsbSy() {}
inline void DsbIsh() {}
inline void DsbIshst() {}
#else
inline void Isb() { asm volatile("isb" ::: "memory"); }
inline void DsbSy() { asm volatile("dsb sy" ::: "memory"); }
inline void DsbIsh() { asm volatile("dsb ish" ::: "memory"); }
inline void DsbIshst() { asm volatile("dsb ishst" ::: "memory"); }
#endif

}  // namespace atoll

#endif  // ATOLL_KERNEL_SYSTEM_REGISTER_H_
