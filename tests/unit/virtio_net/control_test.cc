// The control queue: filters, address, VLANs, queue pairs, offloads; commands that are wrong.
#include <gtest/gtest.h>

#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

constexpr Mac kOther = 0x0a09'0807'0602;
constexpr Mac kGroup = 0x0100'005e'0001;  // multicast: bit 0 of the first byte, the lowest
constexpr NetSettings kFourPairs = {.mac = kMac, .mtu = 1500, .pairs = 4};

class NetControl : public testing::Test {
 protected:
  void SetUp() override { Start(kAllFeatures); }
  void Start(uint64_t features) {
    ASSERT_TRUE(m_.Live(features));
    m_.GiveBuffers(16, 2048);
  }
  bool Passes(const Bytes& frame) {
    m_.GiveBuffers(1, 2048);
    return m_.GiveAndReceive(frame).has_value();
  }
  bool Passes(Mac destination) { return Passes(MakeFrame(destination)); }
  uint8_t Mode(uint8_t mode, uint8_t on) {
    return m_.Command({kControlRx, mode, on}).value_or(0xff);
  }
  static void AppendMacs(Bytes& command, const std::vector<Mac>& macs) {
    const auto count = static_cast<uint32_t>(macs.size());
    for (int i = 0; i < 4; ++i) command.push_back(static_cast<uint8_t>(count >> 8 * i));
    for (const Mac mac : macs) {
      for (int i = 0; i < 6; ++i) command.push_back(static_cast<uint8_t>(mac >> 8 * i));
    }
  }
  uint8_t Table(const std::vector<Mac>& unicast, const std::vector<Mac>& multicast) {
    Bytes command = {kControlMac, kMacTableSet};
    AppendMacs(command, unicast);
    AppendMacs(command, multicast);
    return m_.Command(command).value_or(0xff);
  }
  static Bytes Tagged(uint16_t vlan) {
    Bytes frame = MakeFrame(kMac, 64, 0x8100);
    net::Put(frame, 14, 2, 0xe000u | vlan);  // priority 7
    return frame;
  }
  uint8_t Vlan(uint8_t command, uint16_t id) {
    return m_
        .Command({kControlVlan, command, static_cast<uint8_t>(id), static_cast<uint8_t>(id >> 8)})
        .value_or(0xff);
  }
  uint8_t Offloads(uint64_t bits) {
    Bytes command = {kControlGuestOffloads, kGuestOffloadsSet};
    for (int i = 0; i < 8; ++i) command.push_back(static_cast<uint8_t>(bits >> 8 * i));
    return m_.Command(command).value_or(0xff);
  }
  uint8_t Pairs(uint16_t pairs) {
    return m_
        .Command({kControlMq, kMqPairsSet, static_cast<uint8_t>(pairs),
                  static_cast<uint8_t>(pairs >> 8)})
        .value_or(0xff);
  }

  Wire wire_;
  NetMachine m_{wire_, kFourPairs};
};

TEST_F(NetControl, NET_61_NET_64_defaults_and_what_is_not_for_this_guest) {
  EXPECT_TRUE(Passes(kMac));
  EXPECT_TRUE(Passes(kBroadcast));
  EXPECT_FALSE(Passes(kOther));
  EXPECT_FALSE(Passes(kGroup));
  EXPECT_EQ(m_.model().counters().received_filtered, 2u);
  // Who cannot set filters gets everything.
  Start(kAllFeatures & ~kFeatureCtrlRx);
  EXPECT_TRUE(Passes(kOther) && Passes(kGroup));
}

TEST_F(NetControl, NET_59_promiscuous_and_all_multicast) {
  EXPECT_EQ(Mode(kRxPromisc, 1), kAckOk);
  EXPECT_TRUE(Passes(kOther) && Passes(kGroup));
  EXPECT_EQ(Mode(kRxPromisc, 0), kAckOk);
  EXPECT_EQ(Mode(kRxAllMulti, 1), kAckOk);
  EXPECT_FALSE(Passes(kOther));
  EXPECT_TRUE(Passes(kGroup));
  EXPECT_EQ(Mode(kRxAllMulti, 0), kAckOk);
  EXPECT_FALSE(Passes(kGroup));
}

