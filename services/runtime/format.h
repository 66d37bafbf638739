// Text for log lines, without heap, locale or format strings: each argument is written as its type asks.
#ifndef ATOLL_SERVICES_RUNTIME_FORMAT_H_
#define ATOLL_SERVICES_RUNTIME_FORMAT_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll {

// A number to be written as 0x..., with at least `digits` digits.
struct Hex {
  uint64_t value = 0;
  int digits = 1;
};

// Text from a guest, a file or another task: whatever is not printable ASCII is written as \xNN, so that it
// cannot forge lines or terminal commands.
struct Quoted {
  std::string_view text;
};

// Writes into a buffer that somebody else owns. What does not fit is cut and the end becomes "...".
class TextWriter {
 public:
  constexpr explicit TextWriter(std::span<char> buffer) : buffer_(buffer) {}

  constexpr std::string_view text() const { return {buffer_.data(), size_}; }

  constexpr void Put(std::string_view text) {
    for (const char c : text) PutChar(c);
  }
  constexpr void Put(const char* text) { Put(std::string_view(text)); }
  constexpr void Put(char c) { PutChar(c); }
  constexpr void Put(bool value) { Put(std::string_view(value ? "true" : "false")); }
  constexpr void Put(Status status) { Put(std::string_view(StatusName(status))); }
  constexpr void Put(Hex number) {
    Put(std::string_view("0x"));
    PutDigits(number.value, 16, number.digits);
  }
  template <typename Space>
  constexpr void Put(Address<Space> address) {
    Put(Hex{address.value});
  }
  constexpr void Put(Quoted quoted) {
    for (const char c : quoted.text) {
      if (c >= ' ' && c <= '~' && c != '\\') {
        PutChar(c);
      } else {
        Put(std::string_view("\\x"));
        PutDigits(static_cast<unsigned char>(c), 16, 2);
      }
    }
  }
  template <std::unsigned_integral Number>
  constexpr void Put(Number number) {
    PutDigits(number, 10, 1);
  }
  template <std::signed_integral Number>
  constexpr void Put(Number number) {
    if (number < 0) PutChar('-');
    const auto magnitude = static_cast<uint64_t>(static_cast<int64_t>(number));
    PutDigits(number < 0 ? uint64_t{0} - magnitude : magnitude, 10, 1);
  }

 private:
  static constexpr std::string_view kCut = "...";

  constexpr void PutChar(char c) {
    if (size_ < buffer_.size()) {
      buffer_[size_++] = c;
      return;
    }
    for (size_t i = 0; i < kCut.size() && i < size_; ++i) buffer_[size_ - 1 - i] = kCut[i];
  }

  constexpr void PutDigits(uint64_t value, uint64_t base, int least) {
    char digits[20] = {};  // 2^64 has 20 decimal digits
    int count = 0;
    while (value != 0 || (count < least && count < 20)) {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    }
    while (count > 0) PutChar(digits[--count]);
  }

  std::span<char> buffer_;
  size_t size_ = 0;
};

// Writes all arguments, one after the other, and returns the text in the buffer.
template <typename... Arguments>
constexpr std::string_view Format(std::span<char> buffer, const Arguments&... arguments) {
  TextWriter writer(buffer);
  (writer.Put(arguments), ...);
  return writer.text();
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_FORMAT_H_
