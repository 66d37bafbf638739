// Random bytes: the cipher, and that nothing comes twice.
#include "services/runtime/random.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace atoll {
namespace {

using Bytes = std::vector<std::byte>;

Bytes Take(ChaCha20Key& key, size_t count = 32) {
  Bytes bytes(count);
  NextRandom(key).Take(bytes);
  return bytes;
}

// RFC 8439, 2.3.2.
TEST(ChaCha20, block_of_the_specification) {
  ChaCha20Key key;
  for (uint32_t i = 0; i < 8; ++i) key[i] = 0x0302'0100 + i * 0x0404'0404;
  const ChaCha20Block wanted = {0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3,
                                0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
                                0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
                                0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2};
  EXPECT_EQ(MakeChaCha20Block(key, 1, {0x0900'0000, 0x4a00'0000, 0}), wanted);
}

TEST(ChaCha20, stream_is_the_same_in_pieces) {
  const ChaCha20Key key = {1, 2, 3};
  Bytes whole(1000);
  Bytes pieces(1000);
  ChaCha20Stream(key).Take(whole);
  ChaCha20Stream stream(key);
  for (size_t at = 0, count = 0; at < pieces.size(); at += count) {
    count = std::min<size_t>(at % 97 + 1, pieces.size() - at);
    stream.Take(std::span(pieces).subspan(at, count));
  }
  EXPECT_EQ(whole, pieces);
  EXPECT_EQ(std::memcmp(whole.data(), MakeChaCha20Block(key, 0, {}).data(), 64), 0);
  EXPECT_EQ(std::memcmp(whole.data() + 64, MakeChaCha20Block(key, 1, {}).data(), 64), 0);
}

TEST(Random, no_two_streams_are_alike) {
  std::set<Bytes> seen;
  // Of several seeds, mixed into one another, and one after the other.
  for (uint8_t seed = 0; seed < 20; ++seed) {
    ChaCha20Key key = {};
    for (int mixed = 0; mixed < 4; ++mixed) {
      MixRandom(key, Bytes(32, std::byte{seed}));
      for (int call = 0; call < 4; ++call) EXPECT_TRUE(seen.insert(Take(key)).second);
    }
  }
}

TEST(Random, a_key_does_not_tell_what_was_given_away) {
  ChaCha20Key key = {1, 2, 3};
  const Bytes given = Take(key, 4096);
  Bytes next(4096);
  ChaCha20Stream(key).Take(next);
  const auto shown = std::as_bytes(std::span(key));
  for (const Bytes& bytes : {given, next}) {
    EXPECT_TRUE(std::ranges::search(bytes, shown.first(4)).empty());
  }
}

TEST(Random, all_of_a_seed_counts) {
  std::set<Bytes> seen;
  for (size_t changed = 0; changed <= 80; ++changed) {
    Bytes seed(80);
    if (changed < seed.size()) seed[changed] = std::byte{1};
    ChaCha20Key key = {};
    MixRandom(key, seed);
    EXPECT_TRUE(seen.insert(Take(key)).second) << changed;
  }
  ChaCha20Key key = {};
  MixRandom(key, {});  // nothing is a seed, too
  EXPECT_TRUE(seen.insert(Take(key)).second);
}

}  // namespace
}  // namespace atoll
