// Words of a journal that are stored one after the other. A service may die after any store, and a successor finds what
// was stored until then. Stores by StoreRelease stay in the order of the program, whatever the compiler does with those
// around them.
#ifndef ATOLL_SERVICES_RUNTIME_JOURNAL_H_
#define ATOLL_SERVICES_RUNTIME_JOURNAL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/runtime/writes_journal.h"

namespace atoll {

// One store, after all before it: for the compiler and for other CPUs.
template <typename T>
void StoreRelease(T& where, std::type_identity_t<T> value) {
  if constexpr (kWritesJournal) std::atomic_ref<T>(where).store(value, std::memory_order_release);
}

// The journal at the start of `memory`. RESOURCE_EXHAUSTED: too small; INVALID_ARGUMENT: not aligned.
template <typename T>
Result<T*> JournalIn(std::span<std::byte> memory) {
  static_assert(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>);
  if (memory.size() < sizeof(T)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(memory.data()) % alignof(T) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  return reinterpret_cast<T*>(memory.data());
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_JOURNAL_H_
