// One line for the kernel log, built without a heap; what does not fit is cut
// off.
#ifndef ATOLL_SERVICES_SUPERVISOR_LOG_LINE_H_
#define ATOLL_SERVICES_SUPERVISOR_LOG_LINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

namespace atoll {

class LogLine {
 public:
  static constexpr size_t kMaxBytes = 256;  // LogRequest.bytes, proto/kernel.proto

  constexpr LogLine() = default;
  constexpr explicit LogLine(std::string_view text) { Append(text); }

  constexpr LogLine& Append(std::string_view text) {
    for (const char c : text) {
      if (bytes_ == kMaxBytes) break;
      // Names come from files: a control character must not reach a terminal.
      text_[bytes_++] = c >= ' ' && c <= '~' ? c : '?';
    }
    return *this;
  }
  constexpr LogLine& Decimal(uint64_t value) { return Number(value, 10); }
  constexpr LogLine& Hex(uint64_t value) { return Append("0x").Number(value, 16); }

  constexpr std::string_view view() const { return {text_.data(), bytes_}; }

 private:
  constexpr LogLine& Number(uint64_t value, uint64_t base) {
    std::array<char, 20> digits{};  // 2^64 - 1 has 20 decimal digits
    size_t first = digits.size();
    do {
      digits[--first] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    return Append({digits.data() + first, digits.size() - first});
  }

  std::array<char, kMaxBytes> text_{};
  size_t bytes_ = 0;
};

// A value, or the one line that says which file and field is wrong and why.
template <typename T>
using Checked = std::expected<T, LogLine>;

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_LOG_LINE_H_
