// Tasks on several CPUs: who runs where, calls to one server, signals, timers, budgets, interrupts.
#include "tests/kernel/smp.h"

#include <array>

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kPeerSlot = 2;
inline constexpr uint32_t kIrqSlot = 3;
inline constexpr uint32_t kBelowRoot = 12;

void Count(uint32_t word, uint64_t) {
  for (;;) Shared()[word] = Shared()[word] + 1;
}

// ---- where it runs -------------------------------------------------------------------------------

TEST(a_home_is_one_of_the_machines_cpus) {
  constexpr uint32_t kAnyCpu = 255;
  EXPECT_RANGE(CpuCount(), 1, kMostCpus);
  const Child child = MakeChild(Count);
  const uint32_t vcpu = CreateVcpu(CreateVm(), 0);
  for (const uint32_t thread : {child.task, vcpu}) {
    const auto set = [&](uint32_t cpu) {
      return kernel::SetSchedule({thread}, {.priority = 1, .cpu = cpu});
    };
    for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) EXPECT_OK(set(cpu));
    for (const uint32_t cpu : {CpuCount(), kMostCpus, 64u, 254u})
      EXPECT_EQ(set(cpu), Status::kOutOfRange);
    for (const uint32_t cpu : {256u, ~0u}) EXPECT_EQ(set(cpu), Status::kInvalidArgument);
    EXPECT_EQ(set(kAnyCpu), thread == vcpu ? Status::kOutOfRange : Status::kOk);
  }
}

TEST(each_cpu_runs_its_own) {
  // Spinners of different priorities, one for each CPU: none keeps another CPU's from running.
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu)
    static_cast<void>(StartOn(cpu, Count, cpu, {.priority = 2 + cpu}));
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu)
    EXPECT_TRUE(Eventually([=] { return Shared()[cpu] > 1000; }));
}

TEST(priorities_hold_on_each_cpu) {
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) {
    static_cast<void>(StartOn(cpu, Count, cpu, {.priority = kBelowRoot}));
    EXPECT_TRUE(Eventually([=] { return Shared()[cpu] != 0; }));
    static_cast<void>(StartOn(cpu, Count, kMostCpus + cpu, {.priority = kBelowRoot - 1}));
  }
  Sleep(5000);
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) EXPECT_EQ(Shared()[kMostCpus + cpu], 0ull);
}

TEST(a_running_task_moves_from_cpu_to_cpu) {
  const Child child = StartOn(0, Count, 0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < 40; ++i) {
    MoveTo(child.task, i, kBelowRoot);
    const uint64_t before = Shared()[0];
    EXPECT_TRUE(Eventually([=] { return Shared()[0] != before; }));
  }
  EXPECT_OK(Kill(child));
  EXPECT_TRUE(IsStill(Shared()[0]));
}

TEST(a_ready_task_moves_away_from_a_busy_cpu) {
  if (CpuCount() < 2) return;
  static_cast<void>(StartOn(1, Count, 0, {.priority = kBelowRoot + 1}));
  EXPECT_TRUE(Eventually([] { return Shared()[0] != 0; }));
  const Child waiting = StartOn(1, Count, 1, {.priority = kBelowRoot});
  Sleep(3000);
  EXPECT_EQ(Shared()[1], 0ull);
  MoveTo(waiting.task, 0, kBelowRoot);
  EXPECT_TRUE(Eventually([] { return Shared()[1] != 0; }));
}

TEST(running_time_is_counted_on_every_cpu) {
  std::array<Child, kMostCpus> children;
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu)
    children[cpu] = StartOn(cpu, Count, cpu, {.priority = kBelowRoot});
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu)
    EXPECT_TRUE(Eventually([&] { return Inspect(children[cpu]).ticks >= 5; }));
}

TEST(a_budget_holds_on_every_cpu) {
  std::array<Child, kMostCpus> children;
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) {
    children[cpu] = MakeChild(Count, cpu);
    EXPECT_OK(kernel::SetSchedule({children[cpu].task},
                                  {.priority = kBelowRoot, .budget = 2, .period = 20, .cpu = cpu}));
    Start(children[cpu]);
    static_cast<void>(StartOn(cpu, Count, kMostCpus + cpu, {.priority = kBelowRoot - 1}));
  }
  const uint64_t begin = Now();
  Sleep(200'000);
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) {
    const uint64_t periods = (Now() - begin) / Ticks(20'000) + 2;
    EXPECT_RANGE(Inspect(children[cpu]).ticks, 2, 2 * periods);
    EXPECT_TRUE(Eventually([=] { return Shared()[kMostCpus + cpu] != 0; }));
  }
}

