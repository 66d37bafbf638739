// The socket device between a driver and the switch's end of its port.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "services/virtio-vsock/device.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio_vsock {
namespace {

using virtio::Buffer;
using vsock::PacketHeader;
using Bytes = std::vector<uint8_t>;
using Base = virtio::Machine<VsockDevice, VsockState, kQueues>;
using Queue = virtio::DriverQueue<Base>;

constexpr uint64_t kCid = 5;
constexpr uint64_t kFeatures =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;

struct Packet {
  PacketHeader header;
  Bytes payload;
};
Bytes Pattern(size_t bytes, uint32_t seed = 1) {
  Bytes pattern(bytes);
  for (size_t i = 0; i < bytes; ++i) pattern[i] = static_cast<uint8_t>(i * 7 + i / 251 + seed);
  return pattern;
}
PacketHeader Data(uint32_t bytes) {
  return {.src_cid = kCid,
          .dst_cid = 3,
          .src_port = 1000,
          .dst_port = 2000,
          .len = bytes,
          .type = vsock::kTypeStream,
          .op = vsock::kOpData,
          .buf_alloc = 65536,
          .fwd_cnt = 17};
}
PacketHeader ToGuest(uint32_t bytes) {
  PacketHeader header = Data(bytes);
  std::swap(header.src_port, header.dst_port);
  header.src_cid = 3;
  header.dst_cid = kCid;
  return header;
}

// The switch's end of the port.
class Wire final : public Notifier {
 public:
  void Notify() override { ++signals; }
  void Attach() {
    from =
        net::FrameReader::Attach(memory.span().first(vsock::kRingBytes), vsock::kMaxPacket).value();
    to = net::FrameWriter::Attach(memory.span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
             .value();
  }
  // The next packet of the device, and the flags of its frame.
  std::optional<Packet> Take(uint8_t* flags = nullptr) {
    const auto frame = from.Next();
    if (!frame.has_value()) return std::nullopt;
    Packet packet{vsock::HeaderOf(*frame).value(), {}};
    const auto* bytes = reinterpret_cast<const uint8_t*>(frame->bytes.data());
    packet.payload.assign(bytes + sizeof(PacketHeader), bytes + frame->bytes.size());
    if (flags != nullptr) *flags = frame->header.flags;
    EXPECT_EQ(frame->header.flow, vsock::EpochMark(from.writer_epoch()));
    from.Consume();
    return packet;
  }
  bool Give(const PacketHeader& header, const Bytes& payload) {
    const auto bytes = static_cast<uint32_t>(sizeof(header) + payload.size());
    const auto room = to.TryReserve(bytes);
    if (room.empty()) return false;
    std::memcpy(room.data(), &header, sizeof(header));
    if (!payload.empty()) std::memcpy(room.data() + sizeof(header), payload.data(), payload.size());
    to.Publish({.bytes = bytes});
    return true;
  }

  virtio::AlignedBytes memory{vsock::kPortBytes};
  net::FrameReader from =
      net::FrameReader::Attach(memory.span().first(vsock::kRingBytes), vsock::kMaxPacket).value();
  net::FrameWriter to =
      net::FrameWriter::Attach(memory.span().subspan(vsock::kRingBytes), vsock::kMaxPacket).value();
  int signals = 0;
};

class VsockMachine : public Base {
 public:
  explicit VsockMachine(Wire& wire)
      : Base([&wire](VsockJournal& journal) {
          return std::make_unique<VsockDevice>(journal, kCid, wire.memory.span(), wire);
        }),
        wire_(wire) {}