TEST_F(NetControl, NET_60_extra_modes) {
  EXPECT_EQ(Mode(kRxAllUni, 1), kAckOk);
  EXPECT_TRUE(Passes(kOther));
  EXPECT_FALSE(Passes(kGroup));
  EXPECT_EQ(Mode(kRxNoUni, 1), kAckOk);
  EXPECT_FALSE(Passes(kOther) || Passes(kMac));
  EXPECT_TRUE(Passes(kBroadcast));
  EXPECT_EQ(Mode(kRxNoUni, 0), kAckOk);
  EXPECT_EQ(Mode(kRxAllMulti, 1), kAckOk);
  EXPECT_EQ(Mode(kRxNoMulti, 1), kAckOk);
  EXPECT_FALSE(Passes(kGroup));
  EXPECT_TRUE(Passes(kBroadcast));
  EXPECT_EQ(Mode(kRxNoBcast, 1), kAckOk);
  EXPECT_FALSE(Passes(kBroadcast));
  EXPECT_EQ(Mode(kRxPromisc, 1), kAckOk);
  EXPECT_TRUE(Passes(kBroadcast) && Passes(kGroup) && Passes(kOther));
}

TEST_F(NetControl, NET_62_address_table) {
  EXPECT_EQ(Table({kOther}, {kGroup}), kAckOk);
  EXPECT_TRUE(Passes(kOther) && Passes(kGroup) && Passes(kMac));
  EXPECT_FALSE(Passes(kOther + 0x1000000) || Passes(kGroup + 0x1000000));
  EXPECT_EQ(Table({}, {kGroup}), kAckOk);
  EXPECT_TRUE(Passes(kGroup));
  EXPECT_FALSE(Passes(kOther));
  EXPECT_EQ(Table({}, {}), kAckOk);
  EXPECT_FALSE(Passes(kGroup));
  // As long as is kept, and one more: then all pass.
  std::vector<Mac> groups;
  for (uint32_t i = 0; i < kMaxFilterMacs; ++i) groups.push_back(kGroup + 0x100 * (i + 1));
  EXPECT_EQ(Table({}, groups), kAckOk);
  EXPECT_TRUE(Passes(groups.back()));
  EXPECT_FALSE(Passes(kGroup));
  groups.push_back(kGroup + 0xff00);
  EXPECT_EQ(Table({kOther}, groups), kAckOk);
  EXPECT_TRUE(Passes(kGroup) && Passes(kOther));
  EXPECT_FALSE(Passes(kOther + 0x1000000));
  EXPECT_EQ(Table(std::vector<Mac>(20000, kOther), {}), kAckOk);
  EXPECT_TRUE(Passes(kOther + 0x1000000));
  EXPECT_FALSE(Passes(kGroup));
}

TEST_F(NetControl, NET_63_address_of_the_device) {
  EXPECT_EQ(m_.Command({kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10}), kAckOk);
  EXPECT_EQ(m_.Load(virtio::kConfig, 8) & kMacMask, kOther);
  EXPECT_TRUE(Passes(kOther));
  EXPECT_FALSE(Passes(kMac));
  // 5.1.4: a device's address is unicast.
  EXPECT_EQ(m_.Command({kControlMac, kMacAddrSet, 3, 6, 7, 8, 9, 10}), kAckErr);
  EXPECT_EQ(m_.Command({kControlMac, kMacAddrSet, 0, 0, 0, 0, 0, 0}), kAckErr);
  EXPECT_EQ(m_.Load(virtio::kConfig, 8) & kMacMask, kOther);
  // 5.1.6.5.2: a command, not by writing the configuration.
  Start(kAllFeatures);
  EXPECT_EQ(m_.Load(virtio::kConfig, 8) & kMacMask, kMac);
}

TEST_F(NetControl, NET_65_vlans) {
  EXPECT_FALSE(Passes(Tagged(5)));
  EXPECT_EQ(Vlan(kVlanAdd, 5), kAckOk);
  EXPECT_EQ(Vlan(kVlanAdd, 4095), kAckOk);
  EXPECT_TRUE(Passes(Tagged(5)) && Passes(Tagged(4095)) && Passes(kMac));
  EXPECT_FALSE(Passes(Tagged(4)) || Passes(Tagged(69)));
  EXPECT_EQ(Vlan(kVlanDel, 5), kAckOk);
  EXPECT_EQ(Vlan(kVlanDel, 77), kAckOk);
  EXPECT_FALSE(Passes(Tagged(5)));
  EXPECT_EQ(Vlan(kVlanAdd, 4096), kAckErr);
  EXPECT_EQ(Vlan(2, 5), kAckErr);
  EXPECT_TRUE(Passes(MakeFrame(kMac, 16, 0x8100)));  // cut inside the tag: no VLAN's
  Start(kAllFeatures & ~kFeatureCtrlVlan);
  EXPECT_TRUE(Passes(Tagged(5)));
}

