// Stopping, killing, unmapping and destroying what runs on another CPU.
#include <array>
#include <cstring>

#include "tests/kernel/smp.h"

extern "C" const std::byte GuestCount[], GuestCount_end[], GuestCalls[], GuestCalls_end[];
extern "C" const std::byte GuestStaysItself[], GuestStaysItself_end[];

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kBelowRoot = 12;
inline constexpr uint64_t kPage = 0x7000'0000;  // where children use a page that comes and goes
inline constexpr size_t kWrong = 50;

void Count(uint32_t word, uint64_t) {
  for (;;) Shared()[word] = Shared()[word] + 1;
}

// The next call. What is answered may have been cancelled, and then nothing was received.
abi::Received Answer(uint64_t token, const Message& message) {
  const abi::Received received = abi::ReplyWait(token, message);
  return received.status == Status::kCancelled ? abi::ReplyWait(0, {}) : received;
}

// ---- tasks ---------------------------------------------------------------------------------------

TEST(a_killed_task_stops_at_once_wherever_it_runs) {
  for (uint32_t i = 0; i < 24; ++i) {
    const Child child = StartOn(i, Count, 0, {.priority = kBelowRoot});
    Shared()[0] = 0;
    EXPECT_TRUE(Eventually([] { return Shared()[0] > 10; }));
    EXPECT_OK(Kill(child));
    EXPECT_TRUE(IsStill(Shared()[0]));
    EXPECT_EQ(Inspect(child).cause, DeathCause::kKilled);
    Discard(child);
  }
}

TEST(a_killed_task_starts_again_on_another_cpu) {
  Child child = StartOn(1, Count, 0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < 20; ++i) {
    const uint64_t before = Shared()[0];
    EXPECT_TRUE(Eventually([=] { return Shared()[0] != before; }));
    EXPECT_OK(Kill(child));
    MoveTo(child.task, i, kBelowRoot);
    Start(child);
  }
}

TEST(deaths_on_other_cpus_are_told) {
  for (uint32_t i = 0; i < 2 * CpuCount(); ++i) {
    const Child faulting =
        StartOn(i, [](uint32_t, uint64_t) { *reinterpret_cast<volatile uint64_t*>(kPage) = 1; }, 0,
                {.priority = kBelowRoot});
    EXPECT_EQ(WaitFor(faulting.death_bit, 20'000'000), faulting.death_bit);
    EXPECT_EQ(Inspect(faulting).cause, DeathCause::kFault);
    EXPECT_EQ(Inspect(faulting).far, kPage);
    const Child leaving = StartOn(i, [](uint32_t, uint64_t) {}, 0, {.priority = kBelowRoot});
    EXPECT_EQ(WaitFor(leaving.death_bit, 20'000'000), leaving.death_bit);
    EXPECT_EQ(Inspect(leaving).cause, DeathCause::kExit);
  }
}

TEST(tasks_come_and_go_on_all_cpus) {
  for (uint32_t round = 0; round < 10; ++round) {
    std::array<Child, kMostCpus> children;
    for (uint32_t i = 0; i < kMostCpus; ++i)
      children[i] = StartOn(round + i, Count, i, {.priority = kBelowRoot - i});
    Sleep(300);
    for (const Child& child : children) Discard(child);
  }
  EXPECT_TRUE(IsStill(Shared()[0]));
}

TEST(unmapped_memory_is_gone_on_every_cpu_when_the_call_returns) {
  const uint32_t memory = CreateMemory(kPageSize);
  for (uint32_t i = 0; i < 12; ++i) {
    Child child = MakeOn(i,
                         [](uint32_t, uint64_t) {
                           for (uint64_t n = 1;; ++n) {
                             *reinterpret_cast<volatile uint64_t*>(kPage) = n;
                             Shared()[0] = n;
                           }
                         },
                         0, {.priority = kBelowRoot});
    Map(memory, child.task, kPage, kPageSize, kReadWrite);
    Shared()[0] = 0;
    Start(child);
    EXPECT_TRUE(Eventually([] { return Shared()[0] > 10; }));
    Unmap(child.task, kPage, kPageSize);
    const auto* const word = reinterpret_cast<const volatile uint64_t*>(Open(memory, kPageSize));
    const uint64_t last = *word;
    Sleep(300);
    EXPECT_EQ(*word, last);
    Close();
    EXPECT_EQ(WaitFor(child.death_bit, 20'000'000), child.death_bit);
    EXPECT_EQ(Inspect(child).far, kPage);
    Discard(child);
  }
}

