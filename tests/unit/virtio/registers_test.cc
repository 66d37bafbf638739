// virtio-mmio registers (VIRTIO 1.2, 4.2.2).
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

TEST(VirtioMmio, MMIO_01_MMIO_02_MMIO_03_MMIO_04_identity) {
  EchoMachine m;
  EXPECT_EQ(m.Read(0x000), 0x74726976u);
  EXPECT_EQ(m.Read(0x004), 2u);
  EXPECT_EQ(m.Read(0x008), kEchoId);
  const uint32_t vendor = m.Read(0x00c);
  EXPECT_NE(vendor, 0u);
  Live(m);
  EXPECT_EQ(m.Read(0x00c), vendor);
}

TEST(VirtioMmio, MMIO_05_device_features_by_word) {
  EchoMachine m;
  const uint64_t offered = m.model().Describe().features;
  m.Write(0x014, 1);
  EXPECT_EQ(m.Read(0x010), offered >> 32);
  m.Write(0x014, 0);
  EXPECT_EQ(m.Read(0x010), static_cast<uint32_t>(offered));
  for (const uint32_t select : {2u, 3u, 32u, 0x8000'0000u, ~0u}) {
    m.Write(0x014, select);
    EXPECT_EQ(m.Read(0x010), 0u) << select;
  }
}

TEST(VirtioMmio, MMIO_06_driver_features_in_any_order_and_more_than_once) {
  EchoMachine m;
  m.Write(kStatus, kStatusAcknowledge);
  m.Write(kStatus, kFound);
  m.Write(kDriverFeaturesSel, 1);
  m.Write(kDriverFeatures, 0xffff'ffff);  // not acceptable, replaced below
  m.Write(kDriverFeaturesSel, 0);
  m.Write(kDriverFeatures, 0xffff'ffff);
  m.Write(kDriverFeatures, kFeatureEventIdx);
  m.Write(kDriverFeaturesSel, 1);
  m.Write(kDriverFeatures, kFeatureVersion1 >> 32);
  m.Write(kStatus, kFound | kStatusFeaturesOk);
  EXPECT_EQ(m.DeviceStatus(), kFound | kStatusFeaturesOk);
  EXPECT_EQ(RegistersOf(m).driver_features, kFeatureVersion1 | kFeatureEventIdx);
}

TEST(VirtioMmio, MMIO_07_MMIO_22_each_queue_keeps_its_own_registers) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue first(m, 0, 64);
  EchoQueue second(m, 1, 8);
  first.SetUp();
  second.SetUp();
  m.Write(kQueueSel, 0);
  EXPECT_EQ(m.Read(kQueueNumMax), kEchoQueueMax);
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kQueueReady, 0);
  EXPECT_EQ(m.Read(kQueueReady), 0u);
  m.Write(kQueueSel, 1);
  EXPECT_EQ(m.Read(kQueueNumMax), 8u);
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kQueueSel, 0);
  m.Write(kQueueReady, 1);  // its size and addresses are still there
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kStatus, kLive);
  EXPECT_TRUE(Works(m, first));
  EXPECT_TRUE(Works(m, second));
}

TEST(VirtioMmio, MMIO_08_queue_num_max) {
  EchoMachine m;
  for (const auto& [select, max] : {std::pair{0u, 64u}, {1u, 8u}, {2u, 0u}, {7u, 0u}, {~0u, 0u}}) {
    m.Write(kQueueSel, select);
    EXPECT_EQ(m.Read(kQueueNumMax), max) << select;
  }
}

TEST(VirtioMmio, MMIO_09_MMIO_10_queue_num_and_ready) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 4);
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(Works(m, queue)) << i;  // wraps at 4
  m.Write(kQueueReady, 0);
  EXPECT_EQ(m.Read(kQueueReady), 0u);
}

TEST(VirtioMmio, MMIO_11_MMIO_12_stopped_queue_is_not_accessed) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  ASSERT_TRUE(Works(m, queue));
  m.Write(kQueueReady, 0);
  ASSERT_EQ(m.Read(kQueueReady), 0u);
  m.Fill(queue.used, UsedBytes(16), 0xa5);
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  queue.Notify();
  m.Doorbell(0);
  EXPECT_TRUE(m.Pump());
  EXPECT_FALSE(Echoed(m, exchange));
  for (uint64_t i = 0; i < UsedBytes(16); ++i) {
    ASSERT_EQ(m.Get<uint8_t>(queue.used + i), 0xa5) << i;
  }
}