  bool Live(uint32_t size = 64, uint64_t features = kFeatures) {
    queues_.clear();
    if (!virtio::Negotiate<Base>(*this, features)) return false;
    for (uint32_t i = 0; i < kQueues; ++i) {
      queues_.push_back(std::make_unique<Queue>(*this, i, std::min(size, kQueueSizes[i])));
      queues_.back()->SetUp();
    }
    Write(virtio::kStatus, virtio::kLive);
    Doorbell(kReceiveQueue);
    return DeviceStatus() == virtio::kLive;
  }
  Queue& rx() { return *queues_[kReceiveQueue]; }
  Queue& tx() { return *queues_[kTransmitQueue]; }
  Queue& events() { return *queues_[kEventQueue]; }
  bool broken() { return (DeviceStatus() & virtio::kStatusNeedsReset) != 0; }

  // Makes a packet available, in pieces of these lengths.
  void Offer(const PacketHeader& header, const Bytes& payload, size_t piece = 70000) {
    Bytes all(sizeof(header));
    std::memcpy(all.data(), &header, sizeof(header));
    all.insert(all.end(), payload.begin(), payload.end());
    std::vector<Buffer> chain;
    for (size_t at = 0; at < all.size(); at += piece) {
      const size_t count = std::min(piece, all.size() - at);
      const uint64_t address = Allocate(count, 1);
      std::memcpy(At(address, count), all.data() + at, count);
      chain.push_back({address, static_cast<uint32_t>(count), false});
    }
    chain.size() > 1 ? tx().AddIndirect(chain) : tx().Add(chain);
  }
  void Send(const PacketHeader& header, const Bytes& payload, size_t piece = 70000) {
    Offer(header, payload, piece);
    Doorbell(kTransmitQueue);
  }
  void GiveBuffers(uint32_t count, uint32_t bytes) {
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t address = Allocate(bytes);
      Fill(address, bytes, 0xa5);
      rx().Add({{address, bytes, true}});
    }
    Doorbell(kReceiveQueue);
  }
  // The next packet in the driver's buffers, which are single descriptors.
  std::optional<Packet> Receive() {
    const auto used = rx().PopUsed();
    if (!used.has_value()) return std::nullopt;
    const auto descriptor = Get<virtio::Descriptor>(rx().descriptors + 16 * used->id);
    Packet packet{Get<PacketHeader>(descriptor.address), {}};
    EXPECT_EQ(used->length, sizeof(PacketHeader) + packet.header.len);
    const auto* bytes = reinterpret_cast<uint8_t*>(At(descriptor.address, used->length));
    packet.payload.assign(bytes + sizeof(PacketHeader), bytes + used->length);
    return packet;
  }
  void SignalOfSwitch() { device().OnSignals(kSwitchSignal); }
  bool TakesEvent() {
    const auto used = events().PopUsed();
    if (!used.has_value()) return false;
    const auto descriptor = Get<virtio::Descriptor>(events().descriptors + 16 * used->id);
    return used->length == 4 && Get<uint32_t>(descriptor.address) == kTransportReset;
  }
  void GiveEventBuffer() {
    const uint64_t address = Allocate(8);
    Fill(address, 8, 0xa5);
    events().Add({{address, 8, true}});
    Doorbell(kEventQueue);
  }
  // Both directions.
  bool Works() {
    Send(Data(100), Pattern(100));
    const auto sent = wire_.Take();
    if (!sent.has_value() || sent->payload != Pattern(100)) return false;
    GiveBuffers(1, 4096);
    if (!wire_.Give(ToGuest(200), Pattern(200))) return false;
    SignalOfSwitch();
    const auto received = Receive();
    return received.has_value() && received->payload == Pattern(200);
  }

