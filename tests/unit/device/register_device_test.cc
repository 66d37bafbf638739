// The library of register devices, by a small one: a counter that a guest sets and that rings when it is over.
#include "services/runtime/register_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "tests/unit/device/register_machine.h"

namespace atoll {
namespace {

struct EggState {
  uint32_t sand = 60;    // seconds at a start
  uint32_t ringing = 0;  // 1: over
  uint32_t enabled = 0;
  uint32_t turns = 0;
  uint64_t end = DeadlineTimer::kNever;
};

constexpr abi::SignalHandle kCook{{5}};

class Egg final : public RegisterDevice<Egg, EggState> {
 public:
  using RegisterDevice::RegisterDevice;

  bool Level() const override { return (state().ringing & state().enabled) != 0; }
  uint64_t Deadline() const override { return state().end; }
  void OnDeadline() override {
    ChangeState().ringing = 1;
    ChangeState().end = DeadlineTimer::kNever;
  }
  void Act() override {
    if (state().ringing != 0) peers().Signal(kCook);
  }
  void OnPeerSignals(uint64_t bits) override {
    if ((bits & 4) != 0) ChangeState().ringing = 0;
  }

  // What is to be written over.
  std::span<std::byte> kept() { return std::as_writable_bytes(std::span(&ChangeState(), 1)); }

 private:
  uint32_t Left() const {
    return state().end == DeadlineTimer::kNever
               ? 0
               : static_cast<uint32_t>((state().end - Now()) / TicksPerSecond());
  }
  void Turn(uint32_t) {
    ChangeState().turns += 1;
    ChangeState().end = Now() + state().sand * TicksPerSecond();
  }

