#include "kernel/guest_faults.h"

#include "kernel/log/log.h"
#include "kernel/memory/page_table.h"
#include "kernel/system_register.h"
#include "kernel/vcpu/exception_injection.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/mmio_access.h"

namespace atoll {
namespace {

// Unclaimed accesses are logged once per VM: a guest that probes must not fill the log.
inline constexpr uint32_t kLoggedUnclaimed = 1;

ExceptionInjector InjectorFor(Vcpu& vcpu) {
  return ExceptionInjector(CpuFeatures::From(vcpu.vm->id_registers.values()).ssbs);
}

void InjectAbort(Vcpu& vcpu, uint64_t esr_value, uint64_t far) {
  InjectorFor(vcpu).InjectExternalAbort(ProgressOf(vcpu), esr_value, far);
}

void LogUnclaimed(Vcpu& vcpu, uint64_t esr_value, GuestPhys address) {
  if (vcpu.vm->unclaimed_logged >= kLoggedUnclaimed) return;
  ++vcpu.vm->unclaimed_logged;
  LogWarning("vCPU ", vcpu.index, " of VMID ", vcpu.vm->vmid, ": nothing at guest physical ",
             Hex(address.value), " (pc ", Hex(vcpu.frame.pc), ", esr ", Hex(esr_value),
             "); the guest takes an external abort; further ones are not logged");
}

bool IsTranslationFault(uint64_t esr_value) {
  constexpr uint64_t kFaultType = 0x3c;  // ESR_ELx.DFSC and IFSC without the level (DDI0487)
  constexpr uint64_t kTranslation = 0x04;
  return (esr_value & kFaultType) == kTranslation;
}

}  // namespace

bool IsMapped(Vm& vm, GuestPhys address, uint64_t esr_value) {
  return IsTranslationFault(esr_value) &&
         Stage2Table(vm.root, vm.tables).Query(address).has_value();
}

bool IsMapped(Task& task, VirtAddr address, uint64_t esr_value) {
  const ExceptionClass exception = esr::Class(esr_value);
  return (exception == ExceptionClass::kDataAbortLower ||
          exception == ExceptionClass::kInstructionAbortLower) &&
         IsTranslationFault(esr_value) &&
         TaskTable(task.root, task.tables).Query(address).has_value();
}

void FailUnclaimed(Vcpu& vcpu, uint64_t esr_value, GuestPhys address, uint64_t far) {
  LogUnclaimed(vcpu, esr_value, address);
  InjectAbort(vcpu, esr_value, far);
}

void OnInstructionAbort(Vcpu& vcpu, uint64_t esr_value) {
  const uint64_t far = FarEl2::Read();
  const GuestPhys address = FaultAddress(HpfarEl2::Read(), far);
  if (!IsMapped(*vcpu.vm, address, esr_value)) FailUnclaimed(vcpu, esr_value, address, far);
}

void InjectUndefined(Vcpu& vcpu) { InjectorFor(vcpu).InjectUndefined(ProgressOf(vcpu)); }

void OnUndefined(Vcpu& vcpu, uint64_t) { InjectUndefined(vcpu); }

void InjectDeviceAbort(Vcpu& vcpu) {
  vcpu.work &= ~kWorkAbort;
  InjectAbort(vcpu, vcpu.mmio_syndrome, vcpu.mmio_far);
}

}  // namespace atoll
