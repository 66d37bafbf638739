// Journals that are damaged: what is there twice is mended, and what is not makes a device that fails visibly.
#include <gtest/gtest.h>

#include "services/runtime/two_copies.h"
#include "tests/unit/virtio/echo_device.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio {
namespace {

struct Value {
  uint64_t a;
  uint64_t b;
  bool operator==(const Value&) const = default;
};

TEST(TwoCopies, a_change_is_whole_after_every_store) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  TwoCopies<Value> copies = {};
  Value value = {};
  EXPECT_EQ(copies.Load(value), Copies::kFresh);
  MemoryStates states({std::as_writable_bytes(std::span(&copies, 1))});
  ASSERT_TRUE(states.Run([&copies] {
    copies.Store({1, 2});
    copies.Store({3, 4});
  }));
  ASSERT_GT(states.size(), 12u);
  int last = 0;
  for (size_t state = 0; state < states.size(); ++state) {
    states.Restore(state);
    Value found = {};
    const Copies how = copies.Load(found);
    if (how == Copies::kFresh) {
      ASSERT_EQ(last, 0);
      continue;
    }
    ASSERT_EQ(how, Copies::kGood) << state;
    const int now = found == Value{1, 2} ? 1 : 2;
    ASSERT_TRUE(now == 1 || (found == Value{3, 4}));
    ASSERT_GE(now, last);
    last = now;
    ASSERT_EQ(copies.Load(found), Copies::kGood);
  }
  EXPECT_EQ(last, 2);
}

TEST(TwoCopies, damage_of_one_copy_is_mended_and_of_both_noticed) {
  TwoCopies<Value> good = {};
  good.Store({5, 6});
  const size_t half = sizeof(good) / 2;
  for (size_t bit = 0; bit < 8 * sizeof(good); ++bit) {
    TwoCopies<Value> copies = good;
    auto* const bytes = reinterpret_cast<uint8_t*>(&copies);
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    Value found = {};
    ASSERT_NE(copies.Load(found), Copies::kLost);
    ASSERT_EQ(found, (Value{5, 6}));
    ASSERT_EQ(std::memcmp(&copies, &good, sizeof(good)), 0);
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    bytes[(bit / 8 + half) % sizeof(good)] ^= 0x81;
    ASSERT_EQ(copies.Load(found), Copies::kLost);
  }
  // A copy of zeros is damage, too.
  TwoCopies<Value> zeros = good;
  std::memset(&zeros, 0, half);
  Value found = {};
  EXPECT_EQ(zeros.Load(found), Copies::kGood);
  EXPECT_EQ(found, (Value{5, 6}));
}

// The registers as the journal has them, changed as by somebody who knows the checks.
void Forge(EchoMachine& m, const std::function<void(Registers&)>& change) {
  Registers registers = RegistersOf(m);
  change(registers);
  m.journal().transport.registers.Store(registers);
}

bool IsFailed(EchoMachine& m) { return (m.DeviceStatus() & kStatusNeedsReset) != 0; }

TEST(VirtioJournal, CORE_06_what_makes_no_sense_is_a_device_that_fails) {
  const auto check = [](const char* what, const std::function<void(Registers&)>& change) {
    SCOPED_TRACE(what);
    EchoMachine m;
    EchoQueue queue = Live(m);
    ASSERT_TRUE(Works(m, queue));
    m.Write(kInterruptAck, 3);
    Forge(m, change);
    EXPECT_EQ(m.Restart(), JournalFound::kDamaged);
    EXPECT_EQ(m.DeviceStatus(), kStatusNeedsReset);
    EXPECT_EQ(m.Read(kInterruptStatus), kInterruptConfig);
    EXPECT_TRUE(m.line.high);
    queue.Add(MakeExchange(m).buffers());
    queue.Notify();
    EXPECT_FALSE(queue.PopUsed());
    // Again and again, until the driver resets it.
    EXPECT_EQ(m.Restart(), JournalFound::kGood);
    EXPECT_TRUE(IsFailed(m) && m.line.high);
    EXPECT_TRUE(WorksAfterReset(m));
    EXPECT_EQ(m.Restart(), JournalFound::kGood);
    EXPECT_TRUE(WorksAfterReset(m));
  };
  check("device", [](Registers& r) { r.device_id = 2; });
  check("queue count", [](Registers& r) { r.queue_count = 3; });
  check("status", [](Registers& r) { r.status |= 16; });
  check("features", [](Registers& r) { r.driver_features |= uint64_t{1} << 40; });
  check("no features accepted", [](Registers& r) { r.status &= ~kStatusFeaturesOk; });
}