TEST_F(NetControl, NET_67_NET_87_queue_pairs) {
  Start(kAllFeatures | kFeatureMq);
  for (uint32_t pair = 1; pair < 4; ++pair) m_.GiveBuffers(8, 2048, pair);
  const net::TcpFrame tcp{.payload = 100};
  FrameHeader header = tcp.Header(0);
  header.gso_type = 0;
  const auto arrives_at = [&]() -> int {
    EXPECT_TRUE(wire_.Give(tcp.Make(), header));
    m_.SignalOfSwitch();
    for (uint32_t pair = 0; pair < 4; ++pair) {
      if (m_.Receive(pair)) return static_cast<int>(pair);
    }
    return -1;
  };
  // The frame's destination is not this device's: take all.
  ASSERT_EQ(Mode(kRxPromisc, 1), kAckOk);
  m_.Send(tcp.Make(), {}, {70000}, 3);
  EXPECT_EQ(arrives_at(), 0);  // one pair until the driver says more
  for (const uint16_t bad : std::vector<uint16_t>{0, 5, 0x8000, 0xffff})
    EXPECT_EQ(Pairs(bad), kAckErr);
  EXPECT_EQ(m_.Command({kControlMq, kMqPairsSet, 2}), kAckErr);
  EXPECT_EQ(m_.Command({kControlMq, 1, 2, 0}), kAckErr);
  EXPECT_EQ(arrives_at(), 0);
  EXPECT_EQ(Pairs(4), kAckOk);
  m_.Send(tcp.Make(), {}, {70000}, 3);
  EXPECT_EQ(arrives_at(), 3);
  EXPECT_EQ(Pairs(2), kAckOk);
  EXPECT_EQ(arrives_at(), 0);
  EXPECT_EQ(Pairs(1), kAckOk);
  EXPECT_EQ(arrives_at(), 0);
}

TEST_F(NetControl, NET_68_answers_come_back_on_the_pair_of_their_flow) {
  Start(kAllFeatures | kFeatureMq);
  ASSERT_EQ(Pairs(4), kAckOk);
  ASSERT_EQ(Mode(kRxPromisc, 1), kAckOk);
  for (uint32_t pair = 1; pair < 4; ++pair) m_.GiveBuffers(16, 2048, pair);
  for (const bool ipv6 : {false, true}) {
    for (const size_t tags : {0u, 1u}) {
      if (tags != 0) ASSERT_EQ(Vlan(kVlanAdd, 7), kAckOk);
      for (uint32_t pair = 0; pair < 4; ++pair) {
        const net::TcpFrame tcp{.ipv6 = ipv6, .tags = tags, .payload = 100};
        const Bytes sent = tcp.Make();
        Bytes answer = sent;
        const size_t addresses = tcp.network() + (ipv6 ? 8 : 12);
        const size_t length = ipv6 ? 16 : 4;
        for (size_t i = 0; i < length; ++i)
          std::swap(answer[addresses + i], answer[addresses + length + i]);
        for (size_t i = 0; i < 2; ++i)
          std::swap(answer[tcp.transport() + i], answer[tcp.transport() + 2 + i]);
        m_.Send(sent, {}, {70000}, pair);
        const auto packet = m_.GiveAndReceive(answer, {}, pair);
        ASSERT_TRUE(packet) << pair;
        EXPECT_EQ(packet->frame, answer);
      }
    }
  }
}

TEST_F(NetControl, NET_87_pairs_without_queues_stay_idle) {
  // The driver sets up the first pair and the control queue only.
  ASSERT_TRUE(virtio::Negotiate<NetBase>(m_, kAllFeatures | kFeatureMq));
  NetQueue rx(m_, 0, 16);
  NetQueue control(m_, 8, 16);
  rx.SetUp();
  control.SetUp();
  m_.Write(virtio::kStatus, virtio::kLive);
  const uint64_t ack = m_.Allocate(1);
  control.Add({{m_.Store({kControlMq, kMqPairsSet, 4, 0}), 4, false}, {ack, 1, true}});
  control.Notify();
  EXPECT_EQ(m_.Get<uint8_t>(ack), kAckOk);
  const uint64_t buffer = m_.Allocate(2048);
  rx.Add({{buffer, 2048, true}});
  ASSERT_TRUE(wire_.Give(MakeFrame(kMac)));
  m_.SignalOfSwitch();
  EXPECT_TRUE(rx.PopUsed());
  m_.Doorbell(3);
  EXPECT_FALSE(m_.broken());
}

