// Signals, timers, physical interrupts, and the log.
#include <array>
#include <cstring>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kSignalSlot = 2;

// Records what it receives from word 10 on, two words each: 1 for a call, and bits or first word.
void Recorder(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, {});
    token = received.call.token;
    const uint64_t n = Shared()[0];
    Shared()[10 + 2 * n] = token != 0;
    Shared()[11 + 2 * n] = received.message.words[0];
    Shared()[0] = n + 1;
  }
}

TEST(bits_of_several_signals_come_together) {
  Child child = MakeChild(Recorder);
  const uint32_t signal = CreateSignal(child.task);
  for (const uint64_t bits : {1ull, 6ull, 1ull << 63, 4ull, 1ull}) {
    EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, bits)}));
  }
  Start(child);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_EQ(Shared()[11], 7 | 1ull << 63);
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 0)}));  // no bits: nothing to say
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, ~0ull)}));
  EXPECT_EQ(Shared()[0], 2ull);
  EXPECT_EQ(Shared()[13], ~0ull);
}

TEST(signals_through_bad_handles_are_refused) {
  Child child = MakeChild(Recorder, 0, {.endpoint = true});
  const uint32_t signal = CreateSignal(child.task);
  EXPECT_EQ(kernel::SetSignal({0}), Status::kNotFound);
  EXPECT_EQ(kernel::SetSignal({NextSlot()}), Status::kNotFound);
  EXPECT_EQ(kernel::SetSignal({kRootHandles}), Status::kNotFound);
  EXPECT_EQ(kernel::SetSignal({child.endpoint}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::SetSignal({child.task}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::SetSignal({Restricted(signal, kAllRights & ~kSend, 1)}),
            Status::kPermissionDenied);
  Start(child);
  EXPECT_EQ(Shared()[0], 0ull);
}

// Signals the root again and again; each time sets another of the bits 32..61.
void Signaller(uint32_t argument, uint64_t) {
  for (uint32_t i = 0; i < argument; ++i)
    static_cast<void>(kernel::SetSignal({kSignalSlot + i % 30}));
}

TEST(no_wakeup_is_lost) {
  Child child = MakeChild(Signaller, 3000, {.priority = 24});
  for (uint32_t i = 0; i < 30; ++i) GrantRootSignal(child.task, kSignalSlot + i, 1ull << (32 + i));
  // Above the root: all its signals are set before the root looks; below: the root wakes for each.
  Start(child);
  EXPECT_EQ(WaitFor(~child.death_bit), 0x3fff'ffffull << 32);
  EXPECT_EQ(WaitFor(child.death_bit), child.death_bit);
  SetScheduleRequest lower = {.priority = 10};
  EXPECT_OK(kernel::SetSchedule({child.task}, lower));
  Start(child);
  for (uint32_t i = 0; i < 3000; ++i) EXPECT_EQ(WaitFor(~0ull), 1ull << (32 + i % 30));
  EXPECT_EQ(WaitFor(~0ull), child.death_bit);
}

void Caller(uint32_t argument, uint64_t) {
  static_cast<void>(abi::Call({kCallSlot}, {.words = {argument}}));
}

TEST(signals_and_calls_are_both_taken) {
  Child server = MakeChild(Recorder, 0, {.endpoint = true});
  const uint32_t signal = Restricted(CreateSignal(server.task), kSend, 0x77);
  std::array<Child, 3> callers;
  for (uint32_t i = 0; i < 3; ++i) {
    callers[i] = MakeChild(Caller, i + 1, {.rank = 3});
    Grant(server.endpoint, callers[i].task, kCallSlot, kSend);
    Start(callers[i]);
  }
  EXPECT_OK(kernel::SetSignal({signal}));
  Start(server);
  Sleep(100);
  EXPECT_EQ(Shared()[0], 4ull);
  EXPECT_EQ(Shared()[10], 0ull);  // the signal first: it was there when the server received
  EXPECT_EQ(Shared()[11], 0x77ull);
  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(Shared()[10 + 2 * i], 1ull);
    EXPECT_EQ(Shared()[11 + 2 * i], i);
  }
}

// Signals itself before each wait; calls must come through all the same.
void SelfSignaller(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (uint64_t round = 0; round < 100; ++round) {
    static_cast<void>(kernel::SetSignal({kSignalSlot}));
    const abi::Received received = abi::ReplyWait(token, {});
    token = received.call.token;
    Shared()[token != 0] = Shared()[token != 0] + 1;
  }
}

TEST(a_flood_of_signals_does_not_keep_calls_out) {
  Child server = MakeChild(SelfSignaller, 0, {.endpoint = true});
  Grant(CreateSignal(server.task), server.task, kSignalSlot, kSend, 1);
  Child caller = MakeChild(Caller, 1, {.rank = 3});
  Grant(server.endpoint, caller.task, kCallSlot, kSend);
  Start(caller);
  Start(server);
  Sleep(1000);
  EXPECT_EQ(Shared()[1], 1ull);
  EXPECT_TRUE(Shared()[0] > 50);
}

// ---- timers -------------------------------------------------------------------------------------
TEST(a_timer_fires_when_it_is_due_and_once) {
  for (const uint64_t micros : {1, 50, 999, 20'000, 1'000'000}) {
    const uint64_t due = Now() + Ticks(micros);
    EXPECT_OK(kernel::SetTimer({.deadline = due}));
    EXPECT_EQ(abi::ReplyWait(0, {}).message.words[0], kTimerBit);
    EXPECT_RANGE(Now(), due, due + Ticks(10));
  }
  EXPECT_EQ(WaitFor(~0ull, 5000), 0ull);
}

TEST(a_deadline_in_the_past_fires_at_once) {
  for (const uint64_t deadline : {uint64_t{0}, uint64_t{1}, Now() - 1, Now()}) {
    const uint64_t begin = Now();
    EXPECT_OK(kernel::SetTimer({.deadline = deadline}));
    EXPECT_EQ(abi::ReplyWait(0, {}).message.words[0], kTimerBit);
    EXPECT_TRUE(Now() - begin < Ticks(20));
  }
}

TEST(the_last_deadline_counts) {
  const Child child = StartChild([](uint32_t, uint64_t) {
    const uint64_t begin = Now();
    static_cast<void>(kernel::SetTimer({.deadline = begin + Ticks(1000)}));
    static_cast<void>(kernel::SetTimer({.deadline = begin + Ticks(5000)}));
    static_cast<void>(abi::ReplyWait(0, {}));
    Shared()[0] = Now() - begin;
    static_cast<void>(kernel::SetTimer({.deadline = Now() + Ticks(1000)}));
    static_cast<void>(kernel::SetTimer({.deadline = ~uint64_t{0}}));  // cancelled
    Shared()[1] = 1;
    Shared()[2] = abi::ReplyWait(0, {}).message.words[0];
  });
  Sleep(20'000);
  EXPECT_RANGE(Shared()[0], Ticks(5000), Ticks(5020));
  EXPECT_EQ(Shared()[1], 1ull);
  EXPECT_EQ(Shared()[2], 0ull);
  EXPECT_TRUE(!IsDead(child));
}

TEST(a_deadline_at_the_end_of_time_disturbs_nobody) {
  const Child child = StartChild([](uint32_t, uint64_t) {
    static_cast<void>(kernel::SetTimer({.deadline = ~uint64_t{0} - 1}));
    Shared()[0] = abi::ReplyWait(0, {}).message.words[0];
  });
  Sleep(5000);
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_TRUE(!IsDead(child));
}

void TimedChild(uint32_t argument, uint64_t) {
  for (uint64_t i = 0; i < 10; ++i) {
    const uint64_t due = Now() + Ticks(argument);
    static_cast<void>(kernel::SetTimer({.deadline = due}));
    static_cast<void>(abi::ReplyWait(0, {}));
    if (Now() < due || Now() > due + Ticks(20)) Shared()[1] = Shared()[1] + 1;
  }
  Shared()[0] = Shared()[0] + 1;
}

TEST(each_task_has_its_own_timer) {
  for (const uint32_t micros : {700u, 1300u, 333u, 2500u, 1000u, 1001u})
    static_cast<void>(StartChild(TimedChild, micros));
  Sleep(40'000);
  EXPECT_EQ(Shared()[0], 6ull);
  EXPECT_EQ(Shared()[1], 0ull);
}

// ---- interrupts ---------------------------------------------------------------------------------
// PL031 (DDI0224): the alarm of a clock that counts seconds.
struct Rtc {
  volatile uint32_t data, match, load, control, mask, raw, masked, clear;
};

GetResourceReply FindResource(ResourceKind kind) {
  for (uint32_t i = 0;; ++i) {
    const auto entry = kernel::GetResource(kSelf, {.index = i});
    if (!entry.has_value() || entry->kind == ResourceKind::kNone)
      GiveUp("signals: a device is missing");
    if (entry->kind == kind) return *entry;
  }
}

inline constexpr uint64_t kIrqBit = 1ull << 50;
inline constexpr uint64_t kOtherIrqBit = 1ull << 51;

struct RtcIrq {
  Rtc* rtc;
  uint32_t irq;
  uint32_t intid;
};

RtcIrq MakeRtcIrq() {
  const GetResourceReply resource = FindResource(ResourceKind::kRtc);
  const uint32_t memory = CreateMemoryAt(PhysAddr(resource.base), kPageSize, MemoryType::kDevice);
  Map(memory, kSelf.slot, kScratchAddress, kPageSize, kReadWrite);
  const uint32_t irq = Create(
      {.type = ObjectType::kIrq, .owner = kOwnSignal.slot, .a = resource.intid, .b = kIrqBit});
  auto* const rtc = reinterpret_cast<Rtc*>(kScratchAddress);
  rtc->mask = 1;
  return {rtc, irq, resource.intid};
}

inline constexpr uint64_t kSecond = 1'100'000;  // microseconds, and some

TEST(a_physical_interrupt_sets_its_bits) {
  const RtcIrq test = MakeRtcIrq();
  EXPECT_EQ(WaitFor(kIrqBit, 1000), 0ull);
  test.rtc->match = test.rtc->data + 1;
  EXPECT_EQ(WaitFor(~0ull, kSecond), kIrqBit);
  EXPECT_EQ(test.rtc->raw, 1u);
  // The line is still high, but the interrupt stays masked until it is acknowledged.
  EXPECT_EQ(WaitFor(~0ull, 2000), 0ull);
  EXPECT_OK(kernel::AcknowledgeIrq({test.irq}));
  EXPECT_EQ(WaitFor(~0ull, 2000), kIrqBit);
  test.rtc->clear = 1;
  EXPECT_OK(kernel::AcknowledgeIrq({test.irq}));
  EXPECT_EQ(WaitFor(~0ull, 2000), 0ull);
  // And again.
  test.rtc->match = test.rtc->data + 1;
  EXPECT_EQ(WaitFor(~0ull, kSecond), kIrqBit);
  test.rtc->clear = 1;
}

TEST(an_interrupt_has_one_owner) {
  const RtcIrq test = MakeRtcIrq();
  const NewObject second = {
      .type = ObjectType::kIrq, .owner = kOwnSignal.slot, .a = test.intid, .b = kOtherIrqBit};
  EXPECT_EQ(StatusOf(TryCreate(second)), Status::kAlreadyExists);
  // The next owner gets what is pending.
  test.rtc->match = test.rtc->data + 1;
  EXPECT_EQ(WaitFor(~0ull, kSecond), kIrqBit);
  EXPECT_OK(Destroy(test.irq));
  EXPECT_EQ(WaitFor(~0ull, 2000), 0ull);
  const auto next = TryCreate(second);
  EXPECT_OK(StatusOf(next));
  EXPECT_EQ(WaitFor(~0ull, 2000), kOtherIrqBit);
  test.rtc->clear = 1;
}

TEST(bad_interrupts_are_refused) {
  const auto create = [](uint64_t intid, uint32_t owner) {
    return StatusOf(TryCreate({.type = ObjectType::kIrq, .owner = owner, .a = intid, .b = 1}));
  };
  for (const uint64_t intid :
       {0ull, 15ull, 26ull, 27ull, 31ull, 1020ull, 1023ull, 5000ull, 1ull << 32 | 34}) {
    EXPECT_EQ(create(intid, kOwnSignal.slot), Status::kOutOfRange);
  }
  EXPECT_EQ(create(1019, kOwnSignal.slot), Status::kOutOfRange);  // more than the machine has
  EXPECT_EQ(create(34, kSelf.slot), Status::kInvalidArgument);
  EXPECT_EQ(create(34, 0), Status::kNotFound);
  EXPECT_EQ(create(34, Restricted(kOwnSignal.slot, kSend)), Status::kPermissionDenied);
  const RtcIrq test = MakeRtcIrq();
  EXPECT_EQ(kernel::AcknowledgeIrq({kOwnSignal.slot}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::AcknowledgeIrq({0}), Status::kNotFound);
  EXPECT_EQ(kernel::AcknowledgeIrq({Restricted(test.irq, kAllRights & ~Rights(Right::kDrive))}),
            Status::kPermissionDenied);
}

// ---- log ----------------------------------------------------------------------------------------
TEST(a_flood_of_lines_is_cut) {
  const Child child = StartChild([](uint32_t, uint64_t) {
    for (uint32_t second = 0; second < 2; ++second) {
      abi::IpcPage()[0] = std::byte{'+'};
      for (uint32_t i = 0; i < 200; ++i) {
        const Status status = kernel::Log({.bytes = 1});
        const uint64_t word = IsOk(status) ? 0 : status == Status::kResourceExhausted ? 1 : 2;
        Shared()[word + 4 * second] = Shared()[word + 4 * second] + 1;
      }
      static_cast<void>(kernel::SetTimer({.deadline = Now() + Ticks(1'000'000)}));
      static_cast<void>(abi::ReplyWait(0, {}));
    }
  });
  Sleep(2'100'000);
  for (const size_t first : {0, 4}) {
    EXPECT_RANGE(Shared()[first], 10, 60);
    EXPECT_EQ(Shared()[first] + Shared()[first + 1], 200ull);
  }
  EXPECT_TRUE(IsDead(child));
}

TEST(bad_lines_are_refused) {
  for (const uint32_t bytes : {0u, 257u, 4096u, ~0u})
    EXPECT_EQ(kernel::Log({.bytes = bytes}), Status::kInvalidArgument);
}

// The runner sees whether this reaches the terminal as it is.
TEST(control_characters_do_not_reach_the_terminal) {
  constexpr char kText[] = "escape \x1b[2J, bell \a, line \n, return \r, high \xff, zero \0.";
  std::memcpy(abi::IpcPage().data(), kText, sizeof(kText));
  EXPECT_OK(kernel::Log({.bytes = sizeof(kText)}));
}

}  // namespace
}  // namespace atoll::test
