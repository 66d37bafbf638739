// The fuzz target on pseudo-random inputs, the same at every run.
#include <gtest/gtest.h>

#include <random>

#include "tests/fuzz/virtio_fuzz.h"

namespace atoll {
namespace {

TEST(VirtioFuzz, HOSTILE_09_HOSTILE_18_HOSTILE_38_random_guests) {
  std::mt19937_64 random(20261121);
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::byte> input(random() % 600);
    for (std::byte& byte : input) byte = static_cast<std::byte>(random());
    FuzzVirtio(input);  // aborts if an invariant breaks
  }
}

}  // namespace
}  // namespace atoll
