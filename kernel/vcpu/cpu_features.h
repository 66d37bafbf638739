// What this CPU has, as far as the kernel must know it: read once per CPU, from the ID registers.
#ifndef ATOLL_KERNEL_VCPU_CPU_FEATURES_H_
#define ATOLL_KERNEL_VCPU_CPU_FEATURES_H_

#include <cstdint>

#include "kernel/vcpu/id_registers.h"

namespace atoll {

struct CpuFeatures {
  bool vhe = false;
  bool gic_system_registers = false;
  bool pointer_auth = false;
  bool ras = false;
  bool ssbs = false;
  bool mte_registers = false;  // GMID_EL1 exists
  bool lo_regions = false;
  bool pmu = false;
  bool aarch32_el0 = false;
  bool asid16 = false;
  bool vmid16 = false;
  uint32_t physical_range = 0;  // ID_AA64MMFR0_EL1.PARange
  uint32_t breakpoints = 2;     // the least that the architecture has
  uint32_t watchpoints = 2;

  static CpuFeatures From(const IdValues& ids);
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_CPU_FEATURES_H_
