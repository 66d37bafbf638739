// Tasks that are stepped until they die, and windows in which nobody dies. Run on one and on several CPUs.
#include <array>
#include <cstring>

#include "tests/kernel/smp.h"

extern "C" const std::byte GuestBreakpoints[], GuestBreakpoints_end[];
extern "C" const std::byte StepWorker[], StepWork[], WindowWorker[], WindowWork[], WindowBegin[],
    WindowEnd[], WindowDiverted[], WindowHang[];

namespace atoll::test {
namespace {

inline constexpr uint32_t kServerSlot = 1;
inline constexpr uint32_t kSignalSlot = 2;
inline constexpr uint64_t kRoundBit = 1ul << 40;
inline constexpr uint32_t kBelowRoot = 10;
inline constexpr uint64_t kRound =
    27;  // instructions of StepWork for each signal, the branch at its end included
inline constexpr uint32_t kPc = 32;  // numbers of ReadRegisters

uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

uint64_t Register(const Child& child, uint32_t number) {
  const auto reply = kernel::ReadRegisters({child.task}, {.first = number});
  EXPECT_OK(StatusOf(reply));
  return reply->word0;
}

uint64_t Executed(const Child& child) {
  const auto reply = kernel::GetProgress({child.task});
  EXPECT_OK(StatusOf(reply));
  return reply->executed;
}

Status StepTo(const Child& child, uint32_t steps) {
  return StatusOf(kernel::StepTask({child.task}, {.steps = steps}));
}

// What x19 is after `steps` instructions of StepWork.
uint64_t CountAfter(uint64_t steps) {
  constexpr std::array<uint64_t, kRound + 1> kCounts = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
                                                        10, 10, 10, 10, 10, 11, 12, 13, 14, 15,
                                                        15, 15, 15, 16, 16, 16, 16, 16};
  return steps / kRound * 16 + kCounts[steps % kRound];
}

void EchoServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    Shared()[5] = Shared()[5] + 1;
    call = abi::ReplyWait(call.call.token, call.message);
  }
}

void StartWorker(Child& child, const std::byte* code) {
  EXPECT_OK(StartAt(child, AddressOf(code), abi::kStackTop.value));
}

bool IsWaiting(const Child& child, const std::byte* pc) {
  return Eventually([&] { return Register(child, kPc) == AddressOf(pc); });
}

TEST(a_task_dies_after_exactly_so_many_instructions) {
  const Child echo = StartServer(EchoServer, 0, {.rank = 1});
  Child worker = MakeOn(1, nullptr, 0, {.rank = 2, .priority = kBelowRoot});
  Grant(echo.endpoint, worker.task, kServerSlot, kSend);
  GrantRootSignal(worker.task, kSignalSlot, kRoundBit);
  for (uint32_t steps = 1; steps <= 2 * kRound + 10; ++steps) {
    StartWorker(worker, StepWorker);
    EXPECT_TRUE(IsWaiting(worker, StepWork));
    EXPECT_OK(StepTo(worker, steps));
    // Not to be reached without the signal for the next round.
    for (uint64_t rounds = (steps + 1) / kRound + 1; rounds != 0; --rounds) {
      EXPECT_EQ(Inspect(worker).state, TaskState::kRunning);
      EXPECT_OK(kernel::RaiseTask({worker.task}, {.bits = 1}));
      if (rounds != 1) EXPECT_EQ(WaitFor(kRoundBit), kRoundBit);
      if (rounds != 1) Sleep(2000);
    }
    EXPECT_EQ(WaitFor(worker.death_bit), worker.death_bit);
    EXPECT_EQ(Inspect(worker).cause, DeathCause::kKilled);
    EXPECT_EQ(Register(worker, kPc), AddressOf(StepWork) + 4 * (steps % kRound));
    EXPECT_EQ(Register(worker, 19), CountAfter(steps));
    EXPECT_EQ(Executed(worker), steps);
    static_cast<void>(WaitFor(kRoundBit, 1));
  }
}