// ---- calls ---------------------------------------------------------------------------------------

inline constexpr uint32_t kCalls = 200;
inline constexpr uint32_t kCallers = 8;
inline constexpr size_t kServed = 20;      // word of the number of all calls
inline constexpr size_t kLastOf = 30;      // + caller
inline constexpr size_t kAnsweredOf = 40;  // + caller
inline constexpr size_t kWrong = 50;

// One at a time: two at once would lose counts, since it adds without an atomic.
void CountingServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    const uint64_t caller = call.message.words[0];
    const uint64_t number = call.message.words[1];
    if (call.call.badge != caller || Shared()[kLastOf + caller] + 1 != number) FetchAdd(kWrong);
    Shared()[kLastOf + caller] = number;
    Shared()[kServed] = Shared()[kServed] + 1;
    call = abi::ReplyWait(call.call.token, {.words = {number * 3 + caller, caller}});
  }
}

void Caller(uint32_t caller, uint64_t) {
  for (uint64_t i = 1; i <= kCalls; ++i) {
    const auto reply = abi::Call({kCallSlot}, {.words = {caller, i}});
    if (!reply.has_value() || reply->words[0] != i * 3 + caller || reply->words[1] != caller)
      FetchAdd(kWrong);
    Shared()[kAnsweredOf + caller] = i;
  }
}

Child StartCaller(const Child& server, uint32_t caller, Entry entry = Caller, uint32_t rank = 3) {
  Child child = MakeOn(caller, entry, caller, {.rank = rank, .priority = kBelowRoot});
  Grant(server.endpoint, child.task, kCallSlot, kSend, caller);
  Start(child);
  return child;
}

void ExpectAllAnswered() {
  for (uint32_t i = 0; i < kCallers; ++i)
    EXPECT_TRUE(Eventually([=] { return Shared()[kAnsweredOf + i] == kCalls; }));
  EXPECT_EQ(Shared()[kServed], uint64_t{kCallers} * kCalls);
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(callers_on_all_cpus_are_served_one_by_one_and_in_order) {
  const Child server = StartServer(CountingServer);
  for (uint32_t i = 0; i < kCallers; ++i) static_cast<void>(StartCaller(server, i));
  ExpectAllAnswered();
}

TEST(a_server_of_low_priority_serves_callers_on_all_cpus) {
  const Child server = StartServer(CountingServer, 0, {.priority = 1});
  for (uint32_t i = 0; i < kCallers; ++i) static_cast<void>(StartCaller(server, i));
  ExpectAllAnswered();
}

void MiddleServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    const auto reply = abi::Call({kCallSlot}, call.message);
    if (!reply.has_value()) FetchAdd(kWrong);
    call = abi::ReplyWait(call.call.token, reply.value_or(Message{}));
  }
}

// It cannot tell its callers by badge, for all come from the servers between.
void LeafServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    const uint64_t caller = call.message.words[0];
    if (Shared()[kLastOf + caller] + 1 != call.message.words[1]) FetchAdd(kWrong);
    Shared()[kLastOf + caller] = call.message.words[1];
    Shared()[kServed] = Shared()[kServed] + 1;
    call = abi::ReplyWait(call.call.token, {.words = {call.message.words[1] * 3 + caller, caller}});
  }
}

TEST(chains_of_calls_cross_cpus) {
  const Child leaf = StartServer(LeafServer, 0, {.rank = 0});
  std::array<Child, 2> middle;
  for (uint32_t i = 0; i < 2; ++i) {
    middle[i] = MakeOn(i, MiddleServer, 0, {.rank = 1, .priority = kBelowRoot, .endpoint = true});
    Grant(leaf.endpoint, middle[i].task, kCallSlot, kSend);
    Start(middle[i]);
  }
  for (uint32_t i = 0; i < kCallers; ++i) static_cast<void>(StartCaller(middle[i % 2], i));
  ExpectAllAnswered();
}

// Takes all calls that it can get, and answers them in the order opposite to their coming.
void LateServer(uint32_t, uint64_t) {
  std::array<uint64_t, kCallers> tokens;
  for (;;) {
    for (uint64_t& token : tokens) token = abi::ReplyWait(0, {}).call.token;
    Shared()[kServed] = Shared()[kServed] + 1;
    for (size_t i = tokens.size(); i-- > 0;) {
      if (!IsOk(abi::Reply(tokens[i], {.words = {tokens[i]}}))) FetchAdd(kWrong);
    }
  }
}

