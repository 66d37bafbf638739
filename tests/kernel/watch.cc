// What tells the supervisor how tasks do, and what breaks and halts them: limits, registers, calls, progress, Divert,
// PauseVm.
#include <cstring>

#include "tests/kernel/harness.h"

extern "C" const std::byte GuestSpin[], GuestSpin_end[], GuestCalls[], GuestCalls_end[];
extern "C" const std::byte WindowDiverted[];

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kSignalSlot = 2;
inline constexpr uint32_t kBelowRoot = 10;
inline constexpr uint64_t kBit = 1ul << 40;
inline constexpr uint32_t kDeadline = 8;
inline constexpr uint64_t kMostTicks = 10;  // until a hang is found

uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

void SetLimits(const Child& child, const SetLimitsRequest& limits) {
  EXPECT_OK(kernel::SetLimits({child.task}, limits));
}

GetProgressReply Progress(const Child& child) {
  const auto reply = kernel::GetProgress({child.task});
  EXPECT_OK(StatusOf(reply));
  return *reply;
}

void Echo(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) call = abi::ReplyWait(call.call.token, call.message);
}

void OneCall(uint32_t argument, uint64_t) {
  const auto reply = abi::Call({kCallSlot}, {.label = 3, .words = {argument, 11, 12, 13}});
  Shared()[argument] = reply.has_value() ? reply->words[0] : 0xbad0 + AsNumber(reply.error());
}

// Takes one call or signal and hangs.
void Hang(uint32_t, uint64_t) {
  static_cast<void>(abi::ReplyWait(0, {}));
  for (;;) Shared()[1] = Shared()[1] + 1;
}

Child MakeCaller(const Child& server, uint32_t argument, uint32_t priority = kBelowRoot) {
  Child caller = MakeChild(OneCall, argument, {.rank = 3, .priority = priority});
  Grant(server.endpoint, caller.task, kCallSlot, kSend, 70 + argument);
  return caller;
}

// ---- limits -------------------------------------------------------------------------------------

TEST(a_server_that_hangs_in_a_call_dies_and_the_call_comes_again) {
  Child server = StartServer(Hang, 0, {.priority = kBelowRoot});
  SetLimits(server, {.deadline = kDeadline});
  Child caller = MakeCaller(server, 10);
  Start(caller);
  const uint64_t began = Now();
  EXPECT_EQ(WaitFor(server.death_bit), server.death_bit);
  EXPECT_TRUE(Now() - began < Ticks(kMostTicks * 1000));
  EXPECT_EQ(Inspect(server).cause, DeathCause::kDeadline);
  EXPECT_RANGE(Inspect(server).ticks, kDeadline, kMostTicks);
  EXPECT_RANGE(Progress(server).died, began, Now());
  EXPECT_EQ(Shared()[10], 0ul);
  server.entry = Echo;
  Start(server);
  Sleep(1000);
  EXPECT_EQ(Shared()[10], 10ul);
}

TEST(a_task_that_hangs_with_a_signal_dies) {
  Child child = StartChild(Hang, 0, {.priority = kBelowRoot});
  SetLimits(child, {.deadline = kDeadline});
  Sleep(50'000);  // it waits
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 1}));
  EXPECT_EQ(WaitFor(child.death_bit), child.death_bit);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kDeadline);
  EXPECT_RANGE(Inspect(child).ticks, kDeadline, kMostTicks);
}

TEST(without_limits_nobody_dies) {
  const Child child = StartChild(Hang, 0, {.priority = kBelowRoot});
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 1}));
  Sleep(50'000);
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
  SetLimits(child, {.deadline = kDeadline});
  SetLimits(child, {});
  Sleep(50'000);
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
}

void Middle(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received call = abi::ReplyWait(token, {.words = {77}});
    token = call.call.token;
    static_cast<void>(abi::Call({kCallSlot}, {}));
  }
}

