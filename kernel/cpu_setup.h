// What each CPU's registers are set to once, before it runs threads.
#ifndef ATOLL_KERNEL_CPU_SETUP_H_
#define ATOLL_KERNEL_CPU_SETUP_H_

#include "kernel/boot/boot_info.h"
#include "kernel/cpu.h"
#include "kernel/vcpu/cpu_features.h"

namespace atoll {

// Vectors, per-CPU block, trap configuration, timers. On the CPU itself.
void SetUpCpu(Cpu& cpu);

// What the CPUs have; it must be alike on all of them, which nobody checks. Written once, by the first.
inline constinit CpuFeatures cpu_features;
// The ID registers that a VM is shown at first.
inline constinit IdValues shown_id_registers = {};
void SetUpFeatures();
inline const CpuFeatures& ThisCpuFeatures() { return cpu_features; }

// The distributor. Once.
void SetUpDistributor(const BootInfo& info);
// Finds the redistributor of a CPU whose affinity and index are set.
[[nodiscard]] bool FindRedistributor(const BootInfo& info, const Cpu& cpu);
// This CPU's redistributor and interface; the kernel's own interrupts on. On the CPU itself.
void SetUpCpuInterface(const Cpu& cpu);

// How many ASIDs and VMIDs the CPU has.
void SetUpIds();

}  // namespace atoll

#endif  // ATOLL_KERNEL_CPU_SETUP_H_
