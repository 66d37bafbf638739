// Drivers that break the rules of registers, status and notifications.
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

TEST(VirtioHostile, HOSTILE_22_queue_num) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue queue(m, 0, 64);
  for (const uint32_t size : {0u, 3u, 5u, 63u, 65u, 128u, 0x1'0000u, 0x8000'0000u, ~0u}) {
    queue.SetUp();
    m.Write(kQueueReady, 0);
    m.Write(kQueueNum, size);
    m.Write(kQueueReady, 1);
    EXPECT_EQ(m.Read(kQueueReady), 0u) << size;
  }
  m.Write(kQueueNum, 64);
  m.Write(kQueueReady, 1);
  m.Write(kStatus, kLive);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_24_queue_registers_while_ready) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  m.Write(kQueueSel, 0);
  for (const uint32_t reg : {kQueueNum, kQueueDescLow, kQueueDescHigh, kQueueDriverLow,
                             kQueueDriverHigh, kQueueDeviceLow, kQueueDeviceHigh}) {
    m.Write(reg, 0x3000);
  }
  EXPECT_TRUE(Works(m, queue));
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);  // nor did the journal change
  EXPECT_TRUE(Works(m, queue));
  m.Write(kQueueReady, 1);  // once more: positions stay
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_25_queue_sel_out_of_range) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (const uint32_t select : {2u, 8u, 64u, 0x8000'0000u, ~0u}) {
    m.Write(kQueueSel, select);
    EXPECT_EQ(m.Read(kQueueNumMax), 0u);
    for (uint32_t reg = kQueueNum; reg <= kQueueReset; reg += 4) {
      if (reg != kQueueNotify && reg != kInterruptAck && reg != kStatus) m.Write(reg, 1);
    }
    EXPECT_EQ(m.Read(kQueueReady), 0u);
  }
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_26_notify_for_missing_or_stopped_queues) {
  EchoMachine m;
  const auto poke = [&m] {
    for (const uint32_t index : {0u, 1u, 2u, 7u, 8u, 63u, 0x1'0000u, ~0u})
      m.Write(kQueueNotify, index);
    m.device().OnSignals(~uint64_t{0});
  };
  poke();
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  poke();
  EchoQueue queue(m, 0, 16);
  queue.SetUp();
  poke();
  EXPECT_EQ(m.model().passes, 0);
  m.Write(kStatus, kLive);
  poke();
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_27_work_per_notification_is_bounded) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1, 64);
  m.model().share = 4;
  for (int i = 0; i < 30; ++i) queue.Add(MakeExchange(m, 1).buffers());
  queue.Notify();
  EXPECT_EQ(m.model().executed, 4);  // then other events have their turn
  EXPECT_TRUE(m.line.high);          // what is done is reported
  EXPECT_TRUE(m.more_work.pending);
  EXPECT_TRUE(m.Pump());
  EXPECT_EQ(m.model().executed, 30);
  // An idx that moves for ever while notifications are resumed costs a share and no more.
  m.model().before_resume = [&] {
    queue.SetAvailIndex(static_cast<uint16_t>(queue.avail_index ^ 1));
  };
  m.model().passes = 0;
  queue.Notify();
  EXPECT_EQ(m.model().passes, 1);
}

TEST(VirtioHostile, HOSTILE_28_steps_in_the_wrong_order) {
  const auto live = [](EchoMachine& m) { return m.device().live(); };
  EchoMachine m;
  m.Write(kStatus, kStatusDriverOk);
  EXPECT_FALSE(live(m));
  m.Write(kStatus, kFound | kStatusDriverOk);
  EXPECT_FALSE(live(m));
  WriteFeatures(m, kAllFeatures);
  m.Write(kStatus,
          kLive);  // FEATURES_OK and DRIVER_OK at once: the driver cannot have seen the answer
  EXPECT_FALSE(live(m));
  m.Write(kStatus, 0);
  WriteFeatures(m, kAllFeatures);
  m.Write(kStatus, kStatusFeaturesOk);  // before DRIVER
  EXPECT_EQ(m.DeviceStatus(), 0u);
  EXPECT_TRUE(WorksAfterReset(m));
}

