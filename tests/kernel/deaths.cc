// How tasks end and begin again: exit, kill in every state, restart.
#include "tests/kernel/servers.h"

namespace atoll::test {
namespace {

inline constexpr uint64_t kKernelImage = 0xffff'ffc0'0000'0000;

uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

TEST(an_exit_tells_its_code) {
  const Child child = StartChild([](uint32_t, uint64_t) { Exit(0xabcd'1234); });
  const InspectTaskReply end = Inspect(child);
  EXPECT_EQ(end.state, TaskState::kDead);
  EXPECT_EQ(end.cause, DeathCause::kExit);
  EXPECT_EQ(end.esr, 0xabcd'1234ull);
  EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
}

TEST(a_root_that_kills_itself_is_refused) {
  EXPECT_EQ(kernel::KillTask(kSelf), Status::kFailedPrecondition);
  EXPECT_EQ(kernel::KillTask(kOwnSignal), Status::kInvalidArgument);
  EXPECT_EQ(kernel::KillTask({0}), Status::kNotFound);
}

TEST(a_task_that_never_ran_does_not_die) {
  const Child child = MakeChild(EchoServer);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kNone);
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
}

void Spin(uint32_t argument, uint64_t) {
  for (;;) Shared()[argument] = Shared()[argument] + 1;
}

void ExpectKilled(const Child& child) {
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(Inspect(child).state, TaskState::kDead);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kKilled);
  EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kKilled);
}

TEST(a_kill_stops_a_task_whatever_it_does) {
  const Child ready = StartChild(Spin, 50, {.priority = 10});
  ExpectKilled(ready);  // never ran
  Child spinning = StartChild(Spin, 51, {.priority = 10});
  Sleep(3000);
  EXPECT_TRUE(Shared()[51] > 0);
  ExpectKilled(spinning);
  const uint64_t count = Shared()[51];
  Sleep(3000);
  EXPECT_EQ(Shared()[51], count);

  Child server = StartServer(KeepCalls);
  Child served = MakeCaller(server, 1);
  Start(served);
  EXPECT_EQ(Shared()[0], 1ull);
  ExpectKilled(served);
  ExpectKilled(server);  // waiting
  Child queued = MakeCaller(server, 2);
  Start(queued);
  ExpectKilled(queued);
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = queued.task, .slot = kCallSlot}));
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = served.task, .slot = kCallSlot}));
  EXPECT_OK(Destroy(server.endpoint));  // nobody is left in its queue
}

TEST(a_dead_task_runs_again_and_again) {
  Child child = MakeChild(
      [](uint32_t argument, uint64_t generation) {
        Shared()[0] = generation;
        Exit(argument);
      },
      6);
  for (uint64_t generation = 0; generation < 20; ++generation) {
    Start(child);
    EXPECT_EQ(Shared()[0], generation);
    EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
  }
}

extern "C" void CaptureStart();

TEST(a_task_starts_with_nothing_in_its_registers) {
  Child child = MakeChild(EchoServer, 9);
  for (uint64_t generation = 0; generation < 2; ++generation) {
    EXPECT_OK(StartAt(child, AddressOf(reinterpret_cast<const void*>(CaptureStart)),
                      abi::kStackTop.value));
    EXPECT_EQ(Inspect(child).esr, 77ull);
    EXPECT_EQ(Shared()[0], AddressOf(reinterpret_cast<const void*>(EchoServer)) | 9ull << 32);
    EXPECT_EQ(Shared()[1], generation);
    for (size_t i = 2; i < 33; ++i) EXPECT_EQ(Shared()[i], 0ull);
    EXPECT_EQ(Shared()[33], abi::kStackTop.value);
  }
}

TEST(bad_starts_are_refused_or_kill_the_task_alone) {
  Child child = MakeChild(EchoServer);
  const auto start = [&](uint32_t ipc) {
    return kernel::StartTask({child.task}, {.pc = 0, .sp = 0, .ipc_memory = ipc});
  };
  EXPECT_EQ(start(0), Status::kNotFound);
  EXPECT_EQ(start(child.task), Status::kInvalidArgument);
  EXPECT_EQ(start(child.stack), Status::kInvalidArgument);  // two pages
  EXPECT_EQ(start(Restricted(child.ipc, kReadWrite)), Status::kPermissionDenied);
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  for (const uint64_t pc : {1ul << 39, 1ul << 40, 1ul << 63, ~0ul, kKernelImage, 0x40'0002ul}) {
    EXPECT_EQ(StartAt(child, pc, abi::kStackTop.value), Status::kInvalidArgument);
  }
  for (const uint64_t sp : {~0ul, 1ul << 40, kKernelImage, abi::kStackTop.value - 8}) {
    EXPECT_EQ(StartAt(child, 0x40'0000, sp), Status::kInvalidArgument);
  }
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  for (const uint64_t pc : {0ul, 0x3f'fffcul, (1ul << 39) - 4, abi::kStackTop.value - 16}) {
    EXPECT_OK(StartAt(child, pc, abi::kStackTop.value));
    EXPECT_EQ(Inspect(child).state, TaskState::kDead);
    EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);
  }
  Start(child);
  EXPECT_EQ(StartAt(child, 0, 0), Status::kFailedPrecondition);
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
}

}  // namespace
}  // namespace atoll::test
