// Which journals vmm goes on with: its own, mended ones, and those of the layout that had no number.
#include "services/vmm/journal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace atoll {
namespace {

using Found = VmmJournal::Found;
using Powers = VmmJournal::Powers;

constexpr size_t kNoteBytes = 48;
constexpr size_t kFormatAt = kNoteBytes + sizeof(KeptDevices);
constexpr size_t kPowersAt = kFormatAt + sizeof(uint64_t);
constexpr size_t kCopyBytes = 32;

// What the layout without a number was.
struct Unnumbered {
  TwoCopies<uint64_t> note{};
  KeptDevices devices{};
};

class VmmJournalTest : public testing::Test {
 protected:
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(journal_.get()); }
  uint64_t format() {
    uint64_t format;
    std::memcpy(&format, bytes() + kFormatAt, sizeof(format));
    return format;
  }
  void SetFormat(uint64_t format) { std::memcpy(bytes() + kFormatAt, &format, sizeof(format)); }
  Found Load() { return journal_->Load(powers_); }

  std::unique_ptr<VmmJournal> journal_ = std::make_unique<VmmJournal>();
  Powers powers_;
};

TEST_F(VmmJournalTest, the_layout_is_what_it_was_and_its_number) {
  EXPECT_EQ(sizeof(Unnumbered), kFormatAt);
  EXPECT_EQ(sizeof(VmmJournal), kPowersAt + 2 * kCopyBytes);
  EXPECT_EQ(Load(), Found::kNothing);
  EXPECT_EQ(format(), 0u);
  journal_->Store({.on = 5, .changing = 2});
  EXPECT_EQ(std::memcmp(bytes() + kFormatAt, "ATVMM\0\0001", 8), 0);
  EXPECT_EQ(Load(), Found::kGood);
  EXPECT_EQ(powers_.on, 5u);
  EXPECT_EQ(powers_.changing, 2u);
}

TEST_F(VmmJournalTest, one_without_a_number_keeps_its_note_and_its_words) {
  auto old = std::make_unique<Unnumbered>();
  old->note.Store(0x1234);
  old->devices.devices[3][7] = {1, 2, 3, 4};
  std::memcpy(bytes(), old.get(), sizeof(*old));
  EXPECT_EQ(Load(), Found::kNothing);
  EXPECT_EQ(journal_->NotedCpuOn(0x1234), VmmJournal::Noted::kYes);
  EXPECT_EQ(journal_->devices().devices[3][7][3], 4u);
  journal_->Store({.on = 1});
  EXPECT_EQ(Load(), Found::kGood);
  EXPECT_EQ(journal_->NotedCpuOn(0x1234), VmmJournal::Noted::kYes);
  EXPECT_EQ(journal_->devices().devices[3][7][3], 4u);
}

TEST_F(VmmJournalTest, one_of_another_number_is_refused_and_stays_as_it_is) {
  constexpr uint64_t kNext = VmmJournal::kFamily | uint64_t{'2'} << 56;
  SetFormat(kNext);  // whose power states lie elsewhere
  EXPECT_EQ(Load(), Found::kRefused);
  journal_->Store({.format = kNext, .on = 1});  // or where they were
  SetFormat(kNext);
  const VmmJournal before = *journal_;
  EXPECT_EQ(Load(), Found::kRefused);
  EXPECT_EQ(std::memcmp(&before, bytes(), sizeof(before)), 0);
}

TEST_F(VmmJournalTest, any_damaged_byte_is_mended_and_of_both_copies_noticed) {
  journal_->Store({.on = 3});
  journal_->Store({.on = 1});
  const VmmJournal before = *journal_;
  for (size_t byte = kFormatAt; byte < sizeof(VmmJournal); ++byte) {
    bytes()[byte] ^= 0x40;
    powers_ = {};
    EXPECT_EQ(Load(), Found::kRepaired) << byte;
    EXPECT_EQ(powers_.on, 1u);
    EXPECT_EQ(std::memcmp(&before, bytes(), sizeof(before)), 0);
    if (byte < kPowersAt) continue;
    bytes()[byte] ^= 0x40;
    const size_t other = byte < kPowersAt + kCopyBytes ? byte + kCopyBytes : byte - kCopyBytes;
    bytes()[other] ^= 0x41;
    EXPECT_EQ(Load(), Found::kLost) << byte;
    *journal_ = before;
  }
  std::memset(bytes() + kPowersAt, 0,
              2 * kCopyBytes);  // zeros are no new VM's, as there is a number
  EXPECT_EQ(Load(), Found::kLost);
  journal_->Store({.on = 1});
  EXPECT_EQ(Load(), Found::kGood);
}

}  // namespace
}  // namespace atoll
