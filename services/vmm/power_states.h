// vCPUs are turned on and off here alone, and what their guest asked for is in the journal. So an instance that has lost
// its mind and uses its handles as it likes leaves a VM that its successor finds not to be its guest's any more.
//
// A change is three steps: noted as under way, made by the kernel, noted as made. A death before the last step leaves a vCPU
// of which both states are right; the call comes again and makes the change, if its vCPU is still there to make it. All
// others are as noted, as nobody else changes them.
#ifndef ATOLL_SERVICES_VMM_POWER_STATES_H_
#define ATOLL_SERVICES_VMM_POWER_STATES_H_

#include <cstdint>
#include <optional>

#include "services/vmm/error_text.h"
#include "services/vmm/journal.h"
#include "services/vmm/vm_control.h"

namespace atoll {

// Keeps nothing itself.
class PowerStates {
 public:
  // Both references outlive this. `vcpus`: of the VM, at most 32.
  PowerStates(VmControl& vm, VmmJournal& journal, uint32_t vcpus)
      : vm_(vm), journal_(journal), vcpus_(vcpus) {}

  // StartVcpu and StopVcpu of VmControl.
  Status TurnOn(uint32_t vcpu, GuestPhys entry, uint64_t context);
  Status TurnOff(uint32_t vcpu);

  // Of a VM that runs, by each instance before it serves. Without an error the journal is the kernel's; with one the VM
  // cannot go on: nobody knows the registers of a vCPU that was stopped, nor what one has done that was started.
  std::optional<ErrorText> Compare();

 private:
  using Powers = VmmJournal::Powers;

  Powers Begin(uint32_t vcpu);
  void End(Powers powers, uint32_t vcpu, bool on);
  // As the kernel says.
  Powers Now();

  VmControl& vm_;
  VmmJournal& journal_;
  const uint32_t vcpus_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_POWER_STATES_H_