TEST_F(NetControl, NET_70_NET_89_offloads_towards_the_driver) {
  m_.GiveBuffers(20, 2048);
  const net::TcpFrame tcp{.payload = 2500};
  ASSERT_EQ(Mode(kRxPromisc, 1), kAckOk);
  const auto arrives = [&] {
    EXPECT_TRUE(wire_.Give(tcp.Make(), tcp.Header(1000)));
    m_.SignalOfSwitch();
    std::vector<Packet> packets;
    while (auto packet = m_.Receive()) packets.push_back(*packet);
    return packets;
  };
  constexpr uint64_t kAll =
      kFeatureGuestCsum | kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn;
  ASSERT_EQ(arrives().size(), 1u);
  EXPECT_EQ(Offloads(kFeatureGuestCsum), kAckOk);
  auto packets = arrives();
  ASSERT_EQ(packets.size(), 3u);
  EXPECT_EQ(packets[0].header.flags, FrameHeader::kNeedsChecksum);
  EXPECT_EQ(Offloads(kFeatureGuestTso4), kAckOk);  // of no use without checksums
  EXPECT_EQ(Offloads(0), kAckOk);
  packets = arrives();
  ASSERT_EQ(packets.size(), 3u);
  EXPECT_EQ(packets[0].header.flags, 0);
  EXPECT_EQ(Offloads(kAll), kAckOk);
  EXPECT_EQ(arrives().size(), 1u);
  for (const uint64_t bad : {kFeatureCsum, kFeatureMac, uint64_t{1} << 10, uint64_t{1} << 63}) {
    EXPECT_EQ(Offloads(kAll | bad), kAckErr);
  }
  EXPECT_EQ(m_.Command({kControlGuestOffloads, kGuestOffloadsSet, 0, 0}), kAckErr);
  EXPECT_EQ(m_.Command({kControlGuestOffloads, 1, 0, 0, 0, 0, 0, 0, 0, 0}), kAckErr);
  EXPECT_EQ(arrives().size(), 1u);
  Start(kAllFeatures & ~kFeatureGuestTso6);
  EXPECT_EQ(Offloads(kAll), kAckErr);
}

TEST_F(NetControl, NET_71_a_reset_returns_all_to_defaults) {
  Start(kAllFeatures | kFeatureMq);
  EXPECT_EQ(Mode(kRxPromisc, 1), kAckOk);
  EXPECT_EQ(Table({kOther}, {kGroup}), kAckOk);
  EXPECT_EQ(Vlan(kVlanAdd, 5), kAckOk);
  EXPECT_EQ(Pairs(4), kAckOk);
  EXPECT_EQ(Offloads(0), kAckOk);
  EXPECT_EQ(m_.Command({kControlMac, kMacAddrSet, 2, 1, 1, 1, 1, 1}), kAckOk);
  Start(kAllFeatures | kFeatureMq);
  EXPECT_TRUE(Passes(kMac));
  EXPECT_FALSE(Passes(kOther) || Passes(kGroup) || Passes(Tagged(5)));
  const DriverSettings state = ChosenOf(m_);
  EXPECT_EQ(state.modes | state.mac | state.pairs | state.offloads, 0u);
}

TEST_F(NetControl, NET_56_NET_57_commands_that_are_wrong) {
  const std::vector<Bytes> wrong = {
      {0},                                  // no command
      {kControlRx, kRxPromisc},             // no data
      {kControlRx, kRxPromisc, 1, 0},       // too much
      {kControlRx, kRxPromisc, 2},          // neither on nor off
      {kControlRx, 6, 1},                   // unknown
      {kControlMac, 2, 2, 6, 7, 8, 9, 10},  // unknown
      {kControlMac, kMacAddrSet, 2, 6, 7, 8, 9},
      {kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10, 11},
      {kControlVlan, kVlanAdd, 5},
      {kControlVlan, kVlanAdd, 5, 0, 0},
      {3, 0},                 // GUEST_ANNOUNCE
      {kControlMq, 0, 2, 0},  // not negotiated
      {6, 0, 0, 0},           // NOTF_COAL
      {255, 255, 255},
  };
  for (const Bytes& command : wrong) {
    SCOPED_TRACE(testing::PrintToString(command));
    EXPECT_EQ(m_.Command(command), kAckErr);
    EXPECT_EQ(Mode(kRxPromisc, 0), kAckOk);
  }
  EXPECT_EQ(m_.Load(virtio::kConfig, 8) & kMacMask, kMac);
  // Not negotiated.
  Start(kBase | kFeatureCtrlVq);
  EXPECT_EQ(Mode(kRxPromisc, 1), kAckErr);
  EXPECT_EQ(Mode(kRxAllUni, 1), kAckErr);
  EXPECT_EQ(Table({}, {}), kAckErr);
  EXPECT_EQ(m_.Command({kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10}), kAckErr);
  EXPECT_EQ(Vlan(kVlanAdd, 1), kAckErr);
  EXPECT_EQ(Offloads(0), kAckErr);
  EXPECT_TRUE(Works(m_));
}

