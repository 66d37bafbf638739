// Exceptions that EL2 gives to the guest's EL1, and the step over an instruction that EL2 carried
// out (DDI0487, AArch64.TakeException and software step; conformance rows TRAP-08 to TRAP-12).
//
// The vCPU's EL1 registers must be in the hardware (it is the CPU's loaded vCPU).
#ifndef ATOLL_KERNEL_VCPU_EXCEPTION_INJECTION_H_
#define ATOLL_KERNEL_VCPU_EXCEPTION_INJECTION_H_

#include <cstdint>

namespace atoll {

// Where the guest goes on: the part of its registers that the exit path saved.
struct GuestProgress {
  uint64_t& pc;
  uint64_t& pstate;
};

// `shows_ssbs`: FEAT_SSBS, which gives PSTATE.SSBS its value on entry.
class ExceptionInjector {
 public:
  explicit ExceptionInjector(bool shows_ssbs) : shows_ssbs_(shows_ssbs) {}

  // Undefined instruction at pc: EC 0.
  void InjectUndefined(GuestProgress guest) const;

  // Synchronous external abort at pc for the Stage-2 abort with this syndrome, at guest virtual
  // address `far`: instruction or data abort as that was, from the same or a lower level, with its
  // WnR and CM. On one of the guest's own table walks the status says so; its level is not known
  // here, so it is given as the last.
  void InjectExternalAbort(GuestProgress guest, uint64_t stage2_esr, uint64_t far) const;

 private:
  void Inject(GuestProgress guest, uint64_t esr_value) const;

  bool shows_ssbs_;
};

// The instruction at pc has been carried out: goes to the next one, as after executing it. A single
// step ends there, a BTI check does not apply to what follows, an IT block advances.
void SkipInstruction(GuestProgress guest, uint64_t esr_value);

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_EXCEPTION_INJECTION_H_
