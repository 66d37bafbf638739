// PL061: registers, interrupts, the power button, deaths of the service.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "services/pl061/device.h"
#include "tests/unit/device/register_machine.h"

namespace atoll {
namespace {

constexpr uint64_t kSecond = FakeCounter::kFrequency;
constexpr uint32_t kButton = Pl061::kButton;
constexpr uint64_t kAllPins = 0x3fc;  // offset in GPIODATA
constexpr uint64_t kToken = uint64_t{7} << 48 | 1000;
constexpr size_t kJournalBytes = Pl061::Journal::kBytes;
constexpr const char *kDir = "GPIODIR", *kIs = "GPIOIS", *kIbe = "GPIOIBE", *kIev = "GPIOIEV",
                     *kIe = "GPIOIE", *kRis = "GPIORIS", *kMis = "GPIOMIS", *kIc = "GPIOIC",
                     *kAfsel = "GPIOAFSEL";

uint64_t OffsetOf(std::string_view name) {
  return std::ranges::find(Pl061::kRegisters.entries, name,
                           [](const auto& e) { return std::string_view(e.name); })
      ->offset;
}

struct Pins : RegisterMachine<Pl061> {
  // The button's pin as Linux's gpio-keys has it.
  void WatchBothEdges() {
    Write(kIbe, kButton);
    Write(kIe, kButton);
  }
  void Press() { device().OnSignals(pl061_manifest::kPowerSignal); }
  bool believed() { return device().found() != Copies::kLost; }
  // An access as the kernel delivers it, perhaps not for the first time.
  void Deliver(uint64_t offset, uint64_t value) {
    (void)device().Access(
        {.offset = offset, .size = 4, .write = true, .value = value, .token = kToken});
  }
};

TEST(Pl061, values_after_a_reset) {
  Pins m;
  for (const char* name : {kDir, kIs, kIbe, kIev, kIe, kRis, kMis, kIc, kAfsel}) {
    EXPECT_EQ(m.Read(name), 0u) << name;
  }
  EXPECT_EQ(m.Load(kAllPins, 4), 0u);
  const uint32_t ids[] = {0x61, 0x10, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1};
  for (uint64_t i = 0; i < 8; ++i) {
    for (const uint32_t size : {1u, 2u, 4u}) EXPECT_EQ(m.Load(0xfe0 + 4 * i, size), ids[i]);
  }
}

TEST(Pl061, offsets_and_widths_that_reach_nothing) {
  Pins m;
  m.Write(kDir, 0xff);
  m.Store(kAllPins, 4, 0xff);
  for (uint64_t offset = 0; offset < 0x1008; ++offset) {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      const bool place =
          offset % 4 == 0 && (offset <= OffsetOf(kAfsel) || (offset >= 0xfe0 && offset < 0x1000));
      if (place && size <= 4) continue;
      m.Store(offset, size, 0);
      EXPECT_EQ(m.Load(offset, size), 0u) << offset << " " << size;
    }
  }
  EXPECT_EQ(m.Load(kAllPins, 4), 0xffu);
  EXPECT_EQ(m.Read(kDir), 0xffu);
  EXPECT_EQ(m.Load(~uint64_t{0}, 4), 0u);
}

TEST(Pl061, registers_have_eight_bits) {
  Pins m;
  for (const char* index : {kDir, kIs, kIbe, kIev, kIe, kAfsel}) {
    m.Write(index, 0xffff'ffa5);
    EXPECT_EQ(m.Read(index), 0xa5u);
    m.Store(OffsetOf(index), 2, 0x1ff);
    EXPECT_EQ(m.Load(OffsetOf(index), 1), 0xffu);
    m.Write(index, 0);
  }
  for (const char* index : {kRis, kMis, "GPIOPeriphID0", "GPIOPCellID3"}) {
    const uint32_t before = m.Read(index);
    m.Write(index, ~before);
    EXPECT_EQ(m.Read(index), before);
  }
  EXPECT_EQ(m.Read(kIc), 0u);
}

TEST(Pl061, the_offset_says_which_pins) {
  Pins m;
  m.Write(kDir, 0xff);
  for (uint64_t mask = 0; mask < 256; ++mask) {
    m.Store(kAllPins, 4, 0x5a);
    m.Store(mask * 4, 4, 0xa5);
    EXPECT_EQ(m.Load(kAllPins, 4), (0x5a & ~mask) | (0xa5 & mask));
    EXPECT_EQ(m.Load(mask * 4, 4), 0xa5 & mask);
    EXPECT_EQ(m.Load(mask * 4, 1), 0xa5 & mask);
  }
}

TEST(Pl061, stores_change_outputs_only) {
  Pins m;
  m.Write(kDir, 0x0f);
  m.Store(kAllPins, 4, 0xff);
  EXPECT_EQ(m.Load(kAllPins, 4), 0x0fu);
  m.Write(kDir, 0xff);
  EXPECT_EQ(m.Load(kAllPins, 4), 0x0fu);
  m.Write(kDir, 0);
  EXPECT_EQ(m.Load(kAllPins, 4), 0u);  // inputs that are not connected
  m.Write(kDir, 0x01);
  EXPECT_EQ(m.Load(kAllPins, 4), 0x01u);
}

TEST(Pl061, the_button_is_pin_3) {
  Pins m;
  m.Press();
  EXPECT_EQ(m.Load(kAllPins, 4), 8u);
  EXPECT_EQ(m.Load(8 * 4, 4), 8u);
  EXPECT_EQ(m.Load(0xf7 * 4, 4), 0u);
  m.Pass(kSecond / 4 - 1);
  EXPECT_EQ(m.Load(kAllPins, 4), 8u);
  m.Pass(1);
  EXPECT_EQ(m.Load(kAllPins, 4), 0u);
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
}

TEST(Pl061, edges) {
  struct Case {
    uint32_t both, event;
    bool rising, falling;
  };
  for (const auto& [both, event, rising, falling] :
       {Case{0, 0, false, true}, Case{0, kButton, true, false}, Case{kButton, 0, true, true},
        Case{kButton, kButton, true, true}}) {
    Pins m;
    m.Write(kIbe, both);
    m.Write(kIev, event);
    m.Write(kIe, 0xff);
    EXPECT_FALSE(m.ports.line.level);
    m.Press();
    EXPECT_EQ(m.ports.line.level, rising);
    EXPECT_EQ(m.Read(kRis), rising ? kButton : 0);
    m.Write(kIc, ~kButton);
    EXPECT_EQ(m.Read(kMis), rising ? kButton : 0);
    m.Write(kIc, kButton);
    EXPECT_FALSE(m.ports.line.level);
    m.Pass(kSecond);
    EXPECT_EQ(m.ports.line.level, falling);
    m.Write(kIc, 0xff);
    EXPECT_FALSE(m.ports.line.level);
  }
}

TEST(Pl061, masked_edges_show_when_unmasked) {
  Pins m;
  m.Write(kIev, kButton);
  m.Press();
  m.Pass(kSecond);
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Read(kRis), kButton);
  EXPECT_EQ(m.Read(kMis), 0u);
  m.Write(kIe, kButton);
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Read(kMis), kButton);
  m.Write(kIe, 0);
  EXPECT_FALSE(m.ports.line.level);
}

