// SP805: registers, the count, resets, deaths of the service.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "services/sp805/device.h"
#include "tests/unit/device/register_machine.h"

namespace atoll {
namespace {

constexpr uint64_t kSecond = FakeCounter::kFrequency;
constexpr uint32_t kInten = Sp805::kInten, kResen = Sp805::kResen, kUnlock = Sp805::kUnlock;
constexpr uint32_t kOn = kInten | kResen;
constexpr uint32_t kAllBits = ~0u;
constexpr const char *kLoad = "WDOGLOAD", *kValue = "WDOGVALUE", *kControl = "WDOGCONTROL",
                     *kIntClr = "WDOGINTCLR", *kRis = "WDOGRIS", *kMis = "WDOGMIS",
                     *kLock = "WDOGLOCK";

struct Watchdog : RegisterMachine<Sp805> {
  // Counts `clocks` of 24 MHz, then interrupts, and then resets.
  void Set(uint32_t clocks, uint32_t control = kOn) {
    Write(kLoad, clocks);
    Write(kControl, control);
  }
  bool believed() { return device().found() != Copies::kLost; }
  // What was asked for once may be asked for again until the VM is gone.
  int resets() const { return ports.vm.resets != 0 ? 1 : 0; }
};

constexpr uint64_t kToken = uint64_t{7} << 48 | 1000;
constexpr size_t kJournalBytes = Sp805::Journal::kBytes;
constexpr uint32_t kOneSecond = kGuestClockHertz;

TEST(Sp805, values_after_a_reset) {
  Watchdog m;
  const uint32_t expected[] = {kAllBits, kAllBits, 0, 0,    0,    0, 0,   0x05,
                               0x18,     0x14,     0, 0x0d, 0xf0, 5, 0xb1};
  for (size_t i = 0; i < std::size(expected); ++i) {
    const auto& entry = Sp805::kRegisters.entries[i];
    EXPECT_EQ(m.Load(entry.offset, 4), expected[i]) << entry.name;
  }
  m.Pass(1000 * kSecond);
  EXPECT_EQ(m.Read(kValue), kAllBits);  // it does not run
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
}

TEST(Sp805, each_offset_by_each_width) {
  Watchdog m;
  m.Write(kLoad, 0x1234'5678);
  for (uint64_t offset = 0; offset < 0x1008; ++offset) {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      const bool place = offset < 0x18 || offset == 0xc00 || (offset >= 0xfe0 && offset < 0x1000);
      if (place && offset % 4 == 0 && size <= 4) continue;
      m.Store(offset, size, 0);
      EXPECT_EQ(m.Load(offset, size), 0u) << offset << " " << size;
    }
  }
  EXPECT_EQ(m.Load(0, 1), 0x78u);
  EXPECT_EQ(m.Load(0, 2), 0x5678u);
  EXPECT_EQ(m.Load(0, 4), 0x1234'5678u);
  EXPECT_EQ(m.Load(0, 8), 0u);
  m.Store(0, 2, 0xabcd'ef);
  EXPECT_EQ(m.Read(kLoad), 0xcdefu);
  EXPECT_EQ(m.resets(), 0);
}

// Else the guest would be reset as soon as it goes on.
TEST(Sp805, stands_still_while_the_vm_is_paused) {
  Watchdog m;
  m.Set(10 * kOneSecond, kOn);
  m.Pass(4 * kSecond);
  m.Pause();
  m.Pass(1000 * kSecond);
  m.Resume();
  EXPECT_EQ(m.Read(kRis), 0u);
  EXPECT_EQ(m.Read(kValue), 6 * kOneSecond);
  m.Pass(5 * kSecond);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Pass(2 * kSecond);
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.resets(), 0);
}

TEST(Sp805, read_only_registers_and_unused_bits) {
  Watchdog m;
  for (const char* index : {kValue, kRis, kMis, "WDOGPERIPHID0", "WDOGPCELLID3"}) {
    const uint32_t before = m.Read(index);
    m.Write(index, ~before);
    EXPECT_EQ(m.Read(index), before) << index;
  }
  m.Write(kControl, 0xffff'fffc);
  EXPECT_EQ(m.Read(kControl), 0u);
  m.Write(kControl, kResen);
  EXPECT_EQ(m.Read(kControl), kResen);
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);  // INTEN alone makes it count
}

TEST(Sp805, the_lock_keeps_all_else_as_it_is) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Write(kLock, 1);
  EXPECT_EQ(m.Read(kLock), 1u);
  m.Write(kLoad, 5);
  m.Write(kControl, 0);
  EXPECT_EQ(m.Read(kLoad), kOneSecond);
  EXPECT_EQ(m.Read(kControl), kOn);
  m.Pass(kSecond);
  ASSERT_TRUE(m.ports.line.level);
  m.Write(kIntClr, 1);
  EXPECT_TRUE(m.ports.line.level);
  for (const uint32_t wrong : {0u, kUnlock ^ 1, 0xffff'ffffu}) {
    m.Write(kLock, wrong);
    EXPECT_EQ(m.Read(kLock), 1u);
  }
  m.Store(0xc00, 2, kUnlock);  // a narrow store is another value
  EXPECT_EQ(m.Read(kLock), 1u);
  m.Write(kLock, kUnlock);
  EXPECT_EQ(m.Read(kLock), 0u);
  m.Write(kIntClr, 0);  // any value
  EXPECT_FALSE(m.ports.line.level);
}

TEST(Sp805, counts_with_the_guests_clock) {
  Watchdog m;
  m.Set(kOneSecond, kInten);
  EXPECT_EQ(m.Read(kValue), kOneSecond);
  m.Pass(kSecond / 4);
  EXPECT_EQ(m.Read(kValue), kOneSecond / 4 * 3);
  m.Write(kLoad, 1000);  // restarts the count at once
  EXPECT_EQ(m.Read(kValue), 1000u);
  m.Write(kLoad, kOneSecond);
  m.Pass(kSecond / 2);
  m.Write(kControl, 0);  // holds it
  m.Pass(kSecond);
  EXPECT_EQ(m.Read(kValue), kOneSecond / 2);
  m.Write(kControl, kInten);  // begins anew
  EXPECT_EQ(m.Read(kValue), kOneSecond);
  m.Pass(kSecond / 4);
  m.Write(kControl, kOn);  // goes on
  EXPECT_EQ(m.Read(kValue), kOneSecond / 4 * 3);
}

TEST(Sp805, a_guest_that_feeds_it_lives) {
  Watchdog m;
  m.Set(kOneSecond);
  for (int i = 0; i < 100; ++i) {
    m.Pass(kSecond * 3 / 4);
    ASSERT_FALSE(m.ports.line.level);
    if (i % 2 == 0) m.Write(kLoad, kOneSecond);
    m.Write(kIntClr, 1);
  }
  EXPECT_EQ(m.resets(), 0);
}

TEST(Sp805, first_an_interrupt_then_a_reset) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(kSecond - 1);
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(1);
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.Read(kMis), 1u);
  m.Pass(kSecond - 1);
  EXPECT_EQ(m.resets(), 0);
  m.Pass(100);
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, the_interrupt_cleared_in_time) {
  Watchdog m;
  m.Set(kOneSecond);
  for (int i = 0; i < 10; ++i) {
    m.Pass(kSecond + kSecond / 2);
    ASSERT_TRUE(m.ports.line.level);
    m.Write(kIntClr, 0xffff'ffff);
    ASSERT_FALSE(m.ports.line.level);
    EXPECT_EQ(m.Read(kValue), kOneSecond);
  }
  EXPECT_EQ(m.resets(), 0);
}

TEST(Sp805, without_resen_the_interrupt_is_all) {
  Watchdog m;
  m.Set(kOneSecond, kInten);
  m.Pass(10 * kSecond + kSecond / 2);
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
  EXPECT_NEAR(m.Read(kValue), kOneSecond / 2, 20);  // begun anew ten times
  EXPECT_EQ(m.resets(), 0);
  m.Write(kControl, kOn);  // from now on: at its next zero
  m.Pass(kSecond / 2 - 100);
  EXPECT_EQ(m.resets(), 0);
  m.Pass(kSecond);
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, disabled_it_neither_interrupts_nor_resets) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(kSecond);
  ASSERT_TRUE(m.ports.line.level);
  m.Write(kControl, kResen);
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.Read(kMis), 0u);
  m.Pass(100 * kSecond);
  EXPECT_EQ(m.resets(), 0);
  m.Write(kControl, kOn);
  EXPECT_TRUE(m.ports.line.level);
}

