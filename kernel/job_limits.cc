#include "kernel/job_limits.h"

#include "kernel/task.h"
#include "kernel/task_life.h"

namespace atoll {
namespace {

inline constexpr uint32_t kWholeTick = 2;        // halves
inline constexpr uint32_t kDroppedLines = 1000;  // a second

void NoteJob(Task& task) {
  Limits& limits = task.limits;
  const uint64_t token = task.serving != nullptr ? task.serving->token : 0;
  if (token == limits.token && task.jobs == limits.reception) return;
  limits.token = token;
  limits.reception = task.jobs;
  limits.halves_used = 0;
  limits.effects_used = 0;
}

}  // namespace

void CountTick(Task& task, bool late) {
  Limits& limits = task.limits;
  if (limits.deadline == 0 || (task.work & kWorkStep) != 0) return;
  NoteJob(task);
  limits.halves_used += late ? 1 : kWholeTick;
  const uint32_t most = limits.deadline * kWholeTick;
  // The next tick finds it out of its commit window, or it is in no window that deserves the name.
  if (limits.halves_used > most &&
      !(limits.halves_used <= most + kWholeTick && InCommitWindow(task))) {
    Die(task, DeathCause::kDeadline);
  }
}

bool CountEffect(Task& task) {
  Limits& limits = task.limits;
  if (limits.effects == 0) return true;
  NoteJob(task);
  if (limits.effects_used++ < limits.effects) return true;
  Die(task, DeathCause::kFlood);
  return false;
}

void CountDroppedLine(Task& task) {
  if (++task.log_dropped > kDroppedLines && task.limits.effects != 0) Die(task, DeathCause::kFlood);
}

}  // namespace atoll