TEST(a_chain_is_blamed_on_its_last_task) {
  Child bottom = StartServer(Hang, 0, {.rank = 0, .priority = kBelowRoot});
  Child middle = MakeChild(Middle, 0, {.rank = 1, .priority = kBelowRoot, .endpoint = true});
  Grant(bottom.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  SetLimits(middle, {.deadline = 3});
  SetLimits(bottom, {.deadline = kDeadline});
  Child caller = MakeCaller(middle, 10);
  SetLimits(caller, {.deadline = 3});
  Start(caller);
  EXPECT_EQ(WaitFor(~0ul), bottom.death_bit);
  EXPECT_EQ(Inspect(bottom).cause, DeathCause::kDeadline);
  Sleep(50'000);
  EXPECT_EQ(Inspect(middle).state, TaskState::kRunning);
  EXPECT_EQ(Inspect(caller).state, TaskState::kRunning);
  bottom.entry = Echo;
  Start(bottom);
  Sleep(1000);
  EXPECT_EQ(Shared()[10], 77ul);
}

// Works for 5 ms for each signal that it sends itself.
void ManyJobs(uint32_t, uint64_t) {
  for (uint64_t n = 0;; ++n) {
    const uint64_t end = Now() + Ticks(5000);
    while (Now() < end) {
    }
    Shared()[0] = n;
    static_cast<void>(kernel::SetTimer({.deadline = Now()}));
    static_cast<void>(abi::ReplyWait(0, {}));
  }
}

TEST(many_jobs_are_not_one_long_one) {
  const Child child = StartChild(ManyJobs, 0, {.priority = kBelowRoot});
  SetLimits(child, {.deadline = kDeadline, .effects = 1});
  Sleep(100'000);
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
  EXPECT_RANGE(Shared()[0], 15, 20);
  EXPECT_RANGE(Progress(child).jobs, 15, 20);
}

void SignalFlood(uint32_t, uint64_t) {
  static_cast<void>(abi::ReplyWait(0, {}));
  for (;;) {
    static_cast<void>(kernel::SetSignal({kSignalSlot}));
    Shared()[0] = Shared()[0] + 1;
  }
}

void LogFlood(uint32_t, uint64_t) {
  static_cast<void>(abi::ReplyWait(0, {}));
  abi::IpcPage()[0] = std::byte{'x'};
  for (;;) {
    static_cast<void>(kernel::Log({.bytes = 1}));
    Shared()[0] = Shared()[0] + 1;
  }
}

TEST(floods_end) {
  Child child = StartChild(SignalFlood, 0, {.priority = kBelowRoot});
  GrantRootSignal(child.task, kSignalSlot, kBit);
  SetLimits(child, {.effects = 100});
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 1}));
  EXPECT_EQ(WaitFor(child.death_bit), child.death_bit);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFlood);
  EXPECT_EQ(Shared()[0], 100ul);
  Shared()[0] = 0;
  child.entry = LogFlood;
  SetLimits(child, {.effects = ~0u});
  Start(child);
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 1}));
  EXPECT_EQ(WaitFor(child.death_bit), child.death_bit);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFlood);
  EXPECT_RANGE(Shared()[0], 1000, 1100);
}

// ---- looking ------------------------------------------------------------------------------------

void Patterned(uint32_t, uint64_t) {
  uint64_t x[31] = {};
  for (size_t i = 0; i < 31; ++i) x[i] = 0x1000 + i;
  x[0] = 0;
  x[8] = abi::kReplyWait;
  CallWithRegisters(x);
}

TEST(registers_are_read) {
  const Child child = StartChild(Patterned);
  const auto read = [&](uint32_t first) {
    const auto reply = kernel::ReadRegisters({child.task}, {.first = first});
    EXPECT_OK(StatusOf(reply));
    return *reply;
  };
  EXPECT_EQ(read(19).word0, 0x1013ul);
  EXPECT_EQ(read(19).word5, 0x1018ul);
  EXPECT_EQ(read(28).word2, 0x101eul);
  const ReadRegistersReply end = read(31);  // SP, PC, PSTATE
  EXPECT_RANGE(end.word0, abi::kStackTop.value - kChildStackBytes, abi::kStackTop.value);
  EXPECT_EQ(end.word1, Inspect(child).pc);
  EXPECT_EQ(end.word2 & 0x1f, 0ul);
  EXPECT_EQ(end.word3 | end.word4 | end.word5, 0ul);
  EXPECT_EQ(read(34).word0 | read(~0u).word0 | read(1u << 31).word5, 0ul);
}

void Keep(uint32_t, uint64_t) {
  for (;;) {
    const abi::Received call = abi::ReplyWait(0, {});
    Shared()[0] = Shared()[0] + 1;
    if (call.call.token == 0) continue;
    Shared()[1] = call.call.token;
  }
}

