// A link with its rings, the switch's end of them, and a host at the other end of a line that can lose bytes.
#ifndef ATOLL_SERVICES_VSOCK_DRIVER_HOST_MACHINE_H_
#define ATOLL_SERVICES_VSOCK_DRIVER_HOST_MACHINE_H_

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "services/vsock-driver/host_link.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll::vsock_driver {

using Bytes = std::vector<std::byte>;

struct Message {
  LinkHeader header;
  Bytes payload;
};

inline Bytes Encode(const LinkHeader& header, std::span<const std::byte> payload = {}) {
  FrameEncoder encoder;
  encoder.Begin(header, payload);
  Bytes bytes(2 * kMaxContent + 2);
  bytes.resize(encoder.Fill(bytes));
  return bytes;
}

inline std::vector<Message> Decode(FrameDecoder& decoder, std::span<const std::byte> bytes) {
  std::vector<Message> found;
  for (size_t taken = 0; !bytes.empty(); bytes = bytes.subspan(taken)) {
    if (!decoder.Take(bytes, taken)) continue;
    found.push_back({decoder.header(), {decoder.payload().begin(), decoder.payload().end()}});
  }
  return found;
}

// A packet that can be told from all others.
inline Bytes Packet(uint32_t number, uint32_t payload = 20) {
  Bytes bytes(sizeof(vsock::PacketHeader) + payload);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7 + number);
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}
inline uint32_t NumberOf(std::span<const std::byte> packet) {
  uint32_t number;
  std::memcpy(&number, packet.data(), sizeof(number));
  return number;
}

// As scripts/vsock_link.py.
class FakeHost {
 public:
  void Send(Bytes packet) { waiting_.push_back(std::move(packet)); }

  void Hear(std::span<const std::byte> bytes) {
    for (const Message& message : Decode(decoder_, bytes)) On(message);
  }
  // What it has to say.
  Bytes Speak() {
    for (; session != 0 && sent_ < waiting_.size(); ++sent_) {
      const auto number = first_ + static_cast<uint32_t>(sent_);
      Say({.kind = Kind::kData,
           .session = session,
           .sequence = number,
           .following = number + 1,
           .acknowledged = expected},
          waiting_[sent_]);
      ack_due_ = false;
    }
    if (ack_due_) Say({.kind = Kind::kAck, .session = session, .acknowledged = expected});
    ack_due_ = false;
    return std::move(out);
  }
  void Say(LinkHeader header, std::span<const std::byte> payload = {}) {
    header.bytes = static_cast<uint32_t>(payload.size());
    const Bytes bytes = Encode(header, payload);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }

  std::vector<Bytes> received;
  std::vector<Message> heard;
  uint32_t session = 0;
  uint32_t sessions = 0;
  uint32_t expected = 0;
  Bytes out;

 private:
  void On(const Message& message) {
    heard.push_back(message);
    const LinkHeader& h = message.header;
    if (h.kind == Kind::kHello) return OnHello(h, message.payload);
    if (h.session != session || session == 0) return Say({.kind = Kind::kAsk});
    Acknowledged(h.acknowledged);
    if (h.kind != Kind::kData) return;
    if (h.sequence == expected) {
      expected = h.following;
      received.push_back(message.payload);
      ack_due_ = true;
    } else if (expected - h.sequence - 1 < vsock::kRingBytes) {
      ack_due_ = true;
    } else {
      Say({.kind = Kind::kAsk});
    }
  }
  void OnHello(const LinkHeader& h, const Bytes& nonce) {
    const bool fits = h.session != 0 && h.session == session && h.following == epoch_ &&
                      h.acknowledged - first_ <= waiting_.size() &&
                      expected - h.sequence <= vsock::kRingBytes;
    if (fits) {
      Acknowledged(h.acknowledged);
    } else if (nonce != nonce_) {
      session = ++last_session_;
      ++sessions;
      expected = h.sequence;
      epoch_ = h.following;
      first_ = 0;
      waiting_.clear();
      ack_due_ = false;
    }
    sent_ = 0;
    nonce_ = nonce;
    Say({.kind = Kind::kWelcome, .session = session, .sequence = first_, .acknowledged = expected},
        nonce);
  }
  void Acknowledged(uint32_t number) {
    for (; first_ != number && !waiting_.empty(); ++first_) {
      waiting_.pop_front();
      if (sent_ != 0) --sent_;
    }
  }

