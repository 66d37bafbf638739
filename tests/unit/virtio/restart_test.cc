// The service dies, a new instance takes over the journal, and the driver notices nothing.
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio {
namespace {

constexpr uint64_t kSmallRam = 1 << 16;

TEST(VirtioRestart, CORE_30_registers_are_as_the_driver_knew_them) {
  EchoMachine m;
  EchoQueue queue = Live(m, kFeatureVersion1);
  ASSERT_TRUE(Works(m, queue));
  m.device().ConfigChanged();
  m.Store(kConfig + kModeOffset, 1, 5);
  m.Write(kDeviceFeaturesSel, 1);
  m.Write(kQueueSel, 1);
  std::vector<uint64_t> before;
  for (uint32_t offset = 0; offset < kConfig + 32; offset += 4) before.push_back(m.Read(offset));
  const int rises = m.line.rises;
  m.line.high = false;  // whatever the line was, the new instance drives it
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  for (uint32_t offset = 0; offset < kConfig + 32; offset += 4) {
    EXPECT_EQ(m.Read(offset), before[offset / 4]) << std::hex << offset;
  }
  EXPECT_TRUE(m.line.high);
  EXPECT_EQ(m.line.rises, rises + 1);
  m.Write(kInterruptAck, 3);
  EXPECT_FALSE(m.line.high);
  EXPECT_TRUE(Works(m, queue));
}

TEST(VirtioRestart, CORE_30_in_every_state_of_initialisation) {
  EchoMachine m;
  const auto again = [&m] { ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood); };
  for (int round = 0; round < 3; ++round) {
    m.Write(kStatus, 0);
    again();
    m.Write(kStatus, kStatusAcknowledge);
    again();
    m.Write(kStatus, kFound);
    m.Write(kDriverFeaturesSel, 1);
    again();
    m.Write(kDriverFeatures, kAllFeatures >> 32);
    m.Write(kDriverFeaturesSel, 0);
    m.Write(kDriverFeatures, kAllFeatures);
    again();
    m.Write(kStatus, kFound | kStatusFeaturesOk);
    again();
    ASSERT_EQ(m.DeviceStatus(), kFound | kStatusFeaturesOk);
    EchoQueue queue(m, 0, 16);
    m.Write(kQueueNum, 16);
    m.Write(kQueueDescLow, queue.descriptors);
    again();
    m.Write(kQueueDriverLow, queue.avail);
    m.Write(kQueueDeviceLow, queue.used);
    again();
    m.Write(kQueueReady, 1);
    again();
    ASSERT_EQ(m.Read(kQueueReady), 1u);
    m.Write(kStatus, kLive);
    again();
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(Works(m, queue));
      again();
    }
  }
}

TEST(VirtioRestart, SPLIT_35_index_0_and_wrap_are_taken_up_right) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  // Made available while nobody listens, the very first buffer included.
  const Exchange first = MakeExchange(m);
  queue.Add(first.buffers());
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  EXPECT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, first));
  const Exchange exchange = MakeExchange(m);
  for (int i = 0; i < 65536 + 40; ++i) {
    queue.Add(exchange.buffers());
    if (i % 11 == 0 || i > 65500) {
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
    } else {
      queue.Notify();
    }
    ASSERT_TRUE(queue.PopUsed()) << i;
    ASSERT_FALSE(queue.PopUsed()) << i;
  }
}

TEST(VirtioRestart, HOSTILE_18_SPLIT_15_accepted_chain_is_not_parsed_again) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  m.model().after_accept = [&] {
    m.Fill(queue.descriptors, DescriptorBytes(16), 0xff);
    throw 0;
  };
  EXPECT_THROW(queue.Notify(), int);
  EXPECT_FALSE(queue.PopUsed());
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  ASSERT_TRUE(queue.PopUsed());
  EXPECT_TRUE(Echoed(m, exchange));
  EXPECT_EQ(m.model().executed, 1);
}

