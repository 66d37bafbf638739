// The least that drives a virtio block device in slot 0: one request at a time, waited for by looking.
#ifndef ATOLL_GUESTS_NEIGHBOURS_DISK_H_
#define ATOLL_GUESTS_NEIGHBOURS_DISK_H_

#include "guests/bare/bare.h"

namespace bare {

class Disk {
 public:
  bool Start() {
    Write(kStatus, 0);
    Write(kStatus, 1 | 2);  // ACKNOWLEDGE, DRIVER
    Write(kDriverFeaturesSel, 1);
    Write(kDriverFeatures, 1);  // VERSION_1
    Write(kStatus, 1 | 2 | 8);  // FEATURES_OK
    rings = {};
    Write(kQueueSel, 0);
    Write(kQueueNum, kEntries);
    WriteAddress(kQueueDesc, &rings.descriptors);
    WriteAddress(kQueueDriver, &rings.available);
    WriteAddress(kQueueDevice, &rings.used);
    Write(kQueueReady, 1);
    Write(kStatus, 1 | 2 | 8 | 4);  // DRIVER_OK
    return Load32(kVirtio + kStatus) == (1 | 2 | 8 | 4);
  }

  // Reads sectors to where nobody looks, and waits for them.
  void Read(uint64_t sector, uint32_t sectors) {
    header = {.type = 0, .reserved = 0, .sector = sector};
    rings.descriptors[0] = {AddressOf(&header), sizeof(header), kNext, 1};
    rings.descriptors[1] = {kData, sectors * 512, kNext | kDeviceWrites, 2};
    rings.descriptors[2] = {AddressOf(&status), 1, kDeviceWrites, 0};
    rings.available.ring[rings.available.index % kEntries] = 0;
    asm volatile("dmb ish" ::: "memory");
    const auto next = static_cast<uint16_t>(rings.available.index + 1);
    rings.available.index = next;
    asm volatile("dsb ish" ::: "memory");
    Notify();
    while (const_cast<const volatile uint16_t&>(rings.used.index) != next) {
    }
    asm volatile("dmb ish" ::: "memory");
  }

  void Notify() { Write(kQueueNotify, 0); }

 private:
  // VIRTIO 1.2, 4.2.2 and 2.7.
  static constexpr uint32_t kDriverFeatures = 0x20, kDriverFeaturesSel = 0x24, kQueueSel = 0x30,
                            kQueueNum = 0x38, kQueueReady = 0x44, kQueueNotify = 0x50,
                            kStatus = 0x70, kQueueDesc = 0x80, kQueueDriver = 0x90,
                            kQueueDevice = 0xa0;
  static constexpr uint32_t kEntries = 4;
  static constexpr uint16_t kNext = 1, kDeviceWrites = 2;
  static constexpr uint64_t kData = kRam + 16 * 1024 * 1024;

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
    } available;
    alignas(64) struct {
      uint16_t flags, index;
      struct {
        uint32_t id, length;
      } ring[kEntries];
      uint16_t available_event;
    } used;
  };
  struct Header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  };

  static uint64_t AddressOf(const volatile void* object) {
    return reinterpret_cast<uint64_t>(object);
  }
  static void Write(uint32_t offset, uint32_t value) { Store32(kVirtio + offset, value); }
  static void WriteAddress(uint32_t offset, const void* object) {
    Write(offset, static_cast<uint32_t>(AddressOf(object)));
    Write(offset + 4, static_cast<uint32_t>(AddressOf(object) >> 32));
  }

  static inline Rings rings;
  static inline Header header;
  static inline volatile uint8_t status;
};

}  // namespace bare

#endif  // ATOLL_GUESTS_NEIGHBOURS_DISK_H_
