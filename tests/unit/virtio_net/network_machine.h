// A guest with a network device, and the switch's end of its port.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_NET_NETWORK_MACHINE_H_
#define ATOLL_TESTS_UNIT_VIRTIO_NET_NETWORK_MACHINE_H_

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "services/net/frame_ring.h"
#include "services/virtio-net/net_device.h"
#include "tests/unit/net/packets.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio_net {

using net::Bytes;
using net::FrameHeader;
using virtio::Buffer;

inline constexpr Mac kMac = 0x5242'3222'1202;  // 02:12:22:32:42:52, as in packets.h
inline constexpr uint64_t kBase = virtio::kFeatureVersion1;
inline constexpr uint64_t kAllFeatures =
    kBase | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx | kFeatureCsum |
    kFeatureGuestCsum | kFeatureCtrlGuestOffloads | kFeatureMtu | kFeatureMac | kFeatureGuestTso4 |
    kFeatureGuestTso6 | kFeatureGuestEcn | kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn |
    kFeatureMrgRxbuf | kFeatureStatus | kFeatureCtrlVq | kFeatureCtrlRx | kFeatureCtrlVlan |
    kFeatureCtrlRxExtra | kFeatureCtrlMacAddr;
inline constexpr NetSettings kSettings = {.mac = kMac, .mtu = 1500, .pairs = 1};

// The switch's end of a port: what the device sent, and what is sent to it.
class Wire {
 public:
  class Signals final : public Notifier {
   public:
    void Notify() override { ++count; }
    int count = 0;
  };

  // The next frame that the device sent.
  std::optional<std::pair<FrameHeader, Bytes>> Take() {
    const auto frame = from_.Next();
    if (!frame.has_value()) return std::nullopt;
    auto taken = std::pair(frame->header, net::Copy(frame->bytes));
    from_.Consume();
    return taken;
  }
  // False: the ring is full.
  bool Give(const Bytes& frame, FrameHeader header = {}) {
    header.bytes = static_cast<uint32_t>(frame.size());
    const std::span<std::byte> room = to_.TryReserve(header.bytes);
    if (room.empty()) return false;
    std::ranges::copy(net::View(frame), room.begin());
    to_.Publish(header);
    return true;
  }
  // As the switch after a restart, or after the memory was put back.
  void Attach() {
    from_ = net::FrameReader::Attach(memory_.span().first(net::kRingBytes)).value();
    to_ = net::FrameWriter::Attach(memory_.span().subspan(net::kRingBytes)).value();
  }
  net::FrameReader& from_device() { return from_; }
  net::FrameWriter& to_device() { return to_; }
  std::span<std::byte> port() { return memory_.span(); }

  Signals signals;  // to the switch

 private:
  virtio::AlignedBytes memory_{net::kPortBytes};
  net::FrameReader from_ = net::FrameReader::Attach(memory_.span().first(net::kRingBytes)).value();
  net::FrameWriter to_ = net::FrameWriter::Attach(memory_.span().subspan(net::kRingBytes)).value();
};

using NetBase = virtio::Machine<NetDevice, NetState, kMaxQueues>;
using NetQueue = virtio::DriverQueue<NetBase>;

// A packet as the driver finds it in its buffers.
struct Packet {
  NetHeader header;
  Bytes frame;
  std::vector<uint32_t> lengths;  // of the used elements
};

class NetMachine : public NetBase {
 public:
  explicit NetMachine(Wire& wire, const NetSettings& settings = kSettings, bool link = true)
      : Machine([this_wire = &wire, settings, link](NetJournal& journal) {
          return std::make_unique<NetDevice>(journal, settings,
                                             link ? this_wire->port() : std::span<std::byte>(),
                                             this_wire->signals);
        }),
        wire_(wire),
        pairs_(settings.pairs) {}

  // All of 3.1.1, with every queue that there is with these features.
  bool Live(uint64_t features = kAllFeatures, uint32_t size = 64) {
    queues_.clear();
    features_ = features;
    if (!virtio::Negotiate<NetBase>(*this, features)) return false;
    const uint32_t count = ((features & kFeatureMq) != 0 ? 2 * pairs_ : 2) +
                           ((features & kFeatureCtrlVq) != 0 ? 1 : 0);
    for (uint32_t i = 0; i < count; ++i) {
      queues_.push_back(std::make_unique<NetQueue>(*this, i, size));
      queues_.back()->SetUp();
    }
    Write(virtio::kStatus, virtio::kLive);
    return DeviceStatus() == virtio::kLive;
  }
  NetQueue& queue(uint32_t index) { return *queues_.at(index); }
  NetQueue& rx(uint32_t pair = 0) { return queue(2 * pair); }
  NetQueue& tx(uint32_t pair = 0) { return queue(2 * pair + 1); }
  NetQueue& control() { return *queues_.back(); }

  uint64_t Store(const Bytes& bytes) {
    const uint64_t address = Allocate(std::max<size_t>(bytes.size(), 1), 1);
    std::ranges::copy(net::View(bytes), At(address, bytes.size()));
    return address;
  }
  Bytes Fetch(uint64_t address, size_t bytes) { return net::Copy({At(address, bytes), bytes}); }
  using NetBase::Store;