TEST(Pl061, levels) {
  Pins m;
  m.Write(kIs, kButton);
  m.Write(kIev, kButton);
  m.Write(kIe, kButton);
  EXPECT_FALSE(m.ports.line.level);
  m.Press();
  EXPECT_TRUE(m.ports.line.level);
  m.Write(kIc, kButton);  // which is for edges
  EXPECT_TRUE(m.ports.line.level);
  m.Pass(kSecond / 4);
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Write(kIev, 0);  // low
  EXPECT_TRUE(m.ports.line.level);
  m.Write(kDir, kButton);  // an output does not interrupt
  EXPECT_FALSE(m.ports.line.level);
}

TEST(Pl061, outputs_and_level_sensitive_pins_see_no_edges) {
  Pins m;
  m.WatchBothEdges();
  m.Write(kDir, kButton);
  m.Press();
  m.Pass(kSecond);
  EXPECT_EQ(m.Read(kRis), 0u);
  Pins other;
  other.WatchBothEdges();
  other.Press();
  ASSERT_TRUE(other.ports.line.level);
  other.Write(kIs, kButton);
  other.Write(kIs, 0);
  EXPECT_EQ(other.Read(kRis), 0u);
}

// gpio-keys reads the pin some milliseconds after the interrupt.
TEST(Pl061, the_button_is_held_until_a_slow_guest_has_seen_it) {
  Pins m;
  m.WatchBothEdges();
  m.Press();
  m.Pass(1000 * kSecond);  // paused
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Load(kAllPins, 4), kButton);
  m.Write(kIc, kButton);
  m.Pass(kSecond / 4 - 1);
  EXPECT_EQ(m.Load(kAllPins, 4), kButton);
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(1);
  EXPECT_EQ(m.Load(kAllPins, 4), 0u);
  EXPECT_TRUE(m.ports.line.level);
}

TEST(Pl061, what_comes_at_once_again_is_the_same_press) {
  Pins m;
  m.WatchBothEdges();
  m.Press();
  m.Write(kIc, kButton);
  m.Press();
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(kSecond);
  m.Write(kIc, kButton);
  m.Press();
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Load(kAllPins, 4), 0u);
  m.Pass(kSecond);
  m.Press();
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Load(kAllPins, 4), kButton);
}

