// Drivers that break the rules: what the device survives, and how it reacts.
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

// DEVICE_NEEDS_RESET, a configuration notification, nothing executed, no further access to guest memory, and a
// device that works again after a reset.
void ExpectBadQueue(EchoMachine& m, EchoQueue& queue, const char* what) {
  SCOPED_TRACE(what);
  EXPECT_EQ(m.DeviceStatus(), kLive | kStatusNeedsReset);
  EXPECT_NE(m.Read(kInterruptStatus) & kInterruptConfig, 0u);
  EXPECT_TRUE(m.line.high);
  m.model().executed = 0;
  m.model().passes = 0;
  queue.Notify();
  m.Doorbell(0);
  EXPECT_TRUE(m.Pump());
  EXPECT_EQ(m.model().passes, 0);
  EXPECT_TRUE(WorksAfterReset(m));
}

// A live queue, a change that breaks it, the reaction.
void Check(const char* what, const std::function<void(EchoMachine&, EchoQueue&)>& act,
           uint64_t features = kAllFeatures, uint32_t size = 16) {
  EchoMachine m;
  EchoQueue queue = Live(m, features, size);
  ASSERT_TRUE(Works(m, queue));
  m.model().executed = 0;
  act(m, queue);
  queue.Notify();
  ASSERT_TRUE(m.Pump());
  EXPECT_EQ(m.model().executed, 0) << what;
  ExpectBadQueue(m, queue, what);
}

TEST(VirtioHostile, HOSTILE_01_head_index_out_of_range) {
  for (const uint16_t head : std::initializer_list<uint16_t>{16, 17, 255, 256, 0x7fff, 0xffff}) {
    Check("head", [head](EchoMachine& m, EchoQueue& q) { q.MakeAvailable(head); });
  }
}

TEST(VirtioHostile, HOSTILE_02_next_out_of_range) {
  for (const uint16_t next : std::initializer_list<uint16_t>{16, 0x8000, 0xffff}) {
    Check("next", [next](EchoMachine& m, EchoQueue& q) {
      q.PutDescriptor(0, {m.Allocate(8), 8, kDescriptorNext, next});
      q.MakeAvailable(0);
    });
    Check("next in a table", [next](EchoMachine& m, EchoQueue& q) {
      const uint64_t table = m.Allocate(16 * 16);
      q.PutEntry(table, 0, {m.Allocate(8), 8, kDescriptorNext, next});
      q.PutDescriptor(0, {table, 16 * 16, kDescriptorIndirect, 0});
      q.MakeAvailable(0);
    });
  }
}

TEST(VirtioHostile, HOSTILE_03_descriptor_loops) {
  for (const uint16_t length : std::initializer_list<uint16_t>{1, 2, 16}) {
    Check("direct", [length](EchoMachine& m, EchoQueue& q) {
      for (uint16_t i = 0; i < length; ++i) {
        q.PutDescriptor(
            i, {m.Allocate(8), 8, kDescriptorNext, static_cast<uint16_t>((i + 1) % length)});
      }
      q.MakeAvailable(0);
      m.device().OnSignals(1);
      EXPECT_LE(m.journal().queues[0].chain.readable_segments, 16);  // found within N steps
    });
    Check("in a table", [length](EchoMachine& m, EchoQueue& q) {
      const uint64_t table = m.Allocate(16 * length);
      for (uint16_t i = 0; i < length; ++i) {
        q.PutEntry(table, i,
                   {m.Allocate(8), 8, kDescriptorNext, static_cast<uint16_t>((i + 1) % length)});
      }
      q.PutDescriptor(0, {table, 16u * length, kDescriptorIndirect, 0});
      q.MakeAvailable(0);
    });
  }
}

