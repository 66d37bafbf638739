// What both fuzz targets of the drivers use.
#ifndef ATOLL_TESTS_FUZZ_DRIVER_INPUT_H_
#define ATOLL_TESTS_FUZZ_DRIVER_INPUT_H_

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

namespace atoll::driver_fuzz {

inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken invariant: %s\n", what);
  std::abort();
}

// Numbers from the input; zeroes when it is used up.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  template <typename T>
  T Take() {
    T value{};
    const size_t count = std::min(sizeof(T), bytes_.size());
    std::memcpy(&value, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace atoll::driver_fuzz

#endif  // ATOLL_TESTS_FUZZ_DRIVER_INPUT_H_
