#include "kernel/memory/frame_table.h"

#include <gtest/gtest.h>

#include <vector>

namespace atoll {
namespace {

constexpr PhysAddr kBase{0x4000'0000};
constexpr uint64_t kPages = 100;

class FrameTableTest : public ::testing::Test {
 protected:
  FrameTableTest() : table(kBase, states) {
    EXPECT_EQ(table.Release(kBase, kPages * kPageSize, FrameState::kKernel), Status::kOk);
  }
  std::vector<FrameState> states{kPages, FrameState::kMemory};
  FrameTable table;
};

PhysAddr At(uint64_t page) { return kBase + page * kPageSize; }

TEST(FrameTable, everything_is_the_kernels_at_first) {
  std::vector<FrameState> states(4, FrameState::kFree);
  FrameTable table(kBase, states);
  EXPECT_EQ(table.StateOf(kBase), FrameState::kKernel);
  EXPECT_EQ(table.Claim(kBase, kPageSize, FrameState::kObject), Status::kFailedPrecondition);
}

TEST_F(FrameTableTest, claims_and_releases_exactly_the_range) {
  EXPECT_EQ(table.Claim(At(3), 17 * kPageSize, FrameState::kObject), Status::kOk);
  EXPECT_EQ(table.StateOf(At(3) - 1), FrameState::kFree);
  EXPECT_EQ(table.StateOf(At(3)), FrameState::kObject);
  EXPECT_EQ(table.StateOf(At(20) - 1), FrameState::kObject);
  EXPECT_EQ(table.StateOf(At(20)), FrameState::kFree);
  EXPECT_EQ(table.Release(At(3), 17 * kPageSize, FrameState::kObject), Status::kOk);
  EXPECT_EQ(table.StateOf(At(10)), FrameState::kFree);
}

TEST_F(FrameTableTest, one_page_of_another_use_refuses_the_whole_range) {
  for (uint64_t taken = 0; taken < 20; ++taken) {
    ASSERT_EQ(table.Claim(At(taken), kPageSize, FrameState::kMemory), Status::kOk);
    EXPECT_EQ(table.Claim(At(0), 20 * kPageSize, FrameState::kObject), Status::kFailedPrecondition)
        << taken;
    for (uint64_t page = 0; page < 20; ++page) {
      ASSERT_EQ(table.StateOf(At(page)), page == taken ? FrameState::kMemory : FrameState::kFree);
    }
    ASSERT_EQ(table.Release(At(taken), kPageSize, FrameState::kMemory), Status::kOk);
  }
}

TEST_F(FrameTableTest, MEM_06_a_page_has_one_use_at_a_time) {
  ASSERT_EQ(table.Claim(At(5), 2 * kPageSize, FrameState::kObject), Status::kOk);
  EXPECT_EQ(table.Claim(At(6), kPageSize, FrameState::kMemory), Status::kFailedPrecondition);
  EXPECT_EQ(table.Release(At(5), 2 * kPageSize, FrameState::kMemory), Status::kFailedPrecondition);
  EXPECT_EQ(table.Release(At(5), 3 * kPageSize, FrameState::kObject), Status::kFailedPrecondition);
  EXPECT_EQ(table.StateOf(At(6)), FrameState::kObject);
}

TEST_F(FrameTableTest, refuses_ranges_that_leave_ram_or_wrap) {
  EXPECT_EQ(table.Claim(At(kPages - 1), 2 * kPageSize, FrameState::kMemory), Status::kOutOfRange);
  EXPECT_EQ(table.Claim(kBase - kPageSize, 2 * kPageSize, FrameState::kMemory),
            Status::kOutOfRange);
  EXPECT_EQ(table.Claim(At(kPages), kPageSize, FrameState::kMemory), Status::kOutOfRange);
  EXPECT_EQ(table.Claim(kBase, -kPageSize, FrameState::kMemory), Status::kOutOfRange);
  EXPECT_EQ(table.Claim(At(1), -kPageSize, FrameState::kMemory), Status::kOutOfRange);
  EXPECT_EQ(table.Claim(PhysAddr(-kPageSize), 2 * kPageSize, FrameState::kMemory),
            Status::kOutOfRange);
  EXPECT_EQ(table.Claim(At(0), kPages * kPageSize, FrameState::kMemory), Status::kOk);
}

TEST_F(FrameTableTest, refuses_what_is_not_whole_pages) {
  EXPECT_EQ(table.Claim(kBase + 1, kPageSize, FrameState::kMemory), Status::kInvalidArgument);
  EXPECT_EQ(table.Claim(kBase, kPageSize + 1, FrameState::kMemory), Status::kInvalidArgument);
  EXPECT_EQ(table.Claim(kBase, 0, FrameState::kMemory), Status::kInvalidArgument);
}

TEST_F(FrameTableTest, addresses_outside_have_no_state) {
  EXPECT_FALSE(table.StateOf(kBase - 1));
  EXPECT_FALSE(table.StateOf(At(kPages)));
  EXPECT_FALSE(table.StateOf(PhysAddr(~uint64_t{0})));
}

TEST_F(FrameTableTest, MEM_06_device_ranges_that_touch_ram_are_found) {
  EXPECT_TRUE(table.Overlaps(kBase, 1));
  EXPECT_TRUE(table.Overlaps(kBase - kPageSize, kPageSize + 1));
  EXPECT_FALSE(table.Overlaps(kBase - kPageSize, kPageSize));
  EXPECT_FALSE(table.Overlaps(At(kPages), kPageSize));
  EXPECT_TRUE(table.Overlaps(At(kPages) - 1, kPageSize));
  EXPECT_TRUE(table.Overlaps(PhysAddr(0), ~uint64_t{0}));
  EXPECT_TRUE(table.Overlaps(At(kPages), ~uint64_t{0}));  // wraps
  EXPECT_FALSE(table.Overlaps(kBase, 0));
}

}  // namespace
}  // namespace atoll
