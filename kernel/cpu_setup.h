// What each CPU's registers are set to once, before it runs threads.
#ifndef ATOLL_KERNEL_CPU_SETUP_H_
#define ATOLL_KERNEL_CPU_SETUP_H_

#include "kernel/boot/boot_info.h"
#include "kernel/cpu.h"
#include "kernel/vcpu/cpu_features.h"

namespace atoll {

// Vectors, per-CPU block, trap configuration, timers. On the CPU itself.
void SetUpCpu(Cpu& cpu);

// What the CPUs have; alike on all of them. Written once, by SetUpCpu.
inline constinit CpuFeatures cpu_features;
inline const CpuFeatures& ThisCpuFeatures() { return cpu_features; }

// Distributor and this CPU's redistributor; the kernel's own interrupts on.
void SetUpInterruptController(const BootInfo& info);

// How many ASIDs and VMIDs the CPU has.
void SetUpIds();

}  // namespace atoll

#endif  // ATOLL_KERNEL_CPU_SETUP_H_
