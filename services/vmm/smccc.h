// SMC Calling Convention 1.1 (Arm DEN0028): the Arm Architecture calls, and the dispatch of all
// calls.
#ifndef ATOLL_SERVICES_VMM_SMCCC_H_
#define ATOLL_SERVICES_VMM_SMCCC_H_

#include <cstdint>

#include "proto/device.atoll.h"
#include "services/vmm/psci.h"

namespace atoll {

// Function id: bit 31 fast call, bit 30 64-bit convention, [29:24] owner, [15:0] number. Bit 16 is
// a hint from version 1.3 on only, so here ids that have it set are unknown, as are those with
// [23:17] set.
inline constexpr uint32_t kSmccc64Bit = uint32_t{1} << 30;

inline constexpr uint32_t kSmcccVersionId = 0x8000'0000;
inline constexpr uint32_t kSmcccArchFeaturesId = 0x8000'0001;
inline constexpr int64_t kSmcccVersion1_1 = 0x0001'0001;

// Serves `hvc #0` and `smc #0` of a VM's vCPUs.
//
// SMCCC_ARCH_WORKAROUND_1, 2 and 3 are unknown (-1): nothing at EL2 mitigates on a guest's behalf.
// A guest then goes by CSV2, CSV3 and SSBS of its ID registers, which are the processor's. No
// vendor UID is given either: a guest would use the calls of the product that it names.
class Hypercalls final : public HypercallServer {
 public:
  explicit Hypercalls(Psci& psci) : psci_(psci) {}

  // x1-x3 hold no result of any call and go back unchanged.
  Result<SmcccReply> Smccc(const CallInfo& call, const SmcccRequest& request) override {
    // First, for it is what guests measure a hypervisor's call by.
    if (static_cast<uint32_t>(request.x0) == kPsciVersionId) [[likely]] {
      return Reply(request, kPsciVersion1_1);
    }
    return Other(call, request);
  }

 private:
  static constexpr SmcccReply Reply(const SmcccRequest& request, int64_t x0) {
    return {.x0 = static_cast<uint64_t>(x0), .x1 = request.x1, .x2 = request.x2, .x3 = request.x3};
  }
  [[gnu::noinline]] Result<SmcccReply> Other(const CallInfo& call, const SmcccRequest& request);

  Psci& psci_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_SMCCC_H_
