// A virtio socket device (VIRTIO 1.2, 5.10) between a guest's queues and one port of the vsock switch.
//
// It moves packets. Connections are the guests' and, for when one of them is gone, the switch's (vsock-switch). A packet
// is copied once each way; a full ring leaves chains in their queue, and a packet without a buffer stays in its ring.
// What comes is cut to the driver's buffers, as 5.10.6.4 lets it. Nothing is lost or doubled by a death: Transfer.
#ifndef ATOLL_SERVICES_VIRTIO_VSOCK_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_VSOCK_DEVICE_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "services/net/frame_ring.h"
#include "services/runtime/check_word.h"
#include "services/runtime/ports.h"
#include "services/runtime/statistics.h"
#include "services/virtio-vsock/state.h"
#include "services/virtio/chain.h"
#include "services/virtio/device_model.h"
#include "services/virtio/split_queue.h"
#include "services/vsock/packet.h"

namespace atoll::virtio_vsock {

inline constexpr uint32_t kDeviceId = 19;
inline constexpr uint32_t kReceiveQueue = 0;
inline constexpr uint32_t kTransmitQueue = 1;
inline constexpr uint32_t kEventQueue = 2;
inline constexpr std::array<uint32_t, kQueues> kQueueSizes = {256, 256, 16};
inline constexpr uint32_t kTransportReset = 0;  // 5.10.6.7, the one event that there is

// Bit of the service's signal: the switch put packets into the ring or made room.
inline constexpr uint32_t kSwitchBit = 62;
inline constexpr uint64_t kSwitchSignal = uint64_t{1} << kSwitchBit;

class VsockDevice final : public virtio::DeviceModel {
 public:
  // port: the two rings of a port, towards the switch and from it. Port, peer (the switch) and journal outlive the
  // device.
  VsockDevice(VsockJournal& journal, uint64_t cid, std::span<std::byte> port, Notifier& peer)
      : state_(journal.device), cid_(cid), port_(port), peer_(peer) {
    Attach();
    check_ = CheckOfSettled();
    size_t index = 0;
    for (const char* name : {"sent", "received", "refused", "dropped", "events", "finished"}) {
      NameCounter(index++, name);
    }
    ShowCounters();
  }

  virtio::Description Describe() const override {
    return {.device_id = kDeviceId,
            .features =
                virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx,
            .queue_sizes = kQueueSizes,
            .format = VsockState::kFormat};
  }
  std::span<const std::byte> Config() const override { return std::as_bytes(std::span(&cid_, 1)); }

  virtio::Work ProcessQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t) override {
    const virtio::Work work = index == kReceiveQueue    ? Receive(queue)
                              : index == kTransmitQueue ? Transmit(queue)
                                                        : SendEvent(queue);
    ShowCounters();
    return work;
  }

