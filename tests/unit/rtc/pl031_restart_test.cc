// PL031: the service dies after any store of any access, the access is delivered again, and the guest sees what it would
// have seen.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "services/pl031/failed.h"
#include "tests/unit/rtc/rtc_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {
namespace {

using namespace pl031;  // NOLINT: registers only

constexpr uint64_t kToken = uint64_t{3} << 48 | 77;

struct Scenario {
  const char* name;
  std::function<void(RtcMachine&)> prepare;
  Register index;
  uint32_t value;
};

const Scenario kScenarios[] = {
    {"alarm set", [](RtcMachine&) {}, kMr, kUtc + 10},
    {"alarm set to now", [](RtcMachine&) {}, kMr, kUtc},
    {"clock set", [](RtcMachine&) {}, kLr, 1000},
    {"clock set to a second before the alarm", [](RtcMachine& m) { m.Write(kMr, 1001); }, kLr,
     1000},
    {"alarm masked", [](RtcMachine& m) { m.Write(kMr, kUtc); }, kImsc, 0},
    {"alarm unmasked",
     [](RtcMachine& m) {
       m.Write(kImsc, 0);
       m.Write(kMr, kUtc);
     },
     kImsc, 1},
    {"alarm cleared", [](RtcMachine& m) { m.Write(kMr, kUtc); }, kIcr, 1},
};

void Prepare(RtcMachine& m, const Scenario& scenario) {
  m.Write(kImsc, 1);
  scenario.prepare(m);
  m.Pass(kSecond / 3);
}

// What the guest sees from here on; an alarm that it gets it clears.
std::vector<uint32_t> Observe(RtcMachine& m) {
  std::vector<uint32_t> seen;
  for (int i = 0; i < 15; ++i) {
    for (const Register index : {kDr, kMr, kLr, kImsc, kRis, kMis}) seen.push_back(m.Read(index));
    seen.push_back(m.line.level ? 1 : 0);
    if (m.line.level) m.Write(kIcr, 1);
    m.Pass(kSecond);
  }
  return seen;
}

std::vector<std::span<std::byte>> Watched(RtcMachine& m) {
  return {m.journal.span().first(sizeof(Pl031Journal))};
}

TEST(Pl031Restart, PL031_40_access_takes_effect_once_wherever_the_service_died) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const Scenario& scenario : kScenarios) {
    SCOPED_TRACE(scenario.name);
    RtcMachine reference;
    Prepare(reference, scenario);
    reference.Write(scenario.index, scenario.value, kToken);
    const std::vector<uint32_t> wanted = Observe(reference);

    RtcMachine m;
    Prepare(m, scenario);
    MemoryStates states(Watched(m));
    const uint64_t now = m.counter.ticks;
    ASSERT_TRUE(states.Run([&] { m.Write(scenario.index, scenario.value, kToken); }));
    EXPECT_GT(states.size(), 2u);
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      m.counter.ticks = now;
      m.Boot(/*utc=*/kUtc + 5);
      ASSERT_EQ(m.found, Copies::kGood) << i;
      m.Write(scenario.index, scenario.value, kToken);
      ASSERT_EQ(Observe(m), wanted) << i << " of " << states.size();
    }
  }
}

// The clock was set to a second before the alarm. It comes once, although the second ends before the call is answered.
TEST(Pl031Restart, PL031_41_alarm_comes_once_when_the_clock_was_set_before_the_death) {
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Write(kMr, 1001);
  m.Write(kLr, 1000, kToken);
  m.counter.ticks += kSecond;
  m.Boot();
  m.Write(kLr, 1000, kToken);
  EXPECT_EQ(m.Read(kDr), 1001u);
  EXPECT_TRUE(m.line.level);
  m.Write(kIcr, 1, kToken + 1);
  m.Pass(10 * kSecond);
  EXPECT_FALSE(m.line.level);
}

TEST(Pl031Restart, PL031_41_alarm_is_not_lost_wherever_the_service_died) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Write(kMr, kUtc + 10);
  m.counter.ticks += 10 * kSecond;
  MemoryStates states(Watched(m));
  ASSERT_TRUE(states.Run([&] { m.device->OnSignals(Pl031::kTimerSignal); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    m.line.level = false;
    m.Boot();
    EXPECT_TRUE(m.line.level) << i;
    m.Write(kIcr, 1);
    EXPECT_FALSE(m.line.level) << i;
  }
}

TEST(Pl031Restart, death_while_the_journal_is_made_is_not_damage) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  RtcMachine m;
  m.journal = {};
  MemoryStates states(Watched(m));
  ASSERT_TRUE(states.Run([&] { m.Boot(); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    m.Boot();
    EXPECT_TRUE(m.found == Copies::kFresh || m.found == Copies::kGood) << i;
    EXPECT_EQ(m.Read(kDr), kUtc);
  }
}

TEST(Pl031Restart, every_flipped_bit_is_repaired) {
  RtcMachine m;
  m.Write(kLr, 5000);
  m.Write(kMr, 6000);
  const AlignedMemory<4096> good = m.journal;
  for (size_t bit = 0; bit < sizeof(Pl031Journal) * 8; ++bit) {
    m.journal = good;
    m.journal.bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    m.Boot();
    EXPECT_TRUE(m.found == Copies::kRepaired || m.found == Copies::kGood) << bit;
    EXPECT_EQ(m.Read(kDr), 5000u) << bit;
    EXPECT_EQ(m.Read(kMr), 6000u) << bit;
  }
}

TEST(Pl031Restart, scribbled_journals_are_noticed_and_do_no_harm) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 3000; ++round) {
    RtcMachine m;
    m.Write(kLr, 5000);
    for (size_t at = 0; at < sizeof(Pl031Journal); at += 8) {
      const uint64_t word = random();
      std::memcpy(m.journal.bytes + at, &word, 8);
    }
    m.Boot();
    EXPECT_EQ(m.found, Copies::kLost);
    EXPECT_EQ(m.Read(kDr), kUtc);
    EXPECT_FALSE(m.line.level);
    m.Write(kLr, 100);
    EXPECT_EQ(m.Read(kDr), 100u);
    m.Boot();
    EXPECT_EQ(m.found, Copies::kGood);
    EXPECT_EQ(m.Read(kDr), 100u);
  }
}

TEST(Pl031Restart, journal_of_another_version_is_not_believed) {
  RtcMachine m;
  Pl031State other = NewPl031State({.ticks = 1, .seconds = 2});
  other.format = Pl031State::kFormat + 1;
  m.copies()->Store(other);
  m.Boot();
  EXPECT_EQ(m.found, Copies::kLost);
  EXPECT_EQ(m.Read(kDr), kUtc);
}

TEST(FailedPl031, stands_at_0_and_can_be_identified) {
  FakeLine line;
  line.level = true;
  FailedPl031 device(line);
  EXPECT_FALSE(line.level);
  for (uint64_t offset = 0; offset < 0x1004; ++offset) {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      for (const bool write : {true, false}) {
        const Result<uint64_t> value =
            device.Access({.offset = offset, .size = size, .write = write, .value = ~uint64_t{0}});
        ASSERT_TRUE(value.has_value());
        if (offset < 0xfe0 && offset != kTable.offset(kCr)) EXPECT_EQ(*value, 0u) << offset;
      }
    }
  }
  EXPECT_EQ(*device.Access({.offset = 0xfe0, .size = 4}), 0x31u);
}

}  // namespace
}  // namespace atoll