TEST(stepping_ends_when_it_is_told_to) {
  const Child echo = StartServer(EchoServer, 0, {.rank = 1});
  Child worker = MakeOn(1, nullptr, 0, {.rank = 2, .priority = kBelowRoot});
  Grant(echo.endpoint, worker.task, kServerSlot, kSend);
  GrantRootSignal(worker.task, kSignalSlot, kRoundBit);
  StartWorker(worker, StepWorker);
  EXPECT_TRUE(IsWaiting(worker, StepWork));
  const auto round = [&] {
    EXPECT_OK(kernel::RaiseTask({worker.task}, {.bits = 1}));
    EXPECT_EQ(WaitFor(kRoundBit), kRoundBit);
    Sleep(2000);
  };
  EXPECT_OK(StepTo(worker, 5));
  EXPECT_OK(StepTo(worker, 0));  // before it received anything
  round();
  EXPECT_EQ(Executed(worker), 0ul);
  EXPECT_OK(StepTo(worker, 1000));
  round();
  EXPECT_RANGE(Executed(worker), kRound - 2, kRound);
  const auto reply = kernel::StepTask({worker.task}, {.steps = 0});
  EXPECT_OK(StatusOf(reply));
  EXPECT_RANGE(reply->executed, kRound - 2, kRound);
  round();
  EXPECT_RANGE(Executed(worker), kRound - 2, kRound);
  EXPECT_EQ(Register(worker, 19), 48ul);
  EXPECT_EQ(Inspect(worker).state, TaskState::kRunning);
}

TEST(bad_steps_are_refused) {
  const Child child = StartServer(EchoServer);
  EXPECT_EQ(StatusOf(kernel::StepTask(kSelf, {.steps = 1})), Status::kFailedPrecondition);
  EXPECT_EQ(StatusOf(kernel::StepTask({child.data}, {.steps = 1})), Status::kInvalidArgument);
  EXPECT_EQ(StatusOf(kernel::StepTask({0}, {.steps = 1})), Status::kNotFound);
  EXPECT_EQ(StatusOf(kernel::StepTask({Restricted(child.task, kAllRights & ~256u)}, {.steps = 1})),
            Status::kPermissionDenied);
}

// Answers each call with its word plus one, after work that calls and sets a signal.
void Worker(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    static_cast<void>(kernel::SetSignal({kSignalSlot}));
    const auto reply = abi::Call({kServerSlot}, {.words = {call.message.words[0]}});
    call = abi::ReplyWait(call.call.token, {.words = {reply->words[0] + 1}});
  }
}

// Calls for ever: good answers in word `argument`, others in the next.
void Client(uint32_t argument, uint64_t) {
  for (uint64_t n = 0;; ++n) {
    const auto reply = abi::Call({kServerSlot}, {.words = {n}});
    const uint32_t word = argument + (!reply.has_value() || reply->words[0] != n + 1);
    Shared()[word] = Shared()[word] + 1;
  }
}

TEST(callers_of_a_stepped_server_notice_nothing_at_whatever_instruction_it_dies) {
  const Child echo = StartServer(EchoServer, 0, {.rank = 1});
  Child worker = MakeChild(Worker, 0, {.rank = 2, .priority = kBelowRoot, .endpoint = true});
  Grant(echo.endpoint, worker.task, kServerSlot, kSend);
  Grant(CreateSignal(echo.task), worker.task, 3, kSend, 1);
  GrantRootSignal(worker.task, kSignalSlot, kRoundBit);
  Start(worker);
  for (uint32_t i = 0; i < 2; ++i) {  // on two CPUs, if there are
    Child client = MakeOn(i, Client, 10 + 2 * i, {.rank = 3, .priority = 5});
    Grant(worker.endpoint, client.task, kServerSlot, kSend);
    Start(client);
  }
  EXPECT_TRUE(Eventually([] { return Shared()[10] > 3; }));
  for (uint32_t steps = 1; steps <= 150; ++steps) {
    EXPECT_OK(StepTo(worker, steps));
    EXPECT_EQ(WaitFor(worker.death_bit, 5'000'000), worker.death_bit);
    EXPECT_EQ(Inspect(worker).cause, DeathCause::kKilled);
    EXPECT_EQ(Executed(worker), steps);
    Start(worker);
    const uint64_t before = Shared()[10] + Shared()[12];
    EXPECT_TRUE(Eventually([=] { return Shared()[10] + Shared()[12] > before + 2; }));
  }
  EXPECT_EQ(Shared()[11], 0ul);
  EXPECT_EQ(Shared()[13], 0ul);
  EXPECT_EQ(Inspect(echo).state, TaskState::kRunning);
}

