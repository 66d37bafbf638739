// Split virtqueues with a driver that keeps the rules (VIRTIO 1.2, 2.7).
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

TEST(SplitQueue, SPLIT_01_SPLIT_02_every_power_of_two_up_to_the_maximum) {
  for (uint32_t size = 1; size <= kEchoQueueMax; size *= 2) {
    EchoMachine m;
    EchoQueue queue = Live(m, kAllFeatures, size);
    ASSERT_EQ(m.Read(kQueueReady), 1u) << size;
    for (uint32_t i = 0; i < 3 * size + 1; ++i) {
      // A ring of one holds no chain of two: the table does.
      const Exchange exchange = MakeExchange(m);
      queue.AddIndirect(exchange.buffers());
      queue.Notify();
      ASSERT_TRUE(queue.PopUsed()) << size;
      ASSERT_TRUE(Echoed(m, exchange)) << size;
    }
  }
}

TEST(SplitQueue, SPLIT_03_areas_anywhere_in_ram) {
  constexpr uint64_t kHighBase = 0x3'0000'0000;
  EchoMachine m(kHighBase);
  ASSERT_TRUE(Negotiate(m, kAllFeatures));
  EchoQueue queue(m, 0, 64);
  queue.descriptors = kHighBase + 0x10'0ff0;   // crosses a page, 16-aligned
  queue.avail = m.ram_end() - AvailBytes(64);  // the very end
  queue.used = kHighBase + 0x20'0ffc;          // crosses a page, 4-aligned
  queue.SetUp();
  ASSERT_EQ(m.Read(kQueueReady), 1u);
  m.Write(kStatus, kLive);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Works(m, queue));
}

TEST(SplitQueue, SPLIT_04_SPLIT_15_indices_wrap_at_65536) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 16);
  const Exchange exchange = MakeExchange(m);
  for (uint32_t i = 0; i < 65536 + 100; ++i) {
    m.Put<uint32_t>(exchange.out, i);
    queue.Add(exchange.buffers());
    queue.Notify();
    const auto element = queue.PopUsed();
    ASSERT_TRUE(element) << i;
    ASSERT_EQ(m.Get<uint32_t>(exchange.in), i);
  }
  EXPECT_EQ(m.model().executed, 65536 + 100);
  EXPECT_EQ(queue.UsedIndex(), 100);
}

TEST(SplitQueue, SPLIT_05_SPLIT_06_idx_covers_finished_entries_only) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  queue.WriteChain(exchange.buffers());  // in the table and in the ring, not covered by idx
  m.Put<uint16_t>(queue.avail + kRingEntries, 0);
  queue.Notify();
  EXPECT_EQ(queue.UsedIndex(), 0);
  EXPECT_FALSE(Echoed(m, exchange));
  m.model().after_accept = [&] { EXPECT_EQ(queue.UsedIndex(), 0); };  // taken, not finished
  queue.SetAvailIndex(1);
  queue.Notify();
  ASSERT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(SplitQueue, SPLIT_07_SPLIT_08_writes_only_used_ring_and_writable_buffers) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  const std::span<std::byte> ram = m.ram();
  const std::vector<std::byte> before(ram.begin(), ram.end());
  queue.Notify();
  const auto writable = [&](uint64_t offset) {
    const uint64_t address = kRamBase + offset;
    return (address >= queue.used && address < queue.used + UsedBytes(16)) ||
           (address >= exchange.in && address < exchange.in + exchange.bytes);
  };
  for (uint64_t i = 0; i < before.size(); ++i) {
    if (ram[i] != before[i]) {
      ASSERT_TRUE(writable(i)) << std::hex << i;
    }
  }
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(SplitQueue, SPLIT_10_any_framing) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 64);
  const Exchange exchange = MakeExchange(m, 29);
  for (const uint32_t piece : {1u, 2u, 3u, 7u, 28u, 29u}) {
    std::vector<Buffer> buffers;
    for (const bool writable : {false, true}) {
      const uint64_t start = writable ? exchange.in : exchange.out;
      for (uint32_t at = 0; at < 29; at += piece) {
        buffers.push_back({start + at, std::min(piece, 29 - at), writable});
      }
    }
    m.Fill(exchange.in, 29, 0);
    queue.Add(buffers);
    queue.Notify();
    const auto element = queue.PopUsed();
    ASSERT_TRUE(element) << piece;
    EXPECT_EQ(element->length, 29u);
    EXPECT_TRUE(Echoed(m, exchange)) << piece;
  }
}

std::vector<Buffer> Bytes(const Exchange& exchange, uint32_t readable, uint32_t writable) {
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < readable; ++i) buffers.push_back({exchange.out + i, 1, false});
  for (uint32_t i = 0; i < writable; ++i) buffers.push_back({exchange.in + i, 1, true});
  return buffers;
}

