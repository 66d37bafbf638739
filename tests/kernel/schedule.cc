// Who runs: priorities, turns, inheritance through calls, budgets.
#include <array>
#include <cstring>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kLow = 5;
inline constexpr uint32_t kMiddle = 10;
inline constexpr uint32_t kHigh = 15;  // below the root still

// Counts the microseconds that it ran in word `argument`.
void Spin(uint32_t argument, uint64_t) {
  uint64_t last = Now();
  for (;;) {
    const uint64_t now = Now();
    if (now - last < Ticks(2))
      Shared()[argument] = Shared()[argument] + (now - last);  // not while others ran
    last = now;
  }
}

uint64_t Ran(size_t word) { return Shared()[word] * 1000 / Ticks(1000); }

Child StartSpinner(uint32_t word, uint32_t priority) {
  return StartChild(Spin, word, {.priority = priority});
}

void SetSchedule(uint32_t task, const SetScheduleRequest& request) {
  EXPECT_OK(kernel::SetSchedule({task}, request));
}

TEST(the_highest_ready_one_runs) {
  static_cast<void>(StartSpinner(0, kLow));
  static_cast<void>(StartSpinner(1, kHigh));
  static_cast<void>(StartSpinner(2, kMiddle));
  Sleep(20'000);
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_RANGE(Ran(1), 15'000, 1'000'000);
  EXPECT_EQ(Shared()[2], 0ull);
}

TEST(equal_ones_take_turns) {
  for (uint32_t i = 0; i < 4; ++i) static_cast<void>(StartSpinner(i, kMiddle));
  Sleep(80'000);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_RANGE(Ran(i), 15'000, 25'000);
  }
}

TEST(a_spinning_task_delays_no_higher_one) {
  static_cast<void>(StartSpinner(0, kLow));
  for (int i = 0; i < 20; ++i) {
    const uint64_t due = Now() + Ticks(1300);
    Sleep(1300);
    EXPECT_TRUE(Now() - due < Ticks(20));
  }
}

void WaitAndTell(uint32_t argument, uint64_t) {
  for (;;) {
    static_cast<void>(abi::ReplyWait(0, {}));
    Shared()[argument] = Now();
  }
}

TEST(a_signal_wakes_a_higher_task_at_once) {
  const Child waiting = StartChild(WaitAndTell, 0, {.priority = 30});
  const uint32_t signal = Restricted(CreateSignal(waiting.task), kSend, 1);
  EXPECT_OK(kernel::SetSignal({signal}));
  EXPECT_TRUE(Shared()[0] != 0 && Shared()[0] < Now());
  const Child lower = StartChild(WaitAndTell, 1, {.priority = kLow});
  const uint32_t other = Restricted(CreateSignal(lower.task), kSend, 1);
  Sleep(100);
  EXPECT_OK(kernel::SetSignal({other}));
  EXPECT_EQ(Shared()[1], 0ull);
  Sleep(100);
  EXPECT_TRUE(Shared()[1] != 0);
}

TEST(a_raised_priority_counts_at_once) {
  static_cast<void>(StartSpinner(0, kMiddle));
  const Child starved = StartSpinner(1, kLow);
  Sleep(5000);
  EXPECT_EQ(Shared()[1], 0ull);
  SetSchedule(starved.task, {.priority = kHigh});
  Sleep(5000);
  EXPECT_RANGE(Ran(1), 4000, 1'000'000);
  // And a lowered one.
  const uint64_t before = Ran(0);
  SetSchedule(starved.task, {.priority = kLow});
  Sleep(5000);
  EXPECT_RANGE(Ran(0) - before, 4000, 1'000'000);
}

// Notes in word `argument` as which one it came to run after word 2 was set.
void NoteOrder(uint32_t argument, uint64_t) {
  while (Shared()[2] == 0) {
  }
  Shared()[3] = Shared()[3] + 1;
  Shared()[argument] = Shared()[3];
}

TEST(a_signal_leaves_a_preempted_one_before_its_equals) {
  const Child preempted = StartChild(NoteOrder, 0, {.priority = kMiddle});
  const uint32_t signal = Restricted(CreateSignal(preempted.task), kSend, 1);
  Sleep(300);
  static_cast<void>(StartChild(NoteOrder, 1, {.priority = kMiddle}));
  EXPECT_OK(kernel::SetSignal({signal}));
  Shared()[2] = 1;
  Sleep(5000);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_EQ(Shared()[1], 2ull);
}

TEST(a_lowered_ready_one_waits) {
  const Child first = StartSpinner(0, kHigh);
  static_cast<void>(StartSpinner(1, kMiddle));
  SetSchedule(first.task, {.priority = kLow});  // in the run queue meanwhile
  Sleep(5000);
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_RANGE(Ran(1), 4000, 1'000'000);
}

TEST(bad_schedules_are_refused) {
  const Child child = StartSpinner(0, kLow);
  const auto set = [&](const SetScheduleRequest& request) {
    return kernel::SetSchedule({child.task}, request);
  };
  EXPECT_EQ(set({.priority = 32}), Status::kInvalidArgument);
  EXPECT_EQ(set({.priority = 1, .budget = 1'000'001, .period = 1'000'000}),
            Status::kInvalidArgument);
  EXPECT_EQ(set({.priority = 1, .budget = 5, .period = 4}), Status::kInvalidArgument);
  EXPECT_EQ(set({.priority = 1, .budget = 5, .period = 1'000'001}), Status::kInvalidArgument);
  EXPECT_EQ(set({.priority = 1, .cpu = 1}), Status::kOutOfRange);
  EXPECT_EQ(set({.priority = 1, .cpu = 256}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::SetSchedule({child.data}, {.priority = 1}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::SetSchedule({Restricted(child.task, kAllRights & ~256u)}, {.priority = 1}),
            Status::kPermissionDenied);
  EXPECT_EQ(Shared()[0], 0ull);
}

TEST(cpus_account_for_their_sleep) {
  const auto cpu = [](uint32_t index) { return kernel::GetCpu(kSelf, {.cpu = index}); };
  const auto before = cpu(0);
  EXPECT_TRUE(before.has_value());
  const uint64_t start = Now();
  Sleep(5000);
  const auto after = cpu(0);
  EXPECT_TRUE(after.has_value());
  EXPECT_RANGE(after->idle - before->idle, Ticks(4000), Now() - start);
  EXPECT_EQ(cpu(8).error(), Status::kOutOfRange);
  EXPECT_EQ(cpu(256).error(), Status::kInvalidArgument);
  const Child child = StartSpinner(0, kLow);
  EXPECT_EQ(kernel::GetCpu({child.task}, {}).error(), Status::kPermissionDenied);
}

// Works for `words[0]` microseconds.
void WorkingServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    const uint64_t end = Now() + Ticks(call.message.words[0]);
    while (Now() < end) {
    }
    Shared()[10] = Shared()[10] + 1;
    call = abi::ReplyWait(call.call.token, {});
  }
}

// Calls for 5 ms of work when it is signalled, and tells when it is done.
void Client(uint32_t argument, uint64_t) {
  static_cast<void>(abi::ReplyWait(0, {}));
  static_cast<void>(abi::Call({kCallSlot}, {.words = {5000}}));
  Shared()[argument] = Now();
}

struct Clients {
  Child child;
  uint32_t wake = 0;
};

Clients MakeClient(const Child& server, uint32_t word, uint32_t priority) {
  Clients client;
  client.child = MakeChild(Client, word, {.rank = 3, .priority = priority});
  Grant(server.endpoint, client.child.task, kCallSlot, kSend);
  client.wake = Restricted(CreateSignal(client.child.task), kSend, 1);
  Start(client.child);
  return client;
}

TEST(a_server_works_at_its_callers_priority) {
  const Child server = StartServer(WorkingServer, 0, {.priority = 1});
  const Clients high = MakeClient(server, 0, kHigh);
  Sleep(1000);
  EXPECT_OK(kernel::SetSignal({high.wake}));
  static_cast<void>(StartSpinner(1, kMiddle));
  Sleep(6000);
  EXPECT_TRUE(Shared()[0] != 0);
}

TEST(a_caller_in_the_queue_lends_its_priority) {
  const Child server = StartServer(WorkingServer, 0, {.priority = 1});
  const Clients low = MakeClient(server, 0, kLow);
  const Clients high = MakeClient(server, 1, kHigh);
  Sleep(1000);
  EXPECT_OK(kernel::SetSignal({low.wake}));
  Sleep(1000);  // the server works for the low one
  static_cast<void>(StartSpinner(2, kMiddle));
  EXPECT_OK(kernel::SetSignal({high.wake}));
  Sleep(15'000);
  EXPECT_EQ(Shared()[10], 2ull);
  EXPECT_TRUE(Shared()[1] != 0);
}

TEST(a_servers_own_priority_is_the_least) {
  const Child server = StartServer(WorkingServer, 0, {.priority = kHigh});
  const Clients low = MakeClient(server, 0, kLow);
  Sleep(1000);
  EXPECT_OK(kernel::SetSignal({low.wake}));
  Sleep(1000);
  static_cast<void>(StartSpinner(1, kMiddle));
  Sleep(10'000);
  EXPECT_EQ(Shared()[10], 1ull);
}

TEST(a_budget_bounds_what_a_task_takes) {
  const Child child = StartSpinner(0, kHigh);
  SetSchedule(child.task, {.priority = kHigh, .budget = 2, .period = 10});
  static_cast<void>(StartSpinner(1, kLow));
  Sleep(200'000);
  EXPECT_RANGE(Ran(0), 30'000, 50'000);
  EXPECT_RANGE(Ran(1), 140'000, 1'000'000);
  SetSchedule(child.task, {.priority = kHigh});  // unlimited again
  Sleep(20'000);
  const uint64_t before = Ran(0);
  Sleep(20'000);
  EXPECT_RANGE(Ran(0) - before, 18'000, 1'000'000);
}

void CallOnAndOn(uint32_t argument, uint64_t) {
  for (;;) {
    static_cast<void>(abi::Call({kCallSlot}, {.words = {argument}}));
    Shared()[11] = Shared()[11] + 1;
  }
}

TEST(a_call_is_not_frozen_when_the_budget_ends_but_paid_later) {
  const Child server = StartServer(WorkingServer, 0, {.priority = 1});
  Child spender = MakeChild(CallOnAndOn, 6000, {.rank = 3, .priority = kHigh});
  Grant(server.endpoint, spender.task, kCallSlot, kSend);
  SetSchedule(spender.task, {.priority = kHigh, .budget = 2, .period = 50});
  Start(spender);
  static_cast<void>(StartSpinner(0, kMiddle));
  Sleep(8000);
  EXPECT_EQ(Shared()[10], 1ull);  // the server is done ...
  EXPECT_EQ(Shared()[11], 0ull);  // ... and the caller waits for its next period
  const Clients other = MakeClient(server, 1, kHigh);
  EXPECT_OK(kernel::SetSignal({other.wake}));
  Sleep(8000);
  EXPECT_TRUE(Shared()[1] != 0);  // the server serves others meanwhile
  EXPECT_EQ(Shared()[11], 0ull);
  Sleep(50'000);
  EXPECT_EQ(Shared()[11], 1ull);
}

TEST(a_caller_that_only_calls_yields_to_its_equals) {
  const Child server = StartServer(WorkingServer, 0, {.priority = kHigh});
  Child caller = MakeChild(CallOnAndOn, 10, {.rank = 3, .priority = kMiddle});
  Grant(server.endpoint, caller.task, kCallSlot, kSend);
  Start(caller);
  static_cast<void>(StartSpinner(0, kMiddle));
  Sleep(40'000);
  EXPECT_RANGE(Ran(0), 12'000, 1'000'000);
  EXPECT_RANGE(Shared()[11], 500, 1'000'000);
}

TEST(a_budget_dies_with_its_task) {
  const PhysAddr first = FreeBase();
  Child child = StartSpinner(0, kHigh);
  const uint64_t bytes = FreeBase() - first;
  SetSchedule(child.task, {.priority = kHigh, .budget = 5, .period = 20});
  Sleep(3000);  // the period has begun
  Discard(child);
  // What was the task is somebody's memory now, of which the kernel must not make sense.
  std::memset(Open(CreateMemoryAt(first, bytes), bytes), 0xff, bytes);
  Close();
  Sleep(30'000);
}

TEST(a_throttled_task_can_die_and_live) {
  Child child = StartSpinner(0, kHigh);
  SetSchedule(child.task, {.priority = kHigh, .budget = 1, .period = 20});
  Sleep(5000);
  EXPECT_OK(Kill(child));
  EXPECT_TRUE(IsDead(child));
  Start(child);
  Sleep(50'000);
  EXPECT_RANGE(Ran(0), 1000, 10'000);
}

TEST(running_time_is_counted) {
  const Child child = StartSpinner(0, kHigh);
  const Child idle = StartSpinner(1, kLow);
  Sleep(50'000);
  EXPECT_RANGE(Inspect(child).ticks, 45, 55);
  EXPECT_RANGE(Inspect(idle).ticks, 0, 2);
}

}  // namespace
}  // namespace atoll::test
