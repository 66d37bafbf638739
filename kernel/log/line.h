// One line of text of bounded length, built piece by piece: line << "cpu " << 3 << " at " <<
// Hex(address).
#ifndef ATOLL_KERNEL_LOG_LINE_H_
#define ATOLL_KERNEL_LOG_LINE_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace atoll {

// Printed as 0x..., padded with zeros to `digits`.
struct Hex {
  constexpr explicit Hex(uint64_t v, unsigned d = 1) : value(v), digits(d) {}
  uint64_t value;
  unsigned digits;
};

// Text that does not fit is cut; the last three characters then are "...".
class Line {
 public:
  static constexpr size_t kBytes = 200;

  std::string_view view() const { return {text_.data(), size_}; }
  bool empty() const { return size_ == 0; }

  Line& operator<<(std::string_view text);
  Line& operator<<(const char* text) { return *this << std::string_view(text); }
  Line& operator<<(char c) { return *this << std::string_view(&c, 1); }
  Line& operator<<(Hex hex);
  template <std::integral Number>
  Line& operator<<(Number number) {
    if constexpr (std::signed_integral<Number>) {
      if (number < 0) {
        *this << '-';
        return AppendDecimal(uint64_t{0} - static_cast<uint64_t>(number));
      }
    }
    return AppendDecimal(static_cast<uint64_t>(number));
  }

 private:
  Line& AppendDecimal(uint64_t value);

  std::array<char, kBytes> text_;  // only the first size_ are ever read
  size_t size_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_LINE_H_
