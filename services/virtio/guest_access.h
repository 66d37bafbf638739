// Single accesses to memory that the guest changes at any time.
//
// A value is read once: after ReadOnce the compiler holds a private copy and cannot go back to the
// original.
#ifndef ATOLL_SERVICES_VIRTIO_GUEST_ACCESS_H_
#define ATOLL_SERVICES_VIRTIO_GUEST_ACCESS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace atoll::virtio {

// A copy of the T at `from`, of any alignment. The asm says that all memory may have changed, so no
// later use of the copy can be turned into a second load.
template <typename T>
inline T ReadOnce(const std::byte* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T copy;
  __builtin_memcpy(&copy, from, sizeof(T));  // std::memcpy is a call where code is freestanding
  asm volatile("" ::: "memory");
  return copy;
}

template <typename T>
inline void WriteOnce(std::byte* to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  __builtin_memcpy(to, &value, sizeof(T));
  asm volatile("" ::: "memory");
}

// le16 ring words, naturally aligned because SplitQueue checked the areas' alignment.
inline uint16_t LoadAcquire16(const std::byte* from) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(from), __ATOMIC_ACQUIRE);
}
inline uint16_t Load16(const std::byte* from) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(from), __ATOMIC_RELAXED);
}
inline void StoreRelease16(std::byte* to, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(to), value, __ATOMIC_RELEASE);
}
inline void Store16(std::byte* to, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(to), value, __ATOMIC_RELAXED);
}

// Orders a store of ours against a following load of the guest's (store, then load: VIRTIO 2.7.7,
// 2.7.10).
inline void FullBarrier() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_GUEST_ACCESS_H_
