#include "services/supervisor/page_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace atoll {
namespace {

constexpr PhysAddr kBase{0x4000'0000};

TEST(PageAllocator, TakesTheFirstPlaceThatFits) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase, 16 * kPageSize), Status::kOk);
  EXPECT_EQ(pages.Allocate(kPageSize), kBase);
  EXPECT_EQ(pages.Allocate(2 * kPageSize), kBase + kPageSize);
  ASSERT_EQ(pages.Free(kBase, kPageSize), Status::kOk);
  EXPECT_EQ(pages.Allocate(2 * kPageSize), kBase + 3 * kPageSize);
  EXPECT_EQ(pages.Allocate(kPageSize), kBase);
}

TEST(PageAllocator, AlignsAndKeepsWhatIsInFront) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase + kPageSize, 4 * kBlockSize), Status::kOk);
  EXPECT_EQ(pages.Allocate(kPageSize, 16 * kPageSize), kBase + 16 * kPageSize);
  EXPECT_EQ(pages.Allocate(kPageSize), kBase + kPageSize);
  EXPECT_EQ(pages.free_bytes(), 4 * kBlockSize - 2 * kPageSize);
}

TEST(PageAllocator, TakesBlocksFromTheEndOfTheSmallestRange) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase + kPageSize, 4 * kBlockSize), Status::kOk);
  ASSERT_EQ(pages.Free(kBase + 8 * kBlockSize, 2 * kBlockSize), Status::kOk);
  ASSERT_EQ(pages.Free(kBase + 16 * kBlockSize, 9 * kBlockSize), Status::kOk);
  EXPECT_EQ(pages.Allocate(2 * kBlockSize, kBlockSize), kBase + 8 * kBlockSize);
  EXPECT_EQ(pages.Allocate(kBlockSize, kBlockSize), kBase + 3 * kBlockSize);
  EXPECT_EQ(pages.Allocate(2 * kBlockSize, kBlockSize), kBase + kBlockSize);
  EXPECT_EQ(pages.Allocate(kBlockSize, kBlockSize), kBase + 24 * kBlockSize);
  EXPECT_EQ(pages.Allocate(9 * kBlockSize, kBlockSize).error(), Status::kResourceExhausted);
}

// Two VMs that come and go, in any order, with small things made and kept in between: always room for both.
TEST(PageAllocator, WhatIsSmallLeavesTheRoomOfAVmWhole) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase, 17 * kBlockSize), Status::kOk);
  const uint64_t a_bytes = 8 * kBlockSize, b_bytes = 6 * kBlockSize;
  auto a = pages.Allocate(a_bytes, kBlockSize), b = pages.Allocate(b_bytes, kBlockSize);
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(a.has_value() && b.has_value()) << round;
    const bool both = random() % 2 != 0;
    if (both || random() % 2 != 0) {
      ASSERT_EQ(pages.Free(*a, a_bytes), Status::kOk);
      a = PhysAddr{0};
    }
    if (both || *a != PhysAddr{0}) {
      ASSERT_EQ(pages.Free(*b, b_bytes), Status::kOk);
      b = PhysAddr{0};
    }
    ASSERT_TRUE(pages.Allocate(kPageSize * (1 + random() % 3)).has_value());
    if (random() % 2 != 0 && *b == PhysAddr{0}) b = pages.Allocate(b_bytes, kBlockSize);
    if (*a == PhysAddr{0}) a = pages.Allocate(a_bytes, kBlockSize);
    if (*b == PhysAddr{0}) b = pages.Allocate(b_bytes, kBlockSize);
  }
}

TEST(PageAllocator, SaysWhenThereIsNone) {
  PageAllocator pages;
  EXPECT_EQ(pages.Allocate(kPageSize).error(), Status::kResourceExhausted);
  ASSERT_EQ(pages.Free(kBase + kPageSize, kBlockSize), Status::kOk);
  EXPECT_EQ(pages.Allocate(kBlockSize, kBlockSize).error(), Status::kResourceExhausted);
  EXPECT_EQ(pages.Allocate(~uint64_t{0} - kPageSize + 1).error(), Status::kResourceExhausted);
  EXPECT_EQ(pages.Allocate(kPageSize, uint64_t{1} << 63).error(), Status::kResourceExhausted);
}

