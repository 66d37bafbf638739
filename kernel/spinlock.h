// A lock between CPUs. Interrupts are always masked at EL2, so a holder is never preempted.
//
// Order: a lock may be taken only while holding locks from lines above it.
//   objects     (kernel/object.h)     creation, destruction, grants, mappings
//   endpoint    (kernel/endpoint.h)   its queue, receiver and the calls that pass through it
//   interrupts  (kernel/vm.h)         virtual interrupt state of one VM
//   run queue   (kernel/cpu.h)        ready threads and timers of one CPU
#ifndef ATOLL_KERNEL_SPINLOCK_H_
#define ATOLL_KERNEL_SPINLOCK_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"

namespace atoll {

class ABSL_LOCKABLE Spinlock {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    // One LSE swap when free; the uncontended path is what a call pays for.
    while (word_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]] {
      while (word_.load(std::memory_order_relaxed) != 0) {
      }
    }
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() { word_.store(0, std::memory_order_release); }

 private:
  std::atomic<uint32_t> word_{0};
};

class ABSL_SCOPED_LOCKABLE LockGuard {
 public:
  explicit LockGuard(Spinlock& lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock) : lock_(lock) {
    lock_.Lock();
  }
  ~LockGuard() ABSL_UNLOCK_FUNCTION() { lock_.Unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Spinlock& lock_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_SPINLOCK_H_
