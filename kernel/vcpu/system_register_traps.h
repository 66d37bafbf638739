// MSR, MRS and system instructions of a guest that trap to EL2: EC 0x18 (DDI0487, ISS encoding for
// a trapped MSR, MRS, or System instruction).
//
// One table, searched by encoding. What is not in it is undefined to the guest: the PMU, trace,
// profiling, error records, LORegions, SCXTNUM_ELx, GMID_EL1, IMPLEMENTATION DEFINED registers, and
// all of EL2's.
#ifndef ATOLL_KERNEL_VCPU_SYSTEM_REGISTER_TRAPS_H_
#define ATOLL_KERNEL_VCPU_SYSTEM_REGISTER_TRAPS_H_

#include <cstdint>
#include <span>

#include "kernel/vcpu/cpu_features.h"
#include "kernel/vcpu/debug_registers.h"
#include "kernel/vcpu/id_registers.h"

namespace atoll {

enum class TrappedSgi { kGroup1, kAliasGroup1, kGroup0 };  // ICC_SGI1R, ICC_ASGI1R, ICC_SGI0R

// What the vCPU's interrupt controller has to do with it.
class SystemRegisterBackend {
 public:
  // A write of `value` to the register: raise the SGI in whom it names.
  virtual void GenerateSgi(TrappedSgi which, uint64_t value) = 0;
  // A write of `value` to ICC_DIR_EL1, trapped by ICH_HCR_EL2.TDIR.
  virtual void DeactivateInterrupt(uint64_t value) = 0;

 protected:
  ~SystemRegisterBackend() = default;
};

// The vCPU that trapped; it is loaded.
struct TrappedVcpu {
  const CpuFeatures& cpu;
  const IdRegisters& id_registers;
  DebugRegisters& debug;
  SystemRegisterBackend& backend;
};

// op0 [15:14], op1 [13:11], CRn [10:7], CRm [6:3], op2 [2:0], as in the instruction.
struct RegisterEncoding {
  uint16_t value = 0;

  static constexpr RegisterEncoding Of(unsigned op0, unsigned op1, unsigned crn, unsigned crm,
                                       unsigned op2) {
    return {static_cast<uint16_t>(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2)};
  }
  constexpr uint32_t op1() const { return (value >> 11) & 7; }
  constexpr uint32_t crm() const { return (value >> 3) & 0xf; }
  constexpr uint32_t op2() const { return value & 7; }
};

struct SystemRegisterAccess {
  RegisterEncoding encoding;
  uint32_t register_number = 0;  // Xt; 31 is XZR
  bool read = false;

  static constexpr SystemRegisterAccess Decode(uint64_t esr_value) {
    const auto field = [&](unsigned shift, uint32_t mask) {
      return static_cast<unsigned>(esr_value >> shift) & mask;
    };
    return {.encoding = RegisterEncoding::Of(field(20, 3), field(14, 7), field(10, 0xf),
                                             field(1, 0xf), field(17, 7)),
            .register_number = field(5, 31),
            .read = (esr_value & 1) != 0};
  }
};

enum class TrapOutcome {
  kCompleted,  // the register is written: skip the instruction
  kUndefined,  // nothing happened: inject an undefined instruction
};

// Carries out the access with the vCPU's general registers x0-x30. Afterwards debug.IsActive() may
// have changed.
[[nodiscard]] TrapOutcome HandleSystemRegister(uint64_t esr_value, bool from_el0, TrappedVcpu& vcpu,
                                               std::span<uint64_t, 31> x);

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_SYSTEM_REGISTER_TRAPS_H_
