// What becomes of calls, signals and timers when a server dies.
#include <array>
#include <cstring>

#include "tests/kernel/servers.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kSignalSlot = 2;

TEST(a_call_survives_the_death_of_its_server) {
  Child server = StartServer(KeepCalls);
  Child caller = MakeCaller(server, 7);
  Start(caller);
  EXPECT_EQ(Shared()[0], 1ull);
  const uint64_t token = Shared()[11];
  EXPECT_OK(Kill(server));
  EXPECT_EQ(Inspect(caller).state, TaskState::kRunning);
  Start(server);
  EXPECT_EQ(Shared()[0], 2ull);
  EXPECT_EQ(Shared()[14], 7ull);
  EXPECT_EQ(Shared()[15], token);
  EXPECT_EQ(Shared()[16], 2ull);  // attempt
  EXPECT_EQ(Shared()[17], 1ull);  // generation
  EXPECT_EQ(Shared()[107], 0ull);
}

TEST(calls_come_again_in_their_order) {
  Child server = StartServer(KeepCalls);
  std::array<Child, 4> callers;
  for (uint32_t i = 0; i < 3; ++i) Start(callers[i] = MakeCaller(server, i + 1));
  EXPECT_EQ(Shared()[0], 3ull);
  EXPECT_OK(Kill(server));
  Start(callers[3] = MakeCaller(server, 4));  // queues behind the three
  Start(server);
  EXPECT_EQ(Shared()[0], 7ull);
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Shared()[10 + 4 * (3 + i)], i + 1);
    EXPECT_EQ(Shared()[12 + 4 * (3 + i)], i < 3 ? 2ull : 1ull);
    if (i < 3) EXPECT_EQ(Shared()[11 + 4 * (3 + i)], Shared()[11 + 4 * i]);
  }
}

// The first instance takes two calls and is busy for ever then.
void BusyAfterTwo(uint32_t argument, uint64_t generation) {
  if (generation != 0) KeepCalls(argument, generation);
  static_cast<void>(abi::ReplyWait(0, {}));
  static_cast<void>(abi::ReplyWait(0, {}));
  for (;;) Shared()[1] = Shared()[1] + 1;
}

TEST(calls_that_were_taken_come_before_those_that_waited) {
  Child server = MakeChild(BusyAfterTwo, 0, {.priority = 5, .endpoint = true});
  Start(server);
  Sleep(100);
  std::array<Child, 4> callers;
  for (uint32_t i = 0; i < 4;
       ++i) {  // the later ones outrank the server, which works for the earlier ones
    Start(callers[i] = MakeCaller(server, i + 1, i < 2 ? 10 : 12));
    Sleep(100);
  }
  EXPECT_TRUE(Shared()[1] != 0);
  EXPECT_OK(Kill(server));
  Start(server);
  Sleep(1000);
  EXPECT_EQ(Shared()[0], 4ull);
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Shared()[10 + 4 * i], i + 1);
    EXPECT_EQ(Shared()[12 + 4 * i], i < 2 ? 2ull : 1ull);
  }
}

TEST(a_call_that_two_servers_died_of_fails) {
  Child server = StartServer(KeepCalls);
  Child caller = MakeCaller(server, 3);
  Start(caller);
  EXPECT_OK(Kill(server));
  Start(server);
  EXPECT_EQ(Shared()[103], 0ull);
  EXPECT_OK(Kill(server));
  Sleep(100);
  EXPECT_EQ(Shared()[103], 0xbad0 + AsNumber(Status::kInternal));
  EXPECT_TRUE(IsDead(caller));
  // The next call of the same caller begins anew.
  Start(server);
  Start(caller);
  EXPECT_EQ(Shared()[0], 3ull);
  EXPECT_EQ(Shared()[20], 1ull);
}

TEST(a_call_that_waited_in_the_queue_is_not_blamed) {
  Child server = MakeChild(KeepCalls, 0, {.endpoint = true});
  Child caller = MakeCaller(server, 3);
  Start(caller);
  for (int i = 0; i < 3; ++i) {
    EXPECT_OK(StartAt(server, 0, 0));  // dies at once
    EXPECT_TRUE(IsDead(server));
  }
  Start(server);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_EQ(Shared()[12], 1ull);
}

void BufferCall(uint32_t, uint64_t) {
  std::memset(abi::IpcPage().data(), 0x77, abi::kIpcBytes);
  static_cast<void>(abi::Call({kCallSlot}, {.label = abi::MakeLabel(0, 4096)}));
}

