// @TITLE@: a virtio device. docs/devices/@NAME@.md tells what a guest sees.
#ifndef ATOLL_SERVICES_@GUARD@_DEVICE_H_
#define ATOLL_SERVICES_@GUARD@_DEVICE_H_

#include <cstdint>

@INCLUDES@#include "services/virtio/device.h"

namespace atoll {

inline constexpr virtio::Declaration k@CLASS@{.device_id = @ID@, .features = 0, .queues = {64}};

// Kept over restarts of the service.
struct @CLASS@State {
  uint64_t requests = 0;
};

class @CLASS@ final
    : public virtio::Device<k@CLASS@, virtio::NoConfigSpace, @CLASS@State> {
 public:
@CONSTRUCTOR@
  // Answers with the request's number.
  virtio::Handled OnRequest(uint32_t queue, virtio::Request& request) override {
    ChangeState().requests += 1;
    (void)request.WriteValue(state().requests);
    return virtio::Handled::kDone;
  }
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_@GUARD@_DEVICE_H_
