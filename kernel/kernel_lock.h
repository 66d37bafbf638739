// The kernel lock: below the vectors one CPU works at a time.
//
// Kernel sections are short (a call or a reply is about a hundred instructions, a long kernel call does a
// bounded part), so one lock costs less than several would on the paths that matter, and every look at another
// CPU's state is simple. docs/smp.md has the reasons and the numbers.
//
// It is held from an entry's first look at shared state until Deliver or Resume (kernel/vectors.S) gives it
// back, or Idle does. The fast path only tries: if another CPU has it, the slow path waits for it. A waiting CPU
// executes what the holder asks of it (OnCpu, kernel/cpu.h), so a holder may wait for any other CPU.
//
// Interrupts are always masked at EL2: a holder is never preempted.
#ifndef ATOLL_KERNEL_KERNEL_LOCK_H_
#define ATOLL_KERNEL_KERNEL_LOCK_H_

#include <atomic>

#include "absl/base/thread_annotations.h"

namespace atoll {

struct Cpu;

class ABSL_LOCKABLE KernelLock {
 public:
  // One swap; what is stored only has to be something other than null. False: another CPU has it.
  [[gnu::always_inline]] bool TryLock(Cpu& cpu) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return word_.exchange(&cpu, std::memory_order_acquire) == nullptr;
  }
  // Waits for it, and serves other CPUs meanwhile.
  void Lock(Cpu& cpu) ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (!TryLock(cpu)) [[unlikely]]
      LockContended(cpu);
  }
  [[gnu::always_inline]] void Unlock() ABSL_UNLOCK_FUNCTION() {
    word_.store(nullptr, std::memory_order_release);
  }
  // For code that a table or a queue calls back: whoever calls it holds the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  void LockContended(Cpu& cpu);

  std::atomic<Cpu*> word_{nullptr};
};

// kernel.ld puts it at the start of a page, so that its address is one instruction (ADRP).
extern "C" constinit KernelLock kernel_lock;

// In functions on the fast path: the compiler does not know of the page.
[[gnu::always_inline]] inline KernelLock& TheKernelLock() ABSL_LOCK_RETURNED(kernel_lock) {
  KernelLock* lock;
  asm("adrp %0, kernel_lock" : "=r"(lock));
  return *lock;
}

// The caller holds the kernel lock.
#define ATOLL_KERNEL_LOCKED ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel_lock)

}  // namespace atoll

#endif  // ATOLL_KERNEL_KERNEL_LOCK_H_