TEST(VirtioMmio, MMIO_13_notify_by_register_and_by_doorbell) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue first(m, 0, 8);
  EchoQueue second(m, 1, 8);
  first.SetUp();
  second.SetUp();
  m.Write(kStatus, kLive);
  const Exchange a = MakeExchange(m);
  const Exchange b = MakeExchange(m);
  first.Add(a.buffers());
  second.Add(b.buffers());
  m.Write(kQueueNotify, 1);
  EXPECT_FALSE(first.PopUsed());
  EXPECT_TRUE(second.PopUsed());
  m.Doorbell(0);
  EXPECT_TRUE(first.PopUsed());
  EXPECT_TRUE(Echoed(m, a));
  EXPECT_TRUE(Echoed(m, b));
}

TEST(VirtioMmio, MMIO_14_MMIO_15_MMIO_16_interrupt_status_and_ack) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  EXPECT_EQ(m.Read(kInterruptStatus), 0u);
  ASSERT_TRUE(Works(m, queue));
  EXPECT_EQ(m.Read(kInterruptStatus), 1u);
  EXPECT_TRUE(m.line.high);
  m.device().ConfigChanged();
  EXPECT_EQ(m.Read(kInterruptStatus), 3u);
  m.Write(kInterruptAck, 1);
  EXPECT_EQ(m.Read(kInterruptStatus), 2u);
  EXPECT_TRUE(m.line.high);
  m.Write(kInterruptAck, 2);
  EXPECT_EQ(m.Read(kInterruptStatus), 0u);
  EXPECT_FALSE(m.line.high);
}

TEST(VirtioMmio, MMIO_17_event_between_read_and_ack_is_not_lost) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  ASSERT_TRUE(Works(m, queue));
  ASSERT_EQ(m.Read(kInterruptStatus), 1u);
  queue.Add(MakeExchange(m).buffers());
  m.Doorbell(0);
  m.Write(kInterruptAck, 1);     // acknowledges both ...
  EXPECT_TRUE(queue.PopUsed());  // ... and the second is visible
  queue.Add(MakeExchange(m).buffers());
  m.Doorbell(0);
  EXPECT_TRUE(m.line.high);  // what comes after the ACK raises the line again
}

TEST(VirtioMmio, MMIO_18_level_line_follows_interrupt_status) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Works(m, queue));
    ASSERT_EQ(m.line.high, m.Read(kInterruptStatus) != 0);
    if (i % 3 == 0) m.Write(kInterruptAck, 1);
    ASSERT_EQ(m.line.high, m.Read(kInterruptStatus) != 0);
  }
  EXPECT_EQ(m.line.rises, 8);  // at 0, and at the first after each acknowledge
}

TEST(VirtioMmio, MMIO_19_status_bits_add_and_zero_resets) {
  EchoMachine m;
  m.Write(kStatus, kStatusAcknowledge);
  m.Write(kStatus, kStatusDriver);
  EXPECT_EQ(m.DeviceStatus(), kFound);
  m.Write(kStatus, 0);
  EXPECT_EQ(m.DeviceStatus(), 0u);
}

TEST(VirtioMmio, MMIO_20_reset_clears_interrupts_and_ready) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  ASSERT_TRUE(Works(m, queue));
  ASSERT_TRUE(m.line.high);
  m.Write(kStatus, 0);
  EXPECT_EQ(m.Read(kInterruptStatus), 0u);
  EXPECT_FALSE(m.line.high);
  for (const uint32_t i : {0u, 1u}) {
    m.Write(kQueueSel, i);
    EXPECT_EQ(m.Read(kQueueReady), 0u);
  }
}

