// The CPU's own generator of random numbers, FEAT_RNG (DDI0487), if it has one.
#ifndef ATOLL_SERVICES_RUNTIME_CPU_RANDOM_H_
#define ATOLL_SERVICES_RUNTIME_CPU_RANDOM_H_

#include <cstdint>

#include "ipc/abi.h"
#if !__STDC_HOSTED__
#include "proto/kernel_calls.atoll.h"
#endif

namespace atoll {

class CpuRandom {
 public:
  // vm: a handle with the right READ: the CPU's ID registers, which EL0 cannot read, are those of its VMs.
  explicit CpuRandom(abi::Handle vm) : is_there_(IsThere(vm)) {}

  bool is_there() const { return is_there_; }
  // 0 if there is none, or it has none now.
  uint64_t Next() const { return is_there_ ? Rndr() : 0; }

 private:
#if __STDC_HOSTED__
  static bool IsThere(abi::Handle) { return false; }
  static uint64_t Rndr() { return 0; }
#else
  static bool IsThere(abi::Handle vm) {
    const auto isar0 = kernel::GetIdRegister(vm, {.crm = 6, .op2 = 0});  // ID_AA64ISAR0_EL1.RNDR
    return isar0.has_value() && isar0->value >> 60 != 0;
  }
  static uint64_t Rndr() {
    uint64_t number;
    uint64_t given;
    asm volatile("mrs %0, s3_3_c2_c4_0\n\tcset %1, ne" : "=r"(number), "=r"(given)::"cc");
    return given != 0 ? number : 0;
  }
#endif

  const bool is_there_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_CPU_RANDOM_H_
