// PL031: any word that the instance keeps for itself is written over, and no answer is wrong by it.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/unit/rtc/rtc_machine.h"

namespace atoll {
namespace {

using namespace pl031;  // NOLINT: registers only

constexpr Register kRegisters[] = {kDr, kMr, kLr, kCr, kImsc, kRis, kMis};
// The object begins with its table of functions and its references: what is there leads nowhere, and the task crashes.
constexpr size_t kFirstWord = 5;
constexpr uint32_t kMatch = kUtc + 100;

void Prepare(RtcMachine& m) {
  m.Write(kImsc, 1);
  m.Write(kMr, kMatch);
  m.Write(kLr, kUtc + 50);
  (void)m.Read(kDr);  // the second is known
}

Result<uint64_t> Load(RtcMachine& m, Register index) {
  return m.device->Access(
      {.offset = kTable.offset(index), .size = 4, .write = false, .value = 0, .token = 0});
}

// What a guest reads within a second, a second later, and when the alarm has come. Empty: the instance says that it is
// damaged.
std::vector<uint64_t> Observe(RtcMachine& m) {
  std::vector<uint64_t> seen;
  for (const uint64_t ticks : {uint64_t{1}, kSecond, 60 * kSecond}) {
    m.counter.ticks += ticks;
    if (m.timer.Expire(m.counter.ticks)) m.device->OnSignals(Pl031::kTimerSignal);
    for (const Register index : kRegisters) {
      const Result<uint64_t> value = Load(m, index);
      if (!value.has_value()) {
        EXPECT_EQ(value.error(), Status::kDataLoss);
        return {};
      }
      seen.push_back(*value);
    }
    if (!m.device->IsIntact()) return {};
    seen.push_back(m.line.level ? 1 : 0);
  }
  return seen;
}

TEST(Pl031Damage, a_word_that_is_written_over_gives_no_wrong_answer) {
  RtcMachine reference;
  Prepare(reference);
  const std::vector<uint64_t> wanted = Observe(reference);
  ASSERT_FALSE(wanted.empty());

  std::mt19937_64 random(31);
  size_t noticed = 0;
  for (size_t word = kFirstWord; word < sizeof(Pl031) / sizeof(uint64_t); ++word) {
    for (int i = 0; i < 20; ++i) {
      RtcMachine m;
      Prepare(m);
      const uint64_t value = i == 0 ? 0 : i == 1 ? ~uint64_t{0} : random();
      std::memcpy(reinterpret_cast<std::byte*>(m.device.get()) + word * sizeof(value), &value,
                  sizeof(value));
      const std::vector<uint64_t> seen = Observe(m);
      if (seen.empty()) {
        ++noticed;
        m.Boot();  // the successor
        EXPECT_EQ(m.found, Copies::kGood);
        m.Read(kDr);
        EXPECT_TRUE(m.device->IsIntact());
      } else {
        EXPECT_EQ(seen, wanted) << "word " << word << " of " << std::hex << value;
      }
    }
  }
  EXPECT_GT(noticed, 0u);
}

TEST(Pl031Damage, a_damaged_instance_answers_nothing_and_changes_nothing) {
  RtcMachine m;
  Prepare(m);
  const Pl031State before = m.Stored();
  uint64_t word = 0;  // the state's first
  std::byte* const place = reinterpret_cast<std::byte*>(m.device.get()) + kFirstWord * sizeof(word);
  std::memcpy(place, &word, sizeof(word));
  EXPECT_FALSE(m.device->IsIntact());
  const Result<uint64_t> store = m.device->Access(
      {.offset = kTable.offset(kLr), .size = 4, .write = true, .value = 7, .token = 9});
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error(), Status::kDataLoss);
  m.counter.ticks += 60 * kSecond;
  m.device->OnSignals(Pl031::kTimerSignal);
  const Pl031State after = m.Stored();
  EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
}

TEST(Pl031Damage, a_journal_that_was_written_over_is_told_again) {
  RtcMachine m;
  Prepare(m);
  const Pl031State before = m.Stored();
  std::memset(m.copies(), 0x77, sizeof(*m.copies()));
  EXPECT_TRUE(m.device->IsIntact());
  m.Boot();
  EXPECT_EQ(m.found, Copies::kGood);
  const Pl031State after = m.Stored();
  EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
}

TEST(Pl031Damage, a_store_to_a_register_that_takes_none_leaves_it_sound) {
  RtcMachine m;
  m.Write(kCr, 0, /*token=*/77);
  m.Write(kRis, 1, /*token=*/78);
  EXPECT_TRUE(m.device->IsIntact());
  EXPECT_EQ(m.Read(kDr), kUtc);
}

}  // namespace
}  // namespace atoll
