// Device status, features, reset, configuration (VIRTIO 1.2, 2.1 to 2.5, 3.1).
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

TEST(VirtioStatus, CORE_01_fresh_and_reset_device_reads_0) {
  EchoMachine m;
  EXPECT_EQ(m.DeviceStatus(), 0u);
  Live(m);
  EXPECT_EQ(m.DeviceStatus(), kLive);
  m.Write(kStatus, 0);
  EXPECT_EQ(m.DeviceStatus(), 0u);
}

TEST(VirtioStatus, CORE_02_bits_read_back) {
  EchoMachine m;
  m.Write(kStatus, 1);
  EXPECT_EQ(m.DeviceStatus(), 1u);
  m.Write(kStatus, 3);
  EXPECT_EQ(m.DeviceStatus(), 3u);
  m.Write(kStatus, 3 | 8);  // no features: refused
  EXPECT_EQ(m.DeviceStatus(), 3u);
  WriteFeatures(m, kFeatureVersion1);
  m.Write(kStatus, 3 | 8);
  EXPECT_EQ(m.DeviceStatus(), 11u);
  m.Write(kStatus, 15);
  EXPECT_EQ(m.DeviceStatus(), 15u);
  m.Write(kStatus, 128 | 15);
  EXPECT_EQ(m.DeviceStatus(), 128u | 15);
}

TEST(VirtioStatus, CORE_03_CORE_04_nothing_before_driver_ok_then_found_without_notify) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kFeatureVersion1));
  EchoQueue queue(m, 0, 16);
  queue.SetUp();
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  queue.Notify();
  m.Doorbell(0);
  EXPECT_FALSE(queue.PopUsed());
  EXPECT_FALSE(Echoed(m, exchange));
  EXPECT_FALSE(m.line.high);
  m.Write(kStatus, kLive);
  EXPECT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, exchange));
  EXPECT_TRUE(m.line.high);
}

// Breaks the queue: an avail entry that is no descriptor.
void Break(EchoQueue& queue) {
  queue.MakeAvailable(0xffff);
  queue.Notify();
}

TEST(VirtioStatus, CORE_05_CORE_06_CORE_07_needs_reset) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  Break(queue);
  EXPECT_EQ(m.DeviceStatus(), kLive | kStatusNeedsReset);
  EXPECT_EQ(m.Read(kInterruptStatus), kInterruptConfig);
  EXPECT_TRUE(m.line.high);
  m.Write(kStatus, kLive);
  EXPECT_EQ(m.DeviceStatus(), kLive | kStatusNeedsReset);
  m.Write(kStatus, 0);
  EXPECT_EQ(m.DeviceStatus(), 0u);
  m.Write(kStatus, kStatusAcknowledge | kStatusNeedsReset);
  EXPECT_EQ(m.DeviceStatus(), kStatusAcknowledge);  // the driver cannot set it
  EXPECT_TRUE(WorksAfterReset(m));
}

TEST(VirtioStatus, CORE_08_needs_reset_touches_no_memory) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue first(m, 0, 16);
  EchoQueue second(m, 1, 8);
  first.SetUp();
  second.SetUp();
  m.Write(kStatus, kLive);
  Break(first);
  ASSERT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u);
  const Exchange exchange = MakeExchange(m);
  second.Add(exchange.buffers());
  second.Notify();
  m.Doorbell(1);
  EXPECT_FALSE(second.PopUsed());
  EXPECT_FALSE(Echoed(m, exchange));
}

TEST(VirtioStatus, CORE_09_failed_is_kept_and_quiet) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  m.Write(kStatus, kLive | kStatusFailed);
  EXPECT_EQ(m.DeviceStatus(), kLive | kStatusFailed);
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  queue.Notify();
  EXPECT_FALSE(queue.PopUsed());
  EXPECT_FALSE(m.line.high);
  m.Write(kStatus, kLive);
  EXPECT_EQ(m.DeviceStatus(), kLive | kStatusFailed);
  EXPECT_TRUE(WorksAfterReset(m));
}

TEST(VirtioStatus, CORE_10_CORE_11_version_1_is_offered_and_demanded) {
  EchoMachine m;
  m.Write(kDeviceFeaturesSel, 1);
  EXPECT_EQ(m.Read(kDeviceFeatures) & 1, 1u);
  EXPECT_FALSE(Negotiate(m, kFeatureEventIdx));
  EXPECT_FALSE(Negotiate(m, 0));
  EXPECT_TRUE(Negotiate(m, kFeatureVersion1));
}

TEST(VirtioStatus, CORE_14_CORE_17_every_subset_works) {
  const uint64_t optional[] = {kFeatureIndirectDesc, kFeatureEventIdx, kFeatureA};
  for (uint32_t subset = 0; subset < 8; ++subset) {
    uint64_t features = kFeatureVersion1;
    for (uint32_t i = 0; i < 3; ++i) features |= (subset >> i & 1) != 0 ? optional[i] : 0;
    EchoMachine m;
    EchoQueue queue = Live(m, features);
    EXPECT_EQ(m.DeviceStatus(), kLive);
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(Works(m, queue)) << subset;
    const Exchange exchange = MakeExchange(m);
    queue.AddIndirect(exchange.buffers());
    queue.Notify();
    // Behaviour follows what was accepted, not what was offered.
    EXPECT_EQ(Echoed(m, exchange), (features & kFeatureIndirectDesc) != 0);
    EXPECT_EQ((m.DeviceStatus() & kStatusNeedsReset) != 0, (features & kFeatureIndirectDesc) == 0);
  }
}