 private:
  Wire& wire_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

class Vsock : public testing::Test {
 protected:
  Wire wire_;
  VsockMachine m_{wire_};
};

// With each heartbeat: until then it may have answered wrongly. What is an address leads nowhere, and the task crashes.
TEST_F(Vsock, any_word_of_its_own_that_was_written_over_is_noticed_or_means_nothing) {
  size_t noticed = 0;
  for (size_t word = 0; word < sizeof(VsockDevice) / sizeof(uint64_t); ++word) {
    ASSERT_TRUE(m_.Live());
    ASSERT_TRUE(m_.Works());
    ASSERT_TRUE(m_.device().IsIntact());
    uint64_t& place = reinterpret_cast<uint64_t*>(&m_.model())[word];
    if (place >= 0x5000'0000'0000 && place < 0x8000'0000'0000) continue;
    place = ~place & 0x0101'0101'0101'0101;
    if (m_.device().IsIntact()) {
      EXPECT_TRUE(m_.Works()) << word;
    } else {
      ++noticed;
      m_.Restart();
      EXPECT_TRUE(m_.Works()) << word;
    }
  }
  EXPECT_GT(noticed, 4u);
}

TEST_F(Vsock, VSOCK_27_chains_that_hold_no_header) {
  ASSERT_TRUE(m_.Live());
  m_.tx().Add({{m_.Allocate(43), 43, false}});
  m_.tx().Add({{m_.ram_end() - 10, 100, false}});
  m_.Doorbell(kTransmitQueue);
  EXPECT_TRUE(m_.tx().PopUsed() && m_.tx().PopUsed());
  EXPECT_FALSE(wire_.Take());
  EXPECT_EQ(m_.model().counters().dropped, 2u);
  EXPECT_TRUE(m_.Works());

  m_.tx().Add({{m_.Allocate(64), 64, true}});
  m_.Doorbell(kTransmitQueue);
  EXPECT_TRUE(m_.broken());
  for (const std::vector<Buffer>& chain :
       {std::vector<Buffer>{{m_.Allocate(64), 43, true}},
        std::vector<Buffer>{{m_.Allocate(64), 44, true}},  // no room for a byte of the payload
        std::vector<Buffer>{{m_.Allocate(64), 64, false}},
        std::vector<Buffer>{{m_.Allocate(64), 44, false}, {m_.Allocate(64), 64, true}},
        std::vector<Buffer>{{m_.ram_end() - 44, 100, true}}}) {
    ASSERT_TRUE(m_.Live());
    m_.rx().Add(chain);
    ASSERT_TRUE(wire_.Give(ToGuest(1), Pattern(1)));
    m_.SignalOfSwitch();
    EXPECT_TRUE(m_.broken());
  }
  ASSERT_TRUE(m_.Live());
  m_.events().Add({{m_.Allocate(4), 3, true}});
  wire_.to.StartEpoch();
  m_.SignalOfSwitch();
  m_.Doorbell(kEventQueue);
  EXPECT_TRUE(m_.broken());
  ASSERT_TRUE(m_.Live());
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_20_a_false_sender_is_dropped) {
  ASSERT_TRUE(m_.Live());
  for (const uint64_t cid : {uint64_t{0}, uint64_t{2}, uint64_t{3}, kCid | uint64_t{1} << 32}) {
    PacketHeader header = Data(8);
    header.src_cid = cid;
    m_.Send(header, Pattern(8));
    EXPECT_TRUE(m_.tx().PopUsed());
    EXPECT_FALSE(wire_.Take());
  }
  EXPECT_EQ(m_.model().counters().dropped, 4u);
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_11_VSOCK_22_VSOCK_23_what_no_peer_may_see_is_to_be_refused) {
  ASSERT_TRUE(m_.Live());
  std::vector<PacketHeader> bad(8, Data(8));
  bad[0].type = 0;
  bad[1].type = 2;  // SEQPACKET is not offered
  bad[2].op = vsock::kOpInvalid;
  bad[3].op = 8;
  bad[4].len = 9;  // longer than the chain
  bad[5].len = ~0u;
  bad[6].dst_cid |= uint64_t{1} << 32;
  bad[7].op = vsock::kOpRequest;  // with a payload
  for (const PacketHeader& header : bad) {
    m_.Send(header, Pattern(8));
    EXPECT_TRUE(m_.tx().PopUsed());
    uint8_t flags = 0;
    const auto packet = wire_.Take(&flags);
    ASSERT_TRUE(packet);
    EXPECT_EQ(flags, vsock::kRefuse);
    EXPECT_TRUE(packet->payload.empty());
    EXPECT_EQ(+packet->header.dst_port, 2000u);
  }
  PacketHeader long_one = Data(vsock::kMaxPayload + 1);
  m_.Send(long_one, Pattern(vsock::kMaxPayload + 1));
  uint8_t flags = 0;
  EXPECT_TRUE(wire_.Take(&flags));
  EXPECT_EQ(flags, vsock::kRefuse);
  EXPECT_EQ(m_.model().counters().refused, 9u);
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_23_packets_of_the_ring_that_make_no_sense_are_dropped) {
  ASSERT_TRUE(m_.Live());
  m_.GiveBuffers(8, 4096);
  ASSERT_TRUE(wire_.Give(ToGuest(9), Pattern(8)));
  ASSERT_TRUE(wire_.Give(ToGuest(7), Pattern(8)));
  PacketHeader header = ToGuest(8);
  header.dst_cid = 6;
  ASSERT_TRUE(wire_.Give(header, Pattern(8)));
  const auto room = wire_.to.TryReserve(20);
  ASSERT_FALSE(room.empty());
  wire_.to.Publish({.bytes = 20});
  m_.SignalOfSwitch();
  EXPECT_FALSE(m_.Receive());
  EXPECT_EQ(m_.model().counters().dropped, 4u);
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_01_VSOCK_02_VSOCK_03_identity) {
  EXPECT_EQ(m_.Read(virtio::kDeviceId), 19u);
  EXPECT_EQ(m_.Load(virtio::kConfig, 8), kCid);
  m_.Store(virtio::kConfig, 8, 77);
  EXPECT_EQ(m_.Load(virtio::kConfig, 8), kCid);
  EXPECT_EQ(m_.Load(virtio::kConfig + 8, 4), 0u);
  for (const uint32_t queue : {0u, 1u, 2u, 3u}) {
    m_.Write(virtio::kQueueSel, queue);
    EXPECT_EQ(m_.Read(virtio::kQueueNumMax) != 0, queue < kQueues);
  }
  ASSERT_TRUE(m_.Live(16, virtio::kFeatureVersion1));
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_05_VSOCK_06_VSOCK_09_header_and_payload_over_any_descriptors) {
  ASSERT_TRUE(m_.Live());
  for (const size_t piece : {1, 7, 43, 44, 45, 100}) {
    m_.Send(Data(150), Pattern(150), piece);
    const auto packet = wire_.Take();
    ASSERT_TRUE(packet);
    const PacketHeader expected = Data(150);
    EXPECT_EQ(std::memcmp(&packet->header, &expected, sizeof(expected)), 0);
    EXPECT_EQ(packet->payload, Pattern(150));

    // Towards the driver: header and payload lie as the driver cut its buffers.
    std::vector<Buffer> chain;
    for (size_t at = 0; at < 194; at += piece) {
      const auto count = static_cast<uint32_t>(std::min<size_t>(piece, 194 - at));
      chain.push_back({m_.Allocate(count, 1), count, true});
    }
    m_.rx().AddIndirect(chain);
    ASSERT_TRUE(wire_.Give(ToGuest(150), Pattern(150)));
    m_.SignalOfSwitch();
    const auto used = m_.rx().PopUsed();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->length, 194u);
    Bytes all;
    for (const Buffer& buffer : chain) {
      const auto* bytes = reinterpret_cast<uint8_t*>(m_.At(buffer.address, buffer.length));
      all.insert(all.end(), bytes, bytes + buffer.length);
    }
    EXPECT_EQ(Bytes(all.begin() + 44, all.end()), Pattern(150));
    PacketHeader header;
    std::memcpy(&header, all.data(), sizeof(header));
    EXPECT_EQ(+header.fwd_cnt, 17u);
  }
}

TEST_F(Vsock, VSOCK_16_a_long_packet_is_cut_to_the_buffers) {
  ASSERT_TRUE(m_.Live());
  const Bytes payload = Pattern(vsock::kMaxPayload);
  m_.Send(Data(vsock::kMaxPayload), payload, 30000);
  EXPECT_EQ(wire_.Take()->payload, payload);
  ASSERT_TRUE(wire_.Give(ToGuest(vsock::kMaxPayload), payload));
  ASSERT_TRUE(wire_.Give(ToGuest(10), Pattern(10)));
  m_.SignalOfSwitch();
  Bytes all;
  for (int i = 0; all.size() < payload.size(); ++i) {
    ASSERT_LT(i, 100);
    EXPECT_FALSE(m_.Receive());
    m_.GiveBuffers(1 + static_cast<uint32_t>(i) % 3, 1500 + 100 * static_cast<uint32_t>(i));
    while (const auto packet = m_.Receive()) {
      EXPECT_EQ(+packet->header.fwd_cnt, 17u);
      if (all.size() == payload.size()) {
        EXPECT_EQ(packet->payload, Pattern(10));
        return;
      }
      all.insert(all.end(), packet->payload.begin(), packet->payload.end());
    }
  }
  EXPECT_EQ(all, payload);
  m_.GiveBuffers(1, 100);
  EXPECT_EQ(m_.Receive()->payload, Pattern(10));
}

TEST_F(Vsock, VSOCK_07_VSOCK_26_what_finds_no_room_waits) {
  ASSERT_TRUE(m_.Live(256));
  // Nobody takes what is sent: chains stay in their queue, and the other direction goes on.
  uint32_t used = 0;
  for (uint32_t i = 0; i < 12; ++i) m_.Offer(Data(32768), Pattern(32768, i));
  m_.Doorbell(kTransmitQueue);
  while (m_.tx().PopUsed()) ++used;
  EXPECT_EQ(used, 7u);
  m_.GiveBuffers(1, 4096);
  ASSERT_TRUE(wire_.Give(ToGuest(5), Pattern(5)));
  m_.SignalOfSwitch();
  EXPECT_TRUE(m_.Receive());
  for (uint32_t i = 0; i < 12; ++i) {
    const auto packet = wire_.Take();
    ASSERT_TRUE(packet);
    ASSERT_EQ(packet->payload, Pattern(32768, i));
    if (wire_.from.WriterWaits()) m_.SignalOfSwitch();
  }
  // Nobody gives buffers: what comes stays in the ring, and the other direction goes on.
  uint32_t given = 0;
  while (wire_.Give(ToGuest(4000), Pattern(4000, given))) ++given;
  m_.SignalOfSwitch();
  EXPECT_FALSE(m_.Receive());
  m_.Send(Data(1), Pattern(1));
  EXPECT_TRUE(wire_.Take());
  for (uint32_t i = 0; i < given; ++i) {
    m_.GiveBuffers(1, 4096);
    const auto packet = m_.Receive();
    ASSERT_TRUE(packet);
    ASSERT_EQ(packet->payload, Pattern(4000, i));
  }
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, VSOCK_18_VSOCK_26_the_event_waits_for_its_buffer) {
  ASSERT_TRUE(m_.Live());
  m_.GiveEventBuffer();
  m_.SignalOfSwitch();
  EXPECT_FALSE(m_.TakesEvent());
  wire_.to.StartEpoch();
  m_.SignalOfSwitch();
  EXPECT_TRUE(m_.TakesEvent());
  wire_.to.StartEpoch();
  m_.SignalOfSwitch();
  m_.SignalOfSwitch();
  EXPECT_FALSE(m_.TakesEvent());
  ASSERT_EQ(m_.Restart(), virtio::JournalFound::kGood);
  m_.GiveEventBuffer();
  EXPECT_TRUE(m_.TakesEvent());
  m_.GiveEventBuffer();
  EXPECT_FALSE(m_.TakesEvent());
  EXPECT_EQ(m_.model().counters().events, 2u);
}

TEST_F(Vsock, a_reset_ends_the_epoch_and_nothing_old_comes) {
  EXPECT_TRUE(wire_.from.WriterIsDown());
  ASSERT_TRUE(m_.Live());
  EXPECT_FALSE(wire_.from.WriterIsDown());
  const uint32_t epoch = wire_.from.writer_epoch();
  ASSERT_EQ(m_.Restart(), virtio::JournalFound::kGood);
  EXPECT_FALSE(wire_.from.WriterIsDown());  // a restart is not seen
  EXPECT_EQ(wire_.from.writer_epoch(), epoch);
  ASSERT_TRUE(wire_.Give(ToGuest(9), Pattern(9)));
  m_.Write(virtio::kStatus, 0);
  EXPECT_TRUE(wire_.from.WriterIsDown());
  EXPECT_NE(wire_.from.writer_epoch(), epoch);
  ASSERT_TRUE(m_.Live());
  m_.GiveBuffers(1, 4096);
  EXPECT_FALSE(m_.Receive());
  EXPECT_FALSE(m_.TakesEvent());
  EXPECT_TRUE(wire_.Give(ToGuest(200), Pattern(200)));
  m_.SignalOfSwitch();
  EXPECT_EQ(m_.Receive()->payload, Pattern(200));
  EXPECT_TRUE(m_.Works());
}

TEST_F(Vsock, a_switch_or_a_device_that_is_given_up_ends_connections) {
  ASSERT_TRUE(m_.Live());
  m_.GiveEventBuffer();
  wire_.to.StartEpoch();
  wire_.to.SetDown(true);
  m_.SignalOfSwitch();
  EXPECT_TRUE(m_.TakesEvent());
  m_.Send(Data(8), Pattern(8));
  EXPECT_TRUE(m_.tx().PopUsed());  // leads nowhere
  EXPECT_FALSE(wire_.Take());
  wire_.to.SetDown(false);
  EXPECT_TRUE(m_.Works());

  m_.GiveEventBuffer();
  ASSERT_EQ(m_.Restart({.failed = true}), virtio::JournalFound::kGood);
  EXPECT_TRUE(wire_.from.WriterIsDown());
  EXPECT_TRUE(m_.TakesEvent());
  m_.Send(Data(8), Pattern(8));
  EXPECT_TRUE(m_.tx().PopUsed() && m_.tx().PopUsed());
  ASSERT_TRUE(m_.Live());  // another driver finds a device that takes everything
  EXPECT_TRUE(wire_.from.WriterIsDown());
  m_.Send(Data(8), Pattern(8));
  EXPECT_TRUE(m_.tx().PopUsed());
}

TEST_F(Vsock, what_two_instances_died_of_is_skipped) {
  ASSERT_TRUE(m_.Live());
  m_.GiveEventBuffer();
  const auto die_at = [this](uint32_t queue) {
    m_.journal().transport.at_work = queue + 1;
    ASSERT_EQ(m_.Restart({.blamed = true}), virtio::JournalFound::kGood);
  };
  ASSERT_TRUE(wire_.Give(ToGuest(8), Pattern(8)));
  const uint32_t epoch = wire_.from.writer_epoch();
  die_at(kReceiveQueue);
  EXPECT_EQ(wire_.from.writer_epoch(), epoch);
  die_at(kReceiveQueue);
  EXPECT_NE(wire_.from.writer_epoch(), epoch);
  EXPECT_TRUE(m_.TakesEvent());
  EXPECT_EQ(m_.model().counters().dropped, 1u);
  EXPECT_TRUE(m_.Works());
}

class VsockDeath : public Vsock {
 protected:
  std::vector<std::span<std::byte>> Watched(size_t ram) {
    std::vector<std::span<std::byte>> watched = {m_.ram().first(ram), m_.journal_bytes()};
    for (const size_t ring : {size_t{0}, vsock::kRingBytes}) {
      watched.push_back(wire_.memory.span().subspan(ring, 128));
      watched.push_back(wire_.memory.span().subspan(ring + 4096, 1024));
    }
    return watched;
  }
};

TEST_F(VsockDeath, VSOCK_16_VSOCK_19_each_packet_is_sent_once) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  ASSERT_TRUE(m_.Live(16));
  for (uint32_t i = 0; i < 2; ++i) m_.Offer(Data(64), Pattern(64, i));
  MemoryStates states(Watched(4096), 300);
  ASSERT_TRUE(states.Run([this] { m_.Doorbell(kTransmitQueue); }));
  ASSERT_GT(states.size(), 10u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    m_.tx().last_used = 0;
    ASSERT_EQ(m_.Restart(), virtio::JournalFound::kGood);
    ASSERT_TRUE(m_.Pump());
    ASSERT_TRUE(m_.tx().PopUsed() && m_.tx().PopUsed());
    ASSERT_FALSE(m_.tx().PopUsed());
    wire_.Attach();
    for (uint32_t i = 0; i < 2; ++i) {
      const auto packet = wire_.Take();
      ASSERT_TRUE(packet);
      ASSERT_EQ(packet->payload, Pattern(64, i));
    }
    ASSERT_FALSE(wire_.Take());
  }
}

