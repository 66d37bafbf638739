// What a network device offers, and its configuration space.
#include <gtest/gtest.h>

#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

uint64_t Offered(NetMachine& m) {
  m.Write(virtio::kDeviceFeaturesSel, 1);
  const uint64_t high = m.Read(virtio::kDeviceFeatures);
  m.Write(virtio::kDeviceFeaturesSel, 0);
  return high << 32 | m.Read(virtio::kDeviceFeatures);
}

uint32_t QueueMax(NetMachine& m, uint32_t index) {
  m.Write(virtio::kQueueSel, index);
  return m.Read(virtio::kQueueNumMax);
}

constexpr NetSettings kFourPairs = {.mac = kMac, .mtu = 1500, .pairs = 4};

// Not there: NOTF_COAL, UFO, GUEST_ANNOUNCE, RSS, HASH_REPORT, RSC_EXT, USO, SPEED_DUPLEX and the legacy bits.
TEST(NetFeatures,
     NET_01_NET_06_NET_07_NET_16_NET_17_NET_18_NET_31_NET_66_NET_69_NET_72_NET_88_what_is_offered) {
  Wire wire;
  NetMachine one(wire);
  EXPECT_EQ(one.Read(virtio::kDeviceId), 1u);
  EXPECT_EQ(Offered(one), kAllFeatures);
  NetMachine four(wire, kFourPairs);
  EXPECT_EQ(Offered(four), kAllFeatures | kFeatureMq);
  // GSO, GUEST_UFO, HOST_UFO, GUEST_ANNOUNCE, GUEST_RSC4, GUEST_RSC6, NOTF_COAL, GUEST_USO4, GUEST_USO6, HOST_USO,
  // HASH_REPORT, RSS, RSC_EXT, STANDBY, SPEED_DUPLEX.
  for (const unsigned bit : {6, 10, 14, 21, 41, 42, 53, 54, 55, 56, 57, 60, 61, 62, 63}) {
    EXPECT_EQ(Offered(four) >> bit & 1, 0u) << bit;
    EXPECT_FALSE(virtio::Negotiate<NetBase>(four, kBase | Feature(bit))) << bit;
  }
}

TEST(NetFeatures, NET_01_queues) {
  Wire wire;
  NetMachine one(wire);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_GE(QueueMax(one, i), 64u);
  EXPECT_EQ(QueueMax(one, 3), 0u);
  NetMachine four(wire, kFourPairs);
  for (uint32_t i = 0; i < 9; ++i) EXPECT_GE(QueueMax(four, i), 64u);
  EXPECT_EQ(QueueMax(four, 9), 0u);
}

TEST(NetFeatures, NET_01_NET_02_where_the_control_queue_is) {
  for (const bool mq : {false, true}) {
    Wire wire;
    NetMachine m(wire, kFourPairs);
    ASSERT_TRUE(m.Live(kAllFeatures | (mq ? kFeatureMq : 0)));
    EXPECT_EQ(m.control().index, mq ? 8u : 2u);
    EXPECT_EQ(m.Command({kControlRx, kRxPromisc, 1}), kAckOk);
    EXPECT_TRUE(Works(m));
  }
  // Without CTRL_VQ there is none, and notifying of it does nothing.
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(kBase | kFeatureMac));
  NetQueue third(m, 2, 16);
  third.SetUp();
  third.Add({{m.Store({kControlRx, kRxPromisc, 1}), 3, false}, {m.Allocate(1), 1, true}});
  m.Doorbell(2);
  third.Notify();
  EXPECT_FALSE(third.PopUsed());
  EXPECT_FALSE(m.broken());
  EXPECT_TRUE(Works(m));
}

TEST(NetFeatures, NET_03_NET_04_NET_05_NET_06_prerequisites) {
  Wire wire;
  NetMachine m(wire, kFourPairs);
  const auto accepts = [&m](uint64_t features) {
    return virtio::Negotiate<NetBase>(m, kBase | features);
  };
  struct Case {
    uint64_t feature;
    uint64_t needs;
    uint64_t also = 0;  // what `needs` needs
  };
  const Case cases[] = {
      {kFeatureGuestTso4, kFeatureGuestCsum},
      {kFeatureGuestTso6, kFeatureGuestCsum},
      {kFeatureGuestEcn, kFeatureGuestTso4, kFeatureGuestCsum},
      {kFeatureGuestEcn, kFeatureGuestTso6, kFeatureGuestCsum},
      {kFeatureHostTso4, kFeatureCsum},
      {kFeatureHostTso6, kFeatureCsum},
      {kFeatureHostEcn, kFeatureHostTso4, kFeatureCsum},
      {kFeatureHostEcn, kFeatureHostTso6, kFeatureCsum},
      {kFeatureCtrlRx, kFeatureCtrlVq},
      {kFeatureCtrlVlan, kFeatureCtrlVq},
      {kFeatureCtrlRxExtra, kFeatureCtrlVq},
      {kFeatureMq, kFeatureCtrlVq},
      {kFeatureCtrlMacAddr, kFeatureCtrlVq},
      {kFeatureCtrlGuestOffloads, kFeatureCtrlVq},
  };
  for (const Case& c : cases) {
    EXPECT_FALSE(accepts(c.feature | c.also)) << std::hex << c.feature;
    EXPECT_TRUE(accepts(c.feature | c.needs | c.also)) << std::hex << c.feature;
  }
}

