#ifndef ATOLL_GUESTS_ORACLE_RANDOM_H_
#define ATOLL_GUESTS_ORACLE_RANDOM_H_

#include <cstdint>

namespace oracle {

// A bijection that spreads its argument over all bits (the finalizer of SplitMix64).
constexpr uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58'476d'1ce4'e5b9;
  value = (value ^ (value >> 27)) * 0x94d0'49bb'1331'11eb;
  return value ^ (value >> 31);
}

class Random {
 public:
  explicit constexpr Random(uint64_t seed) : state_(seed) {}
  constexpr uint64_t Next() { return Mix(state_ += 0x9e37'79b9'7f4a'7c15); }
  // 0 .. bound - 1.
  constexpr uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((Next() >> 32) % bound); }

 private:
  uint64_t state_;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_RANDOM_H_