  bool RecoverQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t, bool) override {
    if (index == kReceiveQueue) RecoverReceiving(queue);
    if (index == kTransmitQueue) RecoverSending(queue);
    return true;
  }

  // Two instances died of it. A stream cannot go on without a piece of it, so all connections end.
  bool SkipNext(uint32_t index, virtio::SplitQueue& queue) override {
    if (index == kReceiveQueue) {
      if (from_switch_.has_value() && from_switch_->Next().has_value()) from_switch_->Consume();
    } else {
      queue.Skip();
    }
    ++state_.counters.dropped;
    virtio::StoreRelease(state_.event_owed, uint64_t{1});
    if (to_switch_.has_value()) to_switch_->StartEpoch();
    peer_.Notify();
    return true;
  }

  // Peers learn it from their switch, the guest by the event.
  void SetFailing(bool until_reset) override {
    failing_ = true;
    fails_ever_ = fails_ever_ || !until_reset;
    check_ = CheckOfSettled();
    virtio::StoreRelease(state_.event_owed, uint64_t{1});
    Attach();
    peer_.Notify();
  }

  // There may be packets, room, or an event to be told. Which of them is not kept: what is forgotten would wait for ever.
  virtio::PeerWork OnPeerSignals(uint64_t bits) override {
    if ((bits & kSwitchSignal) == 0) return {};
    NoteLostConnections();
    return {.queues = ~uint64_t{0}};
  }

  bool IsIntact() const override {
    const bool attached = !failing_ && port_.size() >= vsock::kPortBytes;
    return CheckOfSettled() == check_ && to_switch_.has_value() == attached &&
           from_switch_.has_value() == attached &&
           (!attached ||
            (to_switch_->IsIntact(port_.first(vsock::kRingBytes), vsock::kMaxPacket) &&
             from_switch_->IsIntact(port_.subspan(vsock::kRingBytes, vsock::kRingBytes),
                                    vsock::kMaxPacket)));
  }

  void Reset() override {
    state_.sending = 0;
    state_.receiving = 0;
    state_.progress = 0;
    state_.event_owed = 0;
    failing_ = fails_ever_;
    check_ = CheckOfSettled();
    Attach();
    if (to_switch_.has_value()) {
      to_switch_->SetDown(true);  // until a driver gives buffers
      to_switch_->StartEpoch();   // what was sent counts no more, and peers are told so
    }
    if (from_switch_.has_value()) {
      state_.switch_epoch = WithComplement(from_switch_->writer_epoch());
    }
    peer_.Notify();
  }

  const Counters& counters() const { return state_.counters; }

 private:
  // What one call does at most, before other events have their turn.
  static constexpr uint32_t kPassPackets = 128;

  enum class Outcome {
    kDone,
    kWaits,   // for room in the ring, or for a buffer
    kBroken,  // the driver broke a rule
  };

  // Of what changes with the device's whole state at most.
  uint32_t CheckOfSettled() const {
    CheckWord check((failing_ ? 1u : 0u) + (fails_ever_ ? 2u : 0u));
    check.Add(cid_);
    check.Add(reinterpret_cast<uintptr_t>(port_.data()));
    check.Add(port_.size());
    return check.value();
  }

  void Attach() {
    if (failing_) {
      if (to_switch_.has_value()) to_switch_->SetDown(true);
      to_switch_.reset();
      from_switch_.reset();
      return;
    }
    if (to_switch_.has_value() || port_.size() < vsock::kPortBytes) return;
    const auto to = net::FrameWriter::Attach(port_.first(vsock::kRingBytes), vsock::kMaxPacket);
    const auto from = net::FrameReader::Attach(port_.subspan(vsock::kRingBytes, vsock::kRingBytes),
                                               vsock::kMaxPacket);
    if (!to.has_value() || !from.has_value()) return;
    to_switch_ = *to;
    from_switch_ = *from;
  }

  // The switch had to end connections of this guest, which took no packets, or all, since it is given up.
  void NoteLostConnections() {
    if (!from_switch_.has_value()) return;
    const uint64_t epoch = WithComplement(from_switch_->writer_epoch());
    if (state_.switch_epoch == epoch) return;
    virtio::StoreRelease(state_.event_owed, uint64_t{1});
    virtio::StoreRelease(state_.switch_epoch, epoch);
  }

  // ---- from the driver (5.10.6.4)
  virtio::Work Transmit(virtio::SplitQueue& queue) {
    using Fetched = virtio::SplitQueue::Fetched;
    virtio::Work work = virtio::Work::kMore;
    queue.SuppressNotifications();
    for (uint32_t i = 0; i < kPassPackets; ++i) {
      const Fetched fetched = queue.Fetch(record_);
      if (fetched == Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        work = virtio::Work::kDone;
        break;
      }
      const Outcome outcome = fetched == Fetched::kBroken ? Outcome::kBroken : Send(queue);
      if (outcome == Outcome::kDone) continue;
      // What waits for room comes again after the switch's signal; the driver need not notify of more.
      work = outcome == Outcome::kWaits ? virtio::Work::kDone : virtio::Work::kBroken;
      break;
    }
    if (to_switch_.has_value() && to_switch_->ReaderWaits()) peer_.Notify();
    return work;
  }

  Outcome Send(virtio::SplitQueue& queue) {
    const virtio::Chain chain = queue.chain(record_);
    if (record_.writable_segments != 0) return Outcome::kBroken;
    vsock::PacketHeader header;
    const bool whole = chain.reachable() && IsOk(chain.CopyFromReadable(
                                                0, std::as_writable_bytes(std::span(&header, 1))));
    if (!whole || header.src_cid != cid_ || !to_switch_.has_value() ||
        from_switch_->WriterIsDown()) {
      ++state_.counters.dropped;
      Use(queue);
      return Outcome::kDone;
    }
    // `len` is one bound of what is read, the chain's end the other.
    const bool sound = IsSound(header) && (header.dst_cid >> 32) == 0 &&
                       header.len <= chain.readable_bytes() - sizeof(header);
    const uint32_t payload = sound ? header.len : 0;
    const auto bytes = static_cast<uint32_t>(sizeof(header) + payload);
    const std::span<std::byte> room = to_switch_->Reserve(bytes);
    if (room.empty()) return Outcome::kWaits;
    std::memcpy(room.data(), &header, sizeof(header));
    std::byte* to = room.data() + sizeof(header);
    // Cannot fail: the chain is reachable and long enough.
    (void)chain.VisitReadable(sizeof(header), payload, [&to](std::span<std::byte> piece) {
      std::memcpy(to, piece.data(), piece.size());
      to += piece.size();
      return Status::kOk;
    });
    Note(state_.sending,
         {.ring = RingMark(to_switch_->position()), .position = queue.position().next, .valid = 1});
    to_switch_->Publish({.bytes = bytes,
                         .flags = sound ? uint8_t{0} : vsock::kRefuse,
                         .flow = vsock::EpochMark(to_switch_->epoch())});
    ++(sound ? state_.counters.sent : state_.counters.refused);
    Use(queue);
    Note(state_.sending, {});
    return Outcome::kDone;
  }

  void Use(virtio::SplitQueue& queue) {
    queue.Accept();
    queue.Push(record_.head, 0);
    queue.Publish();
  }

  void RecoverSending(virtio::SplitQueue& queue) {
    const auto last = std::bit_cast<Transfer>(state_.sending);
    const bool sent =
        last.valid != 0 && to_switch_.has_value() && RingMark(to_switch_->position()) != last.ring;
    if (sent && queue.position().next == last.position &&
        queue.Fetch(record_) == virtio::SplitQueue::Fetched::kChain) {
      Use(queue);
      ++state_.counters.finished;
    }
    Note(state_.sending, {});
  }

  // ---- to the driver
  virtio::Work Receive(virtio::SplitQueue& queue) {
    if (!from_switch_.has_value()) return virtio::Work::kDone;
    if (to_switch_->IsDown()) {
      from_switch_->DropAll();  // was for the driver before
      to_switch_->SetDown(false);
      peer_.Notify();
    }
    NoteLostConnections();
    virtio::Work work = virtio::Work::kMore;
    queue.SuppressNotifications();
    for (uint32_t i = 0; i < kPassPackets; ++i) {
      const std::optional<net::Frame> frame = from_switch_->Next();
      if (!frame.has_value()) {
        if (from_switch_->Wait()) continue;
        work = virtio::Work::kDone;
        break;
      }
      const Outcome outcome = Deliver(queue, *frame);
      if (outcome == Outcome::kDone) continue;
      work = outcome == Outcome::kWaits ? virtio::Work::kDone : virtio::Work::kBroken;
      break;
    }
    if (from_switch_->WriterWaits()) peer_.Notify();
    return work;
  }

  // The packet, or as much of it as the next buffer holds.
  Outcome Deliver(virtio::SplitQueue& queue, const net::Frame& frame) {
    using Fetched = virtio::SplitQueue::Fetched;
    std::optional<vsock::PacketHeader> header = vsock::HeaderOf(frame);
    if (!header.has_value() || !IsSound(*header) || header->dst_cid != cid_ ||
        header->len != frame.bytes.size() - sizeof(*header)) {
      ++state_.counters.dropped;
      from_switch_->Consume();
      return Outcome::kDone;
    }
    const uint32_t done = Delivered(header->len);
    Fetched fetched;
    while ((fetched = queue.Fetch(record_)) == Fetched::kNone) {
      if (!queue.ResumeNotifications()) return Outcome::kWaits;
    }
    const uint32_t least = sizeof(*header) + (header->len != 0 ? 1 : 0);
    if (fetched == Fetched::kBroken || record_.readable_segments != 0 || record_.unreachable != 0 ||
        record_.writable_bytes < least) {
      return Outcome::kBroken;
    }
    const auto count = static_cast<uint32_t>(
        std::min<uint64_t>(header->len - done, record_.writable_bytes - sizeof(*header)));
    const bool last = done + count == header->len;
    header->len = count;
    const virtio::Chain chain = queue.chain(record_);
    // Neither can fail: the chain is reachable and long enough.
    (void)chain.CopyToWritable(0, std::as_bytes(std::span(&*header, 1)));
    (void)chain.CopyToWritable(sizeof(*header), frame.bytes.subspan(sizeof(*header) + done, count));
    Note(state_.receiving, {.ring = RingMark(from_switch_->position()),
                            .position = queue.position().next,
                            .end = done + count,
                            .last = last ? 1u : 0u,
                            .valid = 1});
    queue.Accept();
    queue.Push(record_.head, static_cast<uint32_t>(sizeof(*header)) + count);
    queue.Publish();
    if (last) {
      from_switch_->Consume();
      if (done != 0) SetDelivered(0);  // the ring comes round to this index again
      ++state_.counters.received;
    } else {
      SetDelivered(done + count);
    }
    Note(state_.receiving, {});
    return Outcome::kDone;
  }

  void RecoverReceiving(virtio::SplitQueue& queue) {
    const auto last = std::bit_cast<Transfer>(state_.receiving);
    if (last.valid != 0 && from_switch_.has_value() &&
        RingMark(from_switch_->position()) == last.ring && queue.position().next != last.position) {
      if (last.last != 0) {
        if (from_switch_->Next().has_value()) from_switch_->Consume();
      } else {
        SetDelivered(last.end);
      }
      ++state_.counters.finished;
    }
    const auto progress = std::bit_cast<Progress>(state_.progress);
    if (from_switch_.has_value() && progress.ring != RingMark(from_switch_->position())) {
      SetDelivered(0);
    }
    Note(state_.receiving, {});
  }

  // Of the packet at the front of the ring, whose payload has so many bytes.
  uint32_t Delivered(uint32_t payload) const {
    const auto progress = std::bit_cast<Progress>(state_.progress);
    const bool good = progress.WithCheck().check == progress.check &&
                      progress.ring == RingMark(from_switch_->position()) &&
                      progress.delivered < payload;
    return good ? progress.delivered : 0;
  }
  void SetDelivered(uint32_t bytes) {
    const Progress progress{.ring = RingMark(from_switch_->position()), .delivered = bytes};
    virtio::StoreRelease(state_.progress, std::bit_cast<uint64_t>(progress.WithCheck()));
  }

  // ---- events (5.10.6.7)
  virtio::Work SendEvent(virtio::SplitQueue& queue) {
    using Fetched = virtio::SplitQueue::Fetched;
    NoteLostConnections();
    if (state_.event_owed == 0) return virtio::Work::kDone;
    const uint32_t event = kTransportReset;
    Fetched fetched;
    while ((fetched = queue.Fetch(record_)) == Fetched::kNone) {
      if (!queue.ResumeNotifications()) return virtio::Work::kDone;
    }
    if (fetched == Fetched::kBroken || record_.readable_segments != 0 || record_.unreachable != 0 ||
        record_.writable_bytes < sizeof(event)) {
      return virtio::Work::kBroken;
    }
    (void)queue.chain(record_).CopyToWritable(0, std::as_bytes(std::span(&event, 1)));
    queue.Accept();
    queue.Push(record_.head, sizeof(event));
    queue.Publish();
    ++state_.counters.events;
    virtio::StoreRelease(state_.event_owed, uint64_t{0});
    return virtio::Work::kDone;
  }

  static void Note(uint64_t& where, Transfer transfer) {
    virtio::StoreRelease(where, std::bit_cast<uint64_t>(transfer));
  }

  void ShowCounters() const {
    const Counters& all = state_.counters;
    auto& shown = OwnStatistics().counters;
    const uint64_t values[] = {all.sent,    all.received, all.refused,
                               all.dropped, all.events,   all.finished};
    std::ranges::copy(values, shown.begin());
  }

  VsockState& state_;
  const uint64_t cid_;  // the whole configuration space (5.10.4)
  const std::span<std::byte> port_;
  Notifier& peer_;
  std::optional<net::FrameWriter> to_switch_;
  std::optional<net::FrameReader> from_switch_;
  uint32_t check_ = 0;
  virtio::ChainRecord record_;  // of the chain in hand
  bool failing_ = false;        // there is no switch, ...
  bool fails_ever_ = false;     // ... after a reset either
};

}  // namespace atoll::virtio_vsock

#endif  // ATOLL_SERVICES_VIRTIO_VSOCK_DEVICE_H_
