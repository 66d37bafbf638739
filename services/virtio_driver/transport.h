// The driver's side of virtio-mmio, version 2 (VIRTIO 1.2, 3.1, 4.2): finds, resets, configures and
// notifies one device. Nothing that the device answers is believed before it is checked, and no
// wait for it is longer than kPolls reads.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_TRANSPORT_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_TRANSPORT_H_

#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll::virtio_driver {

// The device's registers; `offset` in bytes from the first of them.
class DevicePort {
 public:
  virtual uint32_t Read(uint32_t offset) = 0;  // aligned 32-bit accesses
  virtual void Write(uint32_t offset, uint32_t value) = 0;
  virtual uint8_t ReadByte(uint32_t offset) = 0;  // configuration space only

 protected:
  ~DevicePort() = default;
};

// Where a queue lies in the device's view.
struct QueueAddresses {
  PhysAddr descriptors;
  PhysAddr avail;
  PhysAddr used;
  uint32_t size = 0;
};

class Transport {
 public:
  static constexpr uint32_t kPolls = 1'000'000;

  explicit Transport(DevicePort& port) : port_(port) {}

  // NOT_FOUND: no device of this id is there. UNIMPLEMENTED: its transport is not version 2 (QEMU:
  // -global virtio-mmio.force-legacy=false).
  Status Probe(uint32_t device_id);

  // Ends whatever the device did, DMA included (2.4). DEADLINE_EXCEEDED: it does not come back.
  Status Reset();

  // After Reset, up to FEATURES_OK: takes those of `wanted` that are offered, and VERSION_1.
  // FAILED_PRECONDITION: the device refuses, or offers no VERSION_1.
  Result<uint64_t> Negotiate(uint64_t wanted);

  // 0: there is no such queue.
  uint32_t MaxQueueSize(uint32_t index);
  // FAILED_PRECONDITION: the device does not take the queue.
  Status SetUpQueue(uint32_t index, const QueueAddresses& queue);

  void Start();   // DRIVER_OK
  void GiveUp();  // FAILED: the device stays as it is until the next reset
  // It still is as Start left it, and does not ask for a reset.
  bool IsLive();

  void Notify(uint32_t queue);

  // Acknowledges the causes of an interrupt until there is none, so that the next one raises the
  // line again: it is edge-triggered. DATA_LOSS: that has no end.
  Status AcknowledgeInterrupts();

  // Of the configuration space. 64-bit fields are read as often as it takes for both halves to
  // belong together (2.5.1); UNAVAILABLE: they never do.
  uint32_t ConfigWord(uint32_t offset);
  uint8_t ConfigByte(uint32_t offset);
  Result<uint64_t> ConfigDoubleWord(uint32_t offset);

 private:
  uint64_t DeviceFeatures();
  void AddStatus(uint32_t bits);

  DevicePort& port_;
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_TRANSPORT_H_
