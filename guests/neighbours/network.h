// A network interface in slot 1.
#ifndef ATOLL_GUESTS_NEIGHBOURS_NETWORK_H_
#define ATOLL_GUESTS_NEIGHBOURS_NETWORK_H_

#include <cstring>

#include "guests/neighbours/virtio.h"

namespace bare {

class Network {
 public:
  static constexpr uint8_t kEverybody = 0xff;

  // `buffers`: how many it offers for what it receives.
  bool Start(uint16_t buffers) {
    device_.Begin();
    device_.SetQueue(kReceive, receive);
    device_.SetQueue(kTransmit, transmit);
    for (uint16_t i = 0; i < kEntries; ++i) {
      receive.descriptors[i] = {kBuffers + i * kBufferBytes, kBufferBytes,
                                Descriptor::kDeviceWrites, 0};
    }
    const bool started = device_.Go();
    for (uint16_t i = 0; i < buffers; ++i) receive.Offer(i);
    device_.Notify(kReceive);
    return started;
  }

  // A frame to that VM, by its number in the description: its bytes are what the memory holds. Waits for room.
  void Send(uint8_t vm, uint32_t bytes) {
    const auto entry = static_cast<uint16_t>(transmit.available.index % kEntries);
    if (transmit.Waiting() >= kEntries) {
      device_.Notify(kTransmit);
      while (transmit.Waiting() >= kEntries) {
      }
    }
    const uint64_t buffer = kBuffers + (kEntries + entry) * kBufferBytes;
    auto* const packet = reinterpret_cast<uint8_t*>(buffer);
    std::memset(packet, 0, kHeaderBytes);
    const uint8_t destination[] = {0x02, 'a', 't', 'l', vm, 0};
    std::memcpy(packet + kHeaderBytes, destination, sizeof(destination));
    if (vm == kEverybody) std::memset(packet + kHeaderBytes, 0xff, sizeof(destination));
    const uint8_t source[] = {0x02, 'a', 't', 'l', 0x80, 1};
    std::memcpy(packet + kHeaderBytes + sizeof(destination), source, sizeof(source));
    transmit.descriptors[entry] = {buffer, kHeaderBytes + bytes, 0, 0};
    transmit.Offer(entry);
    if (transmit.available.index % kBatch == 0) device_.Notify(kTransmit);
  }

  // Takes what has come and offers the buffers again.
  void Take() {
    const uint16_t end = receive.UsedIndex();
    if (taken_ == end) return;
    for (; taken_ != end; ++taken_)
      receive.Offer(static_cast<uint16_t>(receive.used.ring[taken_ % kEntries].id));
    device_.Notify(kReceive);
  }

 private:
  static constexpr uint32_t kReceive = 0, kTransmit = 1;
  static constexpr uint16_t kEntries = 128;
  static constexpr uint16_t kBatch = 16;
  static constexpr uint32_t kHeaderBytes = 12;
  static constexpr uint32_t kBufferBytes = 2048;
  static constexpr uint64_t kBuffers = kRam + 16 * 1024 * 1024;

  VirtioDevice device_{1};
  uint16_t taken_ = 0;
  static inline Queue<kEntries> receive;
  static inline Queue<kEntries> transmit;
};

}  // namespace bare

#endif  // ATOLL_GUESTS_NEIGHBOURS_NETWORK_H_
