// A check over words of a journal: tells whether they are what was written. Any change of one word, and any change of
// a few bits, is noticed; random bytes pass once in 2^32.
//
// It is CRC-32C, for which the target's processors have an instruction. Hosts compute the same: they read journals of the
// target (scripts/replay).
#ifndef ATOLL_SERVICES_RUNTIME_CHECK_WORD_H_
#define ATOLL_SERVICES_RUNTIME_CHECK_WORD_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "services/runtime/writes_journal.h"

namespace atoll {

class CheckWord {
#if !defined(__ARM_FEATURE_CRC32)
  // What a byte of the check becomes when it is shifted out; the polynomial has its lowest power in bit 31.
  static constexpr std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) {
        table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? 0x82f6'3b78 : 0);
      }
    }
    return table;
  }();
#endif

 public:
  // The check of nothing is not 0, so that memory of zeros passes for nothing that was written.
  constexpr explicit CheckWord(uint32_t start = 0xa7011c3d) : value_(start) {}

  [[gnu::always_inline]] void Add(uint64_t word) {
    if constexpr (!kWritesJournal) return;
#if defined(__ARM_FEATURE_CRC32)
    value_ = __builtin_arm_crc32cd(value_, word);
#else
    for (int byte = 0; byte < 8; ++byte, word >>= 8) {
      value_ = kTable[(value_ ^ word) & 0xff] ^ value_ >> 8;
    }
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
