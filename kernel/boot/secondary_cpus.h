// Starts the machine's other CPUs.
#ifndef ATOLL_KERNEL_BOOT_SECONDARY_CPUS_H_
#define ATOLL_KERNEL_BOOT_SECONDARY_CPUS_H_

#include "kernel/boot/boot_info.h"

namespace atoll {

// By PSCI CPU_ON, one after the other; each waits in StartScheduling then. One that does not come within a second is
// left alone, with all after it, and the log says so.
void StartSecondaryCpus(const BootInfo& info);

}  // namespace atoll

#endif  // ATOLL_KERNEL_BOOT_SECONDARY_CPUS_H_