TEST(calls_that_were_taken_are_read) {
  Child server = StartServer(Keep);
  const auto read = [&](uint32_t index) {
    return kernel::ReadCall({server.task}, {.index = index});
  };
  EXPECT_EQ(read(0).error(), Status::kNotFound);
  const uint64_t before = Now();
  std::array<Child, 3> callers = {MakeCaller(server, 20, 24), MakeCaller(server, 21, 24),
                                  MakeCaller(server, 22, 24)};
  for (size_t i = 0; i < 2; ++i) Start(callers[i]);
  const auto expect = [&](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const auto call = read(i);
      EXPECT_OK(StatusOf(call));
      EXPECT_EQ(call->badge, 90ul + i);
      EXPECT_EQ(call->label, 3ul);
      EXPECT_EQ(call->word0, 20ul + i);
      EXPECT_EQ(call->word2, 12ul);
    }
    EXPECT_EQ(read(count).error(), Status::kNotFound);
    EXPECT_EQ(read(~0u).error(), Status::kNotFound);
  };
  expect(2);
  EXPECT_EQ(read(1)->token, Shared()[1]);
  EXPECT_RANGE(Progress(server).owed_since, before, Now());
  EXPECT_OK(Kill(server));
  Start(callers[2]);  // waits, and was never taken
  expect(2);
  EXPECT_EQ(Progress(server).owed_since, 0ul);
}

TEST(progress_tells_of_jobs_and_what_waits) {
  const Child child = StartChild(Hang, 0, {.priority = kBelowRoot});
  Sleep(1000);  // it waits
  EXPECT_EQ(Progress(child).jobs, 0ul);
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 4}));
  EXPECT_EQ(Progress(child).jobs, 1ul);
  EXPECT_EQ(Progress(child).pending, 0ul);
  EXPECT_OK(kernel::RaiseTask({child.task}, {.bits = 9}));
  EXPECT_EQ(Progress(child).jobs, 1ul);
  EXPECT_EQ(Progress(child).pending, 9ul);
}

// ---- diversion ----------------------------------------------------------------------------------

TEST(a_task_is_diverted_from_whatever_it_does) {
  const Child keeper = StartServer(Keep, 0, {.rank = 1});
  const auto divert = [&](const Child& child) {
    EXPECT_OK(kernel::Divert({child.task}, {.pc = AddressOf(WindowDiverted)}));
    EXPECT_EQ(WaitFor(child.death_bit), child.death_bit);
    EXPECT_EQ(Inspect(child).cause, DeathCause::kExit);
  };
  divert(StartChild(Hang));                               // waits for work
  divert(StartChild(Hang, 0, {.priority = kBelowRoot}));  // ready, never ran
  const Child computing = StartChild(Hang, 0, {.priority = kBelowRoot});
  EXPECT_OK(kernel::RaiseTask({computing.task}, {.bits = 1}));
  Sleep(1000);
  divert(computing);
  Child caller = MakeCaller(keeper, 20, 24);
  Start(caller);
  EXPECT_EQ(Shared()[0] != 0, true);
  divert(caller);  // in a call
  EXPECT_EQ(kernel::ReadCall({keeper.task}, {}).error(), Status::kNotFound);
  EXPECT_OK(Kill(keeper));
  Start(caller);
  divert(caller);  // in a queue
  Child again = keeper;
  Start(again);
  EXPECT_EQ(kernel::ReadCall({keeper.task}, {}).error(), Status::kNotFound);
  // What it serves stays with it.
  Child server = StartServer(Hang, 0, {.rank = 2, .priority = kBelowRoot});
  Child client = MakeCaller(server, 21);
  Start(client);
  Sleep(1000);
  divert(server);
  EXPECT_EQ(Inspect(client).state, TaskState::kRunning);
  server.entry = Echo;
  Start(server);
  Sleep(1000);
  EXPECT_EQ(Shared()[21], 21ul);
}

