#include "services/runtime/format.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>

namespace atoll {
namespace {

template <typename... Arguments>
std::string Written(const Arguments&... arguments) {
  std::array<char, 200> buffer;
  return std::string(Format(std::span<char>(buffer), arguments...));
}

TEST(Format, numbers) {
  EXPECT_EQ(Written(0, " ", 7u, " ", -1, " ", uint8_t{255}), "0 7 -1 255");
  EXPECT_EQ(Written(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(Written(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(Written(std::numeric_limits<int8_t>::min()), "-128");
}

TEST(Format, hexadecimal) {
  EXPECT_EQ(Written(Hex{0}), "0x0");
  EXPECT_EQ(Written(Hex{0xabc}), "0xabc");
  EXPECT_EQ(Written(Hex{0xabc, 8}), "0x00000abc");
  EXPECT_EQ(Written(Hex{~uint64_t{0}}), "0xffffffffffffffff");
  EXPECT_EQ(Written(Hex{1, 1000}), "0x00000000000000000001");
  EXPECT_EQ(Written(GuestPhys(0x40080000)), "0x40080000");
}

TEST(Format, words) {
  EXPECT_EQ(Written(true, ' ', false, ' ', Status::kNotFound, " ", std::string_view("view")),
            "true false NOT_FOUND view");
}

TEST(Format, foreign_text_cannot_forge_lines) {
  EXPECT_EQ(Written(Quoted{"plain text"}), "plain text");
  EXPECT_EQ(Written(Quoted{"a\nb\x1b[2J\\\xff"}), "a\\x0ab\\x1b[2J\\x5c\\xff");
  EXPECT_EQ(Written(Quoted{std::string_view("\0", 1)}), "\\x00");
}

TEST(Format, text_that_does_not_fit_ends_in_dots) {
  std::array<char, 8> buffer;
  EXPECT_EQ(Format(std::span<char>(buffer), "12345678"), "12345678");
  EXPECT_EQ(Format(std::span<char>(buffer), "123456789"), "12345...");
  EXPECT_EQ(Format(std::span<char>(buffer), "1234567", 1234567), "12345...");
  EXPECT_EQ(Format(std::span<char>(buffer).first(2), "123"), "..");
  EXPECT_EQ(Format(std::span<char>(), "123"), "");
}

}  // namespace
}  // namespace atoll