TEST(VirtioRestart, CORE_31_death_anywhere_in_a_reset) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  EchoMachine m(kRamBase, kSmallRam);
  EchoQueue queue = Live(m, kFeatureVersion1);
  ASSERT_TRUE(Works(m, queue));
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());  // not notified of: stays if the reset has begun
  MemoryStates states({m.ram(), m.journal_bytes()});
  ASSERT_TRUE(states.Run([&m] { m.Write(kStatus, 0); }));
  ASSERT_GT(states.size(), 10u);
  for (size_t i = 0; i < states.size(); ++i) {
    SCOPED_TRACE(i);
    states.Restore(i);
    const Registers found = RegistersOf(m);
    const bool begun = found.resetting != 0 || found.status == 0;
    ASSERT_TRUE(begun || i < states.size() / 4);
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
    ASSERT_EQ(Echoed(m, exchange), !begun);
    m.Write(kStatus, 0);  // the kernel redelivers the store
    ASSERT_EQ(m.DeviceStatus(), 0u);
    ASSERT_FALSE(m.line.high);
    const std::vector<std::byte> before(m.ram().begin(), m.ram().end());
    m.Doorbell(0);
    ASSERT_TRUE(std::ranges::equal(m.ram(), before));
    m.Fill(queue.avail, AvailBytes(16), 0);
    m.Fill(queue.used, UsedBytes(16), 0);
    queue.avail_index = queue.last_used = 0;
    ASSERT_TRUE(Negotiate(m, kAllFeatures));
    queue.SetUp();
    m.Write(kStatus, kLive);
    queue.Add(exchange.buffers());
    queue.Notify();
    ASSERT_TRUE(queue.PopUsed());
  }
}

TEST(VirtioRestart, SPLIT_15_SPLIT_35_death_anywhere_in_a_notification) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  constexpr uint16_t kCount = 3;
  for (const uint64_t features : {kFeatureVersion1, kAllFeatures}) {
    EchoMachine m(kRamBase, kSmallRam);
    EchoQueue queue = Live(m, features);
    std::vector<Exchange> exchanges;
    for (int i = 0; i < kCount; ++i) {
      exchanges.push_back(MakeExchange(m, 4));
      queue.Add(exchanges.back().buffers());
    }
    MemoryStates states({m.ram(), m.journal_bytes()});
    ASSERT_TRUE(states.Run([&m] { m.Doorbell(0); }));
    ASSERT_GT(states.size(), 30u);
    for (size_t state = 0; state < states.size(); ++state) {
      SCOPED_TRACE(state);
      states.Restore(state);
      queue.last_used = 0;
      // What the driver saw as used stays as it is: its buffers may serve something else by now.
      const uint16_t seen = queue.UsedIndex();
      for (uint16_t i = 0; i < seen; ++i) {
        ASSERT_TRUE(Echoed(m, exchanges[i]));
        m.Fill(exchanges[i].in, 4, 0xee);
      }
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
      ASSERT_TRUE(m.Pump());
      ASSERT_EQ(queue.UsedIndex(), kCount);
      for (uint32_t i = 0; i < kCount; ++i) {
        const auto element = queue.PopUsed();
        ASSERT_TRUE(element);
        ASSERT_EQ(element->id, 2 * i);
        ASSERT_EQ(element->length, 4u);
        if (i < seen) {
          ASSERT_EQ(m.Get<uint32_t>(exchanges[i].in), 0xeeeeeeee);
        } else {
          ASSERT_TRUE(Echoed(m, exchanges[i]));
        }
      }
      ASSERT_TRUE(m.line.high);  // the interrupt is not lost either
      ASSERT_EQ(queue.UsedFlags(), 0);
      queue.Add(exchanges[0].buffers());
      queue.Notify();
      ASSERT_TRUE(queue.PopUsed());
      queue.SetAvailIndex(kCount);  // as before, for the next state
    }
  }
}

TEST(VirtioRestart, journal_memory_is_checked) {
  AlignedBytes memory(sizeof(EchoJournal));
  EXPECT_TRUE(JournalIn<EchoJournal>(memory.span()));
  EXPECT_EQ(JournalIn<EchoJournal>(memory.span().first(100)).error(), Status::kResourceExhausted);
  AlignedBytes larger(sizeof(EchoJournal) + 8);
  EXPECT_EQ(JournalIn<EchoJournal>(larger.span().subspan(1)).error(), Status::kInvalidArgument);
}

}  // namespace
}  // namespace atoll::virtio
