// From the ring of the switch into a guest's receive buffers (VIRTIO 1.2, 5.1.6.3 and 5.1.6.4).
//
// A frame is copied once, as its sender made it if the driver takes it so; else its checksum is
// completed, or it is cut into segments, on the way. A frame without a buffer stays in the ring.
#ifndef ATOLL_SERVICES_VIRTIO_NET_RECEIVER_H_
#define ATOLL_SERVICES_VIRTIO_NET_RECEIVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "services/net/frame_ring.h"
#include "services/net/segmenter.h"
#include "services/runtime/ports.h"
#include "services/virtio-net/flow_table.h"
#include "services/virtio-net/specification.h"
#include "services/virtio-net/state.h"
#include "services/virtio/device_model.h"
#include "services/virtio/split_queue.h"

namespace atoll::virtio_net {

// Where frames may go.
struct ReceiveTarget {
  std::span<virtio::SplitQueue* const> queues;  // of the pairs in use; null: not ready
  Mac mac = 0;                                  // the device's address
  uint64_t features = 0;                        // negotiated
  const FlowTable* flows = nullptr;             // null: there is one pair
};

class Receiver {
 public:
  // No ring: nothing comes. max_frame: longest frame that a driver gets unless it is to be segmented.
  // The references outlive it.
  Receiver(std::optional<net::FrameReader>& ring, Notifier& peer, NetState& state,
           const DriverSettings& settings, uint32_t max_frame)
      : ring_(ring), peer_(peer), state_(state), settings_(settings), max_frame_(max_frame) {}

  // Delivers what the ring holds, a bounded share of it at most.
  virtio::Work Run(const ReceiveTarget& target);

  // Nobody listens: drops what the ring holds.
  void Drain();

  // Drops the frame at the front of the ring, which nobody survives.
  void Skip();

  // Takes a frame out of the ring that an earlier instance delivered into this queue.
  void Recover(uint32_t index, virtio::SplitQueue& queue);

 private:
  // What one call of Run does at most, before other events have their turn.
  static constexpr uint32_t kPassFrames = 64;

  enum class Outcome {
    kDone,       // delivered or dropped: the frame leaves the ring
    kNoBuffers,  // to be tried again when the driver gave more
    kBroken,     // the driver broke a rule
  };
  // A packet's bytes, wherever they lie.
  class Parts;
  // Where a packet goes.
  struct Place {
    virtio::SplitQueue& queue;
    uint32_t index;  // of the queue
    bool mergeable;
  };

  Outcome Deliver(const net::Frame& frame, const ReceiveTarget& target);
  Outcome DeliverWhole(const net::Frame& frame, uint64_t offloads, const Place& place);
  Outcome DeliverSegments(const net::Frame& frame, uint64_t offloads, const Place& place);
  // Puts one packet into as many buffers as it needs, and shows them to the driver; drops one that
  // is longer than these. part: 0, or kSegment and kLast of Transfer.
  Outcome Put(const Place& place, NetHeader header, Parts parts, uint16_t part);
  Outcome Drop(uint64_t& counter) const;
  void Note(Transfer transfer);

  std::optional<net::FrameReader>& ring_;
  Notifier& peer_;
  NetState& state_;
  const DriverSettings& settings_;
  const uint32_t max_frame_;
  // Of the frame at the front of the ring, if it is being cut.
  std::optional<net::Segmenter> segmenter_;
  std::optional<net::Segmenter::Segment> segment_;  // to be delivered next
  virtio::ChainRecord first_;                       // the packet's first buffer
  virtio::ChainRecord other_;                       // each further one
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_RECEIVER_H_