void BufferKeeper(uint32_t, uint64_t) {
  for (;;) {
    std::memset(abi::IpcPage().data(), 0, abi::kIpcBytes);
    static_cast<void>(abi::ReplyWait(0, {}));
    uint64_t right = 0;
    for (const std::byte byte : abi::IpcPage()) right += byte == std::byte{0x77};
    Shared()[0] = Shared()[0] + 1;
    Shared()[1] = right;
  }
}

TEST(a_buffer_comes_again_whole) {
  Child server = StartServer(BufferKeeper);
  Child caller = MakeChild(BufferCall, 0, {.rank = 3});
  Grant(server.endpoint, caller.task, kCallSlot, kSend);
  Start(caller);
  for (uint64_t attempt = 1; attempt <= 2; ++attempt) {
    EXPECT_EQ(Shared()[0], attempt);
    EXPECT_EQ(Shared()[1], 4096ull);
    Shared()[1] = 0;
    if (attempt == 1) {
      EXPECT_OK(Kill(server));
      Start(server);
    }
  }
}

// Calls on behalf of its caller.
void Middle(uint32_t, uint64_t generation) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received call = abi::ReplyWait(token, {.words = {1000 + generation}});
    token = call.call.token;
    static_cast<void>(abi::Call({kCallSlot}, {.words = {generation}}));
  }
}

// Keeps the first call, answers it when a signal comes, and all later calls at once.
void Bottom(uint32_t, uint64_t) {
  const uint64_t kept = abi::ReplyWait(0, {}).call.token;
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, {});
    token = received.call.token;
    if (token == 0) Shared()[1] = 0x100 + AsNumber(abi::Reply(kept, {}));
  }
}

TEST(a_death_in_the_middle_of_a_chain) {
  Child bottom = StartServer(Bottom, 0, {.rank = 0});
  const uint32_t wake = Restricted(CreateSignal(bottom.task), kSend, 1);
  Child middle = MakeChild(Middle, 0, {.rank = 1, .endpoint = true});
  Grant(bottom.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  Child caller = MakeCaller(middle, 5);
  Start(caller);
  EXPECT_OK(Kill(middle));
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[1], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Shared()[105], 0ull);
  Start(middle);
  Sleep(100);
  EXPECT_EQ(Shared()[105], 1001ull);
}

TEST(a_death_at_the_end_of_a_chain) {
  Child bottom = StartServer(KeepCalls, 0, {.rank = 0});
  Child middle = MakeChild(Middle, 0, {.rank = 1, .endpoint = true});
  Grant(bottom.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  Child caller = MakeCaller(middle, 5);
  Start(caller);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_OK(Kill(bottom));
  bottom.entry = EchoServer;
  Start(bottom);
  Sleep(100);
  EXPECT_EQ(Shared()[105], 1000ull);
}

TEST(signals_and_handles_outlive_the_instance) {
  Child child = MakeChild([](uint32_t, uint64_t generation) {
    const abi::Received received = abi::ReplyWait(0, {});
    Shared()[generation] = received.message.words[0];
    static_cast<void>(kernel::SetSignal({kSignalSlot}));
    static_cast<void>(abi::ReplyWait(0, {}));
  });
  const uint32_t signal = CreateSignal(child.task);
  GrantRootSignal(child.task, kSignalSlot, 1ull << 40);
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 5)}));  // before its first life
  Start(child);
  EXPECT_EQ(Shared()[0], 5ull);
  EXPECT_EQ(WaitFor(1ull << 40), 1ull << 40);
  EXPECT_OK(Kill(child));
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 8)}));
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 2)}));
  Start(child);
  EXPECT_EQ(Shared()[1], 10ull);
  EXPECT_EQ(WaitFor(1ull << 40), 1ull << 40);
}

TEST(a_dead_tasks_timer_does_not_fire) {
  Child child = MakeChild([](uint32_t, uint64_t generation) {
    if (generation == 0) static_cast<void>(kernel::SetTimer({.deadline = Now() + Ticks(1000)}));
    Shared()[generation] = 1;
    Shared()[2 + generation] = abi::ReplyWait(0, {}).message.words[0];
  });
  Start(child);
  EXPECT_OK(Kill(child));
  Sleep(3000);
  Start(child);
  Sleep(3000);
  EXPECT_EQ(Shared()[1], 1ull);
  EXPECT_EQ(Shared()[3], 0ull);
}

}  // namespace
}  // namespace atoll::test