TEST(Pl061, a_restart_keeps_everything) {
  Pins m;
  for (const char* index : {kDir, kIbe, kIev, kAfsel}) m.Write(index, 0x55);
  m.Write(kIs, 0x40);
  m.Write(kIe, kButton);
  m.Store(kAllPins, 4, 0x11);
  m.Write(kIbe, kButton);
  m.Press();
  m.ports.line.level = false;  // a new instance cannot know what the line is
  m.Restart();
  EXPECT_TRUE(m.believed());
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Read(kDir), 0x55u);
  EXPECT_EQ(m.Read(kIev), 0x55u);
  EXPECT_EQ(m.Read(kAfsel), 0x55u);
  EXPECT_EQ(m.Read(kIs), 0x40u);
  EXPECT_EQ(m.Load(kAllPins, 4), 0x11u | kButton);
  m.Write(kIc, 0xff);
  m.ports.counter.ticks += kSecond;  // the timer's signal went to a dead instance
  m.Restart();
  EXPECT_EQ(m.Load(kAllPins, 4), 0x11u);
  EXPECT_TRUE(m.ports.line.level);
}

TEST(Pl061, journals_that_cannot_be_believed) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 1000; ++round) {
    Pins m;
    m.WatchBothEdges();
    for (size_t at = 0; at < kJournalBytes; at += 8) {
      const uint64_t word = random();
      std::memcpy(m.journal().data() + at, &word, 8);
    }
    m.Restart();
    EXPECT_FALSE(m.believed());
    EXPECT_EQ(m.Read(kIe), 0u);
    EXPECT_FALSE(m.ports.line.level);
    m.WatchBothEdges();
    m.Press();
    EXPECT_TRUE(m.ports.line.level);
    m.Restart();
    EXPECT_TRUE(m.believed());
    EXPECT_TRUE(m.ports.line.level);
  }
}

// ---- deaths after each store -----------------------------------------------------------------------------------

struct Scenario {
  const char* name;
  std::function<void(Pins&)> prepare;
  std::function<void(Pins&)> act;  // and again, as a new instance gets it
};

std::function<void(Pins&)> Writes(const char* index, uint32_t value) {
  return [=](Pins& m) { m.Deliver(OffsetOf(index), value); };
}

void Pressed(Pins& m) {
  m.WatchBothEdges();
  m.Press();
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      {"direction", [](auto&) {}, Writes(kDir, 0xf0)},
      {"pins", [](auto& m) { m.Write(kDir, 0xff); }, [](auto& m) { m.Deliver(0x0f * 4, 0xff); }},
      {"mask over an edge", Pressed, Writes(kIe, 0)},
      {"edge cleared", Pressed, Writes(kIc, 0xff)},
      {"level of a pressed button", Pressed, Writes(kIs, 0xff)},
      // The supervisor's signal, and, to a new instance, again.
      {"press", [](auto& m) { m.WatchBothEdges(); }, [](auto& m) { m.Press(); }},
      {"release",
       [](auto& m) {
         Pressed(m);
         m.Write(kIc, kButton);
         m.ports.counter.ticks += kSecond;
       },
       [](auto& m) { m.device().OnSignals(FakeSurroundings::kTimerSignal); }},
  };
  return scenarios;
}

// Whatever a guest can tell.
std::vector<uint64_t> Observe(Pins& m) {
  std::vector<uint64_t> seen;
  for (int round = 0; round < 3; ++round) {
    for (const uint64_t value : m.Seen()) seen.push_back(value);
    seen.push_back(m.Load(kAllPins, 4));
    m.Write(kIc, 0xff);
    m.Pass(kSecond / 2);
  }
  return seen;
}

TEST(Pl061, dies_after_each_store) {
  if (!MemoryStates::kSupported) GTEST_SKIP() << "needs single steps of x86-64";
  for (const Scenario& scenario : Scenarios()) {
    Pins expected;
    scenario.prepare(expected);
    scenario.act(expected);
    const std::vector<uint64_t> outcome = Observe(expected);

    Pins m;
    scenario.prepare(m);
    MemoryStates states({m.journal().first(kJournalBytes)}, 300);
    ASSERT_TRUE(states.Run([&] { scenario.act(m); }));
    ASSERT_GT(states.size(), 2u);
    const uint64_t ticks = m.ports.counter.ticks;
    for (size_t i = 0; i < states.size(); ++i) {
      m.ports.counter.ticks = ticks;
      states.Restore(i);
      m.Restart();
      ASSERT_TRUE(m.believed()) << scenario.name << " " << i;
      scenario.act(m);
      ASSERT_EQ(Observe(m), outcome) << scenario.name << ", state " << i << " of " << states.size();
    }
  }
}

}  // namespace
}  // namespace atoll
