// The least that a driver of a virtio device needs, VIRTIO 1.2: sections 4.2.2 (registers) and 2.7 (queues). It looks
// whether something is done, and is not interrupted.
#ifndef ATOLL_GUESTS_NEIGHBOURS_VIRTIO_H_
#define ATOLL_GUESTS_NEIGHBOURS_VIRTIO_H_

#include "guests/bare/bare.h"

namespace bare {

inline uint64_t AddressOf(const volatile void* object) {
  return reinterpret_cast<uint64_t>(object);
}

struct Descriptor {
  static constexpr uint16_t kNext = 1, kDeviceWrites = 2;
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

template <uint16_t kEntries>
struct alignas(4096) Queue {
  Descriptor descriptors[kEntries];
  struct {
    uint16_t flags, index, ring[kEntries], used_event;
  } available;
  alignas(64) struct {
    uint16_t flags, index;
    struct {
      uint32_t id, length;
    } ring[kEntries];
    uint16_t available_event;
  } used;

  uint16_t UsedIndex() const {
    const uint16_t index = const_cast<const volatile uint16_t&>(used.index);
    asm volatile("dmb ish" ::: "memory");
    return index;
  }
  // Not yet done by the device.
  uint16_t Waiting() const { return static_cast<uint16_t>(available.index - UsedIndex()); }

  // Offers the chain that begins with this descriptor.
  void Offer(uint16_t descriptor) {
    available.ring[available.index % kEntries] = descriptor;
    asm volatile("dmb ish" ::: "memory");
    available.index = static_cast<uint16_t>(available.index + 1);
    asm volatile("dsb ish" ::: "memory");
  }
};

class VirtioDevice {
 public:
  explicit VirtioDevice(uint32_t slot) : base_(kVirtio + slot * 0x1000) {}

  void Begin() {
    Write(kStatus, 0);
    Write(kStatus, 1 | 2);  // ACKNOWLEDGE, DRIVER
    Write(kDriverFeaturesSel, 1);
    Write(kDriverFeatures, 1);  // VERSION_1
    Write(kStatus, 1 | 2 | 8);  // FEATURES_OK
  }

  template <uint16_t kEntries>
  void SetQueue(uint32_t number, Queue<kEntries>& queue) {
    queue = {};
    queue.available.flags = 1;  // NO_INTERRUPT
    Write(kQueueSel, number);
    Write(kQueueNum, kEntries);
    WriteAddress(kQueueDesc, &queue.descriptors);
    WriteAddress(kQueueDriver, &queue.available);
    WriteAddress(kQueueDevice, &queue.used);
    Write(kQueueReady, 1);
  }

  bool Go() {
    Write(kStatus, 1 | 2 | 8 | 4);  // DRIVER_OK
    return Load32(base_ + kStatus) == (1 | 2 | 8 | 4);
  }

  void Notify(uint32_t queue) { Write(kQueueNotify, queue); }

 private:
  static constexpr uint32_t kDriverFeatures = 0x20, kDriverFeaturesSel = 0x24, kQueueSel = 0x30,
                            kQueueNum = 0x38, kQueueReady = 0x44, kQueueNotify = 0x50,
                            kStatus = 0x70, kQueueDesc = 0x80, kQueueDriver = 0x90,
                            kQueueDevice = 0xa0;

  void Write(uint32_t offset, uint32_t value) { Store32(base_ + offset, value); }
  void WriteAddress(uint32_t offset, const void* object) {
    Write(offset, static_cast<uint32_t>(AddressOf(object)));
    Write(offset + 4, static_cast<uint32_t>(AddressOf(object) >> 32));
  }

  uintptr_t base_;
};

}  // namespace bare

#endif  // ATOLL_GUESTS_NEIGHBOURS_VIRTIO_H_
