// A third copy of registers and queues, which the service cannot write over; and queues that go on where the used ring
// ends, whatever became of the journal.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/virtio/block_machine.h"
#include "tests/unit/virtio/echo_device.h"

namespace atoll::virtio {
namespace {

void Destroy(auto& object) { std::memset(&object, 0x77, sizeof(object)); }

// Live, with a keeper since before its driver came.
EchoQueue LiveAndKept(EchoMachine& m) {
  m.has_keeper = true;
  EXPECT_EQ(m.Restart(), JournalFound::kGood);
  return Live(m);
}

TEST(KeptCopy, what_is_lost_twice_is_there_a_third_time) {
  EchoMachine m;
  EchoQueue queue = LiveAndKept(m);
  ASSERT_TRUE(Works(m, queue));
  Destroy(m.journal().transport.registers);
  EXPECT_EQ(m.Restart(), JournalFound::kRepaired);
  EXPECT_EQ(m.DeviceStatus(), kLive);
  EXPECT_TRUE(Works(m, queue));
  Destroy(m.journal().queues[0].setup);
  EXPECT_EQ(m.Restart(), JournalFound::kRepaired);
  EXPECT_TRUE(Works(m, queue));
  Destroy(m.journal().queues[0].setup);
  Destroy(m.journal().transport);
  EXPECT_EQ(m.Restart(), JournalFound::kRepaired);
  EXPECT_TRUE(Works(m, queue));
  EXPECT_EQ(m.Restart(), JournalFound::kGood);
  EXPECT_TRUE(WorksAfterReset(m));
}

// The owner has what is written over in both copies: it need not end, and its successor finds all.
TEST(KeptCopy, a_journal_that_was_written_over_is_told_again_at_the_heartbeat) {
  for (const bool whole : {false, true}) {
    EchoMachine m;
    EchoQueue queue = Live(m);
    ASSERT_TRUE(Works(m, queue));
    if (whole) {
      Destroy(m.journal().transport);
      for (auto& state : m.journal().queues) Destroy(state);
    } else {
      Destroy(m.journal().queues[0].cursor);
      Destroy(m.journal().queues[0].cursor_backup);
      Destroy(m.journal().transport.interrupt_status);
    }
    ASSERT_TRUE(m.device().IsIntact());
    EXPECT_NE(m.Restart(), JournalFound::kDamaged);
    EXPECT_EQ(m.DeviceStatus(), kLive);
    EXPECT_TRUE(Works(m, queue));
  }
}

// Whoever is wrong, two that are whole and differ are not to be reconciled.
TEST(KeptCopy, a_journal_that_says_something_else_is_damage_of_the_instance) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  ASSERT_TRUE(Works(m, queue));
  auto& state = m.journal().queues[0];
  state.cursor = state.cursor_backup = CursorWord::Pack({.avail = 7, .used = 7, .signalled = 7});
  EXPECT_FALSE(m.device().IsIntact());
}

TEST(KeptCopy, an_instance_that_died_before_its_first_store_leaves_a_fresh_journal) {
  EchoMachine m;
  m.has_keeper = true;
  for (const bool blamed : {false, true}) {
    std::ranges::fill(m.journal_bytes(), std::byte{});
    m.keeper.parts = {};
    EXPECT_EQ(m.Restart({.blamed = blamed}), JournalFound::kGood);
    EXPECT_EQ(m.DeviceStatus(), 0u);
    EchoQueue queue = Live(m);
    EXPECT_TRUE(Works(m, queue));
  }
}

TEST(KeptCopy, zeros_are_damage_where_something_was) {
  EchoMachine m;
  EchoQueue queue = LiveAndKept(m);
  ASSERT_TRUE(Works(m, queue));
  std::ranges::fill(m.journal_bytes(), std::byte{});
  EXPECT_NE(m.Restart(), JournalFound::kGood) << "a driver is there, as the keeper says";
  for (int round = 0; round < 4; ++round) {
    m.Write(kStatus, 0);
    ASSERT_EQ(m.Restart(), JournalFound::kGood);
    m.has_keeper = round != 0;  // who knows?
    m.keeper.calls_left = round == 1 ? 0 : 1 << 30;
    if (round == 2) m.keeper.parts[1][2] = 1;
    auto& transport = m.journal().transport;
    std::memset(&transport.registers, 0, sizeof(transport.registers));
    transport.format = 0;
    if (round < 3) transport.interrupt_status = 0;  // else: of an instance that had begun
    EXPECT_EQ(m.Restart(), JournalFound::kDamaged) << round;
    EXPECT_EQ(m.DeviceStatus(), kStatusNeedsReset);
    m.has_keeper = true;
    m.keeper.calls_left = 1 << 30;
    EXPECT_TRUE(WorksAfterReset(m));
  }
}

TEST(KeptCopy, a_driver_that_let_go_of_the_device_is_not_brought_back) {
  EchoMachine m;
  EchoQueue queue = LiveAndKept(m);
  ASSERT_TRUE(Works(m, queue));
  m.Write(kStatus, 0);
  Destroy(m.journal().transport.registers);
  EXPECT_EQ(m.Restart(), JournalFound::kDamaged);
  EXPECT_EQ(m.DeviceStatus(), kStatusNeedsReset);
  queue.Add(MakeExchange(m).buffers());
  queue.Notify();
  EXPECT_FALSE(queue.PopUsed());
  EXPECT_TRUE(WorksAfterReset(m));
}

TEST(KeptCopy, nothing_of_a_change_that_was_cut_short_counts) {
  EchoMachine m;
  (void)LiveAndKept(m);
  const auto old = m.keeper.parts;
  EchoQueue queue = Live(m, kAllFeatures, 32);  // elsewhere
  ASSERT_TRUE(Works(m, queue));
  const auto now = m.keeper.parts;
  size_t differ = 0;
  for (size_t cut = 0; cut < now.size(); ++cut) {
    differ += old[cut] != now[cut];
    m.keeper.parts = now;
    std::copy(old.begin() + static_cast<ptrdiff_t>(cut), old.end(),
              m.keeper.parts.begin() + static_cast<ptrdiff_t>(cut));
    if (m.keeper.parts == now || m.keeper.parts == old) continue;
    Destroy(m.journal().transport.registers);
    ASSERT_EQ(m.Restart(), JournalFound::kDamaged) << cut;
  }
  EXPECT_GE(differ, 2u);
}

TEST(KeptCopy, garbage_and_silence_of_the_keeper_are_nothing_kept) {
  std::mt19937_64 random(3);
  EchoMachine m;
  (void)LiveAndKept(m);
  for (int round = 0; round < 200; ++round) {
    for (auto& part : m.keeper.parts) {
      for (uint64_t& word : part) word = random() >> random() % 64;
    }
    if (round % 4 == 0) m.keeper.parts = {};
    m.keeper.calls_left = round % 5 == 0 ? 0 : 1 << 30;
    Destroy(m.journal().transport.registers);
    ASSERT_EQ(m.Restart(), JournalFound::kDamaged);
    ASSERT_TRUE(WorksAfterReset(m));
  }
}

}  // namespace
}  // namespace atoll::virtio

