#include "services/virtio-net/transmitter.h"

#include <bit>
#include <cstring>
#include <span>

#include "services/virtio-net/offloads.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_net {
namespace {

using net::FrameHeader;
using virtio::Chain;
using virtio::SplitQueue;
using virtio::Work;

}  // namespace

Work Transmitter::Run(uint32_t index, SplitQueue& queue, uint64_t features, FlowTable* flows) {
  Work work = Work::kMore;
  waits_ = false;
  queue.SuppressNotifications();
  for (uint32_t i = 0; i < kPassFrames; ++i) {
    const SplitQueue::Fetched fetched = queue.Fetch(record_);
    if (fetched == SplitQueue::Fetched::kNone) {
      if (queue.ResumeNotifications()) continue;
      work = Work::kDone;
      break;
    }
    const Outcome outcome = fetched == SplitQueue::Fetched::kBroken
                                ? Outcome::kBroken
                                : Send(index, queue, features, flows);
    if (outcome == Outcome::kBroken) {
      work = Work::kBroken;
      break;
    }
    if (outcome == Outcome::kNoRoom) {
      waits_ = true;  // the driver need not notify of more
      work = Work::kDone;
      break;
    }
  }
  if (ring_.has_value() && ring_->ReaderWaits()) peer_.Notify();
  return work;
}

Transmitter::Outcome Transmitter::Send(uint32_t index, SplitQueue& queue, uint64_t features,
                                       FlowTable* flows) {
  const Chain chain = queue.chain(record_);
  if (record_.writable_segments != 0) return Outcome::kBroken;
  const auto use = [&] {
    queue.Accept();
    queue.Push(record_.head, 0);
    queue.Publish();
    return Outcome::kUsed;
  };
  std::optional<FrameHeader> header = HeaderOf(chain, features);
  if (!header.has_value()) {
    ++state_.counters.sent_bad;
    return use();
  }
  if (!ring_.has_value()) {
    ++state_.counters.sent_link_down;
    return use();
  }
  const std::span<std::byte> frame = ring_->Reserve(header->bytes);
  if (frame.empty()) return Outcome::kNoRoom;
  std::byte* to = frame.data();
  // Cannot fail: the chain is reachable and long enough.
  (void)chain.VisitReadable(sizeof(NetHeader), frame.size(), [&to](std::span<std::byte> piece) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
    return Status::kOk;
  });
  if (flows != nullptr) {
    header->flow = static_cast<uint16_t>(index / 2);
    flows->Note(frame, index / 2);
  }
  // Between the two stores of `sending` a successor can tell whether the frame is out.
  virtio::StoreRelease(state_.sending,
                       std::bit_cast<uint64_t>(Transfer{.ring = ring_->position(),
                                                        .position = queue.position().next,
                                                        .what = static_cast<uint16_t>(index + 1)}));
  ring_->Publish(*header);
  ++state_.counters.sent;
  const Outcome outcome = use();
  virtio::StoreRelease(state_.sending, uint64_t{0});
  return outcome;
}

std::optional<FrameHeader> Transmitter::HeaderOf(const Chain& chain, uint64_t features) const {
  const uint64_t bytes = chain.readable_bytes() - sizeof(NetHeader);  // huge if it is shorter
  if (bytes - net::kMinFrameBytes > net::kMaxFrameBytes - net::kMinFrameBytes) return std::nullopt;
  NetHeader said;
  if (!chain.reachable() ||
      !IsOk(chain.CopyFromReadable(0, std::as_writable_bytes(std::span(&said, 1))))) {
    return std::nullopt;
  }
  FrameHeader header{.bytes = static_cast<uint32_t>(bytes)};
  if ((said.flags & FrameHeader::kNeedsChecksum) != 0) {
    const uint32_t end = uint32_t{said.csum_start} + said.csum_offset + sizeof(uint16_t);
    if ((features & kFeatureCsum) == 0 || end > bytes) return std::nullopt;
    header.flags = FrameHeader::kNeedsChecksum;
    header.checksum_start = said.csum_start;
    header.checksum_offset = said.csum_offset;
  }
  if (said.gso_type == FrameHeader::kGsoNone) {
    if (bytes > max_frame_) return std::nullopt;
    return header;
  }
  if (!HostGsoAllowed(said.gso_type, features) || header.flags == 0 || said.gso_size == 0) {
    return std::nullopt;
  }
  header.gso_type = said.gso_type;
  header.gso_size = said.gso_size;
  header.header_bytes = said.hdr_len;
  return header;
}

void Transmitter::Recover(uint32_t index, SplitQueue& queue) {
  const auto last = std::bit_cast<Transfer>(state_.sending);
  if (last.what != index + 1) return;
  const bool sent = ring_.has_value() && ring_->position() != last.ring;
  if (sent && queue.position().next == last.position &&
      queue.Fetch(record_) == SplitQueue::Fetched::kChain) {
    queue.Accept();
    queue.Push(record_.head, 0);
    queue.Publish();
    ++state_.counters.finished;
  }
  virtio::StoreRelease(state_.sending, uint64_t{0});
}

}  // namespace atoll::virtio_net
