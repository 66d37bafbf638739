// From a guest's transmit queues into the ring to the switch (VIRTIO 1.2, 5.1.6.2).
//
// A frame is copied once, from the guest's buffers straight into the ring. A full ring leaves chains
// in their queue until the switch made room. What a driver says wrongly in a header costs it the
// frame.
#ifndef ATOLL_SERVICES_VIRTIO_NET_TRANSMITTER_H_
#define ATOLL_SERVICES_VIRTIO_NET_TRANSMITTER_H_

#include <cstdint>
#include <optional>

#include "services/net/frame_ring.h"
#include "services/runtime/ports.h"
#include "services/virtio-net/flow_table.h"
#include "services/virtio-net/state.h"
#include "services/virtio/device_model.h"
#include "services/virtio/split_queue.h"

namespace atoll::virtio_net {

class Transmitter {
 public:
  // No ring: the link is down, and whatever is sent is dropped. max_frame: longest frame that is not
  // to be segmented. The references outlive it.
  Transmitter(std::optional<net::FrameWriter>& ring, Notifier& peer, NetState& state,
              uint32_t max_frame)
      : ring_(ring), peer_(peer), state_(state), max_frame_(max_frame) {}

  // Sends what queue `index` holds, a bounded share of it at most. flows: notes the pair of each
  // frame's flow; null: there is one pair.
  virtio::Work Run(uint32_t index, virtio::SplitQueue& queue, uint64_t features, FlowTable* flows);

  // Gives back a buffer the frame of which an earlier instance sent.
  void Recover(uint32_t index, virtio::SplitQueue& queue);

  // Run stopped because the ring was full.
  bool waits() const { return waits_; }

 private:
  // What one call of Run does at most, before other events have their turn.
  static constexpr uint32_t kPassFrames = 64;

  enum class Outcome { kUsed, kNoRoom, kBroken };
  // What the header asks for, checked; nullopt: the frame is to be dropped.
  std::optional<net::FrameHeader> HeaderOf(const virtio::Chain& chain, uint64_t features) const;
  Outcome Send(uint32_t index, virtio::SplitQueue& queue, uint64_t features, FlowTable* flows);

  std::optional<net::FrameWriter>& ring_;
  Notifier& peer_;
  NetState& state_;
  const uint32_t max_frame_;
  bool waits_ = false;
  virtio::ChainRecord record_;  // of the chain in hand
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_TRANSMITTER_H_