  // Makes header and frame available in pieces of these lengths, the last of which repeats.
  void Send(const Bytes& frame, const NetHeader& header = {},
            std::vector<size_t> pieces = {12, 70000}, uint32_t pair = 0) {
    Bytes all = net::Copy(std::as_bytes(std::span(&header, 1)));
    net::Append(all, frame);
    std::vector<Buffer> chain;
    for (size_t at = 0, i = 0; at < all.size(); ++i) {
      const size_t count = std::min(pieces[std::min(i, pieces.size() - 1)], all.size() - at);
      chain.push_back({Store(Bytes(all.begin() + static_cast<ptrdiff_t>(at),
                                   all.begin() + static_cast<ptrdiff_t>(at + count))),
                       static_cast<uint32_t>(count), false});
      at += count;
    }
    tx(pair).Add(chain);
    Doorbell(tx(pair).index);
  }
  // Sends, and what then comes out.
  std::optional<std::pair<FrameHeader, Bytes>> SendAndTake(const Bytes& frame,
                                                           const NetHeader& header = {}) {
    Send(frame, header);
    EXPECT_TRUE(tx().PopUsed().has_value());
    return wire_.Take();
  }

  void GiveBuffers(uint32_t count, uint32_t bytes, uint32_t pair = 0) {
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t address = Allocate(bytes);
      Fill(address, bytes, 0xa5);
      rx(pair).Add({{address, bytes, true}});
    }
  }
  void SignalOfSwitch() { device().OnSignals(kSwitchSignal); }

  // The next packet in the driver's buffers, which are single descriptors.
  std::optional<Packet> Receive(uint32_t pair = 0) {
    const auto first = rx(pair).PopUsed();
    if (!first.has_value()) return std::nullopt;
    Packet packet;
    Bytes all = BytesOf(*first, pair);
    packet.lengths.push_back(first->length);
    std::memcpy(&packet.header, all.data(), sizeof(packet.header));
    for (int i = 1; i < packet.header.num_buffers; ++i) {
      const auto more = rx(pair).PopUsed();
      if (!more.has_value()) {
        ADD_FAILURE() << "a packet is incomplete";
        break;
      }
      net::Append(all, BytesOf(*more, pair));
      packet.lengths.push_back(more->length);
    }
    packet.frame.assign(all.begin() + sizeof(NetHeader), all.end());
    return packet;
  }
  // What the driver gets of a frame of the switch.
  std::optional<Packet> GiveAndReceive(const Bytes& frame, const FrameHeader& header = {},
                                       uint32_t pair = 0) {
    EXPECT_TRUE(wire_.Give(frame, header));
    SignalOfSwitch();
    return Receive(pair);
  }

  // Executes a command given as class, command and data. Nothing: it was not used.
  std::optional<uint8_t> Command(const Bytes& command) {
    const uint64_t ack = Allocate(1);
    Fill(ack, 1, 0xaa);
    control().Add({{Store(command), static_cast<uint32_t>(command.size()), false}, {ack, 1, true}});
    Doorbell(control().index);
    const auto used = control().PopUsed();
    if (!used.has_value()) return std::nullopt;
    EXPECT_EQ(used->length, 1u);
    return Get<uint8_t>(ack);
  }
  Wire& wire() { return wire_; }
  bool broken() { return (DeviceStatus() & virtio::kStatusNeedsReset) != 0; }
  uint64_t features() const { return features_; }

 private:
  Bytes BytesOf(const virtio::UsedElement& element, uint32_t pair) {
    const auto descriptor = Get<virtio::Descriptor>(rx(pair).descriptors + 16 * element.id);
    EXPECT_LE(element.length, descriptor.length);
    return Fetch(descriptor.address, element.length);
  }

  Wire& wire_;
  uint32_t pairs_;
  uint64_t features_ = 0;
  std::vector<std::unique_ptr<NetQueue>> queues_;
};

// An Ethernet frame to `destination` of this many bytes in all.
inline Bytes MakeFrame(Mac destination, size_t bytes = 60, uint16_t type = 0x88b5) {
  Bytes frame(bytes);
  for (size_t i = 0; i < bytes; ++i) frame[i] = static_cast<uint8_t>(i * 7 + bytes);
  for (size_t i = 0; i < 6; ++i) frame[i] = static_cast<uint8_t>(destination >> 8 * i);
  frame[6] = 0x02;
  net::Put(frame, 12, 2, type);
  return frame;
}

// What the journal has of the driver's commands.
inline DriverSettings ChosenOf(NetMachine& m) {
  DriverSettings settings;
  (void)m.journal().device.settings.Load(settings);
  return settings;
}

// Both directions work.
inline bool Works(NetMachine& m) {
  const Bytes frame = MakeFrame(kMac);
  const auto sent = m.SendAndTake(frame);
  if (!sent.has_value() || sent->second != frame) return false;
  m.GiveBuffers(1, 2048);
  m.Doorbell(m.rx().index);
  const auto received = m.GiveAndReceive(frame);
  return received.has_value() && received->frame == frame && received->header.num_buffers == 1;
}

}  // namespace atoll::virtio_net

#endif  // ATOLL_TESTS_UNIT_VIRTIO_NET_NETWORK_MACHINE_H_