TEST(late_replies_reach_callers_on_all_cpus) {
  const Child server = StartServer(LateServer, 0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < kCallers; ++i) {
    static_cast<void>(StartCaller(server, i, [](uint32_t caller, uint64_t) {
      for (uint64_t n = 1; n <= 50; ++n) {
        if (!abi::Call({kCallSlot}, {}).has_value()) FetchAdd(kWrong);
        Shared()[kAnsweredOf + caller] = n;
      }
    }));
  }
  for (uint32_t i = 0; i < kCallers; ++i)
    EXPECT_TRUE(Eventually([=] { return Shared()[kAnsweredOf + i] == 50; }));
  EXPECT_EQ(Shared()[kServed], 50ull);
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(buffers_go_between_cpus) {
  const Child server = StartServer([](uint32_t, uint64_t) {
    abi::Received call = abi::ReplyWait(0, {});
    for (;;) {
      const auto caller = static_cast<std::byte>(call.message.words[0]);
      for (std::byte& byte : abi::IpcPage()) {
        if (byte != caller) FetchAdd(kWrong);
        byte = caller ^ std::byte{0xff};
      }
      call = abi::ReplyWait(call.call.token, {.label = abi::MakeLabel(0, 4096)});
    }
  });
  for (uint32_t i = 0; i < kCallers; ++i) {
    static_cast<void>(StartCaller(server, i, [](uint32_t caller, uint64_t) {
      for (uint64_t n = 1; n <= 20; ++n) {
        for (std::byte& byte : abi::IpcPage()) byte = static_cast<std::byte>(caller);
        static_cast<void>(
            abi::Call({kCallSlot}, {.label = abi::MakeLabel(0, 4096), .words = {caller}}));
        for (const std::byte byte : abi::IpcPage()) {
          if (byte != (static_cast<std::byte>(caller) ^ std::byte{0xff})) FetchAdd(kWrong);
        }
        Shared()[kAnsweredOf + caller] = n;
      }
    }));
  }
  for (uint32_t i = 0; i < kCallers; ++i)
    EXPECT_TRUE(Eventually([=] { return Shared()[kAnsweredOf + i] == 20; }));
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

// ---- signals, timers, interrupts -----------------------------------------------------------------

inline constexpr uint64_t kThrows = 300;

// Two of them throw a signal to and fro. Each counts what it caught in its word.
void Player(uint32_t self, uint64_t) {
  if (self == 1) static_cast<void>(kernel::SetSignal({kPeerSlot}));
  for (uint64_t caught = 1; caught <= kThrows; ++caught) {
    const abi::Received signal = abi::ReplyWait(0, {});
    if (signal.message.words[0] != 1) FetchAdd(kWrong);
    Shared()[self] = caught;
    static_cast<void>(kernel::SetSignal({kPeerSlot}));
  }
}

TEST(signals_between_cpus_wake_and_are_not_lost) {
  for (uint32_t cpu = 0; cpu < CpuCount(); ++cpu) {
    Shared()[0] = 0;
    Shared()[1] = 0;
    std::array<Child, 2> players = {MakeOn(cpu, Player, 0, {.priority = kBelowRoot}),
                                    MakeOn(cpu + 1, Player, 1, {.priority = kBelowRoot})};
    for (uint32_t i = 0; i < 2; ++i)
      Grant(CreateSignal(players[i].task), players[1 - i].task, kPeerSlot, kSend, 1);
    for (Child& player : players) Start(player);
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(Eventually([=] { return Shared()[i] == kThrows; }));
  }
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(bits_of_all_cpus_gather_in_one_signal) {
  // Each producer sets its own bit and goes on when the consumer has counted it.
  const Child consumer = StartOn(1,
                                 [](uint32_t, uint64_t) {
                                   for (;;) {
                                     const uint64_t bits = abi::ReplyWait(0, {}).message.words[0];
                                     for (size_t i = 0; i < kCallers; ++i) {
                                       if ((bits >> i & 1) != 0)
                                         Shared()[kAnsweredOf + i] = Shared()[kAnsweredOf + i] + 1;
                                     }
                                   }
                                 },
                                 0, {.priority = kBelowRoot});
  const uint32_t signal = CreateSignal(consumer.task);
  for (uint32_t i = 0; i < kCallers; ++i) {
    Child producer = MakeOn(i,
                            [](uint32_t self, uint64_t) {
                              for (uint64_t n = 1; n <= kCalls; ++n) {
                                static_cast<void>(kernel::SetSignal({kPeerSlot}));
                                while (Shared()[kAnsweredOf + self] != n) {
                                }
                              }
                              FetchAdd(kServed);
                            },
                            i, {.priority = kBelowRoot - 1});
    Grant(signal, producer.task, kPeerSlot, kSend, uint64_t{1} << i);
    Start(producer);
  }
  EXPECT_TRUE(Eventually([] { return Shared()[kServed] == kCallers; }));
  for (size_t i = 0; i < kCallers; ++i) EXPECT_EQ(Shared()[kAnsweredOf + i], uint64_t{kCalls});
}

TEST(every_task_has_its_timer_on_every_cpu) {
  for (uint32_t i = 0; i < kCallers; ++i) {
    static_cast<void>(StartOn(i,
                              [](uint32_t self, uint64_t) {
                                for (uint64_t n = 1; n <= 20; ++n) {
                                  const uint64_t due = Now() + Ticks(300 + 100 * self);
                                  static_cast<void>(kernel::SetTimer({.deadline = due}));
                                  if (abi::ReplyWait(0, {}).message.words[0] != kTimerBit)
                                    FetchAdd(kWrong);
                                  if (Now() < due) FetchAdd(kWrong);
                                  Shared()[kAnsweredOf + self] = n;
                                }
                              },
                              i, {.priority = kBelowRoot}));
  }
  for (uint32_t i = 0; i < kCallers; ++i)
    EXPECT_TRUE(Eventually([=] { return Shared()[kAnsweredOf + i] == 20; }));
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(a_timer_follows_its_task_to_another_cpu) {
  const Child child =
      StartOn(0,
              [](uint32_t, uint64_t) {
                for (;;) {
                  static_cast<void>(kernel::SetTimer({.deadline = Now() + Ticks(500)}));
                  static_cast<void>(abi::ReplyWait(0, {}));
                  Shared()[0] = Shared()[0] + 1;
                }
              },
              0, {.priority = kBelowRoot});
  for (uint32_t i = 1; i <= 20; ++i) {
    MoveTo(child.task, i, kBelowRoot);
    const uint64_t before = Shared()[0];
    EXPECT_TRUE(Eventually([=] { return Shared()[0] > before + 1; }));
  }
}

inline constexpr uint64_t kRtcAddress = 0x7000'0000;

TEST(a_physical_interrupt_reaches_a_task_on_any_cpu) {
  GetResourceReply resource;
  for (uint32_t index = 0; resource.kind != ResourceKind::kRtc; ++index)
    resource = *kernel::GetResource(kSelf, {.index = index});
  const uint32_t registers =
      CreateMemoryAt(PhysAddr(resource.base), kPageSize, MemoryType::kDevice);
  // Its data register into its match register raises the line at once; the handler lowers it.
  Child driver = MakeChild(
      [](uint32_t, uint64_t) {
        auto* const rtc = reinterpret_cast<volatile uint32_t*>(kRtcAddress);
        rtc[7] = 1;  // RTCICR
        rtc[4] = 1;  // RTCIMSC
        for (;;) {
          rtc[1] = rtc[0];  // RTCMR
          if (rtc[5] == 0) continue;
          if (abi::ReplyWait(0, {}).message.words[0] != 2) FetchAdd(kWrong);
          rtc[7] = 1;
          static_cast<void>(kernel::AcknowledgeIrq({kIrqSlot}));
          Shared()[0] = Shared()[0] + 1;
        }
      },
      0, {.priority = kBelowRoot});
  Map(registers, driver.task, kRtcAddress, kPageSize, kReadWrite);
  const uint32_t irq = Create(
      {.type = ObjectType::kIrq, .owner = CreateSignal(driver.task), .a = resource.intid, .b = 2});
  Grant(irq, driver.task, kIrqSlot, Rights(Right::kDrive));
  Start(driver);
  for (uint32_t cpu = 0; cpu < 2 * CpuCount(); ++cpu) {
    MoveTo(driver.task, cpu, kBelowRoot);
    const uint64_t before = Shared()[0];
    EXPECT_TRUE(Eventually([=] { return Shared()[0] > before + 10; }));
  }
  EXPECT_OK(Kill(driver));
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

}  // namespace
}  // namespace atoll::test
