// What outlives an instance of vmm. All else is in the kernel (power states) or in guest RAM.
#ifndef ATOLL_SERVICES_VMM_JOURNAL_H_
#define ATOLL_SERVICES_VMM_JOURNAL_H_

#include <atomic>
#include <cstdint>

namespace atoll {

// CPU_ON is the one PSCI call whose answer cannot be found again from the power states: "already
// on" may be the caller's mistake or the work of the instance that died. So the token of a call is
// noted here after its target was seen off and before it is started. A call that is redelivered
// comes before all others, so if its token stands here and the target is on, this call turned it
// on.
//
// One word, written by one store: every prefix of stores is a valid state. Zeroed memory is a fresh
// journal (no token is 0). A scribbled word at worst equals no token, and a redelivered CPU_ON
// answers ALREADY_ON.
class VmmJournal {
 public:
  void NoteCpuOn(uint64_t token) {
    // Before the kernel call that follows; a kernel call orders the caller's earlier stores.
    cpu_on_token_.store(token, std::memory_order_release);
  }
  bool NotedCpuOn(uint64_t token) const {
    return cpu_on_token_.load(std::memory_order_acquire) == token;
  }

 private:
  std::atomic<uint64_t> cpu_on_token_{0};
};
static_assert(sizeof(VmmJournal) == 8 && std::atomic<uint64_t>::is_always_lock_free);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_JOURNAL_H_