TEST(VirtioJournal, damage_that_is_mended) {
  const auto check = [](const char* what, const std::function<void(EchoJournal&)>& damage) {
    SCOPED_TRACE(what);
    EchoMachine m;
    EchoQueue queue = Live(m);
    ASSERT_TRUE(Works(m, queue));
    damage(m.journal());
    EXPECT_EQ(m.Restart(), JournalFound::kRepaired);
    EXPECT_EQ(m.DeviceStatus(), kLive);
    EXPECT_TRUE(Works(m, queue));
    EXPECT_EQ(m.Restart(), JournalFound::kGood);
  };
  const auto scribble = [](auto& object, size_t offset) {
    reinterpret_cast<uint8_t*>(&object)[offset] ^= 0x5a;
  };
  check("format", [](auto& j) { j.transport.format = 77; });
  check("first registers", [&](auto& j) { scribble(j.transport.registers, 20); });
  check("second registers",
        [&](auto& j) { scribble(j.transport.registers, sizeof(j.transport.registers) - 4); });
  check("a queue's set-up", [&](auto& j) { scribble(j.queues[0].setup, 20); });
  check("cursor", [](auto& j) { j.queues[0].cursor = 0; });
  check("its backup", [](auto& j) { j.queues[0].cursor_backup ^= 1 << 16; });
}

TEST(VirtioJournal, CORE_06_damage_that_is_not_mended_fails_visibly) {
  const auto check = [](const char* what, const std::function<void(EchoJournal&)>& damage) {
    SCOPED_TRACE(what);
    EchoMachine m;
    EchoQueue queue = Live(m);
    ASSERT_TRUE(Works(m, queue));
    m.Write(kInterruptAck, 3);
    damage(m.journal());
    EXPECT_EQ(m.Restart(), JournalFound::kDamaged);
    EXPECT_TRUE(IsFailed(m));
    EXPECT_NE(m.Read(kInterruptStatus) & kInterruptConfig, 0u);
    EXPECT_TRUE(m.line.high);
    EXPECT_TRUE(WorksAfterReset(m));
    EXPECT_EQ(m.Restart(), JournalFound::kGood);
    EXPECT_TRUE(WorksAfterReset(m));
  };
  check("all zeros", [](auto& j) { std::memset(&j, 0, sizeof(j)); });
  check("registers",
        [](auto& j) { std::memset(&j.transport.registers, 0x77, sizeof(j.transport.registers)); });
  check("a queue's set-up",
        [](auto& j) { std::memset(&j.queues[0].setup, 0x77, sizeof(j.queues[0].setup)); });
  check("both cursors", [](auto& j) { j.queues[0].cursor = j.queues[0].cursor_backup = 1; });
  check("a held chain", [](auto& j) { j.device.held[0].state ^= 1; });
}

TEST(VirtioJournal, an_interrupt_status_that_is_not_known_is_an_interrupt_too_many) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  ASSERT_TRUE(Works(m, queue));
  m.Write(kInterruptAck, 3);
  m.journal().transport.interrupt_status = 0;
  EXPECT_EQ(m.Restart(), JournalFound::kGood);
  EXPECT_EQ(m.Read(kInterruptStatus), 3u);
  EXPECT_TRUE(m.line.high);
}