TEST(bad_diversions_are_refused) {
  Child child = MakeChild(Hang);
  const auto divert = [&](uint64_t pc) { return kernel::Divert({child.task}, {.pc = pc}); };
  EXPECT_EQ(divert(AddressOf(WindowDiverted)), Status::kFailedPrecondition);  // never started
  Start(child);
  EXPECT_EQ(divert(AddressOf(WindowDiverted) + 2), Status::kInvalidArgument);
  EXPECT_EQ(divert(1ul << 39), Status::kInvalidArgument);
  EXPECT_EQ(divert(~0ul << 20), Status::kInvalidArgument);
  EXPECT_OK(divert(0x7000'0000));  // nothing is there
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);
  EXPECT_EQ(divert(AddressOf(WindowDiverted)), Status::kFailedPrecondition);  // dead
  EXPECT_EQ(kernel::Divert(kSelf, {.pc = AddressOf(WindowDiverted)}), Status::kFailedPrecondition);
}

TEST(watching_needs_the_right_to_manage_a_task) {
  const Child child = StartChild(Hang);
  const auto refused = [](abi::Handle handle, Status status) {
    EXPECT_EQ(StatusOf(kernel::ReadRegisters(handle, {})), status);
    EXPECT_EQ(StatusOf(kernel::ReadCall(handle, {})), status);
    EXPECT_EQ(StatusOf(kernel::GetProgress(handle)), status);
    EXPECT_EQ(kernel::SetLimits(handle, {}), status);
    EXPECT_EQ(kernel::Divert(handle, {}), status);
    EXPECT_EQ(kernel::RaiseTask(handle, {.bits = 1}), status);
    EXPECT_EQ(kernel::PauseVm(handle, {.pause = true}), status);
  };
  refused({0}, Status::kNotFound);
  refused({child.data}, Status::kInvalidArgument);
  refused({Restricted(child.task, kAllRights & ~256u)}, Status::kPermissionDenied);
  EXPECT_EQ(kernel::SetLimits({child.task}, {.deadline = 1'000'001}), Status::kInvalidArgument);
}

// ---- pausing ------------------------------------------------------------------------------------

inline constexpr uint64_t kRam = 0x4000'0000;
inline constexpr uint64_t kRamBytes = 0x4000;

struct Machine {
  uint32_t vm = 0;
  uint32_t vcpu = 0;
  uint32_t ram = 0;
};

Machine MakeMachine(const std::byte* code, const std::byte* end) {
  Machine machine = {.vm = CreateVm(1), .ram = CreateMemory(kRamBytes)};
  std::byte* const ram = Open(machine.ram, kRamBytes);
  std::memset(ram, 0, kRamBytes);
  std::memcpy(ram, code, static_cast<size_t>(end - code));
  Map(machine.ram, machine.vm, kRam, kRamBytes, kReadWrite | Rights(Right::kExecute));
  machine.vcpu = CreateVcpu(machine.vm, 0);
  return machine;
}

TEST(a_paused_vm_stands_still_and_goes_on) {
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  const auto* const count =
      reinterpret_cast<const volatile uint64_t*>(Open(machine.ram, kRamBytes) + 0x1030);
  const auto pause = [&](bool wanted) { return kernel::PauseVm({machine.vm}, {.pause = wanted}); };
  EXPECT_OK(pause(true));  // before it starts
  EXPECT_OK(kernel::StartVcpu({machine.vcpu}, {.entry = kRam, .context = 1}));
  Sleep(3000);
  EXPECT_EQ(*count, 0ul);
  for (int i = 0; i < 5; ++i) {
    EXPECT_OK(pause(false));
    EXPECT_OK(pause(false));
    Sleep(3000);
    EXPECT_OK(pause(true));
    EXPECT_OK(pause(true));
    const uint64_t stopped = *count;
    EXPECT_TRUE(stopped != 0);
    Sleep(3000);
    EXPECT_EQ(*count, stopped);
  }
  EXPECT_OK(kernel::StopVcpu({machine.vcpu}));
  EXPECT_OK(pause(false));
  const uint64_t stopped = *count;
  Sleep(3000);
  EXPECT_EQ(*count, stopped);
}

void HypercallServer(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received call = abi::ReplyWait(token, {.words = {0, Shared()[0]}});
    token = call.call.token;
    Shared()[0] = call.message.words[1] + 1;
    if (Shared()[1] != 0) {  // slowly
      Shared()[2] = 1;
      const uint64_t end = Now() + Ticks(2000);
      while (Now() < end) {
      }
    }
  }
}

TEST(no_hypercall_is_lost_or_doubled_by_pauses) {
  const Child server = StartServer(HypercallServer, 0, {.priority = kBelowRoot});
  const Machine machine = MakeMachine(GuestCalls, GuestCalls_end);
  const auto* const counts =
      reinterpret_cast<const volatile uint64_t*>(Open(machine.ram, kRamBytes) + 0x1000);
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
  EXPECT_OK(kernel::StartVcpu({machine.vcpu}, {.entry = kRam, .context = kRam + 0x1000}));
  for (uint64_t i = 0; i < 60; ++i) {
    Shared()[1] = i % 2;
    Sleep(300 + 7 * i);
    EXPECT_OK(kernel::PauseVm({machine.vm}, {.pause = true}));
    Sleep(i % 4 == 0 ? 3000 : 10);
    EXPECT_OK(kernel::PauseVm({machine.vm}, {.pause = false}));
  }
  EXPECT_TRUE(counts[0] > 100);
  EXPECT_EQ(counts[1] + counts[2], 0ul);
}

}  // namespace
}  // namespace atoll::test
