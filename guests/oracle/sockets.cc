#include "guests/oracle/sockets.h"

#include <algorithm>

#include "guests/oracle/buffers.h"

namespace oracle {
namespace {

inline constexpr uint32_t kReceive = 0, kTransmit = 1, kEvents = 2;
inline constexpr uint32_t kBuffers = 16, kPacketBytes = 1024;
inline constexpr uint16_t kStream = 1;         // type
inline constexpr uint32_t kShutBothWays = 3;   // flags of SHUTDOWN
inline constexpr uint32_t kAlloc = 8192;       // that the peer may have under way
inline constexpr uint64_t kAskAgain = 20'000;  // nobody was there
inline constexpr uint64_t kHostCid = 2, kFirstCid = 3, kSecondCid = 4;

ReceiveBuffers<kBuffers, kPacketBytes> received;
SendBuffers<kBuffers, kPacketBytes> sent;
ReceiveBuffers<4, 8> events;
uint8_t kept[kAlloc];  // of a follower: a ring of what goes back

}  // namespace

bool SocketOracle::Start(uint32_t slot, bool echoed) {
  transport_ = Transport(slot);
  if (transport_.device_id() != Transport::kSocket || !transport_.Negotiate(0)) {
    report_.Lost("the socket device does not start", slot);
    return false;
  }
  own_ = transport_.Read(0x100);
  peer_ = own_ == kFirstCid ? kSecondCid : kFirstCid;
  way_ = by_host_ ? kHostCid : peer_;
  stream_.Start(own_, echoed ? own_ : peer_);
  received.Attach(transport_, kReceive);
  sent.Attach(transport_, kTransmit);
  events.Attach(transport_, kEvents);
  Attach(slot, *this);
  if (!transport_.Run()) {
    report_.Lost("the socket device does not run", slot);
    return false;
  }
  received.Notify(transport_);
  events.Notify(transport_);
  if (follows_ || Connect()) return true;
  report_.Lost(is_refused_ ? "a connection is refused" : "there never was a connection");
  return false;
}

bool SocketOracle::Connect() {
  const uint64_t end = bare::Counter() + Ticks(patience);
  if (own_ > peer_) return WaitFor([&] { return is_open_; });
  while (!is_open_ && bare::Counter() < end) {
    is_refused_ = false;
    Say(Op::kRequest);
    WaitFor([&] { return is_open_ || is_refused_; });
    if (!is_open_) WaitFor([] { return false; }, kAskAgain);
  }
  return is_open_;
}

// Null: the device takes nothing.
uint8_t* SocketOracle::Buffer() {
  uint8_t* buffer = nullptr;
  const uint64_t end = bare::Counter() + Ticks(patience);
  while ((buffer = sent.Free(report_)) == nullptr && bare::Counter() < end) {
  }
  if (buffer == nullptr) report_.Lost("packets are not taken");
  return buffer;
}

void SocketOracle::Put(uint8_t* buffer, Op op, uint32_t bytes) {
  told_bytes_ = taken_bytes_;
  const Packet packet{.src_cid = own_,
                      .dst_cid = way_,
                      .src_port = kPort,
                      .dst_port = way_port_,
                      .bytes = bytes,
                      .type = kStream,
                      .op = op,
                      .flags = op == Op::kShutdown ? kShutBothWays : 0,
                      .buf_alloc = kAlloc,
                      .fwd_cnt = taken_bytes_};
  memcpy(buffer, &packet, sizeof(packet));
  sent.Send(transport_, sizeof(packet) + bytes);
}

void SocketOracle::Say(Op op) {
  if (uint8_t* const buffer = Buffer()) Put(buffer, op, 0);
}

void SocketOracle::OnInterrupt() {
  received.Take(transport_, report_,
                [this](const uint8_t* bytes, uint32_t count) { Take(bytes, count); });
  events.Take(transport_, report_,
              [this](const uint8_t*, uint32_t) { report_.Lost("all connections were reset"); });
  if (follows_) return SendBack();
  if (is_open_ && taken_bytes_ - told_bytes_ > kAlloc / 2) Say(Op::kCreditUpdate);
}

void SocketOracle::Take(const uint8_t* bytes, uint32_t count) {
  Packet packet;
  if (count < sizeof(packet)) return report_.Lost("a packet without a header", count);
  memcpy(&packet, bytes, sizeof(packet));
  if (follows_) return AnswerAsFollower(packet, bytes + sizeof(packet), count - sizeof(packet));
  if (by_host_ && packet.op == Op::kRequest) way_port_ = packet.src_port;  // the host's is any
  if (packet.src_cid != way_ || packet.dst_cid != own_ || packet.src_port != way_port_ ||
      packet.dst_port != kPort || packet.type != kStream ||
      packet.bytes != count - sizeof(packet)) {
    return report_.Lost("a packet of somebody else", packet.src_cid, packet.src_port, packet.bytes);
  }
  if (packet.op != Op::kReset) {
    peer_alloc_ = packet.buf_alloc;
    peer_taken_ = packet.fwd_cnt;
  }
  Answer(packet);
  if (packet.op != Op::kData) return;
  stream_.Take(bytes + sizeof(packet), packet.bytes);
  taken_bytes_ += packet.bytes;
  if (taken_bytes_ - told_bytes_ > kAlloc) report_.Lost("more came than there is room for");
}

// Whatever the peer sends, be it more than it has credit for: what makes no sense ends the connection.
void SocketOracle::AnswerAsFollower(const Packet& packet, const uint8_t* payload, uint32_t came) {
  if (packet.src_cid != peer_ || packet.src_port != kPort || packet.dst_port != kPort) return;
  peer_alloc_ = packet.buf_alloc;
  peer_taken_ = packet.fwd_cnt;
  switch (packet.op) {
    case Op::kRequest:
      is_open_ = true;
      sent_bytes_ = taken_bytes_ = told_bytes_ = came_bytes_ = 0;
      return Say(Op::kResponse);
    case Op::kReset: is_open_ = false; return;
    case Op::kData: {
      const uint32_t room = kAlloc - (came_bytes_ - taken_bytes_);
      if (!is_open_ || packet.bytes != came || came > room) break;
      for (uint32_t i = 0; i < came; ++i) kept[came_bytes_++ % kAlloc] = payload[i];
      return;
    }
    case Op::kCreditRequest: return Say(Op::kCreditUpdate);
    case Op::kCreditUpdate: return;
    default: break;
  }
  is_open_ = false;
  Say(Op::kReset);
}

void SocketOracle::SendBack() {
  while (is_open_) {
    const uint32_t bytes =
        std::min({came_bytes_ - sent_bytes_, Credit(), kPacketBytes - uint32_t{sizeof(Packet)}});
    uint8_t* const buffer = bytes != 0 ? sent.Free(report_) : nullptr;
    if (buffer == nullptr) return;
    for (uint32_t i = 0; i < bytes; ++i) {
      buffer[sizeof(Packet) + i] = kept[(sent_bytes_ + i) % kAlloc];
    }
    sent_bytes_ += bytes;
    taken_bytes_ = sent_bytes_;
    Put(buffer, Op::kData, bytes);
    report_.Done();
  }
}

void SocketOracle::Answer(const Packet& packet) {
  const bool asks = own_ < peer_;
  switch (packet.op) {
    case Op::kRequest:
      if (asks || is_open_) return report_.Lost("a second request for a connection");
      is_open_ = true;
      return Say(Op::kResponse);
    case Op::kResponse:
      if (!asks || is_open_) report_.Lost("a second answer");
      is_open_ = true;
      return;
    case Op::kReset:
      if (is_open_ && !stream_.peer_ended()) report_.Lost("the connection broke", stream_.taken());
      is_over_ = is_open_;
      is_refused_ = true;
      return;
    case Op::kShutdown:
      if (!stream_.peer_ended()) report_.Lost("the connection was shut down", stream_.taken());
      return Say(Op::kReset);
    case Op::kCreditRequest: return Say(Op::kCreditUpdate);
    default: return;
  }
}

bool SocketOracle::SendBytes(uint32_t bytes) {
  if (Credit() < bytes + Stream::kEndBytes) return false;
  uint8_t* const buffer = sent.Free(report_);
  if (buffer == nullptr) return false;
  stream_.Give(buffer + sizeof(Packet), bytes);
  sent_bytes_ += bytes;
  Put(buffer, Op::kData, bytes);
  return true;
}

bool SocketOracle::SendEnd(Stream::Kind kind) {
  uint8_t* const buffer = Buffer();
  if (buffer == nullptr) return false;
  const uint32_t bytes = stream_.GiveEnd(buffer + sizeof(Packet), kind);
  sent_bytes_ += bytes;
  Put(buffer, Op::kData, bytes);
  return true;
}

void SocketOracle::Send(uint32_t packets) {
  if (follows_) return SendBack();
  for (uint32_t i = 0; i < packets && SendBytes(1 + random_.Below(kPacketBytes - sizeof(Packet)));
       ++i) {
  }
}

void SocketOracle::SendAndWait() {
  const uint64_t wanted = stream_.taken() + 1;
  const bool came = WaitFor([&] { return Credit() >= Stream::kRecordBytes + Stream::kEndBytes; }) &&
                    SendBytes(Stream::kRecordBytes) &&
                    WaitFor([&] { return stream_.taken() >= wanted || stream_.peer_ended(); });
  if (!came) report_.Lost("a record did not come", wanted, Credit());
}

void SocketOracle::Finish() {
  if (!follows_) EndStream();
  if (!transport_.is_running()) report_.Lost("the socket device is not running any more");
  report_.Begin();
  report_.Pair("sent", stream_.given());
  report_.End();
}

void SocketOracle::EndStream() {
  const auto finish = [this](Stream::Kind kind, auto is_there) {
    const bool done = WaitFor([&] { return Credit() >= Stream::kEndBytes; }) && SendEnd(kind) &&
                      WaitFor([&] { return is_there() || stream_.is_broken() || is_over_; });
    if (!done) {
      report_.Lost("the stream does not end: given, taken, credit", stream_.given(),
                   stream_.taken(), Credit());
    }
    return done;
  };
  if (finish(Stream::Kind::kLast, [this] { return stream_.peer_ended(); }) &&
      finish(Stream::Kind::kKnows, [this] { return stream_.peer_knows(); }) && own_ < peer_) {
    Say(Op::kShutdown);
  }
  // The answer to it is RST; the peer waits for the question.
  if (!WaitFor([&] { return is_over_ || own_ > peer_; })) report_.Lost("nobody answers SHUTDOWN");
  WaitFor([&] { return is_over_; }, kAskAgain);
}

}  // namespace oracle