TEST(VirtioHostile, HOSTILE_29_HOSTILE_30_clearing_bits_and_undefined_bits) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (const uint32_t bits : {14u, 13u, 11u, 7u, 16u, 32u, 0x100u, 0xffff'ff00u, 0x8000'0000u}) {
    m.Write(kStatus, bits);
    EXPECT_EQ(m.DeviceStatus(), kLive) << bits;
  }
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, CORE_13_HOSTILE_31_features_not_offered) {
  EchoMachine m;
  const uint64_t offered = m.model().Describe().features;
  for (uint32_t bit = 0; bit < 64; ++bit) {
    if ((offered >> bit & 1) == 0) {
      EXPECT_FALSE(Negotiate(m, kFeatureVersion1 | uint64_t{1} << bit)) << bit;
    }
  }
  for (const uint32_t word : {2u, 3u, 4u, ~0u}) {
    m.Write(kStatus, 0);
    m.Write(kStatus, kFound);
    WriteFeatures(m, kAllFeatures);
    m.Write(kDriverFeaturesSel, word);
    m.Write(kDriverFeatures, 1);
    m.Write(kStatus, kFound | kStatusFeaturesOk);
    EXPECT_EQ(m.DeviceStatus(), kFound) << word;
  }
  // Zeroes there ask for nothing.
  m.Write(kStatus, 0);
  m.Write(kStatus, kFound);
  WriteFeatures(m, kAllFeatures);
  m.Write(kDriverFeaturesSel, 2);
  m.Write(kDriverFeatures, 0);
  m.Write(kStatus, kFound | kStatusFeaturesOk);
  EXPECT_EQ(m.DeviceStatus(), kFound | kStatusFeaturesOk);
}

TEST(VirtioHostile, HOSTILE_32_control_registers_by_other_widths) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (const uint32_t size : {1u, 2u, 4u, 8u}) {
    for (uint64_t offset = 0; offset < kConfig; ++offset) {
      if (size == 4 && offset % 4 == 0) continue;
      ASSERT_EQ(m.Load(offset, size), 0u) << std::hex << offset;
      for (const uint64_t value : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}})
        m.Store(offset, size, value);
    }
  }
  EXPECT_EQ(m.DeviceStatus(), kLive);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_33_config_by_unaligned_and_wide_accesses) {
  EchoMachine m;
  for (const uint32_t size : {1u, 2u, 4u, 8u}) {
    for (uint64_t offset = 0; offset < 0xf00; ++offset) {
      uint64_t expected = 0;  // byte by byte, 0 beyond the structure
      for (uint32_t i = 0; i < size; ++i) {
        if (offset + i < 16) {
          expected |= static_cast<uint64_t>(m.model().config[offset + i]) << (8 * i);
        }
      }
      ASSERT_EQ(m.Load(kConfig + offset, size), expected) << offset << " " << size;
    }
  }
}

TEST(VirtioHostile, HOSTILE_34_odd_bits_in_interrupt_ack) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  ASSERT_TRUE(Works(m, queue));
  m.Write(kInterruptAck, 0xffff'fffe);
  EXPECT_EQ(m.Read(kInterruptStatus), 1u);
  EXPECT_TRUE(m.line.high);
  m.Write(kInterruptAck, 0);
  EXPECT_EQ(m.Read(kInterruptStatus), 1u);
  m.Write(kInterruptAck, 0xffff'ffff);
  EXPECT_FALSE(m.line.high);
  m.Write(kInterruptAck, 0xffff'ffff);
  EXPECT_EQ(m.Read(kInterruptStatus), 0u);
}

TEST(VirtioHostile, HOSTILE_37_odd_used_event_values) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (const uint16_t event : std::initializer_list<uint16_t>{1, 0x7fff, 0x8000, 0xffff, 5}) {
    queue.SetUsedEvent(event);
    EXPECT_TRUE(Works(m, queue));
  }
}

TEST(VirtioHostile, HOSTILE_38_config_writes_change_documented_fields_only) {
  EchoMachine m;
  const auto scribble = [&m] {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      for (uint64_t offset = 0; offset < 0xf00; ++offset) {
        if (size != 1 || offset != kModeOffset) m.Store(kConfig + offset, size, ~uint64_t{0});
      }
    }
  };
  const auto unchanged = [&m] {
    for (uint64_t i = 0; i < 16; ++i) {
      if (m.Load(kConfig + i, 1) != (i == kModeOffset ? kDefaultMode : 0x10 + i)) return false;
    }
    return true;
  };
  scribble();
  EXPECT_TRUE(unchanged());
  EchoQueue queue = Live(m);
  scribble();
  EXPECT_TRUE(unchanged());
  EXPECT_TRUE(Works(m, queue));
  m.Store(kConfig + kModeOffset, 1, 9);
  EXPECT_EQ(m.Load(kConfig + kModeOffset, 1), 9u);
  m.Write(kStatus, 0);
  scribble();
  EXPECT_TRUE(unchanged());
}

}  // namespace
}  // namespace atoll::virtio
