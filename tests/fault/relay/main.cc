// The relay: what the guest stores anywhere is brought to the keeper; a load gives the keeper's sum.
#include "proto/device.atoll.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "tests/fault/relay/manifest.h"

namespace atoll {
namespace {

class Relay final : public DeviceServer, public SignalHandler {
 public:
  Result<MmioAccessReply> MmioAccess(const CallInfo& call,
                                     const MmioAccessRequest& request) override {
    DeviceClient keeper(relay_manifest::kKeeper);
    const auto reply = keeper.MmioAccess({.offset = request.value,
                                          .size = sizeof(uint32_t),
                                          .write = request.write,
                                          .value = call.token});
    if (!reply.has_value()) return std::unexpected(reply.error());
    return MmioAccessReply{.value = request.write ? 0 : reply->value};
  }

  void OnSignals(uint64_t) override {}
};

}  // namespace

void ServiceMain(const StartInfo&) {
  Relay relay;
  Serve(static_cast<SignalHandler&>(relay), static_cast<DeviceServer&>(relay));
}

}  // namespace atoll
