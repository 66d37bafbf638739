// Deadlines of one CPU, served by its CNTHP timer.
#ifndef ATOLL_KERNEL_TIMER_QUEUE_H_
#define ATOLL_KERNEL_TIMER_QUEUE_H_

#include <cstdint>

#include "kernel/list.h"

namespace atoll {

class TimerQueue;

struct Timer {
  static constexpr uint64_t kNever = ~uint64_t{0};

  uint64_t deadline = kNever;  // CNTPCT_EL0 ticks
  // Called on the CPU whose queue it is in, interrupts masked; the timer is no longer queued.
  void (*expired)(Timer& timer) = nullptr;
  void* owner = nullptr;
  TimerQueue* queue = nullptr;  // that it is in
  ListNode<Timer> node;
};

// Sorted by deadline. One entry per task, two per unloaded vCPU and the tick: short enough for a list.
class TimerQueue {
 public:
  // Queues the timer, or moves it if it is queued here; kNever takes it out. True if the earliest deadline
  // changed, so that the hardware timer has to be set anew.
  bool Set(Timer& timer, uint64_t deadline) {
    const uint64_t before = Earliest();
    list_.Remove(timer);
    timer.deadline = deadline;
    timer.queue = deadline != Timer::kNever ? this : nullptr;
    if (deadline != Timer::kNever) {
      Timer* later = list_.head();
      while (later != nullptr && later->deadline <= deadline)
        later = List<Timer, &Timer::node>::Next(*later);
      list_.InsertBefore(later, timer);
    }
    return Earliest() != before;
  }

  uint64_t Earliest() const { return list_.empty() ? Timer::kNever : list_.head()->deadline; }

  // Takes out and returns the first timer that is due at `now`, or null.
  Timer* PopDue(uint64_t now) {
    if (Earliest() > now || list_.empty()) return nullptr;
    Timer* const due = list_.PopFront();
    due->queue = nullptr;
    return due;
  }

 private:
  List<Timer, &Timer::node> list_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_TIMER_QUEUE_H_