TEST(PageAllocator, RefusesNonsense) {
  PageAllocator pages;
  EXPECT_EQ(pages.Allocate(0).error(), Status::kInvalidArgument);
  EXPECT_EQ(pages.Allocate(100).error(), Status::kInvalidArgument);
  EXPECT_EQ(pages.Allocate(kPageSize, 3 * kPageSize).error(), Status::kInvalidArgument);
  EXPECT_EQ(pages.Allocate(kPageSize, 0).error(), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(kBase + 1, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(kBase, 0), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(PhysAddr{~uint64_t{0} - kPageSize + 1}, 2 * kPageSize),
            Status::kInvalidArgument);
}

TEST(PageAllocator, RefusesToFreeTwice) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase, 4 * kPageSize), Status::kOk);
  EXPECT_EQ(pages.Free(kBase, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(kBase + 3 * kPageSize, 2 * kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(kBase - kPageSize, 2 * kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(pages.Free(kBase - kPageSize, 8 * kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(pages.free_bytes(), 4 * kPageSize);
}

TEST(PageAllocator, ReservesAcrossRangesWithPartialPages) {
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase, 4 * kPageSize), Status::kOk);
  ASSERT_EQ(pages.Free(kBase + 8 * kPageSize, 4 * kPageSize), Status::kOk);
  ASSERT_EQ(pages.Reserve(kBase + 3 * kPageSize + 5, 5 * kPageSize), Status::kOk);
  EXPECT_EQ(pages.free_bytes(), 6 * kPageSize);
  ASSERT_EQ(pages.Reserve(kBase + 10 * kPageSize, 1), Status::kOk);
  EXPECT_EQ(pages.free_bytes(), 5 * kPageSize);
  ASSERT_EQ(pages.Reserve(PhysAddr{0}, 1 << 20), Status::kOk);
  EXPECT_EQ(pages.free_bytes(), 5 * kPageSize);
  EXPECT_EQ(pages.Reserve(kBase, ~uint64_t{0} - kPageSize), Status::kInvalidArgument);
}

TEST(PageAllocator, HasRoomForManyHolesAndSaysWhenItHasNot) {
  PageAllocator pages;
  for (uint64_t i = 0; i < PageAllocator::kMaxRanges; ++i) {
    ASSERT_EQ(pages.Free(kBase + 2 * i * kPageSize, kPageSize), Status::kOk);
  }
  constexpr uint64_t kFar = 3 * PageAllocator::kMaxRanges * kPageSize;
  EXPECT_EQ(pages.Free(kBase + kFar, kPageSize), Status::kResourceExhausted);
  EXPECT_EQ(pages.Free(kBase + kPageSize, kPageSize), Status::kOk);  // joins two
  EXPECT_EQ(pages.Free(kBase + kFar, kPageSize), Status::kOk);
}

TEST(PageAllocator, NeverGivesAPageTwiceAndLosesNone) {
  constexpr uint64_t kPages = 512;
  PageAllocator pages;
  ASSERT_EQ(pages.Free(kBase, kPages * kPageSize), Status::kOk);
  std::mt19937 random(7);
  std::map<uint64_t, uint64_t> held;
  uint64_t held_bytes = 0;
  for (int step = 0; step < 4000; ++step) {
    if (random() % 2 == 0 || held.empty()) {
      const uint64_t bytes = (1 + random() % 8) * kPageSize;
      const uint64_t alignment = kPageSize << (random() % 4);
      const auto base = pages.Allocate(bytes, alignment);
      if (!base.has_value()) continue;
      ASSERT_TRUE(base->IsAligned(alignment));
      const auto above = held.lower_bound(base->value);
      ASSERT_TRUE(above == held.end() || above->first >= base->value + bytes);
      ASSERT_TRUE(above == held.begin() ||
                  std::prev(above)->first + std::prev(above)->second <= base->value);
      held[base->value] = bytes;
      held_bytes += bytes;
    } else {
      const auto victim = std::next(held.begin(), random() % held.size());
      const Status freed = pages.Free(PhysAddr{victim->first}, victim->second);
      if (freed == Status::kResourceExhausted) continue;
      ASSERT_EQ(freed, Status::kOk);
      held_bytes -= victim->second;
      held.erase(victim);
    }
    ASSERT_EQ(pages.free_bytes() + held_bytes, kPages * kPageSize);
  }
}

}  // namespace
}  // namespace atoll
