// What messages between tasks cost. Under -icount shift=0 the counter shows the instructions of all exception levels (1 ns
// each); each row is an average over many rounds, the loop and both sides' own instructions subtracted.
//
// Prints BENCH <name> <hundredths of an instruction>.
#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint64_t kRounds = 10'000;
inline constexpr uint64_t kBufferRounds = 1'000;
inline constexpr uint32_t kEndpointSlot = 1;
inline constexpr uint32_t kOwnSlot = 2;    // the task's own signal
inline constexpr uint32_t kOtherSlot = 3;  // the other's

void Report(std::string_view name, uint64_t ticks, uint64_t rounds, uint64_t own_instructions) {
  const uint64_t nanoseconds = ticks * 1'000'000 / Ticks(1000);
  char buffer[kLogLineBytes];
  Print(Format(buffer, "BENCH ", name, " ", nanoseconds * 100 / rounds - own_instructions * 100));
}

// reply_wait for ever, with nothing else in the loop: svc, mov, mov, b. The label goes back as it came, so a reply is as
// large as its call.
inline constexpr uint64_t kServerInstructions = 4;

[[noreturn]] void Server(uint32_t, uint64_t) {
  asm volatile(
      "mov x0, xzr\n\tmov x1, xzr\n\tmov x8, #2\n"
      "1:\tsvc #0\n\tmov x0, x9\n\tmov x8, #2\n\tb 1b" ::
          : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "memory");
  __builtin_unreachable();
}

// mov x8, mov x0, mov x1, svc; subs, b.ne
inline constexpr uint64_t kCallerInstructions = 6;

// Words 0 and 1: label and rounds; word 2: ticks.
void Caller(uint32_t, uint64_t) {
  const uint64_t label = Shared()[0];
  uint64_t rounds = Shared()[1];
  const uint64_t begin = Now();
  asm volatile("1:\tmov x8, #1\n\tmov x0, %2\n\tmov x1, %1\n\tsvc #0\n\tsubs %0, %0, #1\n\tb.ne 1b"
               : "+r"(rounds)
               : "r"(label), "r"(uint64_t{kEndpointSlot})
               : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                 "x13", "x14", "x15", "x16", "x17", "x18", "memory", "cc");
  Shared()[2] = Now() - begin;
}

void MeasureCall(std::string_view name, uint32_t bytes, uint64_t rounds) {
  const Child server = StartServer(Server);
  Child caller = MakeChild(Caller, 0, {.rank = 3});
  Grant(server.endpoint, caller.task, kEndpointSlot, kSend);
  Shared()[0] = abi::MakeLabel(0, bytes);
  Shared()[1] = rounds;
  Start(caller);
  EXPECT_TRUE(IsDead(caller));
  Report(name, Shared()[2], rounds, kCallerInstructions + kServerInstructions);
}

// Waits for a signal and sets the other's.
void Ponger(uint32_t, uint64_t) {
  for (;;) {
    static_cast<void>(abi::ReplyWait(0, {}));
    static_cast<void>(kernel::SetSignal({kOtherSlot}));
  }
}

void Pinger(uint32_t, uint64_t) {
  const uint64_t begin = Now();
  for (uint64_t i = 0; i < kRounds; ++i) {
    static_cast<void>(kernel::SetSignal({kOtherSlot}));
    static_cast<void>(abi::ReplyWait(0, {}));
  }
  Shared()[2] = Now() - begin;
}

TEST(null_call) { MeasureCall("null_ipc", 0, kRounds); }
TEST(small_buffer) { MeasureCall("call_and_reply_256_bytes", 256, kBufferRounds); }
TEST(large_buffer) { MeasureCall("call_and_reply_4096_bytes", 4096, kBufferRounds); }

// Includes the two programs' loops.
TEST(signals) {
  Child ponger = MakeChild(Ponger);
  Child pinger = MakeChild(Pinger);
  Grant(CreateSignal(pinger.task), ponger.task, kOtherSlot, kSend, 1);
  Grant(CreateSignal(ponger.task), pinger.task, kOtherSlot, kSend, 1);
  Start(ponger);
  Start(pinger);
  EXPECT_TRUE(IsDead(pinger));
  Report("signal_round_trip", Shared()[2], kRounds, 0);
}

// A task that signals itself and takes it: two kernel calls without a switch.
TEST(own_signal) {
  Child child = MakeChild([](uint32_t, uint64_t) {
    const uint64_t begin = Now();
    for (uint64_t i = 0; i < kRounds; ++i) {
      static_cast<void>(kernel::SetSignal({kOwnSlot}));
      static_cast<void>(abi::ReplyWait(0, {}));
    }
    Shared()[2] = Now() - begin;
  });
  Grant(CreateSignal(child.task), child.task, kOwnSlot, kSend, 1);
  Start(child);
  Report("signal_to_self", Shared()[2], kRounds, 0);
}

}  // namespace
}  // namespace atoll::test
