// The fuzz target on pseudo-random inputs, the same at every run.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/fuzz/network_fuzz.h"

namespace atoll {
namespace {

TEST(NetFuzz, NET_82_NET_83_NET_92_random_guests_and_switches) {
  std::mt19937_64 random(20261122);
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> input(random() % 1500);
    for (std::byte& byte : input) byte = static_cast<std::byte>(random());
    FuzzNetwork(input);  // aborts if an invariant breaks
  }
}

}  // namespace
}  // namespace atoll
