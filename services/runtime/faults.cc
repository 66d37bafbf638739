// The faults that need more than an instruction or two. Each is entered from faults.S with a fresh stack and a seed.
#include "services/runtime/faults.h"

#include <bit>

#include "ipc/system_call.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/log.h"
#include "services/runtime/service.h"

namespace atoll {
namespace {

// xorshift64* (Vigna, 2016).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545'f491'4f6c'dd1d;
  }
  uint64_t Below(uint64_t bound) { return (Next() >> 32) % bound; }
  abi::Words NextWords() {
    abi::Words words;
    for (uint64_t& word : words) word = Next();
    return words;
  }

 private:
  uint64_t state_;
};

constexpr uint64_t kOkLabel = abi::MakeLabel(static_cast<uint32_t>(Status::kOk));
constexpr uint32_t kHandles = 256;  // more than a service has
constexpr uint32_t kCallsAnswered = 8;
constexpr uint32_t kCallsMade = 8192;
constexpr uint32_t kCallNumbers = 80;  // and some beyond the last
constexpr uint64_t kPageBytes = 4096;

// The next call. Signals end the task: its successor looks at everything by itself, so they are not lost.
CallInfo NextCall() {
  for (;;) {
    const abi::Received received = abi::ReplyWait(0, {});
    if (received.call.token != 0) return received.call;
    if (IsOk(received.status)) Exit(kFaultExitCode);
  }
}

void Scribble(uint64_t address, Random& random) {
  asm volatile("str %0, [%1]" ::"r"(random.Next()), "r"(address) : "memory");
}

}  // namespace

[[gnu::weak]] void OnRefusing() {}

extern "C" {

[[noreturn]] void atoll_fault_exit(uint64_t) { Exit(kFaultExitCode); }

[[noreturn]] void atoll_fault_panic(uint64_t) { Panic("as requested"); }

[[noreturn]] void atoll_fault_log_flood(uint64_t) {
  for (;;) Log("a line of a flood that was requested");
}

[[noreturn]] void atoll_fault_signal_flood(uint64_t) {
  for (;;) {
    for (uint32_t slot = 1; slot < kHandles; ++slot) (void)kernel::SetSignal({slot});
  }
}

[[noreturn]] void atoll_fault_line_flood(uint64_t) {
  for (bool level = true;; level = !level) {
    for (uint32_t slot = 1; slot < kHandles; ++slot)
      (void)kernel::SetIrqLine({slot}, {.level = level});
  }
}

[[noreturn]] void atoll_fault_garbage(uint64_t seed) {
  Random random(seed);
  for (uint32_t i = 0; i < kCallsAnswered; ++i) {
    (void)abi::Reply(NextCall().token, {.label = kOkLabel, .words = random.NextWords()});
  }
  Exit(kFaultExitCode);
}

[[noreturn]] void atoll_fault_answer_twice(uint64_t seed) {
  Random random(seed);
  for (uint32_t i = 0; i < kCallsAnswered; ++i) {
    const uint64_t token = NextCall().token;
    (void)abi::Reply(token, {.label = kOkLabel, .words = {}});
    (void)abi::Reply(token, {.label = kOkLabel, .words = random.NextWords()});
    (void)abi::Reply(token, {.label = random.Next(), .words = random.NextWords()});
  }
  Exit(kFaultExitCode);
}

[[noreturn]] void atoll_fault_never_answer(uint64_t) {
  for (;;) (void)abi::ReplyWait(0, {});
}

// One bit, one word, up to a page of words, or all. It begins anywhere in the first page, half of the time near its start,
// where most journals are. The end of the journal is not known here: what goes beyond it faults, which is the crash that
// follows anyway.
[[noreturn]] void atoll_fault_scribble(uint64_t seed) {
  Random random(seed);
  const uint64_t words = kPageBytes / sizeof(uint64_t);
  const uint64_t within = random.Below(2) == 0 ? words : words / 16;
  const uint64_t start = abi::kJournalBase.value + random.Below(within) * sizeof(uint64_t);
  switch (random.Below(4)) {
    case 0: {
      auto* word = reinterpret_cast<volatile uint64_t*>(start);
      *word = *word ^ uint64_t { 1 } << random.Below(64);
      break;
    }
    case 1: Scribble(start, random); break;
    case 2: {
      const uint64_t end = start + random.Below(words) * sizeof(uint64_t);
      for (uint64_t at = start; at < end; at += sizeof(uint64_t)) Scribble(at, random);
      break;
    }
    default:
      for (uint64_t at = abi::kJournalBase.value;; at += sizeof(uint64_t)) Scribble(at, random);
  }
  Scribble(0, random);
  Exit(kFaultExitCode);
}

// Handles that it has and that it has not. Only what would stop the caller here is left out: Exit, and waiting for
// calls. Messages to servers that it may call are random too.
[[noreturn]] void atoll_fault_call_everything(uint64_t seed) {
  constexpr uint32_t kExitCall = 13;
  Random random(seed);
  for (uint32_t i = 0; i < kCallsMade; ++i) {
    const uint64_t choice = random.Next();
    const auto number =
        static_cast<uint32_t>((choice & 0xff) == 0 ? random.Next() : random.Below(kCallNumbers));
    if (number == kExitCall || number == abi::kReplyWait) continue;
    abi::Words words = random.NextWords();
    // Small numbers are the ones that name something.
    for (uint64_t& word : words) word >>= random.Below(65) & 63;
    const auto handle =
        static_cast<uint32_t>((choice >> 8 & 7) == 0 ? random.Next() : random.Below(kHandles));
    (void)abi::SystemCall(number, {handle}, words);
  }
  Exit(kFaultExitCode);
}

[[noreturn]] void atoll_refuse(uint64_t) {
  OnRefusing();
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, StatusMessage(Status::kInternal));
    if (!IsOk(received.status) && received.status != Status::kCancelled) Exit(kFaultExitCode);
    token = IsOk(received.status) ? received.call.token : 0;
  }
}

}  // extern "C"

}  // namespace atoll
