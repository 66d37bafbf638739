#include "kernel/machine/power.h"

extern "C" {
// Read by power.S.
constinit uint32_t psci_conduit = 0;

[[noreturn]] void power_off(uint32_t status);
}

namespace atoll {

void SetPsciConduit(PsciConduit conduit) { psci_conduit = static_cast<uint32_t>(conduit); }

void PowerOff(uint32_t status) { power_off(status); }

}  // namespace atoll