// As Linux's driver restarts a machine.
TEST(Sp805, a_load_of_0_resets_at_once) {
  Watchdog m;
  m.Set(0);
  m.Pass(10);
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, the_longest_time) {
  Watchdog m;
  m.Set(kAllBits);
  m.Pass(178 * kSecond);  // 2^32 clocks are 178.9 s
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(kSecond);
  EXPECT_TRUE(m.ports.line.level);
  // Near the end of the counter nothing wraps.
  Watchdog end;
  end.ports.counter.ticks = ~uint64_t{0} - 1000 * kSecond;
  end.Set(kAllBits);
  end.Pass(400 * kSecond);
  EXPECT_EQ(end.resets(), 1);
}

TEST(Sp805, a_restart_keeps_everything) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(kSecond + kSecond / 4);
  m.Write(kLock, 0);
  m.ports.line.level = false;  // a new instance cannot know what the line is
  m.Restart();
  EXPECT_TRUE(m.believed());
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Read(kLoad), kOneSecond);
  EXPECT_NEAR(m.Read(kValue), kOneSecond / 4 * 3, 20);
  EXPECT_EQ(m.Read(kControl), kOn);
  EXPECT_EQ(m.Read(kLock), 1u);
  m.Pass(kSecond / 4 * 3 + 100);
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, what_fell_due_while_nobody_ran) {
  Watchdog m;
  m.Set(kOneSecond);
  m.ports.counter.ticks += 60 * kSecond;  // both zeros
  m.Restart();
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(kSecond / 100);
  EXPECT_TRUE(m.ports.line.level);  // of which the guest sees the first
  EXPECT_EQ(m.resets(), 0);
  m.ports.counter.ticks += kSecond;
  m.Restart();
  EXPECT_EQ(m.resets(), 0);
  m.Pass(kSecond / 100);
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, an_access_that_waited_for_the_new_instance_feeds_it) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(kSecond);
  m.ports.counter.ticks += 2 * kSecond;
  m.Restart();
  m.Write(kIntClr, 1);
  m.Pass(kSecond - 1);
  EXPECT_EQ(m.resets(), 0);
  EXPECT_FALSE(m.ports.line.level);
}

