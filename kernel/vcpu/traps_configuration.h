// What EL2 takes away from guests and tasks: HCR_EL2, CPTR_EL2, MDCR_EL2, CNTHCTL_EL2 (DDI0487, by
// register; CPTR_EL2 and CNTHCTL_EL2 in their formats for E2H = 1).
//
// Only HCR_EL2 differs between guest and task, so it is all that an exit switches. What an ID
// register hides must end in an UNDEF in the guest: natively, or because one of these bits traps it
// and system_register_traps.cc has no entry.
#ifndef ATOLL_KERNEL_VCPU_TRAPS_CONFIGURATION_H_
#define ATOLL_KERNEL_VCPU_TRAPS_CONFIGURATION_H_

#include <cstdint>

#include "kernel/vcpu/cpu_features.h"
#include "kernel/vcpu/id_registers.h"

namespace atoll {

namespace hcr {
inline constexpr uint64_t kVm = 1u << 0;
inline constexpr uint64_t kSwio = 1u << 1;
inline constexpr uint64_t kPtw = 1u << 2;
inline constexpr uint64_t kFmo = 1u << 3;
inline constexpr uint64_t kImo = 1u << 4;
inline constexpr uint64_t kAmo = 1u << 5;
inline constexpr uint64_t kVse = 1u << 8;
inline constexpr uint64_t kFb = 1u << 9;
inline constexpr uint64_t kBsuInnerShareable = 1u << 10;
inline constexpr uint64_t kTwi = 1u << 13;
inline constexpr uint64_t kTwe = 1u << 14;
inline constexpr uint64_t kTid1 = 1u << 16;
inline constexpr uint64_t kTid3 = 1u << 18;
inline constexpr uint64_t kTsc = 1u << 19;
inline constexpr uint64_t kTidcp = 1u << 20;
inline constexpr uint64_t kTacr = 1u << 21;
inline constexpr uint64_t kTge = 1u << 27;
inline constexpr uint64_t kRw = uint64_t{1} << 31;
inline constexpr uint64_t kE2h = uint64_t{1} << 34;
inline constexpr uint64_t kTlor = uint64_t{1} << 35;
inline constexpr uint64_t kTerr = uint64_t{1} << 36;
inline constexpr uint64_t kApk = uint64_t{1} << 40;
inline constexpr uint64_t kApi = uint64_t{1} << 41;
inline constexpr uint64_t kTid5 = uint64_t{1} << 58;
}  // namespace hcr

// The kernel and its tasks. With E2H = TGE = 1 physical interrupts come to EL2 whatever IMO, FMO,
// AMO say.
inline constexpr uint64_t kHostHcr = hcr::kE2h | hcr::kTge | hcr::kRw;

// A guest, on every CPU.
inline constexpr uint64_t kGuestHcr =
    hcr::kVm |    // Stage 2 translates
    hcr::kPtw |   // its table walks to Device memory fault (TRAP-12)
    hcr::kSwio |  // DC ISW acts as DC CISW: a guest cannot discard another's dirty lines. Set/way
                  // operations are not trapped (TSW = 0): each is bounded, cleans at least
                  // what it should on this CPU, and more than that no hardware promises
    hcr::kFmo | hcr::kImo |    // physical interrupts to EL2; virtual ones from the list registers;
                               // ICC_SGI*R_EL1 writes trap
    hcr::kAmo |                // physical SErrors to EL2
    hcr::kFb |                 // its local TLBI, IC IALLU reach all CPUs: it may move between them
    hcr::kBsuInnerShareable |  // its barriers too
    hcr::kTwi |                // WFI traps: the CPU runs something else
    hcr::kTwe |                // WFE traps: a vCPU that spins for a preempted one yields
    hcr::kTid1 |               // REVIDR_EL1, AIDR_EL1
    hcr::kTid3 |               // ID registers: IdRegisters
    hcr::kTsc |                // SMC, filtered by the VM's vmm
    hcr::kTidcp |              // IMPLEMENTATION DEFINED registers: UNDEF
    hcr::kTacr |               // ACTLR_EL1: reads 0, ignores writes
    hcr::kRw |                 // EL1 is AArch64
    hcr::kE2h;                 // *_EL12 names, CPTR_EL2 format; TGE = 0
// Left clear, among others: TID2 (cache geometry is the CPU's own), TVM, TTLB, TPCP, TPU (native),
// TDZ (DC ZVA works), HCD (HVC is the conduit), DC, CD, ID, FIEN, NV*, FWB, and, so that hidden
// features are UNDEF: ATA (MTE), EnSCXT (SCXTNUM_ELx), AMVOFFEN.

// With what depends on the CPU and on what the VM is shown.
inline uint64_t GuestHcr(const CpuFeatures& cpu, const IdRegisters& shown) {
  uint64_t value = kGuestHcr;
  if (cpu.lo_regions) value |= hcr::kTlor;     // LORegions: hidden
  if (cpu.ras) value |= hcr::kTerr;            // error records: hidden
  if (cpu.mte_registers) value |= hcr::kTid5;  // GMID_EL1: hidden
  // Pointer authentication is not trapped if the VM is shown any; else key registers are UNDEF.
  if (CpuFeatures::From(shown.values()).pointer_auth) value |= hcr::kApk | hcr::kApi;
  return value;
}

// CPTR_EL2, always. ZEN = SMEN = 0: SVE and SME trap everywhere.
inline constexpr uint64_t kCptrEl2 =
    uint64_t{1} << 20 |  // FPEN = 0b01: FP traps at EL0 while TGE = 1 (tasks), never in guests
    uint64_t{1} << 28 |  // TTA: trace registers
    uint64_t{1} << 30;   // TAM: activity monitors

// MDCR_EL2, always. HPMN keeps its reset value, the number of counters: 0 would be unpredictable.
// E2PB and E2TB = 0: profiling and trace buffers belong to EL2. TDE = 0: the guest's debug
// exceptions are its own.
constexpr uint64_t MdcrEl2Value(uint64_t at_reset) {
  constexpr uint64_t kHpmn = 0x1f;
  constexpr uint64_t kTpmcr = 1u << 5;
  constexpr uint64_t kTpm = 1u << 6;
  constexpr uint64_t kTda = 1u << 9;     // breakpoints, MDSCR_EL1, DCC: DebugRegisters
  constexpr uint64_t kTdosa = 1u << 10;  // OS lock
  constexpr uint64_t kTdra = 1u << 11;   // debug ROM address
  constexpr uint64_t kTpms = 1u << 14;   // profiling
  constexpr uint64_t kTtrf = 1u << 19;   // trace filter
  return (at_reset & kHpmn) | kTpmcr | kTpm | kTda | kTdosa | kTdra | kTpms | kTtrf;
}

// CNTHCTL_EL2, always. CNTVOFF_EL2 is 0 for every VM.
inline constexpr uint64_t kCnthctlEl2 =
    1u << 0 |   // EL0PCTEN: tasks read CNTPCT_EL0
    1u << 1 |   // EL0VCTEN: and CNTVCT_EL0
    1u << 10 |  // EL1PCTEN: guests read CNTPCT_EL0
    1u << 11;   // EL1PTEN: guests have the physical timer; the kernel's own is CNTHP

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_TRAPS_CONFIGURATION_H_
