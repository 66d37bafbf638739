// The service dies at any instruction, and a new instance takes over journal, rings and queues.
#include <gtest/gtest.h>

#include "tests/unit/virtio/memory_states.h"
#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

constexpr Mac kOther = 0x0a09'0807'0602;

TEST(NetRestart, NET_73_what_the_driver_set_survives) {
  Wire wire;
  NetMachine m(wire, {.mac = kMac, .mtu = 1500, .pairs = 4});
  ASSERT_TRUE(m.Live(kAllFeatures | kFeatureMq));
  m.GiveBuffers(16, 2048);
  ASSERT_EQ(m.Command({kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10}), kAckOk);
  ASSERT_EQ(m.Command({kControlMac, kMacTableSet, 1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 0, 0, 0, 0}),
            kAckOk);
  ASSERT_EQ(m.Command({kControlRx, kRxAllMulti, 1}), kAckOk);
  ASSERT_EQ(m.Command({kControlVlan, kVlanAdd, 5, 0}), kAckOk);
  ASSERT_EQ(m.Command({kControlMq, kMqPairsSet, 3, 0}), kAckOk);
  ASSERT_EQ(m.Command({kControlGuestOffloads, kGuestOffloadsSet, 0, 0, 0, 0, 0, 0, 0, 0}), kAckOk);
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  EXPECT_EQ(m.Load(virtio::kConfig, 8) & kMacMask, kOther);
  EXPECT_TRUE(m.GiveAndReceive(MakeFrame(kOther)));
  EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac)));
  EXPECT_TRUE(m.GiveAndReceive(MakeFrame(0x0909'0909'0902)));
  EXPECT_TRUE(m.GiveAndReceive(MakeFrame(0x0100'005e'0001)));
  Bytes tagged = MakeFrame(kOther, 64, 0x8100);
  net::Put(tagged, 14, 2, 5);
  EXPECT_TRUE(m.GiveAndReceive(tagged));
  net::Put(tagged, 14, 2, 6);
  EXPECT_FALSE(m.GiveAndReceive(tagged));
  EXPECT_EQ(ChosenOf(m).pairs, 3u);
  ASSERT_EQ(m.Command({kControlMac, kMacAddrSet, 2, 0x12, 0x22, 0x32, 0x42, 0x52}), kAckOk);
  const net::TcpFrame tcp{.payload = 900};
  FrameHeader header = tcp.Header(0);
  header.gso_type = 0;
  EXPECT_EQ(m.GiveAndReceive(tcp.Make(), header)->header.flags, 0);  // offloads are off
}

// The device's ring to the switch and its journal, the guest's RAM: what outlives an instance.
class NetDeath : public testing::Test {
 protected:
  static std::vector<std::span<std::byte>> Watched(NetMachine& m, size_t ram) {
    std::vector<std::span<std::byte>> watched = {m.ram().first(ram), m.journal_bytes()};
    for (const size_t ring : {size_t{0}, net::kRingBytes}) {
      watched.push_back(m.wire().port().subspan(ring, 128));
      watched.push_back(m.wire().port().subspan(ring + 4096, 1024));
    }
    return watched;
  }
  Wire wire_;
};

