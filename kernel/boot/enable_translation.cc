// From MMU off and HCR_EL2.E2H = 0 to the kernel's translation regime. Runs at the physical
// address, which the identity map (TTBR0_EL2) keeps valid; boot.S then jumps to the virtual one.
#include <algorithm>

#include "kernel/boot/boot_phases.h"
#include "kernel/boot/image.h"
#include "kernel/boot/kernel_map.h"
#include "kernel/boot/registers.h"
#include "kernel/memory_attributes.h"

namespace atoll::boot {
namespace {

uint64_t TranslationControl() {
  const uint64_t mmfr0 = IdAa64mmfr0El1::Read();
  const uint64_t output_size = std::min(IdField(mmfr0, id::kMmfr0PaRange), id::kPaRange48);
  uint64_t value = tcr::kT0sz | tcr::kWalk0WriteBackInner | tcr::kT1sz | tcr::kWalk1WriteBackInner |
                   tcr::kTg1Granule4k | (output_size << tcr::kIpsShift);
  if (IdField(mmfr0, id::kMmfr0AsidBits) == id::kAsidBits16) value |= tcr::kAs16;
  return value;
}

// Traps and controls whose reset value is unknown. With a CPU that runs no vCPU yet.
void ResetControls() {
  CptrEl2::Write(0);  // FPEN, ZEN = 0: neither kernel nor tasks use vector registers
  HstrEl2::Write(0);
  CnthctlEl2::Write(cnthctl::kEl0Pcten | cnthctl::kEl0Vcten);
  const uint64_t pmu = IdField(IdAa64dfr0El1::Read(), id::kDfr0PmuVer);
  const bool has_pmu = pmu != 0 && pmu != id::kPmuImplementationDefined;
  MdcrEl2::Write(has_pmu ? (PmcrEl0::Read() >> kPmcrNShift) & kPmcrNMask : 0);
}

}  // namespace

extern "C" void boot_enable_translation() {
  HcrEl2::Write(hcr::kE2h | hcr::kTge | hcr::kRw);
  Isb();  // from here on *_EL2 registers have their E2H formats
  ResetControls();
  const RootTables tables = GetRootTables(PhysAddr(reinterpret_cast<uintptr_t>(image_start)));
  MairEl2::Write(kMairEl2);
  TcrEl2::Write(TranslationControl());
  Ttbr0El2::Write(tables.identity.value);
  Ttbr1El2::Write(tables.kernel.value);
  Isb();
  // Whatever the loader's regime left in TLBs and instruction cache.
  asm volatile("tlbi alle2\n\tic iallu\n\tdsb nsh" ::: "memory");
  Isb();
  SctlrEl2::Write(sctlr::kKernel);
  Isb();
}

}  // namespace atoll::boot