// One that dies before the kernel call, or whose VM is not gone yet, does it again.
TEST(Sp805, a_reset_that_was_not_seen_to) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(2 * kSecond + 100);
  ASSERT_EQ(m.resets(), 1);
  m.ports.vm.resets = 0;
  m.Restart();
  EXPECT_EQ(m.resets(), 1);
}

TEST(Sp805, a_fresh_vm_has_one_that_is_off) {
  Watchdog m;
  m.Set(kOneSecond);
  m.Pass(kSecond);
  std::ranges::fill(m.journal(), std::byte{0});
  m.Restart();
  EXPECT_TRUE(m.believed());
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Read(kControl), 0u);
  EXPECT_EQ(m.Read(kLoad), kAllBits);
}

TEST(Sp805, journals_that_cannot_be_believed) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 1000; ++round) {
    Watchdog m;
    m.Set(0);
    for (size_t at = 0; at < kJournalBytes; at += 8) {
      const uint64_t word = random();
      std::memcpy(m.journal().data() + at, &word, 8);
    }
    m.Restart();
    EXPECT_FALSE(m.believed());
    EXPECT_EQ(m.Read(kControl), 0u);
    m.Pass(kSecond);
    EXPECT_EQ(m.resets(), 0);
    m.Set(kOneSecond);
    m.Restart();
    EXPECT_TRUE(m.believed());
    EXPECT_EQ(m.Read(kControl), kOn);
  }
}

// ---- deaths after each store -----------------------------------------------------------------------------------

