// What the fuzz targets of devices are driven by, and how they say that something is wrong.
#ifndef ATOLL_TESTS_FUZZ_FUZZ_INPUT_H_
#define ATOLL_TESTS_FUZZ_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

namespace atoll {

inline void FuzzRequire(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken invariant: %s\n", what);
  std::abort();
}

// Numbers from the input; zeroes when it is used up.
class FuzzInput {
 public:
  explicit FuzzInput(std::span<const std::byte> bytes) : bytes_(bytes) {}
  FuzzInput(const uint8_t* data, size_t size) : FuzzInput(std::as_bytes(std::span(data, size))) {}
  bool empty() const { return bytes_.empty(); }
  template <typename T>
  T Take() {
    T value{};
    const size_t count = std::min(sizeof(T), bytes_.size());
    if (count != 0) std::memcpy(&value, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
    return value;
  }
  uint32_t Below(uint32_t limit) { return Take<uint16_t>() % limit; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_FUZZ_INPUT_H_