TEST(NetFeatures, NET_08_NET_12_NET_13_configuration_layout) {
  Wire wire;
  NetMachine m(wire, {.mac = kMac, .mtu = 9000, .pairs = 4});
  const uint8_t mac[] = {2, 0x12, 0x22, 0x32, 0x42, 0x52};
  for (uint32_t i = 0; i < 6; ++i) EXPECT_EQ(m.Load(virtio::kConfig + i, 1), mac[i]);
  EXPECT_EQ(m.Load(virtio::kConfig + 6, 2), 1u);
  EXPECT_EQ(m.Load(virtio::kConfig + 8, 2), 4u);
  EXPECT_EQ(m.Load(virtio::kConfig + 10, 2), 9000u);
  for (uint32_t i = 12; i < 64; ++i) EXPECT_EQ(m.Load(virtio::kConfig + i, 1), 0u);
  ASSERT_TRUE(m.Live());
  EXPECT_EQ(m.Load(virtio::kConfig + 10, 2), 9000u);
}

TEST(NetFeatures, NET_09_NET_10_configuration_is_read_only_and_stable) {
  Wire wire;
  NetMachine m(wire);
  const auto config = [&m] {
    return std::pair(m.Load(virtio::kConfig, 8), m.Read(virtio::kConfig + 8));
  };
  const auto before = config();
  EXPECT_EQ(before.first & kMacMask, kMac);
  for (uint32_t i = 0; i < 12; ++i) m.Store(virtio::kConfig + i, 1, 0x5a);
  m.Store(virtio::kConfig, 4, ~uint64_t{0});
  EXPECT_EQ(config(), before);
  ASSERT_TRUE(m.Live());
  EXPECT_EQ(config(), before);
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  EXPECT_EQ(config(), before);
  m.Write(virtio::kStatus, 0);
  EXPECT_EQ(config(), before);
  EXPECT_TRUE(m.Live() && Works(m));
}

TEST(NetFeatures, NET_11_NET_35_link_status) {
  Wire wire;
  NetMachine up(wire);
  EXPECT_EQ(up.Load(virtio::kConfig + 6, 2), 1u);
  NetMachine down(wire, kSettings, false);
  EXPECT_EQ(down.Load(virtio::kConfig + 6, 2), 0u);
  ASSERT_TRUE(down.Live());
  down.GiveBuffers(2, 2048);
  for (int i = 0; i < 3; ++i) {
    down.Send(MakeFrame(kMac));
    EXPECT_TRUE(down.tx().PopUsed());
  }
  down.SignalOfSwitch();
  down.Doorbell(0);
  EXPECT_FALSE(down.Receive());
  EXPECT_FALSE(wire.Take());
  EXPECT_EQ(down.model().counters().sent_link_down, 3u);
  EXPECT_EQ(down.Command({kControlRx, kRxPromisc, 1}), kAckOk);
  EXPECT_FALSE(down.broken());
}

TEST(NetFeatures, NET_14_NET_15_mtu_bounds_both_directions) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(8, 4096);
  // 18: Ethernet header with a VLAN tag.
  for (const size_t bytes : {14u, 60u, 1514u, 1518u}) {
    const Bytes frame = MakeFrame(kMac, bytes);
    EXPECT_EQ(m.SendAndTake(frame)->second, frame);
    EXPECT_EQ(m.GiveAndReceive(frame)->frame, frame);
  }
  for (const size_t bytes : {1519u, 9000u, 65550u}) {
    EXPECT_FALSE(m.SendAndTake(MakeFrame(kMac, bytes)));
    EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac, bytes)));
  }
  EXPECT_EQ(m.model().counters().sent_bad, 3u);
  EXPECT_EQ(m.model().counters().received_too_long, 3u);
  EXPECT_TRUE(Works(m));
}

TEST(NetFeatures, NET_19_traffic_with_each_feature_off) {
  std::vector<uint64_t> sets = {kBase, kAllFeatures, kAllFeatures | kFeatureMq};
  for (unsigned bit = 0; bit < 64; ++bit) {
    // Whatever needs the one that is off goes, too.
    uint64_t features = (kAllFeatures | kFeatureMq) & ~Feature(bit);
    constexpr uint64_t kOfControl = kFeatureCtrlRx | kFeatureCtrlVlan | kFeatureCtrlRxExtra |
                                    kFeatureCtrlMacAddr | kFeatureCtrlGuestOffloads | kFeatureMq;
    constexpr uint64_t kOfGuestCsum = kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn;
    constexpr uint64_t kOfCsum = kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn;
    if (Feature(bit) == kBase) continue;
    if (Feature(bit) == kFeatureCtrlVq) features &= ~kOfControl;
    if (Feature(bit) == kFeatureGuestCsum) features &= ~kOfGuestCsum;
    if (Feature(bit) == kFeatureCsum) features &= ~kOfCsum;
    sets.push_back(features);
  }
  Wire wire;
  NetMachine m(wire, kFourPairs);
  for (const uint64_t features : sets) {
    SCOPED_TRACE(features);
    ASSERT_TRUE(m.Live(features, 16));
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(Works(m)) << i;
  }
}

}  // namespace
}  // namespace atoll::virtio_net