 public:
  // clang-format off
  static constexpr auto kRegisters = Registers<0x1000>({
      // name     offset bits mode                      reset      writable
      {"SAND",    0x000, 16, RegisterMode::kReadWrite,  0,         0x00ff, &EggState::sand},
      {"TURN",    0x004,  1, RegisterMode::kWriteOnly,  0,         1,      nullptr, {.write = &Egg::Turn}},
      {"LEFT",    0x008, 32, RegisterMode::kReadOnly,   0,         0,      nullptr, {.read = &Egg::Left}},
      {"RINGING", 0x00c,  1, RegisterMode::kOneClears,  0,         1,      &EggState::ringing},
      {"ENABLED", 0x010,  1, RegisterMode::kReadWrite,  0,         1,      &EggState::enabled},
      {"TURNS",   0x014, 32, RegisterMode::kReadOnly,   0,         0,      &EggState::turns},
      {"ID",      0xffc, 32, RegisterMode::kReadOnly,   0xe66},
  });
  // clang-format on
};

using EggMachine = RegisterMachine<Egg>;

TEST(RegisterDevice, AccessesOfAllWidthsAndPlaces) {
  EggMachine m;
  EXPECT_EQ(m.Read("SAND"), 60u);
  m.Write("SAND", 0xffff'ff05);
  EXPECT_EQ(m.Read("SAND"), 5u) << "only writable bits change";
  EXPECT_EQ(m.Load(0, 1), 5u);
  EXPECT_EQ(m.Load(0, 8), 0u);
  EXPECT_EQ(m.Load(1, 1), 0u);
  EXPECT_EQ(m.Load(0x100, 4), 0u);
  m.Store(0xffc, 4, 3);
  m.Store(0x800, 4, 3);
  EXPECT_EQ(m.Read("ID"), 0xe66u);
  EXPECT_EQ(m.Read("TURN"), 0u);
}

TEST(RegisterDevice, TimeStandsStillWhileTheVmIsPaused) {
  EggMachine m;
  m.Write("ENABLED", 1);
  m.Write("TURN", 1);
  const uint64_t second = m.ports.counter.TicksPerSecond();
  m.Pass(20 * second);
  m.Pause();
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
  EXPECT_TRUE(m.device().IsIntact());  // a heartbeat sets no timer, either
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
  m.Pass(1000 * second);
  m.Pause();  // it is said again and again
  m.Restart();
  m.Pass(1000 * second);
  EXPECT_EQ(m.Read("LEFT"), 40u);
  m.Resume();
  m.Resume();
  EXPECT_EQ(m.Read("LEFT"), 40u);
  m.Restart();
  m.Pass(40 * second - 1);
  EXPECT_FALSE(m.ports.line.level);
  m.Pass(1);
  EXPECT_TRUE(m.ports.line.level);
}

TEST(RegisterDevice, WhoMissedThePauseGoesOn) {
  EggMachine m;
  m.Write("TURN", 1);
  m.device().OnSignals(FakeSurroundings::kPauseSignal | FakeSurroundings::kResumeSignal);
  m.Pass(10 * m.ports.counter.TicksPerSecond());
  EXPECT_EQ(m.Read("LEFT"), 50u);
}

TEST(RegisterDevice, StoresThatNoRegisterTakesLeaveTheJournalAlone) {
  EggMachine m;
  const std::vector<std::byte> before(m.journal().begin(), m.journal().end());
  m.Write("ID", 3);
  m.Write("LEFT", 3);
  m.Store(0x800, 4, 3);
  m.device().OnSignals(8);  // a peer's, after which changes count
  EXPECT_TRUE(std::ranges::equal(before, m.journal()));
}

TEST(RegisterDevice, TimerLineAndPeers) {
  EggMachine m;
  m.Write("ENABLED", 1);
  m.Write("SAND", 3);
  m.Write("TURN", 1);
  EXPECT_EQ(m.Read("LEFT"), 3u);
  m.Pass(2 * FakeCounter::kFrequency);
  EXPECT_EQ(m.Read("LEFT"), 1u);
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_TRUE(m.ports.peers.signalled.empty());
  m.Pass(FakeCounter::kFrequency);
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_NE(m.ports.peers.signalled[5], 0);
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
  m.Write("RINGING", 1);
  EXPECT_FALSE(m.ports.line.level);
  EXPECT_EQ(m.Read("RINGING"), 0u);

  m.Write("TURN", 1);
  m.ports.counter.ticks += 4 * FakeCounter::kFrequency;  // the timer's signal is late
  EXPECT_EQ(m.Read("RINGING"), 1u);
  m.device().OnSignals(4);
  EXPECT_EQ(m.Read("RINGING"), 0u);
}

TEST(RegisterDevice, DeadlineThatPassesWhileNobodyIsThere) {
  EggMachine m;
  m.Write("ENABLED", 1);
  m.Write("TURN", 1);
  m.ports.counter.ticks += 100 * FakeCounter::kFrequency;
  m.Restart();
  EXPECT_TRUE(m.ports.line.level);
  EXPECT_EQ(m.Read("RINGING"), 1u);
}

TEST(RegisterDevice, StoreCountsOnceWhereverTheServiceDies) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  EggMachine m;
  m.Write("ENABLED", 1);
  size_t states = 0;
  EXPECT_TRUE(m.SurvivesDeathIn("TURN", 1, states));
  EXPECT_GT(states, 6u) << "two copies of several words";
  EXPECT_EQ(m.Read("TURNS"), 1u);
  EXPECT_TRUE(m.SurvivesDeathIn("SAND", 9, states));
  EXPECT_TRUE(m.SurvivesDeathIn("RINGING", 1, states));
}

TEST(RegisterDevice, WhatItKeepsForItselfAndWasWrittenOverIsNeitherAnsweredNorStored) {
  for (size_t at = 0; at < sizeof(EggState); ++at) {
    for (const bool write : {false, true}) {
      EggMachine m;
      m.Write("SAND", 7);
      m.Write("ENABLED", 1);
      const std::vector<uint64_t> expected = m.Seen();
      const std::vector<std::byte> stored(m.journal().begin(), m.journal().end());
      m.device().kept()[at] ^= std::byte{0x10};
      const RegisterAccess access{
          .offset = write ? 0x4u : 0x14u, .size = 4, .write = write, .value = 1, .token = 99};
      const Result<uint64_t> answer = m.device().Access(access);
      ASSERT_FALSE(answer.has_value()) << at;
      EXPECT_EQ(answer.error(), Status::kDataLoss);
      EXPECT_TRUE(std::ranges::equal(m.journal(), stored));
      EXPECT_FALSE(m.device().IsIntact());
      m.Restart();
      EXPECT_EQ(m.Seen(), expected);
    }
  }
}

// From the state on: whether anything was stored is no less worth a look than what.
TEST(RegisterDevice, NothingThatItKnowsOfItsJournalHidesDamage) {
  size_t noticed = 0;
  for (size_t word = 0; word < sizeof(Egg) / sizeof(uint64_t); ++word) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{0x0101'0101'0101'0101}}) {
      EggMachine m;
      m.Write("SAND", 7);
      uint64_t& place = reinterpret_cast<uint64_t*>(&m.device())[word];
      const bool is_address = place >= 0x5000'0000'0000 && place < 0x8000'0000'0000;
      if (is_address || &place < reinterpret_cast<uint64_t*>(m.device().kept().data())) continue;
      place = value;
      m.device().kept()[0] ^= std::byte{0x10};
      EXPECT_FALSE(m.device().IsIntact()) << word << " " << value;
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 10u);
}

TEST(RegisterDevice, SignalsThatFindDamageCountAllTheSame) {
  EggMachine m;
  const uint64_t second = m.ports.counter.TicksPerSecond();
  m.Write("ENABLED", 1);
  m.Write("TURN", 1);
  std::ranges::fill(m.device().kept(), std::byte{0xa5});
  m.Pause();
  EXPECT_EQ(m.ports.timer.deadline, DeadlineTimer::kNever);
  EXPECT_FALSE(m.device().IsIntact());  // what is mended may not be all that there was
  m.ports.counter.ticks += 1000 * second;
  m.Restart();
  EXPECT_EQ(m.Read("LEFT"), 60u);
  m.Resume();
  std::ranges::fill(m.device().kept(), std::byte{0xa5});
  m.Pass(60 * second);
  EXPECT_TRUE(m.ports.line.level);
  m.Restart();
  EXPECT_EQ(m.Read("RINGING"), 1u);
  EXPECT_TRUE(m.device().IsIntact());
}

TEST(RegisterDevice, JournalOneCopyIsEnough) {
  EggMachine m;
  m.Write("SAND", 7);
  m.Write("TURN", 1);
  const std::vector<uint64_t> seen = m.Seen();
  for (size_t at = 0; at < Egg::Journal::kBytes; ++at) {
    m.journal()[at] ^= std::byte{0x5a};
    m.Restart();
    EXPECT_EQ(m.Seen(), seen) << at;
    EXPECT_NE(m.device().found(), Copies::kLost);
  }
}

TEST(RegisterDevice, JournalOfRandomBytesIsNone) {
  EggMachine m;
  m.Write("SAND", 7);
  uint32_t random = 12345;
  for (std::byte& byte : m.journal())
    byte = static_cast<std::byte>((random = random * 1664525 + 1013904223) >> 24);
  m.Restart();
  EXPECT_EQ(m.device().found(), Copies::kLost);
  EXPECT_EQ(m.Read("SAND"), 60u);
  EXPECT_FALSE(m.ports.line.level);
}

// As Egg, of another layout.
class OtherEgg final : public RegisterDevice<OtherEgg, EggState> {
 public:
  static constexpr uint32_t kStateFormat = 2;
  using RegisterDevice::RegisterDevice;
  static constexpr auto kRegisters =
      Registers<0x1000>({{"SAND", 0, 8, RegisterMode::kReadWrite, 0, 0xff, &EggState::sand}});
};

TEST(RegisterDevice, OtherLayoutIsRefused) {
  EggMachine m;
  m.Write("SAND", 7);
  EXPECT_TRUE(OtherEgg(m.ports.Of(m.journal())).refused());
  EXPECT_FALSE(Egg(m.ports.Of(m.journal())).refused());
}

TEST(RegisterDevice, FailedShowsWhatItIsAndNothingElse) {
  FakeLine line;
  line.level = true;
  FailedRegisterDevice<Egg> failed(line);
  EXPECT_FALSE(line.level);
  EXPECT_EQ(failed.Access({.offset = 0xffc, .size = 4}).value(), 0xe66u);
  EXPECT_EQ(failed.Access({.offset = 0, .size = 4, .write = true, .value = 5}).value(), 0u);
  EXPECT_EQ(failed.Access({.offset = 0, .size = 4}).value(), 60u);
  EXPECT_EQ(failed.Access({.offset = 0x10000, .size = 8}).value(), 0u);
}

}  // namespace
}  // namespace atoll
