// Memory of frames on their way to the device: a ring of bytes in which each frame lies in one
// piece. Room comes back in the order in which it was given out, however the device finishes.
#ifndef ATOLL_SERVICES_NET_DRIVER_TRANSMIT_BUFFER_H_
#define ATOLL_SERVICES_NET_DRIVER_TRANSMIT_BUFFER_H_

#include <array>
#include <cstdint>
#include <optional>

#include "ipc/address.h"

namespace atoll::net_driver {

class TransmitBuffer {
 public:
  static constexpr uint32_t kEntries = 128;
  static constexpr uint32_t kCapacity = 256 * 1024;  // twice the longest frame and more
  static constexpr uint32_t kAlignment = 16;

  // A place for a frame.
  struct Place {
    uint32_t offset = 0;  // in the memory
    uint32_t entry = 0;   // to be given back
  };

  void Clear() { *this = TransmitBuffer(); }

  // Room for a frame of up to kCapacity / 2 bytes, nothing if there is none now. Nothing is taken
  // until Take.
  std::optional<Place> Find(uint32_t bytes) {
    if (newest_ - oldest_ == kEntries) return std::nullopt;
    if (newest_ == oldest_) tail_ = head_;
    uint32_t start = head_;
    const uint32_t to_end = kCapacity - start % kCapacity;
    if (bytes > to_end) start += to_end;  // frames do not wrap
    const uint32_t end = start + static_cast<uint32_t>(AlignUp(bytes, kAlignment));
    if (end - tail_ > kCapacity) return std::nullopt;
    found_end_ = end;
    return Place{.offset = start % kCapacity, .entry = newest_ % kEntries};
  }

  // Takes what was found last.
  void Take() {
    entries_[newest_ % kEntries] = {.end = found_end_, .done = false};
    head_ = found_end_;
    ++newest_;
  }

  void GiveBack(uint32_t entry) {
    entries_[entry % kEntries].done = true;
    while (oldest_ != newest_ && entries_[oldest_ % kEntries].done) {
      tail_ = entries_[oldest_ % kEntries].end;
      ++oldest_;
    }
  }

  bool empty() const { return newest_ == oldest_; }

 private:
  struct Entry {
    uint32_t end = 0;
    bool done = true;
  };

  // Free-running counts of bytes and entries.
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  uint32_t newest_ = 0;
  uint32_t oldest_ = 0;
  uint32_t found_end_ = 0;
  std::array<Entry, kEntries> entries_ = {};
};

}  // namespace atoll::net_driver

#endif  // ATOLL_SERVICES_NET_DRIVER_TRANSMIT_BUFFER_H_
