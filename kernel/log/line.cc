#include "kernel/log/line.h"

#include <algorithm>

namespace atoll {

Line& Line::operator<<(std::string_view text) {
  const size_t room = kBytes - size_;
  const size_t count = std::min(room, text.size());
  for (size_t i = 0; i < count; ++i) text_[size_ + i] = text[i];
  size_ += count;
  if (count < text.size()) {
    for (size_t i = 1; i <= 3; ++i) text_[kBytes - i] = '.';
  }
  return *this;
}

Line& Line::operator<<(Hex hex) {
  constexpr unsigned kMaxDigits = 16;
  std::array<char, kMaxDigits> digits;
  size_t first = kMaxDigits;
  for (uint64_t rest = hex.value; first > 0; rest >>= 4) {
    if (rest == 0 && kMaxDigits - first >= std::max(hex.digits, 1u)) break;
    digits[--first] = "0123456789abcdef"[rest & 0xf];
  }
  *this << "0x";
  return *this << std::string_view(digits.data() + first, kMaxDigits - first);
}

Line& Line::AppendDecimal(uint64_t value) {
  std::array<char, 20> digits;  // 2^64 - 1 has 20
  size_t first = digits.size();
  do {
    digits[--first] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return *this << std::string_view(digits.data() + first, digits.size() - first);
}

}  // namespace atoll
