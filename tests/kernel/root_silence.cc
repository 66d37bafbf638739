// A root task that gives no sign of life (SetLimits, `again_ms`) dies, and its next instance is told why. Each instance
// of this one passes a test and then falls silent in another way.
#include <string_view>

#include "ipc/abi.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/log.h"
#include "services/runtime/service.h"

#define TEST(name)                                                    \
  static bool Is_##name();                                            \
  static void name() { Log(Is_##name() ? "PASS " : "FAIL ", #name); } \
  static bool Is_##name()

namespace atoll {
namespace {

inline constexpr abi::Handle kSelf{1};
inline constexpr uint32_t kAgain = 50;  // ms
inline constexpr uint64_t kLongest =
    kAgain + 125 + 2;  // until it is dead: the kernel gives it an eighth of a second more

uint64_t Now() {
  uint64_t ticks;
  asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks));
  return ticks;
}
uint64_t Milliseconds(uint64_t count) {
  uint64_t frequency;
  asm("mrs %0, cntfrq_el0" : "=r"(frequency));
  return count * frequency / 1000;
}
void SetTimer(uint64_t milliseconds) {
  (void)kernel::SetTimer({.deadline = Now() + Milliseconds(milliseconds)});
}
void Sleep(uint64_t milliseconds) {
  SetTimer(milliseconds);
  (void)abi::ReplyWait(0, {});
}
Status Watch(uint32_t again_ms) {
  return kernel::SetLimits(kSelf, {.deadline = 10, .again_ms = again_ms});
}

// What outlives an instance: when it gave its last sign.
volatile uint64_t& LastSign() {
  return *reinterpret_cast<volatile uint64_t*>(abi::kJournalBase.value);
}

bool DiedInTime(uint64_t deaths) {
  const auto& death = *reinterpret_cast<const abi::RootDeath*>(abi::kRootDeathPage.value);
  const uint64_t silence = death.time - LastSign();
  return death.deaths == deaths && death.cause == static_cast<uint64_t>(DeathCause::kDeadline) &&
         silence >= Milliseconds(kAgain) && silence <= Milliseconds(kLongest);
}

TEST(a_root_that_sets_its_limits_again_in_time_lives) {
  for (uint32_t i = 0; i < 20; ++i) {
    if (!IsOk(Watch(kAgain))) return false;
    Sleep(kAgain - 5);
  }
  return Watch(1'000'001) == Status::kInvalidArgument;
}

TEST(one_that_takes_its_signals_and_does_nothing_dies) { return DiedInTime(1); }

TEST(one_that_waits_for_ever_dies) { return DiedInTime(2); }

TEST(one_that_is_not_watched_may_be_silent) {
  if (!IsOk(Watch(kAgain)) || !IsOk(Watch(0))) return false;
  Sleep(10 * kLongest);
  return true;
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  switch (start.generation) {
    case 0:
      Log("TESTS 4");
      a_root_that_sets_its_limits_again_in_time_lives();
      (void)Watch(kAgain);
      LastSign() = Now();
      for (;;) Sleep(3);
    case 1:
      one_that_takes_its_signals_and_does_nothing_dies();
      (void)Watch(kAgain);
      LastSign() = Now();
      for (;;) (void)abi::ReplyWait(0, {});
    case 2:
      one_that_waits_for_ever_dies();
      one_that_is_not_watched_may_be_silent();
      break;
    default: break;
  }
  Log("DONE");
  (void)kernel::PowerOff(kSelf, {.status = start.generation == 2 ? 0u : 1u});
}

}  // namespace atoll
