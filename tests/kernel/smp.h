// What tests of several CPUs share. They run on any number of CPUs, one included: "another CPU" is then the same.
#ifndef ATOLL_TESTS_KERNEL_SMP_H_
#define ATOLL_TESTS_KERNEL_SMP_H_

#include "tests/kernel/harness.h"

namespace atoll::test {

inline constexpr uint32_t kMostCpus = 8;

// How many CPUs the kernel says that it runs on.
inline uint32_t CpuCount() {
  for (uint32_t index = 0;; ++index) {
    const auto entry = kernel::GetResource(kSelf, {.index = index});
    if (!entry.has_value() || entry->kind == ResourceKind::kNone) return 0;
    if (entry->kind == ResourceKind::kCpus) return static_cast<uint32_t>(entry->base);
  }
}

inline uint32_t CpuOf(uint32_t number) {
  const uint32_t count = CpuCount();
  return count == 0 ? 0 : number % count;
}

inline void MoveTo(uint32_t thread, uint32_t cpu, uint32_t priority) {
  EXPECT_OK(kernel::SetSchedule({thread}, {.priority = priority, .cpu = CpuOf(cpu)}));
}

inline Child MakeOn(uint32_t cpu, Entry entry, uint32_t argument = 0,
                    const ChildOptions& options = {}) {
  const Child child = MakeChild(entry, argument, options);
  MoveTo(child.task, cpu, options.priority);
  return child;
}

inline Child StartOn(uint32_t cpu, Entry entry, uint32_t argument = 0,
                     const ChildOptions& options = {}) {
  Child child = MakeOn(cpu, entry, argument, options);
  Start(child);
  return child;
}

// Sleeps until `done` holds; false if it does not come. Long: the machine may be busy with other things.
template <typename Predicate>
bool Eventually(Predicate done, uint64_t micros = 20'000'000) {
  const uint64_t end = Now() + Ticks(micros);
  while (!done()) {
    if (Now() > end) return false;
    Sleep(200);
  }
  return true;
}

// Whether nobody changes it for a while.
inline bool IsStill(const volatile uint64_t& word) {
  const uint64_t before = word;
  Sleep(300);
  return word == before;
}

inline uint64_t FetchAdd(size_t word, uint64_t add = 1) {
  return __atomic_fetch_add(const_cast<uint64_t*>(Shared() + word), add, __ATOMIC_ACQ_REL);
}

}  // namespace atoll::test

#endif  // ATOLL_TESTS_KERNEL_SMP_H_
