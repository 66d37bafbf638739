// What a vCPU is besides the registers that every exit saves: its EL1 state, timers, keys, debug
// and FP.
//
// All of it stays in the hardware while tasks run and moves only when another vCPU is loaded. Tasks
// run at EL0 with TGE = 1, under the *_EL2 registers, so what they share with a guest is little:
//
//   TPIDR_EL0, SP_EL0, TPIDRRO_EL0   part of the frame that every exit saves
//   V0-V31, FPCR, FPSR   out of reach: CPTR_EL2.FPEN = 0b01 traps FP of tasks
//   MDSCR_EL1            see debug_registers.h
//   keys                 in force in tasks only through SCTLR_EL2.En*, which stay 0; PACGA would
//   use APGAKey CNTKCTL_EL1          not in force while TGE = 1 (CNTHCTL_EL2 is) PAR_EL1,
//   CSSELR_EL1  not accessible at EL0
#ifndef ATOLL_KERNEL_VCPU_EL1_CONTEXT_H_
#define ATOLL_KERNEL_VCPU_EL1_CONTEXT_H_

#include <array>
#include <cstdint>

#include "kernel/vcpu/cpu_features.h"
#include "kernel/vcpu/debug_registers.h"

namespace atoll {

// Both EL1 timers, CTL and CVAL as the guest set them.
struct TimerContext {
  uint64_t virtual_control = 0;
  uint64_t virtual_compare = 0;
  uint64_t physical_control = 0;
  uint64_t physical_compare = 0;
};

// V0-V31, FPCR, FPSR. Layout known to fp_context.S.
struct alignas(16) FpContext {
  std::array<uint64_t, 64> v = {};  // V<n> in 2n (low half) and 2n + 1
  uint64_t fpcr = 0;
  uint64_t fpsr = 0;
};
static_assert(sizeof(FpContext) == 528);

struct El1Context {
  uint64_t sctlr = 0;
  uint64_t cpacr = 0;
  uint64_t ttbr0 = 0;
  uint64_t ttbr1 = 0;
  uint64_t tcr = 0;
  uint64_t mair = 0;
  uint64_t amair = 0;
  uint64_t vbar = 0;
  uint64_t esr = 0;
  uint64_t far = 0;
  uint64_t afsr0 = 0;
  uint64_t afsr1 = 0;
  uint64_t elr = 0;
  uint64_t spsr = 0;
  uint64_t sp_el1 = 0;
  uint64_t tpidr_el1 = 0;
  uint64_t contextidr = 0;
  uint64_t csselr = 0;
  uint64_t cntkctl = 0;
  uint64_t par = 0;
  uint64_t vmpidr = 0;                 // what MPIDR_EL1 reads; not the guest's to change
  uint64_t vpidr = 0;                  // what MIDR_EL1 reads
  uint64_t vsesr = 0;                  // with FEAT_RAS: syndrome of a virtual SError ...
  uint64_t vdisr = 0;                  // ... and what DISR_EL1 reads
  std::array<uint64_t, 10> keys = {};  // APIA, APIB, APDA, APDB, APGA: low, high
  TimerContext timers;
  DebugRegisters debug;
  FpContext fp;

  // As after power-on of a PE that enters EL1: MMU and caches off, little-endian, timers off,
  // everything else zero, so that nothing of an earlier guest is seen. `mpidr`: see SaneMpidr.
  void Reset(uint64_t mpidr, uint64_t midr);

  // From the hardware; afterwards the timers are disabled there and no debug event of this vCPU can
  // happen. The caller looks at `timers` to wake the vCPU in time.
  void Save(const CpuFeatures& cpu);
  // Into the hardware. eret synchronises.
  void Load(const CpuFeatures& cpu) const;
};

// fp_context.S
extern "C" void SaveFpContext(FpContext* context);
extern "C" void LoadFpContext(const FpContext* context);

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_EL1_CONTEXT_H_
