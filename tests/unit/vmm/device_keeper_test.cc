// What devices let vmm keep: each has its own words, over deaths of both.
#include "services/vmm/device_keeper.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace atoll {
namespace {

constexpr uint64_t kFirst = 1 << 16;  // badges of services

class DeviceKeeperTest : public testing::Test {
 protected:
  Status Keep(uint64_t badge, uint32_t kind, uint32_t part, uint64_t word) {
    return DeviceKeeper(*kept_).Keep(
        {.badge = badge},
        {.kind = kind, .part = part, .word0 = word, .word1 = 1, .word2 = 2, .word3 = word + 1});
  }
  uint64_t Recall(uint64_t badge, uint32_t kind, uint32_t part) {
    const auto reply =
        DeviceKeeper(*kept_).Recall({.badge = badge}, {.kind = kind, .part = part}).value();
    EXPECT_TRUE(reply.word0 == 0 || reply.word3 == reply.word0 + 1);
    return reply.word0;
  }
  std::unique_ptr<KeptDevices> kept_ = std::make_unique<KeptDevices>();
};

TEST_F(DeviceKeeperTest, each_device_gets_back_what_it_gave) {
  EXPECT_EQ(Recall(kFirst, 1, 0), 0u);
  for (uint32_t i = 0; i < 32; ++i) {
    for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
      ASSERT_EQ(Keep(kFirst + i / 2, 1 + i % 2, part, 1000 * i + part + 1), Status::kOk);
    }
  }
  EXPECT_EQ(Keep(kFirst + 99, 1, 0, 5), Status::kResourceExhausted);
  for (uint32_t i = 0; i < 32; ++i) {
    for (uint32_t part = 0; part < KeptDevices::kParts; ++part) {
      ASSERT_EQ(Recall(kFirst + i / 2, 1 + i % 2, part), 1000 * i + part + 1);
    }
  }
  EXPECT_EQ(Keep(kFirst, 1, 3, 77), Status::kOk);
  EXPECT_EQ(Recall(kFirst, 1, 3), 77u);
  EXPECT_EQ(Recall(kFirst + 99, 1, 0), 0u);
}

TEST_F(DeviceKeeperTest, parts_that_there_are_not_are_refused) {
  DeviceKeeper keeper(*kept_);
  const KeepRequest request{.kind = 1, .part = KeptDevices::kParts};
  EXPECT_EQ(ReplyStatus(keeper.Dispatch(
                {}, {.label = abi::MakeLabel(KeeperInterface::kKeep), .words = request.Pack()})),
            Status::kInvalidArgument);
}

TEST_F(DeviceKeeperTest, a_scribbled_journal_is_nothing_kept_and_goes_on) {
  ASSERT_EQ(Keep(kFirst, 1, 0, 7), Status::kOk);
  std::memset(kept_.get(), 0x77, sizeof(*kept_));
  EXPECT_EQ(Recall(kFirst, 1, 0), 0u);
  EXPECT_EQ(Keep(kFirst, 1, 0, 7), Status::kResourceExhausted);
}

}  // namespace
}  // namespace atoll
