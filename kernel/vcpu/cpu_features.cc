#include "kernel/vcpu/cpu_features.h"

namespace atoll {

CpuFeatures CpuFeatures::From(const IdValues& ids) {
  // Field positions: DDI0487, by register. A register holds pointer authentication under three
  // names for the address keys: APA, API (ISAR1) and APA3 (ISAR2).
  constexpr uint32_t kPmuImplementationDefined = 0xf;
  const uint32_t pmu_version = IdField(ids, id::kAa64Dfr0, 8);
  return {
      .vhe = IdField(ids, id::kAa64Mmfr1, 8) != 0,
      .gic_system_registers = IdField(ids, id::kAa64Pfr0, 24) != 0,
      .pointer_auth = (IdField(ids, id::kAa64Isar1, 4) | IdField(ids, id::kAa64Isar1, 8) |
                       IdField(ids, id::kAa64Isar2, 12)) != 0,
      .ras = IdField(ids, id::kAa64Pfr0, 28) != 0,
      .ssbs = IdField(ids, id::kAa64Pfr1, 4) != 0,
      .mte_registers = IdField(ids, id::kAa64Pfr1, 8) >= 2,
      .lo_regions = IdField(ids, id::kAa64Mmfr1, 16) != 0,
      .pmu = pmu_version != 0 && pmu_version != kPmuImplementationDefined,
      .aarch32_el0 = IdField(ids, id::kAa64Pfr0, 0) == 2,
      .asid16 = IdField(ids, id::kAa64Mmfr0, 4) == 2,
      .vmid16 = IdField(ids, id::kAa64Mmfr1, 4) == 2,
      .physical_range = IdField(ids, id::kAa64Mmfr0, 0),
      .breakpoints = IdField(ids, id::kAa64Dfr0, 12) + 1,
      .watchpoints = IdField(ids, id::kAa64Dfr0, 20) + 1,
  };
}

}  // namespace atoll