TEST_F(VsockDeath, VSOCK_16_VSOCK_19_each_byte_is_received_once) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  ASSERT_TRUE(m_.Live(16));
  m_.GiveBuffers(6, 144);  // 100 bytes of payload each
  ASSERT_TRUE(wire_.Give(ToGuest(150), Pattern(150, 1)));
  ASSERT_TRUE(wire_.Give(ToGuest(0), {}));
  ASSERT_TRUE(wire_.Give(ToGuest(20), Pattern(20, 2)));
  Bytes expected = Pattern(150, 1);
  const Bytes more = Pattern(20, 2);
  expected.insert(expected.end(), more.begin(), more.end());
  MemoryStates states(Watched(4096), 500);
  ASSERT_TRUE(states.Run([this] { m_.SignalOfSwitch(); }));
  ASSERT_GT(states.size(), 10u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    m_.rx().last_used = 0;
    Bytes all;
    uint32_t packets = 0;
    const auto take = [&] {
      while (const auto packet = m_.Receive()) {
        ++packets;
        all.insert(all.end(), packet->payload.begin(), packet->payload.end());
      }
    };
    take();
    ASSERT_EQ(m_.Restart(), virtio::JournalFound::kGood);
    m_.SignalOfSwitch();
    take();
    ASSERT_EQ(all, expected);
    ASSERT_EQ(packets, 4u);
    ASSERT_TRUE(m_.line.high);
    // The next packet lies at another place of the ring and begins at its beginning.
    wire_.Attach();
    ASSERT_TRUE(wire_.Give(ToGuest(50), Pattern(50)));
    m_.SignalOfSwitch();
    ASSERT_EQ(m_.Receive()->payload, Pattern(50));
  }
}

TEST(VsockJournal, a_journal_that_no_device_wrote) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Wire wire;
    VsockMachine m(wire);
    ASSERT_TRUE(m.Live());
    uint64_t random = seed + 1;
    auto* state = reinterpret_cast<uint8_t*>(&m.journal().device);
    for (size_t i = 0; i < sizeof(VsockState); ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      state[i] = static_cast<uint8_t>(random >> 56);
    }
    (void)m.Restart();
    ASSERT_TRUE(m.Pump());
    ASSERT_TRUE(m.Live() && m.Works()) << seed;
  }
}

}  // namespace
}  // namespace atoll::virtio_vsock
