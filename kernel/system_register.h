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
#define ATOLL_SYSTEM_REGISTER(Name, assembler)                        \
  struct Name {                                                       \
    static uint64_t Read() {                                          \
      uint64_t value;                                                 \
      asm volatile("mrs %0, " assembler : "=r"(value)::"memory");     \
      return value;                                                   \
    }                                                                 \
    static void Write(uint64_t value) {                               \
      asm volatile("msr " assembler ", %0" ::"r"(value) : "memory");  \
    }                                                                 \
  }

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
ATOLL_SYSTEM_REGISTER(MpidrEl1, "mpidr_el1");
ATOLL_SYSTEM_REGISTER(CntfrqEl0, "cntfrq_el0");
ATOLL_SYSTEM_REGISTER(CntpctEl0, "cntpct_el0");

inline void Isb() { asm volatile("isb" ::: "memory"); }
inline void DsbSy() { asm volatile("dsb sy" ::: "memory"); }
inline void DsbIsh() { asm volatile("dsb ish" ::: "memory"); }
inline void DsbIshst() { asm volatile("dsb ishst" ::: "memory"); }

}  // namespace atoll

#endif  // ATOLL_KERNEL_SYSTEM_REGISTER_H_