TEST(a_new_mapping_is_there_for_a_task_that_runs) {
  const uint32_t memory = CreateMemory(kPageSize);
  Child child = MakeOn(1,
                       [](uint32_t, uint64_t) {
                         for (;;) {
                           Shared()[1] = Shared()[1] + 1;
                           if (Shared()[0] == 0) continue;
                           *reinterpret_cast<volatile uint64_t*>(kPage) = 42;
                           Shared()[2] = 1;
                         }
                       },
                       0, {.priority = kBelowRoot});
  Start(child);
  EXPECT_TRUE(Eventually([] { return Shared()[1] != 0; }));
  Map(memory, child.task, kPage, kPageSize, kReadWrite);
  Shared()[0] = 1;
  EXPECT_TRUE(Eventually([] { return Shared()[2] != 0; }));
  EXPECT_TRUE(!IsDead(child));
}

TEST(a_task_goes_on_while_a_block_of_its_memory_is_split) {
  const PhysAddr base(AlignUp(FreeBase().value, kBlockSize));
  TakePages((base - FreeBase() + kBlockSize) / kPageSize);
  const uint32_t memory = CreateMemoryAt(base, kBlockSize);
  const Child child = StartOn(
      1,
      [](uint32_t, uint64_t) {
        for (;;) {
          if (Shared()[1] == 0) continue;
          static_cast<void>(*reinterpret_cast<volatile uint64_t*>(kPage + kBlockSize - kPageSize));
          Shared()[0] = Shared()[0] + 1;
        }
      },
      0, {.priority = kBelowRoot});
  for (uint32_t i = 0; i < 50; ++i) {
    Map(memory, child.task, kPage, kBlockSize, kReadWrite);
    Shared()[1] = 1;
    const uint64_t before = Shared()[0];
    EXPECT_TRUE(Eventually([=] { return Shared()[0] > before + 10; }));
    Unmap(child.task, kPage, kPageSize);  // splits it
    const uint64_t after = Shared()[0];
    if (!Eventually([=] { return IsDead(child) || Shared()[0] > after + 10; })) break;
    EXPECT_TRUE(!IsDead(child));
    Shared()[1] = 0;
    EXPECT_TRUE(Eventually([] { return IsStill(Shared()[0]); }));
    Unmap(child.task, kPage + kPageSize, kBlockSize - kPageSize);
  }
}

TEST(a_handle_is_gone_for_a_task_that_runs_elsewhere) {
  for (uint32_t i = 0; i < 10; ++i) {
    Child child = MakeOn(i,
                         [](uint32_t, uint64_t) {
                           for (;;) {
                             const Status status = kernel::SetSignal({kCallSlot});
                             Shared()[IsOk(status) ? 0 : 1] = Shared()[IsOk(status) ? 0 : 1] + 1;
                           }
                         },
                         0, {.priority = kBelowRoot});
    GrantRootSignal(child.task, kCallSlot, uint64_t{1} << 50);
    Shared()[0] = 0;
    Start(child);
    EXPECT_TRUE(Eventually([] { return Shared()[0] > 10; }));
    EXPECT_OK(kernel::GrantHandle(kSelf, {.task = child.task, .slot = kCallSlot}));
    const uint64_t before = Shared()[1];
    EXPECT_TRUE(Eventually([=] { return Shared()[1] > before; }));
    EXPECT_TRUE(IsStill(Shared()[0]));
    Discard(child);
    static_cast<void>(WaitFor(uint64_t{1} << 50, 1));
  }
}

// ---- calls across CPUs ---------------------------------------------------------------------------

TEST(a_call_is_cancelled_while_another_cpu_serves_it) {
  // The server works until it is told to reply.
  for (uint32_t i = 0; i < 8; ++i) {
    for (size_t word = 0; word < 4; ++word) Shared()[word] = 0;
    const Child server = StartOn(i,
                                 [](uint32_t, uint64_t) {
                                   const abi::Received call = abi::ReplyWait(0, {});
                                   Shared()[0] = 1;
                                   while (Shared()[1] == 0) {
                                   }
                                   Shared()[2] = 0x100 + AsNumber(abi::Reply(call.call.token, {}));
                                 },
                                 0, {.priority = kBelowRoot, .endpoint = true});
    Child caller = MakeOn(i + 1,
                          [](uint32_t, uint64_t) {
                            static_cast<void>(abi::Call({kCallSlot}, {}));
                            Shared()[3] = 1;
                          },
                          0, {.rank = 3, .priority = kBelowRoot});
    Grant(server.endpoint, caller.task, kCallSlot, kSend);
    Start(caller);
    EXPECT_TRUE(Eventually([] { return Shared()[0] != 0; }));
    EXPECT_OK(Kill(caller));
    Shared()[1] = 1;
    EXPECT_TRUE(Eventually([] { return Shared()[2] != 0; }));
    EXPECT_EQ(Shared()[2], 0x100 + AsNumber(Status::kCancelled));
    EXPECT_EQ(Shared()[3], 0ull);
  }
}

