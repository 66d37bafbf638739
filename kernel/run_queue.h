// Ready threads of one CPU, by priority; equal priorities take turns.
#ifndef ATOLL_KERNEL_RUN_QUEUE_H_
#define ATOLL_KERNEL_RUN_QUEUE_H_

#include <array>
#include <bit>
#include <cstdint>

#include "kernel/list.h"
#include "kernel/thread.h"

namespace atoll {

class RunQueue {
 public:
  // A thread that is not in a queue, behind or before the others of `priority` (below kPriorities).
  void PushBack(Thread& thread, uint32_t priority) {
    Enter(thread, priority);
    lists_[priority].PushBack(thread);
  }
  void PushFront(Thread& thread, uint32_t priority) {
    Enter(thread, priority);
    lists_[priority].PushFront(thread);
  }

  // No effect if it is not in the queue.
  void Remove(Thread& thread) {
    if (!thread.ready) return;
    const uint32_t priority =
        thread.run_priority % kPriorities;  // always below: now the compiler knows it
    lists_[priority].Remove(thread);
    if (lists_[priority].empty()) ready_ &= ~(1u << priority);
    thread.ready = false;
  }

  // The first thread of the highest priority, of a queue that is not empty, and who follows it there: null after the
  // last one.
  Thread* First() const { return lists_[static_cast<uint32_t>(Highest())].head(); }
  static Thread* Next(const Thread& thread) {
    return List<Thread, &Thread::run_node>::Next(thread);
  }

  // Priority of the best ready thread, -1 if none.
  int Highest() const { return 31 - std::countl_zero(ready_); }
  bool empty() const { return ready_ == 0; }

 private:
  void Enter(Thread& thread, uint32_t priority) {
    thread.run_priority = priority;
    thread.ready = true;
    ready_ |= 1u << priority;
  }

  uint32_t ready_ = 0;  // bit p: the list of priority p is not empty
  std::array<List<Thread, &Thread::run_node>, kPriorities> lists_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_RUN_QUEUE_H_