TEST(VirtioHostile, HOSTILE_04_more_than_4_gib_in_a_chain) {
  // Lengths whose 32-bit sum would be small. The addresses do not matter: refused before any is used.
  Check("sum", [](EchoMachine& m, EchoQueue& q) {
    q.Add({{kRamBase, 0xffff'ffff, false}, {kRamBase, 9, false}, {kRamBase, 8, true}});
  });
  Check("many", [](EchoMachine& m, EchoQueue& q) {
    std::vector<Buffer> buffers(16, Buffer{kRamBase, 0xffff'ffff, false});
    buffers.back().writable = true;
    q.Add(buffers);
  });
}

TEST(VirtioHostile, HOSTILE_05_HOSTILE_06_buffers_outside_ram) {
  const uint64_t end = kRamBase + kRamBytes;
  for (const auto& [address, length] :
       std::vector<std::pair<uint64_t, uint32_t>>{{~uint64_t{0}, 1},
                                                  {~uint64_t{0}, 2},
                                                  {~uint64_t{0} - 3, 8},
                                                  {kRamBase - 1, 1},
                                                  {kRamBase - 4, 8},
                                                  {end, 1},
                                                  {end - 1, 2},
                                                  {end - 4, 0xffff'ffff},
                                                  {0, 16},
                                                  {0x0800'0000, 16},
                                                  {0x0a00'0000, 16},
                                                  {kRamBase, 0xffff'fff0},
                                                  {kRamBase + (uint64_t{1} << 32), 4},
                                                  {uint64_t{1} << 63, 4}}) {
    for (const bool writable : {false, true}) {
      // The echo device reports nothing of its own, so an unreachable buffer makes the queue bad.
      Check("buffer", [&](EchoMachine& m, EchoQueue& q) {
        const Exchange good = MakeExchange(m);
        if (writable) {
          q.Add({{good.out, 4, false}, {address, length, true}});
        } else {
          q.Add({{address, length, false}, {good.in, 4, true}});
        }
      });
    }
  }
  for (const auto& [address, length] :
       std::vector<std::pair<uint64_t, uint32_t>>{{~uint64_t{0} - 15, 16},
                                                  {~uint64_t{0} - 15, 32},
                                                  {end - 8, 16},
                                                  {kRamBase - 16, 16},
                                                  {0, 16},
                                                  {kRamBase, 0xffff'fff0}}) {
    Check("table", [&](EchoMachine& m, EchoQueue& q) {
      q.PutDescriptor(0, {address, length, kDescriptorIndirect, 0});
      q.MakeAvailable(0);
    });
  }
}

TEST(VirtioHostile, HOSTILE_08_HOSTILE_23_ring_areas_misaligned_outside_or_wrapping) {
  EchoMachine m;
  const uint64_t end = kRamBase + kRamBytes;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue good(m, 0, 16);
  struct Areas {
    uint64_t descriptors, avail, used;
  };
  const Areas kBad[] = {
      {0, 0, 0},  // QueueReady without addresses
      {good.descriptors + 8, good.avail, good.used},
      {good.descriptors + 1, good.avail, good.used},
      {good.descriptors, good.avail + 1, good.used},
      {good.descriptors, good.avail, good.used + 2},
      {kRamBase - 16, good.avail, good.used},
      {end - 240, good.avail, good.used},
      {good.descriptors, end - 36, good.used},  // one event word short
      {good.descriptors, good.avail, end - 132},
      {good.descriptors, good.avail, ~uint64_t{0} - 3},
      {~uint64_t{0} - 15, good.avail, good.used},
      {good.descriptors, ~uint64_t{0} - 1, good.used},
      {good.descriptors + (uint64_t{1} << 32), good.avail, good.used},
  };
  for (const Areas& areas : kBad) {
    EchoQueue bad(m, 0, 16);
    bad.descriptors = areas.descriptors;
    bad.avail = areas.avail;
    bad.used = areas.used;
    bad.SetUp();
    EXPECT_EQ(m.Read(kQueueReady), 0u);
  }
  good.SetUp();
  EXPECT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kStatus, kLive);
  EXPECT_TRUE(Works(m, good));
}

TEST(VirtioHostile, HOSTILE_23_queue_ready_counts_bit_0_only) {
  EchoMachine m;
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue queue(m, 0, 16);
  queue.SetUp();
  m.Write(kQueueReady, 0xffff'fffe);
  EXPECT_EQ(m.Read(kQueueReady), 0u);
  m.Write(kQueueReady, 0xffff'ffff);
  EXPECT_EQ(m.Read(kQueueReady), 1u);
}

TEST(VirtioHostile, HOSTILE_09_HOSTILE_10_everything_overlaps) {
  // Rings on top of each other and buffers on top of the rings, filled with every byte value: any outcome but
  // an access outside RAM, which ASan would see. The device is usable after a reset.
  for (uint32_t fill = 0; fill < 256; ++fill) {
    for (const uint64_t skew : {0u, 16u, 32u}) {
      EchoMachine m(kRamBase, 1 << 16);
      ASSERT_TRUE(Negotiate(m, kAllFeatures));
      EchoQueue queue(m, 0, 16);
      queue.avail = queue.descriptors + skew;
      queue.used = queue.descriptors + 2 * skew;
      m.Fill(queue.descriptors, 256, static_cast<uint8_t>(fill));
      queue.SetUp();
      m.Write(kStatus, kLive);
      queue.SetAvailIndex(1);
      queue.Notify();
      EXPECT_TRUE(m.Pump());
      EXPECT_TRUE(WorksAfterReset(m));
    }
  }
}

TEST(VirtioHostile, HOSTILE_10_answer_over_the_rings_themselves) {
  for (const int target : {0, 1, 2}) {
    EchoMachine m;
    EchoQueue queue = Live(m);
    const uint64_t area = target == 0 ? queue.descriptors : target == 1 ? queue.avail : queue.used;
    const Exchange exchange = MakeExchange(m, 34);
    const uint16_t head = queue.WriteChain({{exchange.out, 34, false}, {area, 34, true}});
    queue.MakeAvailable(head);
    queue.Notify();
    EXPECT_TRUE(m.Pump());
    EXPECT_EQ(m.model().executed, 1);  // by the private copy
    if (target == 2) {
      EXPECT_EQ(queue.UsedIndex(), 1);  // written after the answer
      EXPECT_EQ(m.Get<UsedElement>(queue.used + kRingEntries).length, 34u);
    }
    EXPECT_TRUE(WorksAfterReset(m));
  }
}

TEST(VirtioHostile, HOSTILE_11_HOSTILE_12_avail_idx_too_far_ahead_or_back) {
  for (const int move : {17, 18, 1000, 0x7fff, 0x8000, -1, -2, -16}) {
    Check("idx", [move](EchoMachine& m, EchoQueue& q) {
      q.SetAvailIndex(static_cast<uint16_t>(q.avail_index + move));
    });
  }
}

TEST(VirtioHostile, HOSTILE_13_indirect_without_the_feature) {
  Check(
      "indirect", [](EchoMachine& m, EchoQueue& q) { q.AddIndirect(MakeExchange(m).buffers()); },
      kFeatureVersion1 | kFeatureEventIdx);
}

TEST(VirtioHostile, HOSTILE_14_indirect_with_next) {
  Check("indirect and next", [](EchoMachine& m, EchoQueue& q) {
    const uint16_t head = q.WriteIndirect(MakeExchange(m).buffers());
    auto descriptor = m.Get<Descriptor>(q.descriptors + 16 * head);
    descriptor.flags |= kDescriptorNext;
    q.PutDescriptor(head, descriptor);
    q.MakeAvailable(head);
  });
}

TEST(VirtioHostile, HOSTILE_15_indirect_inside_a_table) {
  Check("nested", [](EchoMachine& m, EchoQueue& q) {
    const uint64_t table = m.Allocate(32);
    q.PutEntry(table, 0, {table, 16, kDescriptorIndirect, 0});
    q.PutDescriptor(0, {table, 32, kDescriptorIndirect, 0});
    q.MakeAvailable(0);
  });
}

TEST(VirtioHostile, HOSTILE_16_table_length_and_chain_limit) {
  for (const uint32_t length : {0u, 1u, 8u, 15u, 17u, 31u, 0xffff'ffffu}) {
    Check("length", [length](EchoMachine& m, EchoQueue& q) {
      const uint64_t table = m.Allocate(64);
      q.PutEntry(table, 0, {m.Allocate(8), 8, 0, 0});
      q.PutDescriptor(0, {table, length, kDescriptorIndirect, 0});
      q.MakeAvailable(0);
    });
  }
  Check("one more than the longest chain", [](EchoMachine& m, EchoQueue& q) {
    q.AddIndirect(std::vector<Buffer>(kMaxSegments + 1, Buffer{kRamBase, 1, false}));
  });
  Check("the largest table there can be, all of it one chain", [](EchoMachine& m, EchoQueue& q) {
    q.AddIndirect(std::vector<Buffer>(65536, Buffer{kRamBase, 1, false}));
  });
}

TEST(VirtioHostile, HOSTILE_17_writable_before_readable) {
  Check("order", [](EchoMachine& m, EchoQueue& q) {
    const Exchange e = MakeExchange(m);
    q.Add({{e.in, 8, true}, {e.out, 8, false}});
  });
  Check("order in a table", [](EchoMachine& m, EchoQueue& q) {
    const Exchange e = MakeExchange(m);
    q.AddIndirect({{e.out, 8, false}, {e.in, 8, true}, {e.out, 8, false}});
  });
}

TEST(VirtioHostile, HOSTILE_18_changes_after_acceptance_have_no_effect) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  m.model().after_accept = [&] {
    // Every descriptor and ring entry now says something else.
    m.Fill(queue.descriptors, DescriptorBytes(16), 0xff);
    m.Fill(queue.avail + kRingEntries, 32, 0xff);
  };
  queue.Notify();
  const auto element = queue.PopUsed();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->id, 0u);
  EXPECT_EQ(element->length, exchange.bytes);
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(VirtioHostile, HOSTILE_19_used_ring_overwritten_by_the_guest) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (int i = 0; i < 40; ++i) {
    m.Fill(queue.used, UsedBytes(16), static_cast<uint8_t>(17 * i + 5));
    const Exchange exchange = MakeExchange(m);
    queue.Add(exchange.buffers());
    queue.Notify();
    ASSERT_EQ(queue.UsedIndex(), i + 1);
    const auto element = m.Get<UsedElement>(queue.used + kRingEntries + 8 * (i % 16));
    ASSERT_EQ(element.length, exchange.bytes);
    ASSERT_TRUE(Echoed(m, exchange));
  }
}

TEST(VirtioHostile, HOSTILE_20_zero_length_descriptors) {
  Check("alone", [](EchoMachine& m, EchoQueue& q) { q.Add({{kRamBase, 0, false}}); });
  Check("within", [](EchoMachine& m, EchoQueue& q) {
    const Exchange e = MakeExchange(m);
    q.Add({{e.out, 8, false}, {e.out, 0, false}, {e.in, 8, true}});
  });
  EchoMachine m;
  EchoQueue queue = Live(m);
  queue.Add({{MakeExchange(m).out, 8, false}});  // no writable part
  queue.Notify();
  const auto element = queue.PopUsed();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->length, 0u);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioHostile, HOSTILE_21_unknown_flags_are_ignored) {
  for (const uint64_t features : {kFeatureVersion1, kAllFeatures}) {
    EchoMachine m;
    EchoQueue queue = Live(m, features);
    const Exchange exchange = MakeExchange(m);
    const uint16_t head = queue.WriteChain(exchange.buffers());
    for (uint32_t slot = 0; slot < 2; ++slot) {
      auto descriptor = m.Get<Descriptor>(queue.descriptors + 16 * slot);
      descriptor.flags |= 0xfff8;
      queue.PutDescriptor(slot, descriptor);
    }
    queue.SetAvailFlags(0xfffe);
    queue.MakeAvailable(head);
    queue.Notify();
    EXPECT_TRUE(queue.PopUsed());
    EXPECT_TRUE(Echoed(m, exchange));
    EXPECT_TRUE(m.line.high);
  }
}

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
  ASSERT_EQ(m.Restart(), Status::kOk);  // nor did the journal change
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
