#include "services/vmm/smccc.h"

namespace atoll {
namespace {

constexpr uint64_t kLowHalf = 0xffff'ffff;

int64_t ArchFeatures(uint32_t function) {
  const bool known = function == kSmcccVersionId || function == kSmcccArchFeaturesId;
  return known ? kSuccess : kNotSupported;
}

}  // namespace

Result<SmcccReply> Hypercalls::Other(const CallInfo& call, const SmcccRequest& request) {
  const auto function = static_cast<uint32_t>(request.x0);  // bits [63:32] of x0 are ignored
  if (function == kSmcccVersionId) return Reply(request, kSmcccVersion1_1);
  if (function == kSmcccArchFeaturesId) {
    return Reply(request, ArchFeatures(static_cast<uint32_t>(request.x1)));
  }
  // The kernel's badge; anything else is not a vCPU of this VM.
  if (call.badge >= psci_.vcpus()) return std::unexpected(Status::kInvalidArgument);
  const uint64_t mask = (function & kSmccc64Bit) != 0 ? ~uint64_t{0} : kLowHalf;
  const SmcccAnswer answer =
      psci_.Call({.function = function,
                  .arguments = {request.x1 & mask, request.x2 & mask, request.x3 & mask},
                  .vcpu = static_cast<uint32_t>(call.badge),
                  .token = call.token,
                  .redelivered = call.attempt > 1});
  if (!answer.has_value()) return std::unexpected(kNoReply);
  return Reply(request, *answer);
}

}  // namespace atoll
