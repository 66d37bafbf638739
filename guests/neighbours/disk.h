// A disk in slot 0: one request at a time, waited for by looking.
#ifndef ATOLL_GUESTS_NEIGHBOURS_DISK_H_
#define ATOLL_GUESTS_NEIGHBOURS_DISK_H_

#include "guests/neighbours/virtio.h"

namespace bare {

class Disk {
 public:
  bool Start() {
    device_.Begin();
    device_.SetQueue(0, queue);
    return device_.Go();
  }

  // Reads sectors to where nobody looks, and waits for them.
  void Read(uint64_t sector, uint32_t sectors) {
    header = {.type = 0, .reserved = 0, .sector = sector};
    queue.descriptors[0] = {AddressOf(&header), sizeof(header), Descriptor::kNext, 1};
    queue.descriptors[1] = {kData, sectors * 512, Descriptor::kNext | Descriptor::kDeviceWrites, 2};
    queue.descriptors[2] = {AddressOf(&status), 1, Descriptor::kDeviceWrites, 0};
    queue.Offer(0);
    Notify();
    while (queue.Waiting() != 0) {
    }
  }

  void Notify() { device_.Notify(0); }

 private:
  static constexpr uint64_t kData = kRam + 16 * 1024 * 1024;

  struct Header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  };

  VirtioDevice device_{0};
  static inline Queue<4> queue;
  static inline Header header;
  static inline volatile uint8_t status;
};

}  // namespace bare

#endif  // ATOLL_GUESTS_NEIGHBOURS_DISK_H_