inline constexpr uint32_t kCallers = 6;
inline constexpr size_t kGood = 10;    // + caller
inline constexpr size_t kFailed = 20;  // + caller

void EchoServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    for (volatile int work = 0; work < 200;) work = work + 1;
    call = Answer(call.call.token, {.words = {call.message.words[0] + 1}});
  }
}

// A call is answered right, or it failed because two servers died of it.
void KeenCaller(uint32_t caller, uint64_t) {
  for (uint64_t n = 1;; ++n) {
    const auto reply = abi::Call({kCallSlot}, {.words = {n}});
    if (reply.has_value() && reply->words[0] == n + 1) {
      Shared()[kGood + caller] = Shared()[kGood + caller] + 1;
    } else if (!reply.has_value() && reply.error() == Status::kInternal) {
      Shared()[kFailed + caller] = Shared()[kFailed + caller] + 1;
    } else {
      FetchAdd(kWrong);
    }
  }
}

std::array<Child, kCallers> StartCallers(uint32_t endpoint) {
  std::array<Child, kCallers> callers;
  for (uint32_t i = 0; i < kCallers; ++i) {
    callers[i] = MakeOn(i, KeenCaller, i, {.rank = 3, .priority = kBelowRoot});
    Grant(endpoint, callers[i].task, kCallSlot, kSend);
    Start(callers[i]);
  }
  return callers;
}

