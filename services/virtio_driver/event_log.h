// Where a driver says what happened to its device: a line for each thing that an operator has to
// know, never one for each request.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_EVENT_LOG_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_EVENT_LOG_H_

#include <string_view>

namespace atoll::virtio_driver {

class EventLog {
 public:
  virtual void Line(std::string_view text) = 0;

 protected:
  ~EventLog() = default;
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_EVENT_LOG_H_
