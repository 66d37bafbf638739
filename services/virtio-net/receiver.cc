#include "services/virtio-net/receiver.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/net/offload.h"
#include "services/virtio-net/offloads.h"
#include "services/virtio-net/receive_filter.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_net {
namespace {

using net::FrameHeader;
using virtio::SplitQueue;
using virtio::Work;

// More frames than a ring holds.
constexpr uint32_t kDrainFrames = net::kRingBytes / net::kMinFrameBytes;

NetHeader HeaderFor(const FrameHeader& frame) {
  NetHeader header;
  if ((frame.flags & FrameHeader::kNeedsChecksum) != 0) {
    header.flags = FrameHeader::kNeedsChecksum;
    header.csum_start = frame.checksum_start;
    header.csum_offset = frame.checksum_offset;
  } else {
    header.flags = frame.flags & FrameHeader::kDataValid;  // which the switch answers for
  }
  if (frame.gso_type != FrameHeader::kGsoNone) {
    header.gso_type = frame.gso_type;
    header.gso_size = frame.gso_size;
    header.hdr_len = frame.header_bytes;
  }
  return header;
}

}  // namespace

class Receiver::Parts {
 public:
  using Bytes = std::span<const std::byte>;
  explicit Parts(Bytes first, Bytes second = {}, Bytes third = {}) : parts_{first, second, third} {}

  uint32_t bytes() const {
    return static_cast<uint32_t>(parts_[0].size() + parts_[1].size() + parts_[2].size());
  }
  // Copies the next bytes; there are as many.
  void Take(std::span<std::byte> to) {
    while (to.size() > parts_[at_].size()) [[unlikely]] {
      const Bytes part = parts_[at_++];
      if (!part.empty()) std::memcpy(to.data(), part.data(), part.size());
      to = to.subspan(part.size());
    }
    const Bytes part = parts_[at_];
    parts_[at_] = part.subspan(to.size());
    if (!to.empty()) std::memcpy(to.data(), part.data(), to.size());
  }

 private:
  std::array<Bytes, 3> parts_;
  size_t at_ = 0;  // the part that is being copied
};

Work Receiver::Run(const ReceiveTarget& target) {
  if (!ring_.has_value()) return Work::kDone;
  for (SplitQueue* queue : target.queues) {
    if (queue != nullptr) queue->SuppressNotifications();
  }
  Work work = Work::kMore;
  for (uint32_t i = 0; i < kPassFrames; ++i) {
    const std::optional<net::Frame> frame = ring_->Next();
    if (!frame.has_value()) {
      if (ring_->Wait()) continue;
      work = Work::kDone;
      break;
    }
    const Outcome outcome = Deliver(*frame, target);
    if (outcome != Outcome::kDone) {
      work = outcome == Outcome::kBroken ? Work::kBroken : Work::kDone;
      break;
    }
    ring_->Consume();
    Note({});
  }
  if (ring_->WriterWaits()) peer_.Notify();
  return work;
}

void Receiver::Drain() {
  segmenter_.reset();
  segment_.reset();
  if (!ring_.has_value()) return;
  for (uint32_t i = 0; i < kDrainFrames; ++i) {
    if (ring_->Next().has_value()) {
      ring_->Consume();
      ++state_.counters.received_not_live;
    } else if (!ring_->Wait()) {
      break;
    }
  }
  if (ring_->WriterWaits()) peer_.Notify();
}

void Receiver::Skip() {
  if (!ring_.has_value() || !ring_->Next().has_value()) return;
  ring_->Consume();
  ++state_.counters.poisoned;
}

void Receiver::Recover(uint32_t index, SplitQueue& queue) {
  const auto last = std::bit_cast<Transfer>(state_.receiving);
  if (!ring_.has_value() || (last.what & Transfer::kQueue) != index + 1) return;
  if (ring_->position() == last.ring) {
    const bool segment = (last.what & Transfer::kSegment) != 0;
    const bool whole = !segment || (last.what & Transfer::kLast) != 0;
    if (whole && queue.position().next != last.position) {
      if (ring_->Next().has_value()) ring_->Consume();
      ++state_.counters.finished;
    } else if (segment) {
      ++state_.counters.repeated;
    }
  }
  Note({});
}

void Receiver::Note(Transfer transfer) {
  virtio::StoreRelease(state_.receiving, std::bit_cast<uint64_t>(transfer));
}

Receiver::Outcome Receiver::Drop(uint64_t& counter) const {
  ++counter;
  return Outcome::kDone;
}

Receiver::Outcome Receiver::Deliver(const net::Frame& frame, const ReceiveTarget& target) {
  if (!segmenter_.has_value() &&
      !ReceiveFilter(settings_).Passes(frame.bytes, target.mac, target.features)) {
    return Drop(state_.counters.received_filtered);
  }
  uint32_t pair = target.flows != nullptr ? target.flows->PairOf(frame.bytes) : 0;
  if (pair >= target.queues.size() || target.queues[pair] == nullptr) pair = 0;
  SplitQueue* queue = target.queues[pair];
  if (queue == nullptr) return Drop(state_.counters.received_not_live);
  const Place place{*queue, 2 * pair, (target.features & kFeatureMrgRxbuf) != 0};
  const uint64_t offloads = GuestOffloadsNow(target.features, settings_.offloads);
  const uint8_t type = frame.header.gso_type;
  if (type != FrameHeader::kGsoNone && !GuestTakesGso(type, offloads)) {
    return DeliverSegments(frame, offloads, place);
  }
  return DeliverWhole(frame, offloads, place);
}