void ExpectProgressOfAll() {
  std::array<uint64_t, kCallers> before;
  for (size_t i = 0; i < kCallers; ++i) before[i] = Shared()[kGood + i];
  for (size_t i = 0; i < kCallers; ++i)
    EXPECT_TRUE(Eventually([&] { return Shared()[kGood + i] > before[i] + 1; }));
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(a_server_is_killed_again_and_again_under_callers_of_all_cpus) {
  Child server = StartServer(EchoServer, 0, {.priority = kBelowRoot});
  static_cast<void>(StartCallers(server.endpoint));
  for (uint32_t i = 0; i < 60; ++i) {
    Sleep(50 + i * 7);
    EXPECT_OK(Kill(server));
    if (i % 8 == 0) MoveTo(server.task, i / 8, kBelowRoot);
    Start(server);
  }
  ExpectProgressOfAll();
}

TEST(callers_are_killed_again_and_again_under_their_server) {
  const Child server = StartServer(EchoServer, 0, {.priority = kBelowRoot});
  std::array<Child, kCallers> callers = StartCallers(server.endpoint);
  for (uint32_t i = 0; i < 60; ++i) {
    Sleep(20 + i * 5);
    Child& caller = callers[i % kCallers];
    EXPECT_OK(Kill(caller));
    Start(caller);
  }
  ExpectProgressOfAll();
}

TEST(a_chain_loses_its_middle_again_and_again) {
  const Child leaf = StartServer(EchoServer, 0, {.rank = 0, .priority = kBelowRoot});
  Child middle = MakeOn(1,
                        [](uint32_t, uint64_t) {
                          abi::Received call = abi::ReplyWait(0, {});
                          for (;;) {
                            const auto reply = abi::Call({kCallSlot}, call.message);
                            if (!reply.has_value()) FetchAdd(kWrong);
                            call = Answer(call.call.token, reply.value_or(Message{}));
                          }
                        },
                        0, {.rank = 1, .priority = kBelowRoot, .endpoint = true});
  Grant(leaf.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  static_cast<void>(StartCallers(middle.endpoint));
  for (uint32_t i = 0; i < 40; ++i) {
    Sleep(30 + i * 11);
    EXPECT_OK(Kill(middle));
    Start(middle);
  }
  ExpectProgressOfAll();
}

// ---- VMs -----------------------------------------------------------------------------------------

inline constexpr uint64_t kRam = 0x4000'0000;
inline constexpr uint64_t kDataPage = kRam + 0x1'0000;  // apart, to be unmapped by itself
inline constexpr uint64_t kRamBytes = 2 * kPageSize;    // code, data
inline constexpr uint64_t kVmBit = uint64_t{1} << 45;

struct Machine {
  uint32_t vm = 0;
  uint32_t ram = 0;
  std::array<uint32_t, 2> vcpus = {};
};

volatile uint64_t* Data() {
  return reinterpret_cast<volatile uint64_t*>(kScratchAddress + kPageSize);
}
constexpr uint64_t DataOf(uint32_t vcpu) { return kDataPage + 64 * uint64_t{vcpu}; }
volatile uint64_t& WordOf(uint32_t vcpu) { return Data()[8 * vcpu]; }

Machine MakeMachine(const std::byte* code, const std::byte* end, uint32_t first_cpu = 0) {
  Machine machine;
  machine.vm = CreateVm(2, kVmBit);
  machine.ram = CreateMemory(kRamBytes);
  Map(machine.ram, kSelf.slot, kScratchAddress, kRamBytes, kReadWrite);
  auto* const ram = reinterpret_cast<std::byte*>(kScratchAddress);
  std::memset(ram, 0, kRamBytes);
  std::memcpy(ram, code, static_cast<size_t>(end - code));
  Map(machine.ram, machine.vm, kRam, kPageSize, kReadWrite | Rights(Right::kExecute));
  Map(machine.ram, machine.vm, kDataPage, kPageSize, kReadWrite, kPageSize);
  for (uint32_t i = 0; i < 2; ++i) {
    machine.vcpus[i] = CreateVcpu(machine.vm, i);
    MoveTo(machine.vcpus[i], first_cpu + i, 5);
  }
  return machine;
}

void StartVcpu(const Machine& machine, uint32_t vcpu) {
  EXPECT_OK(kernel::StartVcpu({machine.vcpus[vcpu]}, {.entry = kRam, .context = DataOf(vcpu)}));
}
bool Runs(uint32_t vcpu) {
  const uint64_t before = WordOf(vcpu);
  return Eventually([=] { return WordOf(vcpu) != before; });
}

TEST(vcpus_run_on_their_cpus_and_stop_at_once) {
  const Machine machine = MakeMachine(GuestCount, GuestCount_end);
  for (uint32_t round = 0; round < 10; ++round) {
    for (uint32_t vcpu = 0; vcpu < 2; ++vcpu) {
      MoveTo(machine.vcpus[vcpu], round + vcpu, 5);
      StartVcpu(machine, vcpu);
    }
    EXPECT_TRUE(Runs(0) && Runs(1));
    EXPECT_EQ(kernel::DestroyObject({machine.vcpus[1]}), Status::kFailedPrecondition);
    EXPECT_OK(kernel::StopVcpu({machine.vcpus[1]}));
    EXPECT_TRUE(IsStill(WordOf(1)));
    EXPECT_TRUE(Runs(0));
    EXPECT_OK(kernel::StopVcpu({machine.vcpus[0]}));
    EXPECT_TRUE(IsStill(WordOf(0)));
  }
}

TEST(a_running_vcpu_moves_from_cpu_to_cpu) {
  const Machine machine = MakeMachine(GuestCount, GuestCount_end);
  StartVcpu(machine, 0);
  StartVcpu(machine, 1);
  for (uint32_t i = 0; i < 20; ++i) {
    MoveTo(machine.vcpus[i % 2], i / 2 + 1, 5);
    EXPECT_TRUE(Runs(0) && Runs(1));
  }
}

TEST(a_vcpu_moves_while_its_call_waits_in_a_queue) {
  // Its server works for another, on the CPU that the vCPU goes to, and takes the call there.
  const Child server = StartOn(0,
                               [](uint32_t, uint64_t) {
                                 abi::Received call = abi::ReplyWait(0, {});
                                 Shared()[0] = 1;
                                 while (Shared()[1] == 0) {
                                 }
                                 for (;;) call = Answer(call.call.token, {});
                               },
                               0, {.priority = kBelowRoot, .endpoint = true});
  const Machine machine = MakeMachine(GuestStaysItself, GuestStaysItself_end, 1);
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
  // Its sibling sleeps there, with its registers in the CPU.
  MoveTo(machine.vcpus[1], 0, 5);
  EXPECT_OK(kernel::StartVcpu({machine.vcpus[1]}, {.entry = kRam + 4, .context = DataOf(1)}));
  EXPECT_TRUE(Eventually([] { return WordOf(1) != 0; }));
  // Below the vCPU: it must not be why the reply takes the slow path.
  Child first = MakeOn(0, [](uint32_t, uint64_t) { static_cast<void>(abi::Call({kCallSlot}, {})); },
                       0, {.rank = 3, .priority = 1});
  Grant(server.endpoint, first.task, kCallSlot, kSend);
  Start(first);
  EXPECT_TRUE(Eventually([] { return Shared()[0] != 0; }));
  StartVcpu(machine, 0);
  Sleep(20'000);  // its call waits now
  MoveTo(machine.vcpus[0], 0, 5);
  Shared()[1] = 1;
  EXPECT_TRUE(Runs(0));
  EXPECT_EQ(Data()[1], 0ull);
}

TEST(a_vm_stops_on_all_cpus_at_once) {
  const Machine machine = MakeMachine(GuestCount, GuestCount_end, 1);
  for (uint32_t round = 0; round < 10; ++round) {
    StartVcpu(machine, 0);
    StartVcpu(machine, 1);
    EXPECT_TRUE(Runs(0) && Runs(1));
    EXPECT_OK(kernel::StopVm({machine.vm}, {.state = VmState::kReset}));
    const uint64_t last = WordOf(1);
    EXPECT_TRUE(IsStill(WordOf(0)));
    EXPECT_EQ(WordOf(1), last);
    EXPECT_EQ(WaitFor(kVmBit, 1000), kVmBit);
    EXPECT_OK(kernel::ResetVm({machine.vm}));
  }
}

TEST(memory_leaves_a_vm_that_runs_on_all_cpus) {
  for (uint32_t round = 0; round < 6; ++round) {
    const Machine machine = MakeMachine(GuestCount, GuestCount_end, round);
    StartVcpu(machine, 0);
    StartVcpu(machine, 1);
    EXPECT_TRUE(Runs(0) && Runs(1));
    Unmap(machine.vm, kDataPage, kPageSize);
    const uint64_t last = WordOf(1);
    EXPECT_TRUE(IsStill(WordOf(0)));
    EXPECT_EQ(WordOf(1), last);
    EXPECT_OK(kernel::StopVm({machine.vm}, {.state = VmState::kCrashed}));
    EXPECT_EQ(WaitFor(kVmBit, 1000), kVmBit);
    Unmap(machine.vm, kRam, kPageSize);
    Unmap(kSelf.slot, kScratchAddress, kRamBytes);
    for (const uint32_t slot : {machine.vcpus[0], machine.vcpus[1], machine.vm, machine.ram})
      EXPECT_OK(Destroy(slot));
  }
}

TEST(a_server_dies_under_vcpus_of_two_cpus) {
  Child server = StartServer(
      [](uint32_t, uint64_t) {
        abi::Received call = abi::ReplyWait(0, {});
        for (;;) {
          const abi::Words& words = call.message.words;
          if (words[0] != 7) FetchAdd(kWrong);
          call = Answer(call.call.token, {.words = {0, words[1] + 1, words[2], words[3]}});
        }
      },
      0, {.priority = kBelowRoot});
  const Machine machine = MakeMachine(GuestCalls, GuestCalls_end);
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
  StartVcpu(machine, 0);
  StartVcpu(machine, 1);
  for (uint32_t i = 0; i < 40; ++i) {
    Sleep(50 + i * 9);
    EXPECT_OK(Kill(server));
    Start(server);
  }
  EXPECT_TRUE(Runs(0) && Runs(1));
  for (uint32_t vcpu = 0; vcpu < 2; ++vcpu) EXPECT_EQ(Data()[8 * vcpu + 2], 0ull);
  EXPECT_EQ(Shared()[kWrong], 0ull);
}

TEST(a_vcpu_stops_in_its_call_whatever_its_server_does) {
  const Child server = StartServer(
      [](uint32_t, uint64_t) {
        abi::Received call = abi::ReplyWait(0, {});
        for (;;) {
          const abi::Words& words = call.message.words;
          call = Answer(call.call.token, {.words = {0, words[1] + 1, words[2], words[3]}});
        }
      },
      0, {.priority = kBelowRoot});
  const Machine machine = MakeMachine(GuestCalls, GuestCalls_end, 1);
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
  for (uint32_t i = 0; i < 40; ++i) {
    StartVcpu(machine, 0);
    StartVcpu(machine, 1);
    Sleep(30 + i * 70);  // some of them longer than a turn
    for (const uint32_t vcpu : machine.vcpus) EXPECT_OK(kernel::StopVcpu({vcpu}));
    const uint64_t last = WordOf(1);
    EXPECT_TRUE(IsStill(WordOf(0)));
    EXPECT_EQ(WordOf(1), last);
  }
  EXPECT_TRUE(WordOf(0) != 0 && WordOf(1) != 0);
  for (uint32_t vcpu = 0; vcpu < 2; ++vcpu) {
    EXPECT_EQ(Data()[8 * vcpu + 1], 0ull);
    EXPECT_EQ(Data()[8 * vcpu + 2], 0ull);
  }
}

}  // namespace
}  // namespace atoll::test