TEST(SplitQueue, SPLIT_11_chain_of_queue_size_descriptors) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 64);
  const Exchange exchange = MakeExchange(m, 32);
  for (int i = 0; i < 3; ++i) {
    m.Fill(exchange.in, 32, 0);
    queue.Add(Bytes(exchange, 32, 32));
    queue.Notify();
    ASSERT_TRUE(queue.PopUsed());
    ASSERT_TRUE(Echoed(m, exchange));
  }
}

TEST(SplitQueue, SPLIT_12_SPLIT_13_SPLIT_14_used_id_and_length) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  queue.WriteChain({{exchange.out, 8, false}, {exchange.out, 8, false}, {exchange.out, 8, false}});
  const uint16_t head = queue.WriteChain({{exchange.out, 20, false}, {exchange.in, 32, true}});
  queue.MakeAvailable(head);
  queue.Notify();
  const auto first = queue.PopUsed();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->id, head);
  EXPECT_EQ(first->length, 20u);
  EXPECT_EQ(m.Get<uint8_t>(exchange.in + 20), 0u);  // no further than it says
  queue.Add({{exchange.out, 20, false}});
  queue.Notify();
  const auto second = queue.PopUsed();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->length, 0u);
}

TEST(SplitQueue, SPLIT_16_write_flag_beside_indirect_is_ignored) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  const uint16_t head = queue.WriteIndirect(exchange.buffers());
  auto descriptor = m.Get<Descriptor>(queue.descriptors + 16 * head);
  descriptor.flags |= kDescriptorWrite;
  queue.PutDescriptor(head, descriptor);
  queue.MakeAvailable(head);
  queue.Notify();
  EXPECT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(SplitQueue, SPLIT_17_direct_descriptors_then_a_table) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m, 32);
  const uint64_t table = m.Allocate(32);
  queue.PutEntry(table, 0, EchoQueue::Direct({exchange.out + 8, 24, false}, true, 1));
  queue.PutEntry(table, 1, EchoQueue::Direct({exchange.in, 32, true}, false, 0));
  queue.PutDescriptor(5, {exchange.out, 8, kDescriptorNext, 9});
  queue.PutDescriptor(9, {table, 32, kDescriptorIndirect, 0});
  queue.MakeAvailable(5);
  queue.Notify();
  const auto element = queue.PopUsed();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->id, 5u);
  EXPECT_EQ(element->length, 32u);
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(SplitQueue, SPLIT_18_next_is_followed_inside_a_table) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m, 32);
  const uint64_t table = m.Allocate(16 * 8);
  queue.PutEntry(table, 0, EchoQueue::Direct({exchange.out, 16, false}, true, 6));
  queue.PutEntry(table, 6, EchoQueue::Direct({exchange.out + 16, 16, false}, true, 2));
  queue.PutEntry(table, 2, EchoQueue::Direct({exchange.in, 32, true}, false, 0));
  queue.PutDescriptor(0, {table, 16 * 8, kDescriptorIndirect, 0});
  queue.MakeAvailable(0);
  queue.Notify();
  ASSERT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, exchange));
}

TEST(SplitQueue, SPLIT_19_table_at_any_address_with_any_number_of_entries) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 8);
  for (const uint32_t count : {2u, 8u, 64u, 256u}) {  // up to the longest chain of this device
    for (const uint32_t skew : {0u, 1u, 7u, 15u}) {
      const Exchange exchange = MakeExchange(m, count / 2);
      const std::vector<Buffer> buffers = Bytes(exchange, count / 2, count / 2);
      const uint64_t table = m.Allocate(0x3000, 0x1000) + 0xff8 + skew;
      for (uint32_t i = 0; i < count; ++i) {
        queue.PutEntry(table, i, EchoQueue::Direct(buffers[i], i + 1 < count, i + 1));
      }
      queue.PutDescriptor(3, {table, 16 * count, kDescriptorIndirect, 0});
      queue.MakeAvailable(3);
      queue.Notify();
      ASSERT_TRUE(queue.PopUsed()) << count;
      ASSERT_TRUE(Echoed(m, exchange)) << count;
    }
  }
}

// Adds one exchange, lets the device serve it, and says whether that interrupted.
bool Interrupts(EchoMachine& m, EchoQueue& queue, int count = 1) {
  for (int i = 0; i < count; ++i) queue.Add(MakeExchange(m, 1).buffers());
  queue.Notify();
  EXPECT_TRUE(m.Pump());
  for (int i = 0; i < count; ++i) EXPECT_TRUE(queue.PopUsed());
  const bool raised = m.Read(kInterruptStatus) != 0;
  m.Write(kInterruptAck, 3);
  return raised;
}

TEST(SplitQueue, SPLIT_20_SPLIT_21_avail_flags_without_event_idx) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  queue.SetUsedEvent(1000);  // has no meaning
  EXPECT_TRUE(Interrupts(m, queue));
  queue.SetAvailFlags(kAvailNoInterrupt);
  EXPECT_FALSE(Interrupts(m, queue));
  EXPECT_FALSE(Interrupts(m, queue, 4));
  queue.SetAvailFlags(0);
  EXPECT_TRUE(Interrupts(m, queue));
}

