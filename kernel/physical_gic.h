// The machine's interrupt controller as the kernel drives it.
#ifndef ATOLL_KERNEL_PHYSICAL_GIC_H_
#define ATOLL_KERNEL_PHYSICAL_GIC_H_

#include <array>

#include "kernel/boot/stacks.h"
#include "kernel/machine/gicv3.h"
#include "kernel/machine/machine.h"

namespace atoll {

// Written once at boot.
struct PhysicalGic {
  GicDistributor distributor;
  std::array<GicRedistributor, kMaxCpus> redistributors;  // by CPU index
  TimerInterrupts timers;
};

extern constinit PhysicalGic physical_gic;

}  // namespace atoll

#endif  // ATOLL_KERNEL_PHYSICAL_GIC_H_
