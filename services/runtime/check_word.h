// A check over words of a journal: tells whether they are what was written. Any change of one word, and any change of
// a few bits, is noticed; random bytes pass once in 2^32.
//
// It is CRC-32C where the processor has an instruction for it, which the target has. Hosts have something else:
// nobody reads what the other wrote.
#ifndef ATOLL_SERVICES_RUNTIME_CHECK_WORD_H_
#define ATOLL_SERVICES_RUNTIME_CHECK_WORD_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "services/runtime/writes_journal.h"

namespace atoll {

class CheckWord {
 public:
  // The check of nothing is not 0, so that memory of zeros passes for nothing that was written.
  constexpr explicit CheckWord(uint32_t start = 0xa7011c3d) : value_(start) {}

  [[gnu::always_inline]] void Add(uint64_t word) {
    if constexpr (!kWritesJournal) return;
#if defined(__ARM_FEATURE_CRC32)
    value_ = __builtin_arm_crc32cd(value_, word);
#else
    value_ = static_cast<uint32_t>((value_ ^ word) * 0x9e37'79b9'7f4a'7c15 >> 32);
#endif
  }
  // All bytes of an object whose size is a multiple of 8.
  template <typename T>
  void AddObject(const T& object) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(uint64_t) == 0);
    const auto* bytes = reinterpret_cast<const char*>(&object);
    for (size_t at = 0; at < sizeof(T); at += sizeof(uint64_t)) {
      uint64_t word;
      __builtin_memcpy(&word, bytes + at, sizeof(word));
      Add(word);
    }
  }

  [[gnu::always_inline]] uint32_t value() const { return value_; }

 private:
  uint32_t value_;
};

// Small numbers that are stored as one word with their check.
[[gnu::always_inline]] inline uint64_t WithComplement(uint32_t value) {
  return uint64_t{~value} << 32 | value;
}
[[gnu::always_inline]] inline bool IsWithComplement(uint64_t word) {
  return static_cast<uint32_t>(word >> 32) == ~static_cast<uint32_t>(word);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_CHECK_WORD_H_
