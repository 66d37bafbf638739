// A small split-ring driver (VIRTIO 1.2, sections 2.7 and 3.1) for tests, honest unless told
// otherwise.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_DRIVER_H_
#define ATOLL_TESTS_UNIT_VIRTIO_DRIVER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "services/virtio/specification.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio {

struct Buffer {
  uint64_t address = 0;
  uint32_t length = 0;
  bool writable = false;
};

inline constexpr uint32_t kFound = kStatusAcknowledge | kStatusDriver;
inline constexpr uint32_t kLive = kFound | kStatusFeaturesOk | kStatusDriverOk;

// The driver's side of one queue.
template <typename M>
class DriverQueue {
 public:
  DriverQueue(M& machine, uint32_t queue_index, uint32_t queue_size)
      : index(queue_index),
        size(queue_size),
        descriptors(machine.Allocate(DescriptorBytes(size), 16)),
        avail(machine.Allocate(AvailBytes(size), 2)),
        used(machine.Allocate(UsedBytes(size), 4)),
        m_(machine) {}

  // Set-up by registers up to QueueReady = 1 (4.2.3.2).
  void SetUp() {
    m_.Write(kQueueSel, index);
    m_.Write(kQueueNum, size);
    m_.Write(kQueueDescLow, descriptors);
    m_.Write(kQueueDescHigh, descriptors >> 32);
    m_.Write(kQueueDriverLow, avail);
    m_.Write(kQueueDriverHigh, avail >> 32);
    m_.Write(kQueueDeviceLow, used);
    m_.Write(kQueueDeviceHigh, used >> 32);
    m_.Write(kQueueReady, 1);
  }

  void PutDescriptor(uint32_t slot, Descriptor descriptor) {
    PutEntry(descriptors, slot, descriptor);
  }
  void PutEntry(uint64_t table, uint32_t slot, Descriptor descriptor) {
    m_.Put(table + 16 * slot, descriptor);
  }

  // Writes a chain into the slots from the next free one on; returns its head.
  uint16_t WriteChain(const std::vector<Buffer>& buffers) {
    const uint32_t head = next_slot_ % size;
    for (size_t i = 0; i < buffers.size(); ++i) {
      const uint32_t slot = (next_slot_ + static_cast<uint32_t>(i)) % size;
      PutDescriptor(slot, Direct(buffers[i], i + 1 < buffers.size(), (slot + 1) % size));
    }
    next_slot_ = (next_slot_ + static_cast<uint32_t>(buffers.size())) % size;
    return static_cast<uint16_t>(head);
  }
  uint16_t WriteIndirect(const std::vector<Buffer>& buffers) {
    const uint64_t table = m_.Allocate(16 * buffers.size());
    for (uint32_t i = 0; i < buffers.size(); ++i) {
      PutEntry(table, i, Direct(buffers[i], i + 1 < buffers.size(), i + 1));
    }
    const uint32_t head = next_slot_;
    PutDescriptor(head,
                  {table, static_cast<uint32_t>(16 * buffers.size()), kDescriptorIndirect, 0});
    next_slot_ = (next_slot_ + 1) % size;
    return static_cast<uint16_t>(head);
  }
  static Descriptor Direct(const Buffer& buffer, bool more, uint32_t next) {
    const int flags = (more ? kDescriptorNext : 0) | (buffer.writable ? kDescriptorWrite : 0);
    return {buffer.address, buffer.length, static_cast<uint16_t>(flags),
            static_cast<uint16_t>(more ? next : 0)};
  }

  void MakeAvailable(uint16_t head) {
    m_.Put(avail + kRingEntries + 2 * (avail_index % size), head);
    SetAvailIndex(static_cast<uint16_t>(avail_index + 1));
  }
  void SetAvailIndex(uint16_t value) {
    avail_index = value;
    m_.Put(avail + kRingIndex, value);
  }
  void Add(const std::vector<Buffer>& buffers) { MakeAvailable(WriteChain(buffers)); }
  void AddIndirect(const std::vector<Buffer>& buffers) { MakeAvailable(WriteIndirect(buffers)); }
  void Notify() { m_.Write(kQueueNotify, index); }

  uint16_t UsedIndex() { return m_.template Get<uint16_t>(used + kRingIndex); }
  uint16_t UsedFlags() { return m_.template Get<uint16_t>(used + kRingFlags); }
  uint16_t AvailEvent() { return m_.template Get<uint16_t>(used + kRingEntries + 8 * size); }
  void SetUsedEvent(uint16_t value) { m_.Put(avail + kRingEntries + 2 * size, value); }
  void SetAvailFlags(uint16_t value) { m_.Put(avail + kRingFlags, value); }

  // The next used element that the driver has not seen yet.
  std::optional<UsedElement> PopUsed() {
    if (UsedIndex() == last_used) return std::nullopt;
    const auto element = m_.template Get<UsedElement>(used + kRingEntries + 8 * (last_used % size));
    ++last_used;
    return element;
  }

  const uint32_t index;
  const uint32_t size;
  uint64_t descriptors;
  uint64_t avail;
  uint64_t used;
  uint16_t avail_index = 0;
  uint16_t last_used = 0;

 private:
  M& m_;
  uint32_t next_slot_ = 0;
};

template <typename M>
void WriteFeatures(M& m, uint64_t features) {
  m.Write(kDriverFeaturesSel, 0);
  m.Write(kDriverFeatures, features);
  m.Write(kDriverFeaturesSel, 1);
  m.Write(kDriverFeatures, features >> 32);
}

// 3.1.1 up to FEATURES_OK; false if the device refused.
template <typename M>
bool Negotiate(M& m, uint64_t features) {
  m.Write(kStatus, 0);
  m.Write(kStatus, kStatusAcknowledge);
  m.Write(kStatus, kFound);
  WriteFeatures(m, features);
  m.Write(kStatus, kFound | kStatusFeaturesOk);
  return (m.DeviceStatus() & kStatusFeaturesOk) != 0;
}

// The whole of 3.1.1 with one queue.
template <typename M>
DriverQueue<M> BringUp(M& m, uint64_t features, uint32_t size = 16) {
  (void)Negotiate(m, features);
  DriverQueue<M> queue(m, 0, size);
  queue.SetUp();
  m.Write(kStatus, kLive);
  return queue;
}

}  // namespace atoll::virtio

#endif  // ATOLL_TESTS_UNIT_VIRTIO_DRIVER_H_
