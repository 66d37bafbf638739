#include "services/runtime/check_word.h"

#include <gtest/gtest.h>

#include <array>

namespace atoll {
namespace {

// The examples of RFC 3720, B.4. What the target's instruction computes, so that a host reads the target's journals.
TEST(CheckWord, IsCrc32C) {
  constexpr uint32_t kAllOnes = 0xffff'ffff;
  const auto crc = [](const std::array<uint64_t, 4>& words) {
    CheckWord check(kAllOnes);
    check.AddObject(words);
    return check.value() ^ kAllOnes;
  };
  EXPECT_EQ(crc({}), 0x8a91'36aa);
  EXPECT_EQ(crc({~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}}), 0x62a8'ab43);
  EXPECT_EQ(crc({0x0706'0504'0302'0100, 0x0f0e'0d0c'0b0a'0908, 0x1716'1514'1312'1110,
                 0x1f1e'1d1c'1b1a'1918}),
            0x46dd'794e);
}

}  // namespace
}  // namespace atoll