TEST(a_guest_that_debugs_itself_notices_nothing_of_steps_on_its_cpu) {
  constexpr uint64_t kRam = 0x4000'0000;
  constexpr uint64_t kRamBytes = 0x4000;
  Child server = StartServer(EchoServer, 0, {.rank = 1, .priority = kBelowRoot});
  const uint32_t vm = CreateVm(1);
  const uint32_t ram = CreateMemory(kRamBytes);
  Map(ram, kSelf.slot, kScratchAddress, kRamBytes, kReadWrite);
  std::byte* const words = reinterpret_cast<std::byte*>(kScratchAddress);
  std::memset(words, 0, kRamBytes);
  std::memcpy(words, GuestBreakpoints,
              static_cast<size_t>(GuestBreakpoints_end - GuestBreakpoints));
  const auto* const counts = reinterpret_cast<const volatile uint64_t*>(words + 0x2000);
  Map(ram, vm, kRam, kRamBytes, kReadWrite | Rights(Right::kExecute));
  const uint32_t vcpu = CreateVcpu(vm, 0);
  EXPECT_OK(kernel::BindHypercall({vm}, {.endpoint = server.endpoint}));
  EXPECT_OK(kernel::StartVcpu({vcpu}, {.entry = kRam, .context = kRam + 0x2000}));
  for (uint32_t steps = 1; steps < 40; ++steps) {
    const uint64_t before = counts[0];
    EXPECT_TRUE(Eventually([=] { return counts[0] > before + 2; }));
    EXPECT_OK(StepTo(server, steps));
    EXPECT_EQ(WaitFor(server.death_bit, 5'000'000), server.death_bit);
    Start(server);
  }
  EXPECT_OK(kernel::StopVcpu({vcpu}));
  EXPECT_RANGE(counts[1], counts[0], counts[0] + 1);  // a breakpoint in each round
  EXPECT_EQ(counts[2], 0ul);                          // and no other exception
}

// ---- commit windows ----------------------------------------------------------------------------

bool IsInWindow(uint64_t pc) { return pc > AddressOf(WindowBegin) && pc < AddressOf(WindowEnd); }

Status StartWindow(Child& child) {
  child.entry = reinterpret_cast<Entry>(AddressOf(WindowEnd) - AddressOf(WindowBegin));
  return StartAt(child, AddressOf(WindowWorker), abi::kStackTop.value);
}

TEST(no_stepped_task_dies_in_its_window) {
  Child worker = MakeOn(1, nullptr, 0, {.priority = kBelowRoot});
  for (uint32_t steps = 1; steps <= 40; ++steps) {
    EXPECT_OK(StartWindow(worker));
    EXPECT_TRUE(IsWaiting(worker, WindowWork));
    EXPECT_EQ(Register(worker, 28), 0ul);  // the window was accepted
    EXPECT_OK(StepTo(worker, steps));
    EXPECT_OK(kernel::RaiseTask({worker.task}, {.bits = 1}));
    EXPECT_EQ(WaitFor(worker.death_bit), worker.death_bit);
    const uint64_t in_loop = steps % 8;  // nop, four of the window, two nops and a branch
    const uint64_t late = in_loop >= 2 && in_loop <= 4 ? 5 - in_loop : 0;
    EXPECT_EQ(Executed(worker), steps + late);
    EXPECT_EQ(Register(worker, kPc), AddressOf(WindowWork) + 4 * ((in_loop + late) % 8));
    EXPECT_EQ(Register(worker, 21), Register(worker, 22));
  }
}