namespace atoll::virtio_blk {
namespace {

using virtio::JournalFound;

constexpr uint64_t kSectors = 64;
constexpr uint32_t kWrites = 6;

// A memory disk's journal: whatever is written over it, a driver sees each request end once and well.
TEST(BlockJournalInOrder, BLK_55_no_damage_is_seen_by_the_driver) {
  std::mt19937_64 random(21);
  int repaired = 0;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    TestDisk disk(kSectors * kSectorBytes);
    BlockMachine m(disk, 2, "disk0", virtio::kRamBase, 1 << 17);
    m.has_keeper = true;
    ASSERT_EQ(m.Restart(), JournalFound::kGood);
    BlockQueue queue = m.Live(kBlockFeatures, 32);
    for (uint64_t left = random() % 20; left != 0; --left) {
      ASSERT_EQ(Write(m, queue, left, m.Allocate(512), 512), Done(kStatusOk, 1));
    }
    // One instance after the other finds requests that nobody has told the device of.
    for (int death = 0; death < 3; ++death) {
      uint64_t buffer[kWrites], status[kWrites];
      for (uint32_t i = 0; i < kWrites; ++i) {
        buffer[i] = m.Allocate(512);
        status[i] = m.Allocate(1);
        m.Fill(buffer[i], 512, static_cast<uint8_t>(random()));
        m.Put(status[i], kNoStatus);
        queue.Add({{m.Header(kOut, 10 + i % 3), sizeof(RequestHeader), false},
                   {buffer[i], 512, false},
                   {status[i], 1, true}});
      }
      queue.SetUsedEvent(queue.last_used);
      auto* const words = reinterpret_cast<uint64_t*>(m.journal_bytes().data());
      const uint64_t count = m.journal_bytes().size() / 8;
      const uint64_t near = round % 2 == 0 ? count : 200;
      const uint64_t hits = round % 16 == 0 ? count : 1 + random() % 64;
      for (uint64_t i = 0; i < hits; ++i) {
        words[hits == count ? i : random() % near] = random();
      }
      const JournalFound found = m.Restart();
      ASSERT_TRUE(found == JournalFound::kGood || found == JournalFound::kRepaired);
      repaired += found == JournalFound::kRepaired;
      ASSERT_TRUE(m.Pump());
      for (uint32_t i = 0; i < kWrites; ++i) {
        ASSERT_TRUE(queue.PopUsed().has_value()) << i;
        ASSERT_EQ(m.Get<uint8_t>(status[i]), kStatusOk) << i;
      }
      ASSERT_FALSE(queue.PopUsed().has_value());
      ASSERT_TRUE(m.line.high);
      for (uint32_t i = 0; i < 3; ++i) {
        ASSERT_TRUE(Equal(m, buffer[kWrites - 3 + i],
                          std::span(disk.content).subspan((10 + i) * kSectorBytes, 512)));
      }
      m.Write(virtio::kInterruptAck, 3);
    }
    ASSERT_EQ(m.DeviceStatus(), virtio::kLive);
  }
  EXPECT_GT(repaired, 200);
}

}  // namespace
}  // namespace atoll::virtio_blk
