#include "guests/oracle/network.h"

#include <cstring>

namespace oracle {
namespace {

inline constexpr uint32_t kMacFeature = 1u << 5;
inline constexpr uint32_t kReceive = 0, kTransmit = 1;
inline constexpr uint16_t kEtherType = 0xb588;  // 0x88b5, of experiments, in network order
inline constexpr uint32_t kMagic = 0x4154'4f4c;
inline constexpr uint32_t kPayloadMax = 1400;
// Without an answer for so long a frame was lost, and one more goes out so that the peer sees the gap.
inline constexpr uint64_t kStall = 20'000;
inline constexpr uint64_t kRepeatLast = 5'000;
inline constexpr uint32_t kFarewells = 3;

struct [[gnu::packed]] Frame {
  uint8_t virtio_header[12];  // VIRTIO 1.2, 5.1.6: all zero but num_buffers, which nobody reads
  uint8_t destination[6], source[6];
  uint16_t type;
  uint32_t magic;
  uint32_t number;
  uint32_t expected;
  uint32_t bytes;     // of payload
  uint16_t kind;      // kLast: `number` is the count of all that were sent
  uint16_t saw_peer;  // 1: anything of it, 2: its last
  uint64_t check;     // of the fields from `magic`
  uint8_t payload[kPayloadMax];
};
inline constexpr uint32_t kHeaderBytes = offsetof(Frame, payload);

Virtqueue<NetworkOracle::kBuffers> received, sent;
alignas(64) union {
  Frame frame;
  uint8_t bytes[NetworkOracle::kBufferBytes];
} received_frames[NetworkOracle::kBuffers], sent_frames[NetworkOracle::kBuffers];

uint64_t CheckOf(const Frame& frame) {
  return Mix(Mix(uint64_t{frame.magic} << 32 | frame.number) ^
             (uint64_t{frame.expected} << 32 | frame.bytes)) ^
         (uint64_t{frame.kind} << 16 | frame.saw_peer);
}

uint64_t PayloadSeed(uint32_t number, const uint8_t* sender) {
  return Mix(uint64_t{number} << 8 | sender[4]);
}

}  // namespace

bool NetworkOracle::Start(uint32_t slot, uint32_t peer) {
  transport_ = Transport(slot);
  if (transport_.device_id() != Transport::kNetwork || !transport_.Negotiate(kMacFeature)) {
    report_.Lost("the network does not start", slot);
    return false;
  }
  for (uint32_t i = 0; i < 6; ++i) peer_[i] = own_[i] = transport_.ConfigByte(i);
  peer_[4] = static_cast<uint8_t>(peer);  // 02:61:74:6c:VM:network
  received.Attach(transport_, kReceive);
  sent.Attach(transport_, kTransmit);
  sent.WantNoInterrupts();
  for (uint32_t i = 0; i < kBuffers; ++i) {
    received.Describe(i, AddressOf(received_frames[i]), kBufferBytes,
                      decltype(received)::kDeviceWrites, 0);
    received.Offer(i);
  }
  Attach(slot, *this);
  if (!transport_.Run()) {
    report_.Lost("the network does not run", slot);
    return false;
  }
  transport_.Notify(kReceive);
  return true;
}

bool NetworkOracle::IsWindowOpen() {
  if (next_ - acknowledged_ < kWindow) return true;
  if (bare::Counter() < stalled_until_) return false;
  stalled_until_ = bare::Counter() + Ticks(kStall);
  return true;
}

void NetworkOracle::Send(uint32_t frames) {
  // What comes before the peer's driver is there is dropped by its device.
  if (!peer_saw_) {
    Put(Kind::kHello);
    return;
  }
  for (uint32_t i = 0; i < frames && IsWindowOpen() && Put(Kind::kNumbered); ++i) {
  }
}

void NetworkOracle::SendAndWait(uint32_t frames) {
  Send(frames);
  WaitFor([&] { return acknowledged_ == next_ && peer_saw_; }, kStall);
}

bool NetworkOracle::Put(Kind kind) {
  CollectSent();
  uint32_t slot = 0;
  while (slot < kBuffers && is_sent_busy_[slot]) ++slot;
  if (slot == kBuffers) return false;
  is_sent_busy_[slot] = true;
  Frame& frame = sent_frames[slot].frame;
  memset(&frame, 0, kHeaderBytes);
  memcpy(frame.destination, peer_, sizeof(peer_));
  memcpy(frame.source, own_, sizeof(own_));
  frame.type = kEtherType;
  frame.magic = kMagic;
  frame.number = next_;
  frame.expected = expected_;
  frame.bytes = kind != Kind::kNumbered ? 0
                : random_.Below(4) == 0 ? random_.Below(kPayloadMax / 8) * 8
                                        : 64;
  frame.kind = static_cast<uint16_t>(kind);
  frame.saw_peer = peer_ended_ ? 2 : saw_peer_ ? 1 : 0;
  frame.check = CheckOf(frame);
  uint64_t word = PayloadSeed(next_, own_);
  for (uint32_t at = 0; at < frame.bytes; at += 8) {
    word += 0x9e37'79b9'7f4a'7c15;
    memcpy(frame.payload + at, &word, 8);
  }
  if (kind == Kind::kNumbered) {
    if (next_++ == acknowledged_) stalled_until_ = bare::Counter() + Ticks(kStall);
  }
  sent.Describe(slot, AddressOf(frame), kHeaderBytes + frame.bytes, 0, 0);
  sent.Offer(slot);
  transport_.Notify(kTransmit);
  return true;
}

void NetworkOracle::CollectSent() {
  if (!sent.IsSane()) {
    report_.Lost("the used index of sent frames is ahead of what was offered");
    return;
  }
  while (sent.HasUsed()) {
    const auto used = sent.TakeUsed();
    if (used.id >= kBuffers || !is_sent_busy_[used.id]) {
      report_.Lost("a frame that is not under way was completed", used.id);
      continue;
    }
    is_sent_busy_[used.id] = false;
  }
}

void NetworkOracle::OnInterrupt() {
  if (!received.IsSane()) {
    report_.Lost("the used index of received frames is ahead of what was offered");
    return;
  }
  bool any = false;
  while (received.HasUsed()) {
    const auto used = received.TakeUsed();
    if (used.id >= kBuffers) {
      report_.Lost("a buffer that is not there was completed", used.id);
      continue;
    }
    Take(used.id, used.length);
    received.Offer(used.id);
    any = true;
  }
  if (any) transport_.Notify(kReceive);
}

void NetworkOracle::Take(uint32_t buffer, uint32_t bytes) {
  const Frame& frame = received_frames[buffer].frame;
  if (bytes < kHeaderBytes || frame.type != kEtherType) return;  // somebody else's
  if (follows_) {
    Answer(static_cast<Kind>(frame.kind), frame.number);
    return;
  }
  if (frame.magic != kMagic || frame.check != CheckOf(frame) ||
      bytes - kHeaderBytes != frame.bytes || memcmp(frame.source, peer_, sizeof(peer_)) != 0) {
    report_.Lost("a corrupted frame came", frame.number, bytes);
    return;
  }
  if (frame.expected - acknowledged_ <= next_ - acknowledged_) {
    if (frame.expected != acknowledged_) stalled_until_ = bare::Counter() + Ticks(kStall);
    acknowledged_ = frame.expected;
  }
  saw_peer_ = true;
  peer_saw_ = peer_saw_ || frame.saw_peer != 0;
  peer_knows_ = peer_knows_ || frame.saw_peer == 2;
  if (frame.kind == static_cast<uint16_t>(Kind::kHello)) return;
  if (frame.kind == static_cast<uint16_t>(Kind::kLast)) {
    if (!peer_ended_ && frame.number != expected_) lost_ += frame.number - expected_;
    peer_ended_ = true;
    return;
  }
  TakeNumbered(frame.number, frame.bytes, frame.payload);
}

void NetworkOracle::Answer(Kind kind, uint32_t number) {
  if (kind == Kind::kHello) next_ = acknowledged_ = expected_ = 0;
  saw_peer_ = true;
  peer_ended_ = kind == Kind::kLast;
  if (kind == Kind::kNumbered) expected_ = number + 1;
  report_.Done();
  Put(kind <= Kind::kLast ? kind : Kind::kHello);
}

void NetworkOracle::TakeNumbered(uint32_t number, uint32_t bytes, const uint8_t* payload) {
  uint64_t word = PayloadSeed(number, peer_);
  for (uint32_t at = 0; at < bytes; at += 8) {
    word += 0x9e37'79b9'7f4a'7c15;
    if (memcmp(payload + at, &word, 8) == 0) continue;
    report_.Lost("a frame with corrupted payload came", number, at);
    return;
  }
  if (peer_ended_) {
    report_.Lost("a frame came behind the last one", number);
  } else if (number == expected_) {
    ++expected_;
    report_.Done();
  } else if (number + 1 == expected_) {
    ++doubled_;
  } else if (number > expected_) {
    lost_ += number - expected_;
    expected_ = number + 1;
    report_.Done();
  } else {
    report_.Lost("an old frame came again", number, expected_);
  }
}

void NetworkOracle::Finish() {
  const uint64_t end = bare::Counter() + Ticks(patience);
  while (!follows_ && !(peer_ended_ && peer_knows_)) {
    if (bare::Counter() >= end) {
      report_.Lost("the peer does not answer", peer_ended_ ? 1 : 0, peer_knows_ ? 1 : 0);
      break;
    }
    Put(Kind::kLast);
    WaitFor([&] { return peer_ended_ && peer_knows_; }, kRepeatLast);
  }
  for (uint32_t i = 0; i < kFarewells && !follows_; ++i) Put(Kind::kLast);
  if (!transport_.is_running()) report_.Lost("the device is not running any more");
  report_.Begin();
  report_.Pair("sent", next_);
  report_.Pair("lost", lost_);
  report_.Pair("doubled", doubled_);
  report_.End();
}

}  // namespace oracle
