// A device that serves other services, too (it is an XServer of a schema of its own): its accesses are one interface of
// several then.
#ifndef ATOLL_SERVICES_RUNTIME_DEVICE_AS_SERVER_H_
#define ATOLL_SERVICES_RUNTIME_DEVICE_AS_SERVER_H_

#include "proto/device.atoll.h"
#include "services/runtime/device.h"
#include "services/runtime/serve.h"

namespace atoll {

class DeviceAsServer final : public DeviceServer, public SignalHandler {
 public:
  explicit DeviceAsServer(MmioDevice& device) : device_(device) {}

  Result<MmioAccessReply> MmioAccess(const CallInfo& call,
                                     const MmioAccessRequest& access) override {
    const Result<uint64_t> value = device_.Access({.offset = access.offset,
                                                   .size = access.size,
                                                   .write = access.write,
                                                   .value = access.value,
                                                   .token = call.token});
    if (!value.has_value() && value.error() == Status::kDataLoss) PanicOfDamage();
    if (!value.has_value()) return std::unexpected(value.error());
    return MmioAccessReply{.value = *value};
  }
  void OnSignals(uint64_t bits) override { device_.OnSignals(bits); }
  bool IsIntact() override { return device_.IsIntact(); }

 private:
  MmioDevice& device_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_DEVICE_AS_SERVER_H_