TEST_F(NetDeath, NET_33_NET_74_each_transmit_buffer_is_used_and_each_frame_sent_once) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  constexpr uint16_t kCount = 2;
  for (const uint64_t features : {kBase, kAllFeatures}) {
    NetMachine m(wire_);
    ASSERT_TRUE(m.Live(features, 16));
    const uint16_t before = m.tx().last_used;
    for (uint32_t i = 0; i < kCount; ++i) {
      m.tx().Add({{m.Allocate(12), 12, false}, {m.Store(MakeFrame(i, 64)), 64, false}});
    }
    MemoryStates states(Watched(m, 4096), 400);
    ASSERT_TRUE(states.Run([&m] { m.Doorbell(1); }));
    ASSERT_GT(states.size(), 10u);
    for (size_t state = 0; state < states.size(); ++state) {
      SCOPED_TRACE(state);
      states.Restore(state);
      m.tx().last_used = before;
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
      ASSERT_TRUE(m.Pump());
      for (uint32_t i = 0; i < kCount; ++i) {
        const auto used = m.tx().PopUsed();
        ASSERT_TRUE(used);
        ASSERT_EQ(used->id, 2 * i);
        ASSERT_EQ(used->length, 0u);
      }
      ASSERT_FALSE(m.tx().PopUsed());
      wire_.Attach();
      for (uint32_t i = 0; i < kCount; ++i) {
        const auto frame = wire_.Take();
        ASSERT_TRUE(frame);
        ASSERT_EQ(frame->second, MakeFrame(i, 64));
      }
      ASSERT_FALSE(wire_.Take());
    }
    std::ranges::fill(wire_.port(), std::byte{0});
    wire_.Attach();
  }
}

TEST_F(NetDeath, NET_74_NET_75_each_frame_is_received_once_and_whole) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  constexpr uint32_t kCount = 2;
  for (const uint64_t features : {kBase, kAllFeatures}) {
    NetMachine m(wire_);
    ASSERT_TRUE(m.Live(features, 32));
    // With MRG_RXBUF each takes three buffers.
    m.GiveBuffers(9, features == kBase ? 512 : 100);
    for (uint32_t i = 0; i < kCount; ++i) ASSERT_TRUE(wire_.Give(MakeFrame(kMac, 200 + i)));
    MemoryStates states(Watched(m, 8192), 400);
    ASSERT_TRUE(states.Run([&m] { m.SignalOfSwitch(); }));
    ASSERT_GT(states.size(), 10u);
    for (size_t state = 0; state < states.size(); ++state) {
      SCOPED_TRACE(state);
      states.Restore(state);
      m.rx().last_used = 0;
      // What the driver sees before the restart is whole.
      uint32_t seen = 0;
      for (; const auto packet = m.Receive(); ++seen) {
        ASSERT_EQ(packet->frame, MakeFrame(kMac, 200 + seen));
      }
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
      m.SignalOfSwitch();
      for (; const auto packet = m.Receive(); ++seen) {
        ASSERT_EQ(packet->frame, MakeFrame(kMac, 200 + seen));
      }
      ASSERT_EQ(seen, kCount);
      ASSERT_TRUE(m.line.high);
    }
    std::ranges::fill(wire_.port(), std::byte{0});
    wire_.Attach();
  }
}

TEST_F(NetDeath, NET_74_segments_are_repeated_at_most) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  NetMachine m(wire_);
  ASSERT_TRUE(m.Live(kBase, 32));
  const net::TcpFrame tcp{.payload = 700};
  m.GiveBuffers(12, 512);
  ASSERT_TRUE(wire_.Give(tcp.Make(), tcp.Header(256)));
  MemoryStates states(Watched(m, 10240), 600);
  ASSERT_TRUE(states.Run([&m] { m.SignalOfSwitch(); }));
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    m.rx().last_used = 0;
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
    m.SignalOfSwitch();
    std::vector<size_t> lengths;
    while (const auto packet = m.Receive()) {
      net::TcpFrame segment = tcp;
      segment.payload = packet->frame.size() - tcp.header_bytes();
      ASSERT_TRUE(segment.ChecksumsHold(packet->frame));
      lengths.push_back(segment.payload);
    }
    // All of it, after what was seen of it before.
    ASSERT_GE(lengths.size(), 3u);
    ASSERT_LE(lengths.size(), 5u);
    const std::vector<size_t> whole = {256, 256, 188};
    ASSERT_TRUE(std::equal(whole.begin(), whole.end(), lengths.end() - 3));
    if (lengths.size() > 3) ASSERT_GE(m.model().counters().repeated, 1u);
  }
}