TEST(SplitQueue, SPLIT_22_SPLIT_23_used_event_batches_and_wrap) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 64);
  queue.SetAvailFlags(kAvailNoInterrupt);  // bit 0 is ignored
  const auto run = [&](int count) { return Interrupts(m, queue, count); };
  queue.SetUsedEvent(0);
  EXPECT_TRUE(run(1));   // used 0 -> 1 passes 0
  EXPECT_FALSE(run(5));  // 1 -> 6
  queue.SetUsedEvent(8);
  EXPECT_FALSE(run(2));  // 6 -> 8: reaches, not past
  EXPECT_TRUE(run(1));   // 8 -> 9
  queue.SetUsedEvent(12);
  EXPECT_TRUE(run(10));  // 9 -> 19: in the middle of a batch
  EXPECT_FALSE(run(10));
  // Across 65535 -> 0.
  while (queue.avail_index < 65530) {
    ASSERT_FALSE(run(static_cast<int>(std::min(20, 65530 - queue.avail_index))));
  }
  queue.SetUsedEvent(1);
  EXPECT_FALSE(run(6));  // 65530 -> 0
  EXPECT_FALSE(run(1));  // 0 -> 1
  EXPECT_TRUE(run(1));   // 1 -> 2
  queue.SetUsedEvent(1);
  EXPECT_FALSE(run(1));
}

TEST(SplitQueue, SPLIT_24_used_event_0_first_and_65537th) {
  EchoMachine m;
  EchoQueue queue = Live(m, kAllFeatures, 64);
  queue.SetUsedEvent(0);
  EXPECT_TRUE(Interrupts(m, queue));
  for (int i = 0; i < 65535 / 15; ++i) ASSERT_FALSE(Interrupts(m, queue, 15));
  EXPECT_TRUE(Interrupts(m, queue));
}

TEST(SplitQueue, SPLIT_26_used_flags) {
  EchoMachine m;
  EchoQueue hinted = Live(m, kFeatureVersion1);
  uint16_t during = 77;
  m.model().after_accept = [&] { during = hinted.UsedFlags(); };
  ASSERT_TRUE(Works(m, hinted));
  EXPECT_EQ(during, kUsedNoNotify);
  EXPECT_EQ(hinted.UsedFlags(), 0);
  EchoQueue silent = Live(m, kFeatureVersion1 | kFeatureEventIdx);
  m.model().after_accept = [&] { during = silent.UsedFlags(); };
  ASSERT_TRUE(Works(m, silent));
  EXPECT_EQ(during, 0);
  EXPECT_EQ(silent.UsedFlags(), 0);
}

// With EVENT_IDX the driver notifies when avail idx moves past avail_event (2.7.10.1).
bool DriverWouldNotify(EchoQueue& queue, uint16_t old_index) {
  return static_cast<uint16_t>(queue.avail_index - queue.AvailEvent() - 1) <
         static_cast<uint16_t>(queue.avail_index - old_index);
}

TEST(SplitQueue, SPLIT_26_SPLIT_29_avail_event_suppresses_while_processing) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1 | kFeatureEventIdx);
  for (int round = 0; round < 70; ++round) {
    bool added = false;
    m.model().after_accept = [&] {
      if (added) return;
      added = true;
      const uint16_t old_index = queue.avail_index;
      queue.Add(MakeExchange(m, 1).buffers());
      EXPECT_FALSE(DriverWouldNotify(queue, old_index));  // the device will find it anyway
    };
    const uint16_t old_index = queue.avail_index;
    queue.Add(MakeExchange(m, 1).buffers());
    ASSERT_TRUE(DriverWouldNotify(queue, old_index)) << round;
    queue.Notify();
    ASSERT_TRUE(queue.PopUsed());
    ASSERT_TRUE(queue.PopUsed()) << round;
    ASSERT_EQ(queue.AvailEvent(), queue.avail_index);
  }
}

TEST(SplitQueue, SPLIT_25_SPLIT_27_buffer_added_just_before_notifications_resume) {
  for (const uint64_t features : {kFeatureVersion1, kFeatureVersion1 | kFeatureEventIdx}) {
    EchoMachine m;
    EchoQueue queue = Live(m, features);
    int late = 3;
    m.model().before_resume = [&] {
      if (late-- > 0) queue.Add(MakeExchange(m, 1).buffers());
    };
    queue.Add(MakeExchange(m, 1).buffers());
    queue.Notify();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.PopUsed()) << i;
    EXPECT_TRUE(m.line.high);
  }
}

TEST(SplitQueue, SPLIT_28_notifications_without_buffers) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  for (int i = 0; i < 1000; ++i) {
    queue.Notify();
    m.Doorbell(0);
    m.Doorbell(1);
  }
  EXPECT_EQ(queue.UsedIndex(), 0);
  EXPECT_FALSE(m.line.high);
  EXPECT_TRUE(Works(m, queue));
}

}  // namespace
}  // namespace atoll::virtio
