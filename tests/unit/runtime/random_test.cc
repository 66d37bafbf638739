// Random bytes: the cipher, and that nothing comes twice.
#include "services/runtime/random.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/unit/virtio/memory_states.h"

namespace atoll {
namespace {

class Source final : public SeedSource {
 public:
  Seed Draw() override { return {draws += step, 0, 0, 0}; }
  uint64_t draws = 0;
  uint64_t step = 1;  // 0: it has nothing
};

using Bytes = std::vector<std::byte>;

Bytes Take(RandomGenerator& random, size_t count = 32) {
  Bytes bytes(count);
  random.Next().Take(bytes);
  return bytes;
}

Bytes SeedOf(uint8_t value) { return Bytes(32, std::byte{value}); }

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
  // Of several VMs, starts of one VM, instances on one journal, and calls.
  for (uint8_t vm = 0; vm < 4; ++vm) {
    for (uint64_t start = 0; start < 4; ++start) {
      TwoCopies<ChaCha20Key> keys = {};
      Source source;
      source.draws = start * 1000;
      for (int instance = 0; instance < 4; ++instance) {
        RandomGenerator random(keys, source, SeedOf(vm));
        for (int call = 0; call < 4; ++call) EXPECT_TRUE(seen.insert(Take(random)).second);
      }
    }
  }
}

TEST(Random, a_successor_goes_on_without_anything_new) {
  TwoCopies<ChaCha20Key> keys = {};
  Source source;
  source.step = 0;
  std::set<Bytes> seen;
  for (int instance = 0; instance < 100; ++instance) {
    RandomGenerator random(keys, source, SeedOf(1));
    EXPECT_TRUE(seen.insert(Take(random)).second);
  }
}

TEST(Random, damaged_keys_are_made_anew) {
  Source source;
  std::set<Bytes> seen;
  for (int round = 0; round < 3; ++round) {
    TwoCopies<ChaCha20Key> keys = {};
    std::memset(static_cast<void*>(&keys), 0x5a, sizeof(keys));
    RandomGenerator random(keys, source, SeedOf(1));
    EXPECT_TRUE(seen.insert(Take(random)).second);
    ChaCha20Key kept;
    EXPECT_EQ(keys.Load(kept), Copies::kGood);
  }
}

TEST(Random, all_of_the_seed_and_what_is_drawn_count) {
  std::set<Bytes> seen;
  for (size_t changed = 0; changed < 80; ++changed) {
    Bytes seed(80);
    seed[changed] = std::byte{1};
    TwoCopies<ChaCha20Key> keys = {};
    Source source;
    RandomGenerator random(keys, source, seed);
    EXPECT_TRUE(seen.insert(Take(random)).second) << changed;
  }
}

// Whatever instruction an instance dies at, what it gave away never comes again, and its journal does not tell it.
TEST(Random, deaths_at_every_store) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  TwoCopies<ChaCha20Key> keys = {};
  Source source;
  source.step = 0;
  const Bytes seed = SeedOf(3);
  { RandomGenerator(keys, source, seed).Next(); }
  Bytes given(32);
  auto* const memory = reinterpret_cast<std::byte*>(&keys);
  MemoryStates states({std::span(memory, sizeof(keys)), std::span(given)});
  {
    RandomGenerator random(keys, source, seed);
    ASSERT_TRUE(states.Run([&] { random.Next().Take(given); }));
  }
  ASSERT_GT(states.size(), 4u);
  const Bytes all = given;
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    const bool went_out = given != Bytes(32);
    RandomGenerator random(keys, source, seed);
    const Bytes next = Take(random);
    if (went_out) EXPECT_NE(next, all) << "state " << i;
  }
}

}  // namespace
}  // namespace atoll
