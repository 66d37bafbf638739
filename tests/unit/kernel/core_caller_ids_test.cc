#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "kernel/caller_ids.h"

namespace atoll {
namespace {

TEST(CallerIdsTest, NobodyHasZero) {
  auto ids = std::make_unique<CallerIds>();
  for (size_t i = 0; i < 3 * CallerIds::kIds; ++i) {
    const uint16_t id = ids->Take();
    ASSERT_NE(id, 0);
    ids->Give(id);
  }
}

TEST(CallerIdsTest, WhatIsLentIsNotLentAgain) {
  auto ids = std::make_unique<CallerIds>();
  std::set<uint16_t> kept;
  for (int i = 0; i < 1000; ++i) kept.insert(ids->Take());
  ASSERT_EQ(kept.size(), 1000u);
  for (size_t i = 0; i < 3 * CallerIds::kIds; ++i) {
    const uint16_t id = ids->Take();
    ASSERT_FALSE(kept.contains(id)) << id;
    ids->Give(id);
  }
}

TEST(CallerIdsTest, OneThatCameBackIsLentAfterAllOthers) {
  auto ids = std::make_unique<CallerIds>();
  const uint16_t first = ids->Take();
  ids->Give(first);
  for (size_t i = 0; i < CallerIds::kIds - 2; ++i) {
    const uint16_t id = ids->Take();
    ASSERT_NE(id, first);
    ids->Give(id);
  }
  EXPECT_EQ(ids->Take(), first);
}

}  // namespace
}  // namespace atoll
