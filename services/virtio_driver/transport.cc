#include "services/virtio_driver/transport.h"

#include "services/virtio/specification.h"
#include "services/virtio_driver/dma.h"

namespace atoll::virtio_driver {

using namespace virtio;  // NOLINT: registers and bits of the specification

namespace {

constexpr uint32_t kStarted =
    kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk;

// Rounds of InterruptStatus and of ConfigGeneration before a device is taken to be mad.
constexpr uint32_t kRounds = 64;

constexpr uint32_t Low(uint64_t word) { return static_cast<uint32_t>(word); }
constexpr uint32_t High(uint64_t word) { return static_cast<uint32_t>(word >> 32); }

}  // namespace

Status Transport::Probe(uint32_t device_id) {
  if (port_.Read(kMagicValue) != kMagic) return Status::kNotFound;
  const uint32_t version = port_.Read(kVersion);
  // 4.2.2.2: id 0 is a slot without a device.
  if (port_.Read(kDeviceId) != device_id) return Status::kNotFound;
  return version == kMmioVersion ? Status::kOk : Status::kUnimplemented;
}

Status Transport::Reset() {
  port_.Write(kStatus, 0);
  for (uint32_t poll = 0; poll < kPolls; ++poll) {
    if (port_.Read(kStatus) == 0) return Status::kOk;
  }
  return Status::kDeadlineExceeded;
}

void Transport::AddStatus(uint32_t bits) { port_.Write(kStatus, port_.Read(kStatus) | bits); }

uint64_t Transport::DeviceFeatures() {
  port_.Write(kDeviceFeaturesSel, 1);
  const uint64_t high = port_.Read(kDeviceFeatures);
  port_.Write(kDeviceFeaturesSel, 0);
  return (high << 32) | port_.Read(kDeviceFeatures);
}

Result<uint64_t> Transport::Negotiate(uint64_t wanted) {
  AddStatus(kStatusAcknowledge);
  AddStatus(kStatusDriver);
  const uint64_t offered = DeviceFeatures();
  if ((offered & kFeatureVersion1) == 0) return std::unexpected(Status::kFailedPrecondition);
  const uint64_t features = offered & (wanted | kFeatureVersion1);
  port_.Write(kDriverFeaturesSel, 1);
  port_.Write(kDriverFeatures, High(features));
  port_.Write(kDriverFeaturesSel, 0);
  port_.Write(kDriverFeatures, Low(features));
  AddStatus(kStatusFeaturesOk);
  if ((port_.Read(kStatus) & kStatusFeaturesOk) == 0) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  return features;
}

uint32_t Transport::MaxQueueSize(uint32_t index) {
  port_.Write(kQueueSel, index);
  return port_.Read(kQueueNumMax);
}

Status Transport::SetUpQueue(uint32_t index, const QueueAddresses& queue) {
  port_.Write(kQueueSel, index);
  // 4.2.3.2: a queue that is in use already is none for us.
  if (port_.Read(kQueueReady) != 0 || queue.size > port_.Read(kQueueNumMax)) {
    return Status::kFailedPrecondition;
  }
  port_.Write(kQueueNum, queue.size);
  port_.Write(kQueueDescLow, Low(queue.descriptors.value));
  port_.Write(kQueueDescHigh, High(queue.descriptors.value));
  port_.Write(kQueueDriverLow, Low(queue.avail.value));
  port_.Write(kQueueDriverHigh, High(queue.avail.value));
  port_.Write(kQueueDeviceLow, Low(queue.used.value));
  port_.Write(kQueueDeviceHigh, High(queue.used.value));
  DmaWriteBarrier();  // the queue's memory is as the driver wrote it before the device looks
  port_.Write(kQueueReady, 1);
  return port_.Read(kQueueReady) == 1 ? Status::kOk : Status::kFailedPrecondition;
}

void Transport::Start() {
  DmaWriteBarrier();
  AddStatus(kStatusDriverOk);
}

void Transport::GiveUp() { AddStatus(kStatusFailed); }

bool Transport::IsLive() {
  return port_.Read(kMagicValue) == kMagic && port_.Read(kStatus) == kStarted;
}

void Transport::Notify(uint32_t queue) {
  DmaWriteBarrier();  // avail idx is visible before the device is told to look at it
  port_.Write(kQueueNotify, queue);
}

Status Transport::AcknowledgeInterrupts() {
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint32_t causes = port_.Read(kInterruptStatus);
    // A cause that comes up while another one is acknowledged does not raise the line anew, so
    // nobody may leave before all are down.
    if (causes == 0) {
      DmaReadBarrier();  // the used rings are read after the interrupt was taken back
      return Status::kOk;
    }
    port_.Write(kInterruptAck, causes);
  }
  return Status::kDataLoss;
}

uint32_t Transport::ConfigWord(uint32_t offset) { return port_.Read(kConfig + offset); }

uint8_t Transport::ConfigByte(uint32_t offset) { return port_.ReadByte(kConfig + offset); }

Result<uint64_t> Transport::ConfigDoubleWord(uint32_t offset) {
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint32_t generation = port_.Read(kConfigGeneration);
    const uint32_t low = ConfigWord(offset);
    const uint32_t high = ConfigWord(offset + 4);
    if (port_.Read(kConfigGeneration) == generation) return (uint64_t{high} << 32) | low;
  }
  return std::unexpected(Status::kUnavailable);
}

}  // namespace atoll::virtio_driver
