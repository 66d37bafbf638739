// Switching the machine off: PSCI SYSTEM_OFF (DEN0022), and a failing exit status for QEMU.
#ifndef ATOLL_KERNEL_MACHINE_POWER_H_
#define ATOLL_KERNEL_MACHINE_POWER_H_

#include <cstdint>

namespace atoll {

// How the firmware is called: the `method` of the device tree's PSCI node. The values are known to
// power.S.
enum class PsciConduit : uint32_t {
  kByLevel = 0,  // not known yet: SMC at EL2, HVC at EL1
  kSmc = 1,
  kHvc = 2,
};

void SetPsciConduit(PsciConduit conduit);

// Switches the machine off. `status` 0: PSCI SYSTEM_OFF, with which QEMU exits 0. Any other:
// semihosting SYS_EXIT_EXTENDED, with which QEMU exits with that status if semihosting is enabled;
// if it is not, the HLT is undefined, and the exception goes on to SYSTEM_OFF. Works with the MMU
// on or off, at EL1 or EL2.
[[noreturn]] void PowerOff(uint32_t status);

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_POWER_H_
