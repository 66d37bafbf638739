// Drivers that break the rules of rings and descriptors: what the device survives, how it reacts.
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

// DEVICE_NEEDS_RESET, a configuration notification, nothing executed, no further access to guest
// memory, and a device that works again after a reset.
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
      EXPECT_LE(m.journal().device.held[0].chain.readable_segments, 16);  // found within N steps
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
  // Lengths whose 32-bit sum would be small. The addresses do not matter: refused before any is
  // used.
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
  // Rings on top of each other and buffers on top of the rings, filled with every byte value: any
  // outcome but an access outside RAM, which ASan would see. The device is usable after a reset.
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

}  // namespace
}  // namespace atoll::virtio