TEST(a_kill_waits_until_the_window_is_left) {
  Child worker = MakeOn(1, nullptr, 0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_OK(StartWindow(worker));
    EXPECT_TRUE(IsWaiting(worker, WindowWork));
    EXPECT_OK(kernel::RaiseTask({worker.task}, {.bits = 1}));
    const uint64_t end = Now() + Ticks(50) + i;
    while (Now() < end) Sleep(1);
    EXPECT_OK(Kill(worker));
    EXPECT_EQ(Inspect(worker).state, TaskState::kDead);
    EXPECT_EQ(Inspect(worker).cause, DeathCause::kKilled);
    EXPECT_TRUE(!IsInWindow(Register(worker, kPc)));
    EXPECT_EQ(Register(worker, 21), Register(worker, 22));
    EXPECT_EQ(WaitFor(worker.death_bit), worker.death_bit);
  }
}

TEST(a_diversion_waits_until_the_window_is_left) {
  uint64_t rounds = 0;
  Child worker = MakeOn(1, nullptr, 0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < 50; ++i) {
    EXPECT_OK(StartWindow(worker));
    EXPECT_TRUE(IsWaiting(worker, WindowWork));
    EXPECT_OK(kernel::RaiseTask({worker.task}, {.bits = 1}));
    const uint64_t end = Now() + Ticks(100) + i;
    while (Now() < end) Sleep(1);
    EXPECT_OK(kernel::Divert({worker.task}, {.pc = AddressOf(WindowDiverted)}));
    EXPECT_EQ(WaitFor(worker.death_bit), worker.death_bit);
    EXPECT_EQ(Inspect(worker).cause, DeathCause::kExit);
    EXPECT_EQ(Shared()[0], Shared()[1]);
    rounds += Shared()[0];
  }
  EXPECT_TRUE(rounds != 0);
}

TEST(a_window_protects_nobody_who_does_not_leave_it) {
  Child worker = MakeOn(1, nullptr, 0, {.priority = kBelowRoot});
  StartWorker(worker, WindowHang);
  Sleep(2000);
  EXPECT_OK(Kill(worker));
  EXPECT_EQ(Inspect(worker).cause, DeathCause::kKilled);
  EXPECT_EQ(WaitFor(worker.death_bit), worker.death_bit);
  StartWorker(worker, WindowHang);
  EXPECT_OK(kernel::SetLimits({worker.task}, {.deadline = 3}));
  EXPECT_EQ(WaitFor(worker.death_bit, 5'000'000), worker.death_bit);
  EXPECT_EQ(Inspect(worker).cause, DeathCause::kDeadline);
  EXPECT_OK(kernel::SetLimits({worker.task}, {}));
  // Its priority is its own again: beside it the root runs.
  StartWorker(worker, WindowHang);
  Sleep(2000);
  EXPECT_OK(Kill(worker));
}

TEST(bad_windows_are_refused) {
  const auto set = [](uint64_t address, uint32_t bytes) {
    return kernel::SetCommitWindow({.address = address, .bytes = bytes});
  };
  EXPECT_EQ(set(0x40'0002, 8), Status::kInvalidArgument);
  EXPECT_EQ(set(0x40'0000, 6), Status::kInvalidArgument);
  EXPECT_EQ(set(0x40'0000, 36), Status::kInvalidArgument);
  EXPECT_EQ(set(1ul << 39, 8), Status::kInvalidArgument);
  EXPECT_EQ(set(~0ul << 12, 8), Status::kInvalidArgument);
  EXPECT_OK(set(0x40'0000, 32));
  EXPECT_OK(set(0x40'0000, 0));
}

}  // namespace
}  // namespace atoll::test