TEST_F(NetDeath, NET_62_NET_76_a_command_in_flight_is_answered_once) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  NetMachine m(wire_);
  const std::vector<Bytes> commands = {
      {kControlMac, kMacTableSet, 2, 0, 0, 0, 2, 9, 9, 9, 9, 9, 2, 6, 7, 8, 9, 10, 0, 0, 0, 0},
      {kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10},
      {kControlVlan, kVlanAdd, 5, 0},
      {kControlRx, kRxAllUni, 1},
      {77, 1, 2},
  };
  for (const Bytes& command : commands) {
    ASSERT_TRUE(m.Live(kAllFeatures, 16));
    m.GiveBuffers(8, 256);
    ASSERT_EQ(m.Command({kControlMac, kMacTableSet, 1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0}),
              kAckOk);
    const uint16_t before = m.control().last_used;
    const uint64_t ack = m.Allocate(1);
    m.Fill(ack, 1, 0xaa);
    m.control().Add(
        {{m.Store(command), static_cast<uint32_t>(command.size()), false}, {ack, 1, true}});
    MemoryStates states(Watched(m, 20480), 400);
    ASSERT_TRUE(states.Run([&m] { m.Doorbell(2); }));
    for (size_t state = 0; state < states.size(); ++state) {
      SCOPED_TRACE(state);
      states.Restore(state);
      wire_.Attach();
      m.control().last_used = before;
      m.rx().last_used = 0;
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
      ASSERT_TRUE(m.control().PopUsed());
      ASSERT_FALSE(m.control().PopUsed());
      ASSERT_EQ(m.Get<uint8_t>(ack), command[0] == 77 ? kAckErr : kAckOk);
      if (command[1] == kMacTableSet && command[0] == kControlMac) {
        ASSERT_TRUE(m.GiveAndReceive(MakeFrame(kOther)));
        ASSERT_FALSE(m.GiveAndReceive(MakeFrame(0x0101'0101'0102)));
      }
    }
  }
}

TEST(NetRestart, NET_77_the_switch_starts_anew) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(8, 2048);
  m.Send(MakeFrame(kBroadcast));
  // Its memory is the same: it reads what is there.
  wire.Attach();
  EXPECT_EQ(wire.Take()->second, MakeFrame(kBroadcast));
  // Or zeroed, under the device's hands: frames may be lost, nothing else.
  std::ranges::fill(wire.port(), std::byte{0});
  wire.Attach();
  m.SignalOfSwitch();
  for (size_t i = 0; i < 3; ++i) {
    m.Send(MakeFrame(kBroadcast, 100 + i));
    EXPECT_TRUE(m.tx().PopUsed());
    while (wire.Take()) {
    }
  }
  m.Send(MakeFrame(kBroadcast, 200));
  EXPECT_EQ(wire.Take()->second, MakeFrame(kBroadcast, 200));
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(wire.Give(MakeFrame(kMac, 100 + i)));
    m.SignalOfSwitch();
  }
  const auto packet = m.Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(m.DeviceStatus(), virtio::kLive);
  EXPECT_EQ(m.Load(virtio::kConfig + 6, 2), 1u);
}

TEST(NetRestart, a_journal_that_no_device_wrote) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    Wire wire;
    NetMachine m(wire);
    ASSERT_TRUE(m.Live());
    net::Random random(seed);
    auto* state = reinterpret_cast<uint8_t*>(&m.journal().device);
    for (size_t i = 0; i < sizeof(NetState); ++i) state[i] = static_cast<uint8_t>(random());
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kRepaired);
    ASSERT_FALSE(m.broken());
    // What the driver chose is not known any more: it gets what serves any driver, and notices nothing.
    ASSERT_EQ(m.Load(virtio::kConfig + 6, 2), 1u);
    ASSERT_TRUE(Works(m));
    ASSERT_TRUE(m.Live() && Works(m));
    ASSERT_EQ(m.Load(virtio::kConfig + 6, 2), 1u);
  }
}

}  // namespace
}  // namespace atoll::virtio_net