TEST(VirtioStatus, CORE_12_CORE_15_prerequisite_missing_is_refused) {
  EchoMachine m;
  EXPECT_FALSE(Negotiate(m, kFeatureVersion1 | kFeatureB));
  EXPECT_TRUE(Negotiate(m, kFeatureVersion1 | kFeatureB | kFeatureA));
}

TEST(VirtioStatus, CORE_16_accepted_set_is_accepted_again) {
  EchoMachine m;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(Negotiate(m, kAllFeatures));
    if (i == 1) {
      EXPECT_EQ(m.Restart(), virtio::JournalFound::kGood);
    }
  }
}

TEST(VirtioStatus, CORE_18_features_are_frozen_after_features_ok) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kFeatureVersion1));
  WriteFeatures(m, kAllFeatures);
  EXPECT_EQ(RegistersOf(m).driver_features, kFeatureVersion1);
  EchoQueue queue(m, 0, 16);
  queue.SetUp();
  m.Write(kStatus, kLive);
  queue.AddIndirect(MakeExchange(m).buffers());
  queue.Notify();
  EXPECT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u);  // INDIRECT_DESC was not negotiated
}

TEST(VirtioStatus, CORE_19_reset_returns_everything_to_defaults) {
  EchoMachine m;
  Live(m);
  m.Store(kConfig + kModeOffset, 1, 3);
  ASSERT_EQ(m.Load(kConfig + kModeOffset, 1), 3u);
  m.Write(kDeviceFeaturesSel, 1);
  m.Write(kStatus, 0);
  EXPECT_EQ(m.Load(kConfig + kModeOffset, 1), kDefaultMode);
  EXPECT_EQ(m.Read(kDeviceFeatures), static_cast<uint32_t>(m.model().Describe().features));
  m.Write(kStatus, kFound);
  m.Write(kStatus, kFound | kStatusFeaturesOk);
  EXPECT_EQ(m.DeviceStatus(), kFound);  // the features of before are gone
  m.Write(kQueueSel, 0);
  m.Write(kQueueReady, 1);
  EXPECT_EQ(m.Read(kQueueReady), 0u);  // so are size and addresses
}

TEST(VirtioStatus, CORE_20_after_reset_nothing_is_written_or_raised) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  m.model().share = 1;  // leaves work behind
  const Exchange a = MakeExchange(m);
  const Exchange b = MakeExchange(m);
  queue.Add(a.buffers());
  queue.Add(b.buffers());
  queue.Notify();
  ASSERT_TRUE(m.more_work.pending);
  m.Write(kStatus, 0);
  EXPECT_TRUE(m.Pump());
  m.Doorbell(0);
  m.device().ConfigChanged();
  EXPECT_FALSE(Echoed(m, b));
  EXPECT_FALSE(m.line.high);
  EXPECT_EQ(queue.UsedIndex(), 1);
}

TEST(VirtioStatus, CORE_21_HOSTILE_35_reset_in_every_state) {
  EchoMachine m;
  Live(m);
  EXPECT_TRUE(WorksAfterReset(m));  // live
  m.Write(kStatus, kStatusFailed);
  EXPECT_TRUE(WorksAfterReset(m));
  EchoQueue broken = Live(m);
  Break(broken);
  EXPECT_TRUE(WorksAfterReset(m));
  for (int i = 0; i < 50; ++i) {  // with a chain accepted and not executed
    EchoQueue queue = Live(m);
    queue.Add(MakeExchange(m).buffers());
    m.model().after_accept = [] { throw 0; };
    EXPECT_THROW(queue.Notify(), int);
    m.model().after_accept = nullptr;
    m.Write(kStatus, 0);
    EXPECT_EQ(m.DeviceStatus(), 0u);
    EXPECT_EQ(queue.UsedIndex(), 0);
    EXPECT_TRUE(WorksAfterReset(m));
  }
}

TEST(VirtioStatus, CORE_22_a_thousand_cycles_leave_nothing_behind) {
  EchoMachine m;
  EchoQueue areas(m, 0, 16);
  const Exchange exchange = MakeExchange(m);
  for (int i = 0; i < 1000; ++i) {
    m.Fill(areas.avail, AvailBytes(16), 0);
    m.Fill(areas.used, UsedBytes(16), 0);
    m.Fill(exchange.in, exchange.bytes, 0);
    areas.avail_index = areas.last_used = 0;
    ASSERT_TRUE(Negotiate(m, kAllFeatures));
    areas.SetUp();
    m.Write(kStatus, kLive);
    areas.Add(exchange.buffers());
    areas.Notify();
    ASSERT_TRUE(areas.PopUsed());
    ASSERT_TRUE(Echoed(m, exchange));
    ASSERT_EQ(m.Read(kInterruptStatus), 1u);
    m.Write(kStatus, 0);
    ASSERT_FALSE(m.line.high);
  }
  EXPECT_EQ(m.model().executed, 1000);
}

TEST(VirtioStatus, CORE_23_config_is_readable_before_features_ok) {
  EchoMachine m;
  EXPECT_EQ(m.Load(kConfig, 4), 0x13121110u);
}

TEST(VirtioStatus, CORE_27_config_change_notifies_when_live_only) {
  EchoMachine m;
  m.device().ConfigChanged();
  EXPECT_EQ(m.Read(kInterruptStatus), 0u);
  Live(m);
  m.device().ConfigChanged();
  EXPECT_EQ(m.Read(kInterruptStatus), kInterruptConfig);
  EXPECT_TRUE(m.line.high);
}

}  // namespace
}  // namespace atoll::virtio
