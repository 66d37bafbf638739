#include <gtest/gtest.h>

#include "kernel/shares.h"

namespace atoll {
namespace {

constexpr Account kGood = 3;
constexpr Account kBad = 255;

class SharesTest : public testing::Test {
 protected:
  // The CPU works for `account` for so long.
  void Work(Account account, uint64_t ticks) {
    shares_.Settle(now_, account);
    now_ += ticks;
    shares_.Settle(now_, account);
  }

  uint64_t now_ = 1000;
  Shares shares_;
};

TEST_F(SharesTest, TimeIsTheAccountsThatTheCpuWorksOn) {
  Work(kGood, 5);
  Work(kBad, 7);
  Work(kGood, 1);
  EXPECT_EQ(shares_.had(kGood), 6u);
  EXPECT_EQ(shares_.had(kBad), 7u);
  EXPECT_EQ(shares_.account(), kGood);
}

TEST_F(SharesTest, SleepIsNobodys) {
  Work(kGood, 5);
  now_ += 100;
  shares_.Skip(now_);
  Work(kGood, 5);
  EXPECT_EQ(shares_.had(kGood), 10u);
}

TEST_F(SharesTest, SleepingSavesNothingUp) {
  Work(kBad, 1000);
  shares_.Choose(kBad);
  shares_.Join(kGood);
  EXPECT_EQ(shares_.had(kGood), shares_.had(kBad));
}

TEST_F(SharesTest, SleepingLosesNothingEither) {
  Work(kBad, 1000);
  shares_.Join(kBad);
  EXPECT_EQ(shares_.had(kBad), shares_.had(kGood) + 1000);
}

TEST_F(SharesTest, WhoHadMoreThanTheChosenOneOwes) {
  Work(kBad, 100);
  shares_.Choose(kGood);
  EXPECT_FALSE(shares_.Owes(kBad, 100));
  EXPECT_TRUE(shares_.Owes(kBad, 99));
  EXPECT_FALSE(shares_.Owes(kGood, 0));
  shares_.Choose(kBad);
  EXPECT_FALSE(shares_.Owes(kBad, 0));
}

TEST_F(SharesTest, NobodyOwesNothing) {
  Work(0, 100);
  EXPECT_FALSE(shares_.Owes(0, 0));
}

TEST_F(SharesTest, ABurstIsForgiven) {
  Work(kGood, 10);
  shares_.Choose(kGood);
  Work(kBad, 1000);
  shares_.Forgive(50);
  EXPECT_EQ(shares_.had(kBad), 60u);
}

TEST_F(SharesTest, ANewVmInheritsNothingWithItsVmid) {
  Work(kBad, 1000);
  shares_.Open(kBad);
  EXPECT_EQ(shares_.had(kBad), 0u);
  EXPECT_FALSE(shares_.Owes(kBad, 0));
}

}  // namespace
}  // namespace atoll