Receiver::Outcome Receiver::DeliverWhole(const net::Frame& frame, uint64_t offloads,
                                         const Place& place) {
  const bool partial = (frame.header.flags & FrameHeader::kNeedsChecksum) != 0;
  if (frame.header.gso_type == FrameHeader::kGsoNone) {
    if (frame.bytes.size() > max_frame_) return Drop(state_.counters.received_too_long);
  } else if (!partial || frame.header.gso_size == 0) {
    return Drop(state_.counters.received_bad);
  }
  if ((offloads & kFeatureGuestCsum) != 0) {
    return Put(place, HeaderFor(frame.header), Parts(frame.bytes), 0);
  }
  if (!partial) return Put(place, {}, Parts(frame.bytes), 0);
  const size_t at = size_t{frame.header.checksum_start} + frame.header.checksum_offset;
  if (at + sizeof(uint16_t) > frame.bytes.size()) return Drop(state_.counters.received_bad);
  const std::array<std::byte, 2> checksum = net::FinalChecksum(frame.header, frame.bytes);
  return Put(place, {},
             Parts(frame.bytes.first(at), checksum, frame.bytes.subspan(at + checksum.size())), 0);
}

Receiver::Outcome Receiver::DeliverSegments(const net::Frame& frame, uint64_t offloads,
                                            const Place& place) {
  using Checksum = net::Segmenter::Checksum;
  if (!segmenter_.has_value()) {
    const auto made = net::Segmenter::Make(
        frame.header, frame.bytes,
        (offloads & kFeatureGuestCsum) != 0 ? Checksum::kLeftToReceiver : Checksum::kComplete);
    if (!made.has_value()) return Drop(state_.counters.received_bad);
    if (made->NextBytes() > max_frame_) return Drop(state_.counters.received_too_long);
    segmenter_ = *made;
  }
  for (;;) {
    if (!segment_.has_value()) segment_ = segmenter_->Next();
    if (!segment_.has_value()) break;
    const uint16_t part = Transfer::kSegment | (segmenter_->NextBytes() == 0 ? Transfer::kLast : 0);
    const Outcome outcome =
        Put(place, HeaderFor(segment_->header), Parts(segment_->head, segment_->payload), part);
    if (outcome != Outcome::kDone) return outcome;
    segment_.reset();
  }
  segmenter_.reset();
  return Outcome::kDone;
}

Receiver::Outcome Receiver::Put(const Place& place, NetHeader header, Parts parts, uint16_t part) {
  SplitQueue& queue = place.queue;
  const SplitQueue::Position start = queue.position();
  const auto give_up = [&](Outcome outcome) {
    queue.Rewind(start);
    return outcome;
  };
  uint32_t left = sizeof(NetHeader) + parts.bytes();
  for (;;) {
    virtio::ChainRecord& record = header.num_buffers == 0 ? first_ : other_;
    const SplitQueue::Fetched fetched = queue.Fetch(record);
    if (fetched == SplitQueue::Fetched::kNone) {
      if (header.num_buffers == queue.setup().size) break;  // more than all buffers there can be
      if (queue.ResumeNotifications()) continue;
      return give_up(Outcome::kNoBuffers);
    }
    if (fetched == SplitQueue::Fetched::kBroken || record.readable_segments != 0 ||
        record.unreachable != 0 || record.writable_bytes < sizeof(NetHeader)) {
      return give_up(Outcome::kBroken);
    }
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(record.writable_bytes, left));
    if (count < left && !place.mergeable) break;
    // The header comes last, when the number of buffers is known.
    const uint32_t skipped = header.num_buffers == 0 ? sizeof(NetHeader) : 0;
    if (record.writable_segments == 1) [[likely]] {
      // Checked when it was parsed: reachable.
      const auto room =
          queue.memory().Range(GuestPhys(record.segments[0].address) + skipped, count - skipped);
      if (room.has_value()) parts.Take(*room);
    } else {
      (void)queue.chain(record).VisitWritable(skipped, count - skipped,
                                              [&parts](std::span<std::byte> piece) {
                                                parts.Take(piece);
                                                return Status::kOk;
                                              });
    }
    queue.Accept();
    queue.Push(record.head, count);
    ++header.num_buffers;
    left -= count;
    if (left != 0) continue;

    (void)queue.chain(first_).CopyToWritable(0, std::as_bytes(std::span(&header, 1)));
    Note({.ring = ring_->position(),
          .position = start.next,
          .what = static_cast<uint16_t>(part | (place.index + 1))});
    queue.Publish();
    ++state_.counters.received;
    return Outcome::kDone;
  }
  return give_up(Drop(state_.counters.received_too_long));
}

}  // namespace atoll::virtio_net
