#include "kernel/root_restart.h"

#include <cstring>

#include "kernel/log/line.h"
#include "kernel/log/panic.h"
#include "kernel/machine/timer.h"
#include "kernel/memory/cache.h"
#include "kernel/scheduler.h"
#include "kernel/task_life.h"

namespace atoll {
namespace {

inline constexpr uint32_t kDeathsPerSecond = 8;
inline constexpr uint64_t kMillisecondsPerSecond = 1000;

struct Deaths {
  uint64_t all = 0;
  uint64_t second = 0;  // when the current one began
  uint32_t in_second = 0;
};
constinit Deaths deaths;

inline constexpr uint64_t kGracesPerSecond = 8;
constinit Timer watch;  // of its next sign of life

void EndSilence(Timer& timer) {
  kernel_lock.AssertHeld();
  Die(*static_cast<Task*>(timer.owner), DeathCause::kDeadline);
}

// After a time in which the whole machine stood still everything is late: what is due for the root itself comes first.
void OnSilence(Timer& timer) {
  kernel_lock.AssertHeld();
  timer.expired = EndSilence;
  SetTimer(timer, CntpctEl0::Read() + CounterFrequency() / kGracesPerSecond);
}

void Restart(Timer& timer) {
  kernel_lock.AssertHeld();
  Task& root = *static_cast<Task*>(timer.owner);
  timer.expired = OnTaskTimer;
  ClearToPointOfCoherency(root_image.data, root_image.data_bytes);
  std::memcpy(root_image.data, root_image.file, root_image.file_bytes);
  ClearToPointOfCoherency(root_image.stack, kRootStackBytes);
  ClearToPointOfCoherency(root.ipc_page, abi::kIpcBytes);
  StartTask(root, root_image.entry, abi::kStackTop.value, 0, deaths.all);
}

}  // namespace

void ExpectRoot(Task& root, uint32_t milliseconds) {
  watch.expired = OnSilence;
  watch.owner = &root;
  const uint64_t ticks = milliseconds * CounterFrequency() / kMillisecondsPerSecond;
  SetTimer(watch, milliseconds == 0 ? Timer::kNever : CntpctEl0::Read() + ticks);
}

void RestartRootSoon(Task& root) {
  SetTimer(watch, Timer::kNever);
  const uint64_t now = root.died;
  if (deaths.all++ == 0 || now - deaths.second > CounterFrequency()) {
    deaths.second = now;
    deaths.in_second = 0;
  }
  if (++deaths.in_second > kDeathsPerSecond) {
    Line line;  // in one: the log may have a reader
    line << "the supervisor died: pc " << Hex(root.frame.pc) << ", esr " << Hex(root.death_esr)
         << ", far " << Hex(root.death_far);
    Panic(line.view());
  }
  abi::RootDeath& death = *root_image.death;
  death.deaths = deaths.all;
  death.cause = static_cast<uint64_t>(root.cause);
  death.esr = root.death_esr;
  death.far = root.death_far;
  death.time = now;
  static_assert(offsetof(Frame, pstate) == 33 * sizeof(uint64_t));
  static_assert(offsetof(abi::RootDeath, pstate) - offsetof(abi::RootDeath, x) ==
                33 * sizeof(uint64_t));
  std::memcpy(&death.x, &root.frame, 34 * sizeof(uint64_t));
  root.timer.expired = Restart;
  SetTimer(root.timer, now);
}

}  // namespace atoll