TEST(VirtioJournal, layouts_that_are_not_known_are_refused_and_left_alone) {
  const auto refused = [](const std::function<void(EchoMachine&)>& change) {
    EchoMachine m;
    (void)Live(m);
    change(m);
    const std::vector<std::byte> before(m.journal_bytes().begin(), m.journal_bytes().end());
    EXPECT_EQ(m.Restart(), JournalFound::kRefused);
    EXPECT_TRUE(std::ranges::equal(m.journal_bytes(), before));
  };
  refused([](EchoMachine& m) {
    Forge(m, [](Registers& r) { r.format = kJournalFamily | uint64_t{'4'} << 56; });
  });
  refused([](EchoMachine& m) { Forge(m, [](Registers& r) { ++r.device_format; }); });
  // One whose registers lie somewhere else.
  refused([](EchoMachine& m) {
    std::memset(&m.journal(), 0, sizeof(m.journal()));
    m.journal().transport.format = kJournalFamily | uint64_t{'2'} << 56;
  });
}

TEST(VirtioJournal, CORE_06_death_anywhere_while_damage_is_found_out) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  EchoMachine m(kRamBase, 1 << 14);
  EchoQueue queue = Live(m);
  ASSERT_TRUE(Works(m, queue));
  m.Write(kInterruptAck, 3);
  std::memset(&m.journal().transport.registers, 0x77, sizeof(m.journal().transport.registers));
  MemoryStates states({m.journal_bytes()});
  EchoDevice other(m.journal().device);
  FakeLine line;
  FakeMoreWork more_work;
  MmioTransport transport(other, m.memory(), m.journal().transport, m.journal().queues, line,
                          more_work);
  ASSERT_TRUE(states.Run([&transport] { (void)transport.Start({}); }));
  ASSERT_GT(states.size(), 20u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    (void)m.Restart();
    ASSERT_TRUE(IsFailed(m));
    ASSERT_EQ(m.Read(kInterruptStatus), kInterruptConfig);
    ASSERT_TRUE(m.line.high);
  }
}

TEST(VirtioJournal, a_chain_that_two_instances_died_of_ends_in_a_device_that_fails) {
  for (const bool blamed : {true, false}) {
    EchoMachine m;
    EchoQueue queue = Live(m);
    ASSERT_TRUE(Works(m, queue));
    queue.Add(MakeExchange(m).buffers());
    for (int death = 0; death < 4; ++death) {
      // The instance dies as soon as it begins with the queue.
      m.journal().transport.at_work = 1;
      EXPECT_EQ(RegistersOf(m).failing, blamed && death >= 2 ? 1u : 0u);
      m.model().before_processing = [] { throw 0; };
      const uint16_t avail = queue.avail_index;
      queue.SetAvailIndex(static_cast<uint16_t>(avail - 1));  // the successor finds nothing yet
      (void)m.Restart({.blamed = blamed});
      queue.SetAvailIndex(avail);
    }
    EXPECT_EQ(IsFailed(m), blamed);
    EXPECT_TRUE(WorksAfterReset(m));
  }
}

TEST(VirtioJournal, one_that_brings_two_instances_down_while_they_take_it_up_is_given_up) {
  EchoMachine m;
  EchoQueue queue = Live(m);
  ASSERT_TRUE(Works(m, queue));
  m.journal().transport.at_work = Suspect::kTakingUp;
  EXPECT_EQ(m.Restart({.blamed = true}), JournalFound::kGood);
  m.journal().transport.at_work = Suspect::kTakingUp;
  EXPECT_EQ(m.Restart({.blamed = true}), JournalFound::kDamaged);
  EXPECT_EQ(m.DeviceStatus(), kStatusNeedsReset);
  EXPECT_TRUE(WorksAfterReset(m));
}

}  // namespace
}  // namespace atoll::virtio
