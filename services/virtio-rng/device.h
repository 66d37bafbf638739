// A virtio entropy device (VIRTIO 1.2, 5.4): fills the guest's buffers from a generator (services/runtime/random.h).
#ifndef ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "services/runtime/random.h"
#include "services/runtime/statistics.h"
#include "services/virtio/chain.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_rng {

inline constexpr uint32_t kBufferBytes = 4096;  // that a buffer gets at most, and is used with then
inline constexpr uint32_t kPassBuffers = 16;    // before others have their turn

struct State {
  TwoCopies<ChaCha20Key> keys;
};
using Journal = virtio::Journal<State, 1>;

class Device final : public virtio::DeviceModel {
 public:
  Device(State& state, SeedSource& source, std::span<const std::byte> seed)
      : random_(state.keys, source, seed) {
    NameCounter(0, "buffers");
    NameCounter(1, "bytes");
  }

  virtio::Description Describe() const override {
    static constexpr std::array<uint32_t, 1> kQueueSizes = {64};
    return {.device_id = 4,
            .features = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
                        virtio::kFeatureEventIdx,
            .queue_sizes = kQueueSizes};
  }
  std::span<const std::byte> Config() const override { return {}; }

  virtio::Work ProcessQueue(uint32_t, virtio::SplitQueue& queue, uint64_t) override {
    using Fetched = virtio::SplitQueue::Fetched;
    for (uint32_t i = 0; i < kPassBuffers; ++i) {
      const Fetched fetched = queue.Fetch(record_);
      if (fetched == Fetched::kBroken) return virtio::Work::kBroken;
      if (fetched == Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        return virtio::Work::kDone;
      }
      queue.Accept();
      queue.Push(record_.head, Fill(queue.chain(record_)));
      queue.Publish();
    }
    return virtio::Work::kMore;
  }
  // Two instances died of the buffer: it goes back empty.
  bool SkipNext(uint32_t, virtio::SplitQueue& queue) override {
    queue.Skip();
    return true;
  }

 private:
  // Bytes written. None into a buffer that the device may read, which no entropy request is.
  uint32_t Fill(const virtio::Chain& chain) {
    if (chain.readable_bytes() != 0 || !chain.reachable()) return 0;
    const auto bytes =
        static_cast<uint32_t>(std::min<uint64_t>(chain.writable_bytes(), kBufferBytes));
    ChaCha20Stream stream = random_.Next();
    (void)chain.VisitWritable(0, bytes, [&stream](std::span<std::byte> piece) {
      stream.Take(piece);
      return Status::kOk;
    });
    Count(0);
    Count(1, bytes);
    return bytes;
  }

  RandomGenerator random_;
  virtio::ChainRecord record_;
};

}  // namespace atoll::virtio_rng

#endif  // ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_
