// The ID registers that a VM sees: op0 3, op1 0, CRn 0, CRm 1-7 (DDI0487, ID space), one table per
// VM.
//
// A feature is shown if the CPU has it and Atoll switches whatever state it brings; features that
// EL2 cannot take away (most plain instructions) are shown as they are. What is in no rule of
// id_register_rules.h is hidden. Registers that are not allocated read 0.
#ifndef ATOLL_KERNEL_VCPU_ID_REGISTERS_H_
#define ATOLL_KERNEL_VCPU_ID_REGISTERS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "ipc/status.h"

namespace atoll {

inline constexpr uint32_t kFirstIdCrm = 1;
inline constexpr uint32_t kIdCrms = 7;
inline constexpr uint32_t kIdOp2s = 8;

// Values by (crm - 1) * 8 + op2.
using IdValues = std::array<uint64_t, kIdCrms * kIdOp2s>;

struct IdRegister {
  uint32_t crm;
  uint32_t op2;
  constexpr bool IsValid() const {
    return crm >= kFirstIdCrm && crm < kFirstIdCrm + kIdCrms && op2 < kIdOp2s;
  }
  constexpr size_t Index() const { return (crm - kFirstIdCrm) * kIdOp2s + op2; }
  constexpr bool operator==(const IdRegister&) const = default;
};

namespace id {
inline constexpr IdRegister kPfr0Aarch32{1, 0};
inline constexpr IdRegister kPfr1Aarch32{1, 1};
inline constexpr IdRegister kDfr0Aarch32{1, 2};
inline constexpr IdRegister kAfr0Aarch32{1, 3};
inline constexpr IdRegister kMmfr4Aarch32{2, 6};
inline constexpr IdRegister kAa64Pfr0{4, 0};
inline constexpr IdRegister kAa64Pfr1{4, 1};
inline constexpr IdRegister kAa64Zfr0{4, 4};
inline constexpr IdRegister kAa64Smfr0{4, 5};
inline constexpr IdRegister kAa64Dfr0{5, 0};
inline constexpr IdRegister kAa64Dfr1{5, 1};
inline constexpr IdRegister kAa64Isar0{6, 0};
inline constexpr IdRegister kAa64Isar1{6, 1};
inline constexpr IdRegister kAa64Isar2{6, 2};
inline constexpr IdRegister kAa64Mmfr0{7, 0};
inline constexpr IdRegister kAa64Mmfr1{7, 1};
inline constexpr IdRegister kAa64Mmfr2{7, 2};
}  // namespace id

// One 4-bit field, its lowest bit at `shift`.
constexpr uint32_t IdField(const IdValues& values, IdRegister which, unsigned shift) {
  return static_cast<uint32_t>(values[which.Index()] >> shift) & 0xf;
}

// This CPU's own.
IdValues ReadHardwareIdRegisters();

// What Atoll really virtualises on a CPU with these values.
IdValues Baseline(const IdValues& hardware);

class IdRegisters {
 public:
  IdRegisters() = default;  // all 0
  explicit IdRegisters(const IdValues& baseline) : baseline_(baseline), values_(baseline) {}

  // As the guest reads it; 0 for registers out of the table.
  uint64_t Get(IdRegister which) const { return which.IsValid() ? values_[which.Index()] : 0; }

  // Hides features: each field must be the baseline's or its "not there". INVALID_ARGUMENT
  // otherwise. FAILED_PRECONDITION after Freeze, which the VM's first vCPU start calls: guests read
  // them once.
  Status Set(IdRegister which, uint64_t value);
  void Freeze() { frozen_ = true; }
  // The VM is reset: the baseline again, and Set is allowed.
  void Reset() { values_ = baseline_, frozen_ = false; }

  const IdValues& values() const { return values_; }

 private:
  IdValues baseline_ = {};
  IdValues values_ = {};
  bool frozen_ = false;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_ID_REGISTERS_H_
