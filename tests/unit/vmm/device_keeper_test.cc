// What devices let vmm keep: each has its own words, over deaths of both.
#include "services/vmm/device_keeper.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <tuple>

namespace atoll {
namespace {

constexpr uint64_t kFirst = DeviceKeeper::kFirstBadge;
constexpr uint64_t kPlaces = std::tuple_size_v<decltype(KeptDevices::devices)>;

class DeviceKeeperTest : public testing::Test {
 protected:
  Status Keep(uint64_t badge, uint32_t part, uint64_t word, uint32_t kind = 1) {
    return DeviceKeeper(*kept_).Keep(
        {.badge = badge},
        {.kind = kind, .part = part, .word0 = word, .word1 = 1, .word2 = 2, .word3 = word + 1});
  }
  uint64_t Recall(uint64_t badge, uint32_t part, uint32_t kind = 1) {
    const auto reply =
        DeviceKeeper(*kept_).Recall({.badge = badge}, {.kind = kind, .part = part}).value();
    EXPECT_TRUE(reply.word0 == 0 || reply.word3 == reply.word0 + 1);
    return reply.word0;
  }
  std::unique_ptr<KeptDevices> kept_ = std::make_unique<KeptDevices>();
};

TEST_F(DeviceKeeperTest, each_caller_gets_back_what_it_gave) {
  EXPECT_EQ(Recall(kFirst, 0), 0u);
  for (uint32_t i = 0; i < kPlaces; ++i) {
    for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
      ASSERT_EQ(Keep(kFirst + i, part, 1000 * i + part + 1), Status::kOk);
    }
  }
  for (uint32_t i = 0; i < kPlaces; ++i) {
    for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
      ASSERT_EQ(Recall(kFirst + i, part), 1000 * i + part + 1);
    }
  }
  EXPECT_EQ(Keep(kFirst, 3, 77), Status::kOk);
  EXPECT_EQ(Recall(kFirst, 3), 77u);
}

// A device that keeps all that it can, under every name, beside one that keeps its own.
TEST_F(DeviceKeeperTest, a_hostile_caller_reaches_nobody_elses_words_and_room) {
  constexpr uint64_t kVictim = kFirst + 1, kHostile = kFirst, kLate = kFirst + kPlaces - 1;
  for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
    ASSERT_EQ(Keep(kVictim, part, 100 + part, 2), Status::kOk);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 5000; ++i) {
    const auto kind = i < 100 ? static_cast<uint32_t>(i) : static_cast<uint32_t>(random());
    const auto part = static_cast<uint32_t>(random());  // as if nobody had checked it
    ASSERT_EQ(Keep(kHostile, part, random() >> 1, kind), Status::kOk);
    (void)Recall(kHostile, part, kind);
  }
  for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
    EXPECT_EQ(Recall(kVictim, part, 2), 100 + part);
  }
  EXPECT_EQ(Keep(kLate, 0, 9), Status::kOk) << "there is room for everybody";
  EXPECT_EQ(Recall(kLate, 0), 9u);
}

TEST_F(DeviceKeeperTest, badges_that_no_caller_has_have_no_place) {
  const KeptDevices before = *kept_;
  for (const uint64_t badge : {uint64_t{0}, uint64_t{7}, kFirst - 1, kFirst + kPlaces,
                               kFirst | uint64_t{1} << 32, ~uint64_t{0}}) {
    EXPECT_EQ(Keep(badge, 0, 5), Status::kResourceExhausted) << badge;
    EXPECT_EQ(Recall(badge, 0), 0u) << badge;
  }
  EXPECT_EQ(std::memcmp(&before, kept_.get(), sizeof(before)), 0);
}

TEST_F(DeviceKeeperTest, parts_that_there_are_not_are_refused) {
  DeviceKeeper keeper(*kept_);
  const KeepRequest request{.kind = 1, .part = KeptDevices::kParts};
  EXPECT_EQ(ReplyStatus(keeper.Dispatch(
                {}, {.label = abi::MakeLabel(KeeperInterface::kKeep), .words = request.Pack()})),
            Status::kInvalidArgument);
}

TEST_F(DeviceKeeperTest, a_scribbled_journal_keeps_what_comes_then) {
  ASSERT_EQ(Keep(kFirst, 0, 7), Status::kOk);
  std::memset(kept_.get(), 0x77, sizeof(*kept_));
  EXPECT_EQ(Keep(kFirst, 0, 8), Status::kOk);
  EXPECT_EQ(Recall(kFirst, 0), 8u);
}

}  // namespace
}  // namespace atoll