TEST_F(NetControl, NET_86_address_tables_that_lie) {
  EXPECT_EQ(Table({kOther}, {kGroup}), kAckOk);
  Bytes good = {kControlMac, kMacTableSet};
  AppendMacs(good, {kOther});
  AppendMacs(good, {kGroup});
  for (size_t bytes = 2; bytes < good.size(); ++bytes) {
    EXPECT_EQ(m_.Command(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(bytes))),
              kAckErr);
  }
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_EQ(m_.Command(longer), kAckErr);
  // 6 * 0x2aaaaaab is 2 modulo 2^32.
  for (const uint32_t count : {2u, 3u, 0x2aaaaaabu, 0x7fffffffu, 0xffffffffu}) {
    for (const size_t at : {2u, 12u}) {
      Bytes command = good;
      for (size_t i = 0; i < 4; ++i) command[at + i] = static_cast<uint8_t>(count >> 8 * i);
      EXPECT_EQ(m_.Command(command), kAckErr);
    }
  }
  EXPECT_TRUE(Passes(kOther) && Passes(kGroup));
  EXPECT_FALSE(Passes(kOther + 0x1000000) || Passes(kGroup + 0x1000000));
}

TEST_F(NetControl, NET_58_command_in_any_pieces) {
  const Bytes command = {kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10};
  for (size_t cut = 1; cut < command.size(); ++cut) {
    Start(kAllFeatures);
    const auto middle = command.begin() + static_cast<ptrdiff_t>(cut);
    const uint64_t first = m_.Store(Bytes(command.begin(), middle));
    const uint64_t second = m_.Store(Bytes(middle, command.end()));
    const uint64_t ack = m_.Allocate(4);
    m_.Fill(ack, 4, 0xaa);
    m_.control().Add({{first, static_cast<uint32_t>(cut), false},
                      {second, static_cast<uint32_t>(command.size() - cut), false},
                      {ack, 2, true},
                      {ack + 2, 2, true}});
    m_.control().Notify();
    EXPECT_EQ(m_.control().PopUsed()->length, 1u);
    EXPECT_EQ(m_.Get<uint32_t>(ack), 0xaaaa'aa00);
    EXPECT_EQ(m_.Load(virtio::kConfig, 8) & kMacMask, kOther);
  }
}

TEST_F(NetControl, NET_90_no_place_for_the_answer) {
  const uint64_t command = m_.Store({kControlRx, kRxPromisc, 1});
  for (const std::vector<Buffer>& chain :
       {std::vector<Buffer>{{command, 3, false}},
        {{command, 3, false}, {m_.ram_end(), 1, true}},
        {{m_.ram_end() - 1, 3, false}, {m_.Allocate(1), 1, true}}}) {
    m_.control().Add(chain);
    m_.control().Notify();
    EXPECT_FALSE(m_.control().PopUsed());
    EXPECT_TRUE(m_.broken());
    EXPECT_EQ(ChosenOf(m_).modes, 0u);
    Start(kAllFeatures);
    EXPECT_EQ(Mode(kRxPromisc, 1), kAckOk);
    EXPECT_TRUE(m_.Live());
  }
}

TEST_F(NetControl, many_commands_at_once) {
  ASSERT_TRUE(m_.Live(kAllFeatures, 256));
  const uint64_t acks = m_.Allocate(100);
  m_.Fill(acks, 100, 0xaa);
  for (uint32_t i = 0; i < 100; ++i) {
    m_.control().Add({{m_.Store({kControlRx, kRxPromisc, static_cast<uint8_t>(i % 2)}), 3, false},
                      {acks + i, 1, true}});
  }
  m_.Doorbell(2);
  ASSERT_TRUE(m_.Pump());
  EXPECT_EQ(m_.Fetch(acks, 100), Bytes(100, kAckOk));
}

}  // namespace
}  // namespace atoll::virtio_net
