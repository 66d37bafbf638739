#include "services/net/checksum.h"

#include <gtest/gtest.h>

#include "tests/unit/net/packets.h"

namespace atoll::net {
namespace {

TEST(Checksum, the_example_of_rfc_1071) {
  const Bytes bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  ChecksumSum sum;
  sum.Add(View(bytes));
  EXPECT_EQ(sum.Folded(), 0xddf2);
  EXPECT_EQ(sum.Checksum(), 0x220d);
}

TEST(Checksum, any_length_and_alignment_as_word_by_word) {
  Random random(1);
  for (size_t length = 0; length < 700; ++length) {
    Bytes bytes(length + 8);
    const bool ones = length % 3 == 0;  // all carries there are
    for (uint8_t& byte : bytes) byte = ones ? 0xff : static_cast<uint8_t>(random());
    const size_t from = length % 8;
    ChecksumSum sum;
    sum.Add(View(bytes).subspan(from, length));
    ASSERT_EQ(sum.Folded(), SlowSum(bytes, from, from + length)) << length;
  }
}

TEST(Checksum, parts_add_up_and_the_longest_frame_of_ones_does_not_overflow) {
  const Bytes bytes(65550, 0xff);
  ChecksumSum sum;
  sum.Add(View(bytes).first(14));
  sum.AddWord(0xffff);
  sum.Add(View(bytes).subspan(14));
  EXPECT_EQ(sum.Folded(), 0xffff);
  EXPECT_EQ(sum.Checksum(), 0);
  EXPECT_EQ(sum.NonZeroChecksum(), 0xffff);
}

TEST(Checksum, words_are_values) {
  ChecksumSum sum;
  sum.AddWord(0x0006);
  sum.AddWord(0x1234);
  EXPECT_EQ(sum.Folded(), 0x123a);
  EXPECT_EQ(ChecksumSum().Folded(), 0);
}

}  // namespace
}  // namespace atoll::net
