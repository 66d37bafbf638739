// Signs of life: who is asked for one, and what becomes of those that give none.
#include "tests/unit/supervisor/service_recovery_machine.h"

namespace atoll {
namespace {

class HeartbeatTest : public ServiceRecoveryTest {
 protected:
  void SetUp() override {
    Start([](PlanBuilder& plan) {
      plan.heartbeat_ms = 1000;
      FindTask(plan, kUart).answer_within_ms = 2000;
      FindTask(plan, kUart).deadline_ms = 8;
      FindTask(plan, kUart).start_ms = 50;
      FindTask(plan, kUart).effects = 4096;
    });
  }
};

TEST_F(HeartbeatTest, tasks_that_take_it_live_on) {
  for (int i = 0; i < 20; ++i) Tick(1000);
  EXPECT_EQ(Starts(kUart), 1u);
  EXPECT_EQ(Starts(kConsole), 1u);
}

TEST_F(HeartbeatTest, jobs_are_limited_when_the_first_is_done) {
  using Limits = std::pair<uint32_t, uint32_t>;
  EXPECT_EQ(kernel->limits[kUart], (Limits{50, 4096}));
  EXPECT_EQ(kernel->limits[kConsole], (Limits{0, 0}));
  EXPECT_EQ(kernel->timers.back(), kernel->now + 10);
  Tick(10);
  Tick(10);
  EXPECT_EQ(kernel->limits[kUart], (Limits{8, 4096}));
  EXPECT_EQ(kernel->timers.back(), kernel->now + 1000);
}

TEST_F(HeartbeatTest, supervisor_gives_one_itself_with_each) {
  using Own = std::pair<uint32_t, uint32_t>;
  Tick(10);
  Tick(10);
  kernel->own_limits.clear();
  Tick(500);
  EXPECT_TRUE(kernel->own_limits.empty());
  Tick(500);
  EXPECT_EQ(kernel->own_limits, std::vector<Own>{Own(10, 2000)});
}

TEST_F(HeartbeatTest, task_that_neither_takes_it_nor_runs_is_killed) {
  kernel->deaf.insert(kUart);
  for (int i = 0; i < 3; ++i) Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: heartbeat"));
  EXPECT_EQ(Starts(kUart), 2u);
}

TEST_F(HeartbeatTest, task_that_takes_it_and_does_nothing_is_killed) {
  Tick(10);
  Tick(10);
  kernel->ignorant.insert(kUart);
  Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
  Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: heartbeat"));
  kernel->ignorant.clear();
  for (int i = 0; i < 5; ++i) Tick(1000);
  EXPECT_EQ(Starts(kUart), 2u);
}

TEST_F(HeartbeatTest, supervisors_that_die_do_not_save_a_task_that_does_nothing) {
  Tick(10);
  Tick(10);
  kernel->ignorant.insert(kUart);
  Tick(1000);
  Tick(600);
  EXPECT_TRUE(kernel->killed.empty());
  for (int i = 0; i < 2 && kernel->killed.empty(); ++i) {
    supervisor = std::make_unique<Supervisor>(*kernel);
    supervisor->Recover();
    Tick(10);
    Tick(1000);
  }
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
}

TEST_F(HeartbeatTest, stub_that_refuses_all_calls_need_not_see_it) {
  kernel->ignorant.insert(kUart);
  for (int i = 0; i < 20; ++i) {
    kernel->Die(kUart);
    supervisor->OnSignals(bit::kTaskDeathSignal);
    for (int beat = 0; beat < 4 && StateOf("pl011.linux") == "waits to start"; ++beat) Tick(1000);
  }
  ASSERT_EQ(StateOf("pl011.linux"), "refusing");
  for (int i = 0; i < 5; ++i) Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_others_keep_waiting_while_they_start_is_not) {
  kernel->deaf.insert(kUart);  // so it is not limited, and the supervisor looks every 10 ms
  for (int i = 0; i < 90; ++i) Tick(10);
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_is_busy_is_not) {
  kernel->deaf.insert(kUart);
  for (int i = 0; i < 10; ++i) {
    kernel->ran[kUart] += 3;
    Tick(1000);
  }
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_owes_an_answer_for_too_long_is_killed) {
  kernel->owed_since[kUart] = kernel->now;
  kernel->owed_since[kConsole] = kernel->now;  // which may
  Tick(1000);
  Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
  Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: no answer"));
}

}  // namespace
}  // namespace atoll
