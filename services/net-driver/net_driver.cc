#include "services/net-driver/net_driver.h"

#include <algorithm>
#include <cstring>

#include "services/net/offload.h"
#include "services/runtime/format.h"
#include "services/runtime/statistics.h"

namespace atoll::net_driver {

using net::Frame;
using net::FrameHeader;
using net::Segmenter;

namespace {

// Frames of each direction in a round, and rounds before signals have their turn.
constexpr uint32_t kBatch = 64;
constexpr uint32_t kRounds = 4;

constexpr uint32_t kMaxIdleRestarts = 2;

// What the user sees of this instance (statistics.h).
enum Counter : size_t { kCountReceived, kCountSent, kCountFull, kCountRefused, kCountResets };

void NameCounters() {
  NameCounter(kCountReceived, "received");
  NameCounter(kCountSent, "sent");
  NameCounter(kCountFull, "dropped_full");
  NameCounter(kCountRefused, "refused");
  NameCounter(kCountResets, "resets");
}

void Copy(std::span<std::byte> to, std::span<const std::byte> from) {
  std::memcpy(to.data(), from.data(), from.size());
}

}  // namespace

void NetDriver::Start() {
  NameCounters();
  const Status status = interface_ != nullptr ? interface_->Start() : Status::kNotFound;
  ready_ = IsOk(status);
  if (status == Status::kNotFound) {
    ports_.log.Line("the machine has no network interface");
  } else if (!ready_) {
    std::array<char, 128> line;
    ports_.log.Line(Format(line, "the network interface cannot be started: ", status));
  }
  ports_.to_switch.SetDown(!ready_);
  ports_.vswitch.Notify();  // an earlier instance may have ended before it did
  Work();
}

void NetDriver::Fail() {
  if (interface_ != nullptr) interface_->Stop();
  ports_.to_switch.SetDown(true);
  ports_.vswitch.Notify();
}

void NetDriver::OnSignals(uint64_t bits) {
  if ((bits & kIrqSignal) != 0 && ready_ && !IsOk(interface_->OnInterrupt())) {
    Recover("the network interface asks for a reset");
  }
  if ((bits & kTimerSignal) != 0 && ready_ && blocked_) {
    if (ports_.counter.Ticks() >= stuck_deadline_ && !interface_->Reap()) {
      Recover("the network interface takes no frames");
    } else {
      ports_.timer.Set(stuck_deadline_);
    }
  }
  Work();
}

void NetDriver::Work() {
  if (!ready_) return;  // the switch finds a port that takes nothing
  interface_->DisableInterrupts();
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint32_t received = ReceiveFrames();
    const uint32_t sent = SendFrames();
    if (interface_->broken()) Recover("the network interface broke the rules of its queues");
    if (!ready_) return;
    ShowCounters();
    if (received + sent != 0) {
      idle_restarts_ = 0;
      NoteCompletion();
    }
    interface_->Publish();
    // Both must be asked: each takes its flag back.
    const bool frames = received != 0 && ports_.to_switch.ReaderWaits();
    const bool room = ports_.from_switch.WriterWaits();
    if (frames || room) ports_.vswitch.Notify();
    if (received < kBatch && (blocked_ || sent < kBatch) && MaySleep()) return;
  }
  ports_.timer.Set(0);
}

void NetDriver::ShowCounters() const {
  auto& shown = OwnStatistics().counters;
  shown[kCountReceived] = counters_.received;
  shown[kCountSent] = counters_.sent;
  shown[kCountFull] = counters_.full;
  shown[kCountRefused] = counters_.refused;
}

uint32_t NetDriver::ReceiveFrames() {
  uint32_t count = 0;
  for (; count < kBatch; ++count) {
    const std::span<const std::byte> frame = interface_->Receive();
    if (frame.empty()) break;
    const auto bytes = static_cast<uint32_t>(frame.size());
    const std::span<std::byte> room = ports_.to_switch.TryReserve(bytes);
    if (room.empty()) {
      ++counters_.full;
    } else {
      Copy(room, frame);
      ports_.to_switch.Publish({.bytes = bytes});
      ++counters_.received;
    }
    interface_->Release();
  }
  return count;
}

uint32_t NetDriver::SendFrames() {
  (void)interface_->Reap();
  blocked_ = false;
  for (uint32_t count = 0; count < kBatch; ++count) {
    const std::optional<Frame> frame = ports_.from_switch.Next();
    if (!frame.has_value()) return count;
    if (SendFrame(*frame) == Step::kNoRoom) {
      blocked_ = true;
      return count;
    }
    ports_.from_switch.Consume();
  }
  return kBatch;
}

