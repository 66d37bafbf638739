// Where calls are made to and taken from. One task receives; callers queue while it is busy.
#ifndef ATOLL_KERNEL_ENDPOINT_H_
#define ATOLL_KERNEL_ENDPOINT_H_

#include "kernel/list.h"
#include "kernel/object.h"
#include "kernel/thread.h"

namespace atoll {

struct Endpoint : Object {
  explicit Endpoint(uint32_t endpoint_rank) : Object(ObjectType::kEndpoint), rank(endpoint_rank) {}

  // The owner while it waits in reply_wait; then its signals are 0 and the queue is empty.
  Thread* receiver ABSL_GUARDED_BY(kernel_lock) = nullptr;
  List<Thread, &Thread::queue_node> queue ABSL_GUARDED_BY(kernel_lock);
  const uint32_t rank;
  Task* owner = nullptr;
};

// The right to set some bits of a task's signal word. The word itself is in the task's Thread.
struct Signal : Object {
  explicit Signal(Task* signal_owner) : Object(ObjectType::kSignal), owner(signal_owner) {}
  Task* const owner;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_ENDPOINT_H_