  static inline uint32_t last_session_ = 1000;
  FrameDecoder decoder_;
  uint32_t epoch_ = 0;
  Bytes nonce_;
  uint32_t first_ = 0;
  std::deque<Bytes> waiting_;
  size_t sent_ = 0;
  bool ack_due_ = false;
};

class HostMachine {
 public:
  HostMachine() { Start(); }

  // An instance of the driver.
  void Start() {
    ++counter.ticks;
    link = std::make_unique<HostLink>(HostLink::Ports{
        net::FrameWriter::Attach(memory->span().first(vsock::kRingBytes), vsock::kMaxPacket)
            .value(),
        net::FrameReader::Attach(memory->span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
            .value(),
        counter, *journal});
  }
  // The switch, as after a restore of memory.
  void Attach() {
    to_link.emplace(
        net::FrameWriter::Attach(memory->span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
    from_link.emplace(
        net::FrameReader::Attach(memory->span().first(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
  }
  bool Put(std::span<const std::byte> packet) {
    const auto room = to_link->Reserve(static_cast<uint32_t>(packet.size()));
    if (room.empty()) return false;
    std::ranges::copy(packet, room.begin());
    to_link->Publish({.bytes = static_cast<uint32_t>(packet.size()),
                      .flow = vsock::EpochMark(to_link->epoch())});
    return true;
  }
  std::optional<Bytes> Take() {
    const auto frame = from_link->Next();
    if (!frame.has_value()) return std::nullopt;
    Bytes bytes(frame->bytes.begin(), frame->bytes.end());
    mark = frame->header.flow;
    from_link->Consume();
    return bytes;
  }

  // Bytes from the link to the line, up to `most`.
  Bytes Spoken(size_t most = SIZE_MAX) {
    Bytes all;
    std::array<std::byte, 4096> room;
    while (all.size() < most) {
      const size_t count =
          link->Send(std::span(room).first(std::min(most - all.size(), room.size())));
      if (count == 0) break;
      all.insert(all.end(), room.begin(), room.begin() + static_cast<long>(count));
    }
    return all;
  }
  // Both talk until neither has anything to say.
  void Settle() {
    for (int i = 0; i < 200; ++i) {
      const Bytes out = Spoken();
      host.Hear(out);
      const Bytes in = host.Speak();
      const size_t taken = link->Receive(in);
      if (taken < in.size()) {
        blocked.assign(in.begin() + static_cast<long>(taken), in.end());
        return;
      }
      if (out.empty() && in.empty()) return;
    }
    settled = false;
  }
  void Open() {
    link->Open();
    Settle();
  }
  // One packet each way.
  bool Works() {
    const Bytes to = Packet(++number_), from = Packet(++number_);
    const size_t before = host.received.size();
    host.Send(from);
    if (!Put(to)) return false;
    Settle();
    return host.received.size() == before + 1 && host.received.back() == to && Take() == from &&
           !Take();
  }
  void Pass(uint64_t seconds) {
    counter.ticks += seconds * FakeCounter::kFrequency;
    link->OnTime();
  }

  std::unique_ptr<AlignedMemory<vsock::kPortBytes>> memory =
      std::make_unique<AlignedMemory<vsock::kPortBytes>>();
  std::unique_ptr<LinkJournal> journal = std::make_unique<LinkJournal>();
  FakeCounter counter;
  std::unique_ptr<HostLink> link;
  FakeHost host;
  std::optional<net::FrameWriter> to_link =
      net::FrameWriter::Attach(memory->span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
          .value();
  std::optional<net::FrameReader> from_link =
      net::FrameReader::Attach(memory->span().first(vsock::kRingBytes), vsock::kMaxPacket).value();
  uint16_t mark = 0;
  bool settled = true;
  Bytes blocked;

 private:
  uint32_t number_ = 100'000;
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_SERVICES_VSOCK_DRIVER_HOST_MACHINE_H_