bool NetDriver::TakesSegmentation(const FrameHeader& header) const {
  const NetworkInterface::Offloads& offloads = interface_->offloads();
  const bool ecn = (header.gso_type & FrameHeader::kGsoEcn) != 0;
  const auto type = static_cast<uint8_t>(header.gso_type & ~FrameHeader::kGsoEcn);
  return (type == FrameHeader::kGsoTcp4 ? offloads.tcp4 : offloads.tcp6) && (!ecn || offloads.ecn);
}

NetDriver::Step NetDriver::SendFrame(const Frame& frame) {
  // The switch may have emptied the ring in between.
  if (segmenter_position_ != ports_.from_switch.position()) segmenter_.reset();
  if (segmenter_.has_value()) return SendSegments();
  if (frame.header.gso_type == FrameHeader::kGsoNone || TakesSegmentation(frame.header)) {
    return SendWhole(frame);
  }
  auto segmenter = Segmenter::Make(frame.header, frame.bytes, Segmenter::Checksum::kComplete);
  if (!segmenter.has_value() || segmenter->NextBytes() > kMaxWireBytes) {
    ++counters_.refused;
    return Step::kDone;
  }
  segmenter_.emplace(*segmenter);
  segmenter_position_ = ports_.from_switch.position();
  return SendSegments();
}

NetDriver::Step NetDriver::SendSegments() {
  while (const uint32_t bytes = segmenter_->NextBytes()) {
    const std::span<std::byte> room = interface_->Reserve(bytes);
    if (room.empty()) return Step::kNoRoom;
    const auto segment = segmenter_->Next();
    Copy(room, segment->head);
    Copy(room.subspan(segment->head.size()), segment->payload);
    SendTo({.bytes = bytes});
  }
  segmenter_.reset();
  return Step::kDone;
}

void NetDriver::SendTo(const FrameHeader& header) {
  interface_->Send(header);
  ++counters_.sent;
  stuck_deadline_ = DeadlineTimer::kNever;
}

// A frame that the wire, or the interface, takes as it is but for its checksum.
NetDriver::Step NetDriver::SendWhole(const Frame& frame) {
  FrameHeader header = frame.header;
  if (header.gso_type == FrameHeader::kGsoNone && header.bytes > kMaxWireBytes) {
    ++counters_.refused;
    return Step::kDone;
  }
  const std::span<std::byte> room = interface_->Reserve(header.bytes);
  if (room.empty()) return Step::kNoRoom;
  Copy(room, frame.bytes);
  if (header.flags != 0 || header.gso_type != 0) {
    // What is checked has to be what is sent, and the ring may change: so the private copy goes on.
    std::array<std::byte, net::kHeadBytes> head;
    const auto checked = std::span(head).first(std::min<size_t>(room.size(), head.size()));
    Copy(checked, frame.bytes.first(checked.size()));
    const auto valid = net::ValidateOffload(header, checked);
    if (!valid.has_value()) {
      ++counters_.refused;
      return Step::kDone;
    }
    Copy(room, checked);
    header = *valid;
    if (!interface_->offloads().checksum) net::CompleteChecksum(room, header);
  }
  SendTo(header);
  return Step::kDone;
}

bool NetDriver::MaySleep() {
  if (interface_->EnableInterrupts(blocked_)) return false;
  if (blocked_) {
    // The switch need not tell of more frames before there is room for this one.
    if (stuck_deadline_ == DeadlineTimer::kNever) {
      stuck_deadline_ = ports_.counter.Ticks() + kStuckSeconds * ports_.counter.TicksPerSecond();
      ports_.timer.Set(stuck_deadline_);
    }
    return true;
  }
  return !ports_.from_switch.Wait();
}

// Frames that the interface had are lost, as on a wire.
void NetDriver::Recover(std::string_view reason) {
  Count(kCountResets);
  const bool again = ++idle_restarts_ <= kMaxIdleRestarts && IsOk(interface_->Start());
  std::array<char, 128> line;
  ports_.log.Line(Format(line, reason, again ? "; it was reset" : "; it has failed"));
  if (again) return;
  interface_->Stop();
  ready_ = false;
  ports_.to_switch.SetDown(true);
  ports_.vswitch.Notify();
}

}  // namespace atoll::net_driver