struct Scenario {
  const char* name;
  std::function<void(Watchdog&)> prepare;
  const char* index;
  uint32_t value;
};

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      {"first load", [](auto&) {}, kLoad, kOneSecond},
      {"load while it counts", [](auto& m) { m.Set(kOneSecond); }, kLoad, 2 * kOneSecond},
      {"switched on", [](auto& m) { m.Write(kLoad, kOneSecond); }, kControl, kOn},
      {"switched off", [](auto& m) { m.Set(kOneSecond); }, kControl, 0},
      {"fed", [](auto& m) { m.Set(kOneSecond); }, kIntClr, 1},
      {"cleared",
       [](auto& m) {
         m.Set(kOneSecond);
         m.Pass(kSecond + kSecond / 2);
       },
       kIntClr, 1},
      {"locked", [](auto& m) { m.Set(kOneSecond); }, kLock, 1},
      {"unlocked", [](auto& m) { m.Write(kLock, 1); }, kLock, kUnlock},
  };
  return scenarios;
}

// Whatever a guest can tell.
std::vector<uint64_t> Observe(Watchdog& m) {
  std::vector<uint64_t> seen;
  for (const char* name : {kLoad, kControl, kRis, kMis, kLock}) seen.push_back(m.Read(name));
  seen.push_back(m.ports.line.level);
  seen.push_back(m.Read(kValue) / 4);  // a clock or two is rounded
  m.Pass(kSecond - 1000);
  seen.push_back(m.ports.line.level);
  seen.push_back(m.resets());
  m.Pass(4 * kSecond);
  seen.push_back(m.resets());
  return seen;
}

TEST(Sp805, dies_after_each_store_of_an_access) {
  if (!MemoryStates::kSupported) GTEST_SKIP() << "needs single steps of x86-64";
  for (const Scenario& scenario : Scenarios()) {
    const auto access = [&](Watchdog& m) {
      const auto& entries = Sp805::kRegisters.entries;
      const auto entry = std::ranges::find(entries, std::string_view(scenario.index),
                                           [](const auto& e) { return std::string_view(e.name); });
      (void)m.device().Access({.offset = entry->offset,
                               .size = 4,
                               .write = true,
                               .value = scenario.value,
                               .token = kToken});
    };
    Watchdog expected;
    scenario.prepare(expected);
    access(expected);
    const std::vector<uint64_t> outcome = Observe(expected);

    Watchdog m;
    scenario.prepare(m);
    MemoryStates states({m.journal().first(kJournalBytes)}, 300);
    ASSERT_TRUE(states.Run([&] { access(m); }));
    ASSERT_GT(states.size(), 2u);
    const uint64_t ticks = m.ports.counter.ticks;
    for (size_t i = 0; i < states.size(); ++i) {
      m.ports.counter.ticks = ticks;
      m.ports.vm.resets = 0;
      states.Restore(i);
      m.Restart();
      ASSERT_TRUE(m.believed()) << scenario.name << " " << i;
      access(m);  // the kernel delivers it again
      ASSERT_EQ(Observe(m), outcome) << scenario.name << ", state " << i << " of " << states.size();
    }
  }
}

TEST(Sp805, dies_after_each_store_of_an_expiry) {
  if (!MemoryStates::kSupported) GTEST_SKIP() << "needs single steps of x86-64";
  Watchdog m;
  m.Set(kOneSecond);
  m.ports.counter.ticks += kSecond;
  MemoryStates states({m.journal().first(kJournalBytes)}, 300);
  ASSERT_TRUE(states.Run([&] { m.device().OnSignals(FakeSurroundings::kTimerSignal); }));
  const uint64_t ticks = m.ports.counter.ticks;
  for (size_t i = 0; i < states.size(); ++i) {
    m.ports.counter.ticks = ticks;
    m.ports.vm.resets = 0;
    states.Restore(i);
    m.Restart();
    m.Pass(kSecond / 2);
    ASSERT_TRUE(m.ports.line.level) << i;
    EXPECT_EQ(m.resets(), 0);
    m.Pass(kSecond);
    EXPECT_EQ(m.resets(), 1) << i;
  }
}

}  // namespace
}  // namespace atoll
