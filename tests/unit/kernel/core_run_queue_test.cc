#include <gtest/gtest.h>

#include "kernel/run_queue.h"

namespace atoll {
namespace {

class RunQueueTest : public testing::Test {
 protected:
  static constexpr uint32_t kLow = 0;
  static constexpr uint32_t kMiddle = 7;
  static constexpr uint32_t kHigh = kPriorities - 1;

  // Takes the first one out.
  Thread* Pop() {
    Thread* const first = queue_.First();
    queue_.Remove(*first);
    return first;
  }

  Thread a_{false};
  Thread b_{false};
  Thread c_{false};
  RunQueue queue_;
};

TEST_F(RunQueueTest, EmptyAtFirst) {
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.Highest(), -1);
}

TEST_F(RunQueueTest, HighestPriorityFirst) {
  queue_.PushBack(a_, kLow);
  EXPECT_EQ(queue_.Highest(), static_cast<int>(kLow));
  queue_.PushBack(b_, kHigh);
  queue_.PushFront(c_, kMiddle);
  EXPECT_EQ(queue_.Highest(), static_cast<int>(kHigh));
  EXPECT_EQ(Pop(), &b_);
  EXPECT_EQ(Pop(), &c_);
  EXPECT_EQ(queue_.Highest(), static_cast<int>(kLow));
  EXPECT_EQ(Pop(), &a_);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(RunQueueTest, EqualsTakeTurnsAndThePreemptedGoesFirst) {
  queue_.PushBack(a_, kMiddle);
  queue_.PushBack(b_, kMiddle);
  queue_.PushFront(c_, kMiddle);
  EXPECT_EQ(Pop(), &c_);
  EXPECT_EQ(Pop(), &a_);
  queue_.PushBack(a_, kMiddle);
  EXPECT_EQ(Pop(), &b_);
  EXPECT_EQ(Pop(), &a_);
}

TEST_F(RunQueueTest, ShowsTheEqualsOfTheFirst) {
  queue_.PushBack(a_, kMiddle);
  queue_.PushBack(b_, kLow);
  queue_.PushBack(c_, kMiddle);
  EXPECT_EQ(queue_.First(), &a_);
  EXPECT_EQ(RunQueue::Next(a_), &c_);
  EXPECT_EQ(RunQueue::Next(c_), nullptr);
}

TEST_F(RunQueueTest, KnowsWhoIsInIt) {
  EXPECT_FALSE(a_.ready);
  queue_.PushBack(a_, kMiddle);
  EXPECT_TRUE(a_.ready);
  EXPECT_EQ(a_.run_priority, kMiddle);
  Pop();
  EXPECT_FALSE(a_.ready);
}

TEST_F(RunQueueTest, RemovesFromTheMiddle) {
  queue_.PushBack(a_, kMiddle);
  queue_.PushBack(b_, kMiddle);
  queue_.PushBack(c_, kMiddle);
  queue_.Remove(b_);
  EXPECT_FALSE(b_.ready);
  EXPECT_EQ(Pop(), &a_);
  EXPECT_EQ(Pop(), &c_);
  EXPECT_EQ(queue_.Highest(), -1);
}

TEST_F(RunQueueTest, TheLastOfAPriorityClearsItsBit) {
  queue_.PushBack(a_, kHigh);
  queue_.PushBack(b_, kLow);
  queue_.Remove(a_);
  EXPECT_EQ(queue_.Highest(), static_cast<int>(kLow));
  queue_.Remove(b_);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(RunQueueTest, RemovingWhatIsNotInItDoesNothing) {
  queue_.PushBack(a_, kMiddle);
  b_.run_priority = kMiddle;  // left from an earlier time
  queue_.Remove(b_);
  EXPECT_EQ(Pop(), &a_);
  queue_.Remove(a_);
  EXPECT_TRUE(queue_.empty());
}

// The thread's own priority may change while it is queued.
TEST_F(RunQueueTest, StaysWhereItWasPut) {
  a_.schedule.priority = kMiddle;
  queue_.PushBack(a_, kMiddle);
  a_.schedule.priority = kHigh;
  EXPECT_EQ(queue_.Highest(), static_cast<int>(kMiddle));
  queue_.Remove(a_);
  EXPECT_TRUE(queue_.empty());
}

}  // namespace
}  // namespace atoll