TEST(VirtioMmio, MMIO_21_address_halves_in_either_order_count_at_ready) {
  EchoMachine m(0x1'4000'0000);
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue queue(m, 0, 16);
  m.Write(kQueueSel, 0);
  m.Write(kQueueNum, 16);
  m.Write(kQueueDescHigh, 0xdead);  // replaced before it counts
  m.Write(kQueueDescHigh, queue.descriptors >> 32);
  m.Write(kQueueDescLow, queue.descriptors);
  m.Write(kQueueDriverLow, queue.avail);
  m.Write(kQueueDriverHigh, queue.avail >> 32);
  m.Write(kQueueDeviceHigh, queue.used >> 32);
  m.Write(kQueueDeviceLow, queue.used);
  m.Write(kQueueReady, 1);
  ASSERT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kStatus, kLive);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioMmio, MMIO_23_no_shared_memory_regions) {
  EchoMachine m;
  for (const uint32_t select : {0u, 1u, 255u}) {
    m.Write(kShmSel, select);
    for (uint32_t offset = 0x0b0; offset <= 0x0bc; offset += 4) EXPECT_EQ(m.Read(offset), ~0u);
  }
}

TEST(VirtioMmio, MMIO_26_queue_reset_is_not_there) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  m.Write(kQueueReset, 1);
  EXPECT_EQ(m.Read(kQueueReset), 0u);
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioMmio, MMIO_27_CORE_25_CORE_26_config_generation) {
  EchoMachine m;
  Live(m);
  const uint32_t before = m.Read(kConfigGeneration);
  for (int i = 0; i < 10; ++i) (void)m.Load(kConfig, 4);
  EXPECT_EQ(m.Read(kConfigGeneration), before);
  m.model().config[0] = std::byte{0x77};
  m.device().ConfigChanged();
  EXPECT_NE(m.Read(kConfigGeneration), before);
  EXPECT_EQ(m.Load(kConfig, 1), 0x77u);
}

TEST(VirtioMmio, MMIO_28_MMIO_29_CORE_24_config_by_any_width) {
  EchoMachine m;
  EXPECT_EQ(m.Load(kConfig, 1), 0x10u);
  EXPECT_EQ(m.Load(kConfig + 2, 2), 0x1312u);
  EXPECT_EQ(m.Load(kConfig + 4, 4), 0x17161514u);
  EXPECT_EQ(m.Load(kConfig, 4), 0x13121110u);
  for (uint32_t i = 0; i < 12; ++i) EXPECT_EQ(m.Load(kConfig + i, 1), 0x10 + i);
}

TEST(VirtioMmio, MMIO_30_beyond_the_config_structure) {
  EchoMachine m;
  EXPECT_EQ(m.Load(kConfig + 16, 4), 0u);
  EXPECT_EQ(m.Load(kConfig + 14, 4), 0x1f1eu);  // two bytes are there
  EXPECT_EQ(m.Load(0xfff, 1), 0u);
  EXPECT_EQ(m.Load(0xff8, 8), 0u);
  m.Store(kConfig + 16, 4, ~0u);
  m.Store(0xff8, 8, ~uint64_t{0});
  m.Store(kConfig, 4, 0);  // a read-only field
  EXPECT_EQ(m.Load(kConfig, 4), 0x13121110u);
}

TEST(VirtioMmio, MMIO_31_MMIO_32_write_only_read_only_and_undefined_offsets) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (const uint32_t reg :
       {kDeviceFeaturesSel, kDriverFeatures, kDriverFeaturesSel, kQueueSel, kQueueNum, kQueueNotify,
        kInterruptAck, kQueueDescLow, kQueueDescHigh, kQueueDriverLow, kQueueDriverHigh,
        kQueueDeviceLow, kQueueDeviceHigh, kShmSel}) {
    EXPECT_EQ(m.Read(reg), 0u) << std::hex << reg;
  }
  for (const uint32_t reg : {kMagicValue, kVersion, kDeviceId, kVendorId, kDeviceFeatures,
                             kQueueNumMax, kInterruptStatus, kConfigGeneration, kShmLenLow}) {
    const uint32_t before = m.Read(reg);
    m.Write(reg, ~before);
    EXPECT_EQ(m.Read(reg), before) << std::hex << reg;
  }
  // 0x028 GuestPageSize, 0x03c QueueAlign, 0x040 QueuePFN are of version 1.
  for (const uint32_t reg :
       {0x018u, 0x028u, 0x02cu, 0x03cu, 0x040u, 0x048u, 0x054u, 0x074u, 0x0c4u, 0x0f8u}) {
    m.Write(reg, ~0u);
    EXPECT_EQ(m.Read(reg), 0u) << std::hex << reg;
  }
  EXPECT_TRUE(Works(m, queue));
}

}  // namespace
}  // namespace atoll::virtio
