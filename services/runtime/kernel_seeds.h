// What the machine offers for randomness: the CPU's generator if it has one (FEAT_RNG), the system counter, the time of day.
#ifndef ATOLL_SERVICES_RUNTIME_KERNEL_SEEDS_H_
#define ATOLL_SERVICES_RUNTIME_KERNEL_SEEDS_H_

#include <cstdint>

#include "ipc/abi.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/random.h"

namespace atoll {

class KernelSeeds final : public SeedSource {
 public:
  // vm: a handle with the right READ, which tells what the CPU has. clock: the machine's PL031, whose
  // first word is UTC seconds.
  KernelSeeds(abi::Handle vm, VirtAddr clock) : has_rndr_(HasRndr(vm)), clock_(clock) {}

  bool has_rndr() const { return has_rndr_; }

  Seed Draw() override {
    Seed seed = {};
    for (uint64_t& word : seed) word = has_rndr_ ? Rndr() : 0;
    seed[0] ^= SystemCounter().Ticks();
    seed[1] ^= *reinterpret_cast<const volatile uint32_t*>(clock_.value);
    return seed;
  }

 private:
  // ID_AA64ISAR0_EL1.RNDR (DDI0487), which EL0 cannot read.
  static bool HasRndr(abi::Handle vm) {
    const auto isar0 = kernel::GetIdRegister(vm, {.crm = 6, .op2 = 0});
    return isar0.has_value() && isar0->value >> 60 != 0;
  }
  // 0 when the CPU cannot give a number in time; then the next stream has the less that is new.
  static uint64_t Rndr() {
    uint64_t number;
    uint64_t given;
    asm volatile("mrs %0, s3_3_c2_c4_0\n\tcset %1, ne" : "=r"(number), "=r"(given)::"cc");
    return given != 0 ? number : 0;
  }

  const bool has_rndr_;
  const VirtAddr clock_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_KERNEL_SEEDS_H_
