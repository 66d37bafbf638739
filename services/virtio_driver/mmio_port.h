// The registers of a device that are mapped into this task.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_MMIO_PORT_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_MMIO_PORT_H_

#include <cstdint>

#include "ipc/address.h"
#include "services/runtime/task_memory.h"
#include "services/virtio_driver/transport.h"

namespace atoll::virtio_driver {

class MmioPort final : public DevicePort {
 public:
  // base: the first register.
  explicit MmioPort(VirtAddr base) : base_(base) {}

  uint32_t Read(uint32_t offset) override { return *At<uint32_t>(offset); }
  void Write(uint32_t offset, uint32_t value) override { *At<uint32_t>(offset) = value; }
  uint8_t ReadByte(uint32_t offset) override { return *At<uint8_t>(offset); }

 private:
  template <typename T>
  volatile T* At(uint32_t offset) const {
    return TaskPointer<volatile T>(base_ + offset);
  }

  VirtAddr base_;
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_MMIO_PORT_H_
