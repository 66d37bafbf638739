#include <gtest/gtest.h>

#include "kernel/timer_queue.h"

namespace atoll {
namespace {

constexpr uint64_t kNever = Timer::kNever;

TEST(TimerQueue, NothingIsDueWhenEmpty) {
  TimerQueue queue;
  EXPECT_EQ(queue.Earliest(), kNever);
  EXPECT_EQ(queue.PopDue(0), nullptr);
  EXPECT_EQ(queue.PopDue(kNever), nullptr);
}

TEST(TimerQueue, DueInTheOrderOfDeadlines) {
  TimerQueue queue;
  Timer a, b, c;
  queue.Set(b, 20);
  queue.Set(c, 30);
  queue.Set(a, 10);
  EXPECT_EQ(queue.Earliest(), 10);
  EXPECT_EQ(queue.PopDue(9), nullptr);
  EXPECT_EQ(queue.PopDue(25), &a);
  EXPECT_EQ(queue.PopDue(25), &b);
  EXPECT_EQ(queue.PopDue(25), nullptr);
  EXPECT_EQ(queue.Earliest(), 30);
  EXPECT_EQ(queue.PopDue(30), &c);  // due at its deadline, not after it
  EXPECT_EQ(queue.Earliest(), kNever);
}

TEST(TimerQueue, EqualDeadlinesInTheOrderTheyWereSet) {
  TimerQueue queue;
  Timer a, b, c;
  queue.Set(a, 10);
  queue.Set(b, 10);
  queue.Set(c, 10);
  EXPECT_EQ(queue.PopDue(10), &a);
  EXPECT_EQ(queue.PopDue(10), &b);
  EXPECT_EQ(queue.PopDue(10), &c);
}

TEST(TimerQueue, TellsWhetherTheEarliestDeadlineChanged) {
  TimerQueue queue;
  Timer a, b;
  EXPECT_TRUE(queue.Set(a, 20));
  EXPECT_FALSE(queue.Set(b, 30));
  EXPECT_FALSE(queue.Set(b, 25));
  EXPECT_TRUE(queue.Set(b, 10));
  EXPECT_FALSE(queue.Set(a, 40));
  EXPECT_TRUE(queue.Set(b, kNever));
  EXPECT_FALSE(queue.Set(b, kNever));
  EXPECT_FALSE(queue.Set(a, 40));  // the same again
  EXPECT_TRUE(queue.Set(a, kNever));
}

TEST(TimerQueue, SettingMovesATimer) {
  TimerQueue queue;
  Timer a, b;
  queue.Set(a, 10);
  queue.Set(b, 20);
  queue.Set(a, 30);
  EXPECT_EQ(queue.PopDue(100), &b);
  EXPECT_EQ(queue.PopDue(100), &a);
  EXPECT_EQ(queue.PopDue(100), nullptr);
}

TEST(TimerQueue, NeverTakesATimerOut) {
  TimerQueue queue;
  Timer a, b;
  queue.Set(a, 10);
  queue.Set(b, 10);
  queue.Set(a, kNever);
  EXPECT_EQ(queue.PopDue(kNever), &b);
  EXPECT_EQ(queue.PopDue(kNever), nullptr);
}

// Guests choose the deadlines of their timers: any 64 bits.
TEST(TimerQueue, DeadlinesAtTheEndsOfTheRange) {
  TimerQueue queue;
  Timer first, last;
  queue.Set(last, kNever - 1);
  queue.Set(first, 0);
  EXPECT_EQ(queue.PopDue(0), &first);
  EXPECT_EQ(queue.PopDue(kNever - 2), nullptr);
  EXPECT_EQ(queue.PopDue(kNever - 1), &last);
}

// As a periodic timer does from its own expiry.
TEST(TimerQueue, ATimerThatIsDueMayBeSetAgain) {
  TimerQueue queue;
  Timer a;
  queue.Set(a, 10);
  ASSERT_EQ(queue.PopDue(10), &a);
  EXPECT_TRUE(queue.Set(a, 20));
  EXPECT_EQ(queue.PopDue(19), nullptr);
  EXPECT_EQ(queue.PopDue(20), &a);
}

}  // namespace
}  // namespace atoll
