#include <gtest/gtest.h>

#include "ipc/abi.h"
#include "kernel/range.h"

namespace atoll {
namespace {

class RangeTableTest : public testing::Test {
 protected:
  Status Insert(uint64_t base, uint64_t size) {
    return table_.Insert({.base = base, .size = size, .badge = base});
  }
  // Base of the range that holds the address; ~0 if none does.
  uint64_t Holder(uint64_t address) {
    const Range* const range = table_.Find(GuestPhys(address));
    return range == nullptr ? ~uint64_t{0} : range->base;
  }
  static constexpr uint64_t kNobody = ~uint64_t{0};
  RangeTable table_;
};

TEST_F(RangeTableTest, HoldsNothingAtFirst) {
  EXPECT_EQ(Holder(0), kNobody);
  EXPECT_EQ(Holder(kNobody), kNobody);
}

TEST_F(RangeTableTest, FindsFirstAndLastByteAndNoMore) {
  ASSERT_EQ(Insert(0x2000, 0x1000), Status::kOk);
  EXPECT_EQ(Holder(0x1fff), kNobody);
  EXPECT_EQ(Holder(0x2000), 0x2000);
  EXPECT_EQ(Holder(0x2fff), 0x2000);
  EXPECT_EQ(Holder(0x3000), kNobody);
}

TEST_F(RangeTableTest, SortsWhateverTheOrderOfInsertion) {
  for (const uint64_t base : {0x5000, 0x1000, 0x9000, 0x3000, 0x7000}) {
    ASSERT_EQ(Insert(base, 0x1000), Status::kOk);
  }
  ASSERT_EQ(table_.size(), 5);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(table_[i].base, 0x1000 + i * 0x2000);
  for (const uint64_t base : {0x1000, 0x3000, 0x5000, 0x7000, 0x9000}) {
    EXPECT_EQ(Holder(base + 0xfff), base);
    EXPECT_EQ(Holder(base + 0x1000), kNobody);
    EXPECT_EQ(table_.Find(GuestPhys(base))->badge, base);
  }
}

TEST_F(RangeTableTest, RefusesWhatOverlaps) {
  ASSERT_EQ(Insert(0x4000, 0x4000), Status::kOk);
  EXPECT_EQ(Insert(0x4000, 0x4000), Status::kAlreadyExists);  // the same
  EXPECT_EQ(Insert(0x4000, 0x1000), Status::kAlreadyExists);  // at its front
  EXPECT_EQ(Insert(0x7000, 0x1000), Status::kAlreadyExists);  // at its end
  EXPECT_EQ(Insert(0x5000, 0x1000), Status::kAlreadyExists);  // inside
  EXPECT_EQ(Insert(0x3000, 0x2000), Status::kAlreadyExists);  // into its front
  EXPECT_EQ(Insert(0x7000, 0x2000), Status::kAlreadyExists);  // out of its end
  EXPECT_EQ(Insert(0x3000, 0x6000), Status::kAlreadyExists);  // around it
  EXPECT_EQ(table_.size(), 1);
  EXPECT_EQ(Holder(0x3fff), kNobody);
}

TEST_F(RangeTableTest, NeighboursTouch) {
  ASSERT_EQ(Insert(0x4000, 0x1000), Status::kOk);
  EXPECT_EQ(Insert(0x3000, 0x1000), Status::kOk);
  EXPECT_EQ(Insert(0x5000, 0x1000), Status::kOk);
  EXPECT_EQ(Holder(0x3fff), 0x3000);
  EXPECT_EQ(Holder(0x4000), 0x4000);
  EXPECT_EQ(Holder(0x5000), 0x5000);
}

TEST_F(RangeTableTest, RangeAtTheEndOfTheGuestsSpace) {
  const uint64_t end = uint64_t{1} << abi::kGuestPhysBits;
  ASSERT_EQ(Insert(end - 0x1000, 0x1000), Status::kOk);
  EXPECT_EQ(Holder(end - 1), end - 0x1000);
  EXPECT_EQ(Holder(end), kNobody);
}

TEST_F(RangeTableTest, FullTableRefusesAndStaysAsItIs) {
  for (uint64_t i = 0; i < RangeTable::kCapacity; ++i)
    ASSERT_EQ(Insert(i * 0x2000, 0x1000), Status::kOk);
  EXPECT_EQ(Insert(0x1000, 0x1000), Status::kResourceExhausted);
  EXPECT_EQ(table_.size(), RangeTable::kCapacity);
  EXPECT_EQ(Holder(0x1000), kNobody);
  EXPECT_EQ(Holder((RangeTable::kCapacity - 1) * 0x2000), (RangeTable::kCapacity - 1) * 0x2000);
}

// The fast path subtracts the base and compares with the size: nothing may pass.
TEST(NoRange, HoldsNoAddress) {
  EXPECT_EQ(no_range.size, 0);
  EXPECT_EQ(no_range.endpoint, nullptr);
  EXPECT_EQ(no_range.doorbell, Range::kNoDoorbell);
}

}  // namespace
}  // namespace atoll
