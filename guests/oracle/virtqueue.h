// The driver's side of virtio-mmio (VIRTIO 1.2, 2.7 and 4.2.2): registers of one device, and queues of a fixed size.
#ifndef ATOLL_GUESTS_ORACLE_VIRTQUEUE_H_
#define ATOLL_GUESTS_ORACLE_VIRTQUEUE_H_

#include "guests/bare/bare.h"

namespace oracle {

template <typename T>
uint64_t AddressOf(const volatile T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

class Transport {
 public:
  static constexpr uint32_t kNetwork = 1, kBlock = 2, kConsole = 3, kEntropy = 4, kSocket = 19;

  explicit constexpr Transport(uint32_t slot) : base_(bare::kVirtio + slot * uintptr_t{0x1000}) {}

  uint32_t Read(uint32_t offset) const { return bare::Load32(base_ + offset); }
  void Write(uint32_t offset, uint32_t value) const { bare::Store32(base_ + offset, value); }
  uint32_t device_id() const { return Read(0x08); }
  uint8_t ConfigByte(uint32_t offset) const { return bare::Load<uint8_t>(base_ + 0x100 + offset); }

  // Reset, features; false if the device does not take them.
  bool Negotiate(uint32_t low) const {
    Write(kStatus, 0);
    Write(kStatus, 3);  // ACKNOWLEDGE, DRIVER
    Write(kDriverFeaturesSel, 0);
    Write(kDriverFeatures, low);
    Write(kDriverFeaturesSel, 1);
    Write(kDriverFeatures, 1);  // VERSION_1
    Write(kStatus, kFeaturesOk);
    return Read(kStatus) == kFeaturesOk;
  }
  bool Run() const {
    Write(kStatus, kRunning);
    return Read(kStatus) == kRunning;
  }
  // DEVICE_NEEDS_RESET, or a status that nobody wrote.
  bool is_running() const { return Read(kStatus) == kRunning; }
  void SetQueue(uint32_t number, uint32_t entries, uint64_t descriptors, uint64_t avail,
                uint64_t used) const {
    Write(0x30, number);
    Write(0x38, entries);
    WriteAddress(0x80, descriptors);
    WriteAddress(0x90, avail);
    WriteAddress(0xa0, used);
    Write(0x44, 1);
  }
  void Notify(uint32_t queue) const { Write(0x50, queue); }

 private:
  static constexpr uint32_t kDriverFeatures = 0x20, kDriverFeaturesSel = 0x24, kStatus = 0x70;
  static constexpr uint32_t kFeaturesOk = 11, kRunning = 15;

  void WriteAddress(uint32_t offset, uint64_t address) const {
    Write(offset, static_cast<uint32_t>(address));
    Write(offset + 4, static_cast<uint32_t>(address >> 32));
  }

  uintptr_t base_;
};

template <uint32_t kEntries>
class Virtqueue {
 public:
  static constexpr uint16_t kNext = 1, kDeviceWrites = 2;

  struct Used {
    uint32_t id, length;
  };

  void Attach(const Transport& transport, uint32_t number) {
    transport.SetQueue(number, kEntries, AddressOf(rings_.descriptors), AddressOf(rings_.avail),
                       AddressOf(rings_.used));
  }
  void Describe(uint32_t index, uint64_t address, uint32_t bytes, uint16_t flags, uint32_t next) {
    rings_.descriptors[index] = {address, bytes, flags, static_cast<uint16_t>(next)};
  }
  // The device may take the chain from now on; whoever offers notifies.
  void Offer(uint32_t head) {
    rings_.avail.ring[rings_.avail.index % kEntries] = static_cast<uint16_t>(head);
    asm volatile("dmb ish" ::: "memory");
    rings_.avail.index = static_cast<uint16_t>(rings_.avail.index + 1);
    asm volatile("dsb ish" ::: "memory");
  }
  bool HasUsed() const { return UsedIndex() != taken_; }
  // How far the device is ahead of what was offered and not yet taken: 0 unless it is wrong.
  bool IsSane() const {
    return static_cast<uint16_t>(UsedIndex() - taken_) <=
           static_cast<uint16_t>(rings_.avail.index - taken_);
  }
  Used TakeUsed() {
    asm volatile("dmb ish" ::: "memory");
    const volatile Used& entry = rings_.used.ring[taken_++ % kEntries];
    return {entry.id, entry.length};
  }
  void WantNoInterrupts() { rings_.avail.flags = 1; }

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  struct alignas(4096) Rings {
    Descriptor descriptors[kEntries];
    struct {
      uint16_t flags, index, ring[kEntries], used_event;
    } avail;
    alignas(64) struct {
      uint16_t flags, index;
      Used ring[kEntries];
      uint16_t avail_event;
    } used;
  };

  uint16_t UsedIndex() const { return const_cast<const volatile uint16_t&>(rings_.used.index); }

  Rings rings_;
  uint16_t taken_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_VIRTQUEUE_H_
