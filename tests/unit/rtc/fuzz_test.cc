// The fuzz target of tests/fuzz, bounded and always with the same inputs.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/fuzz/pl031_fuzz.h"

namespace atoll {
namespace {

TEST(Pl031Fuzz, PL031_27_random_register_accesses) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::byte> input(8 * 100);
    for (std::byte& byte : input) byte = static_cast<std::byte>(random());
    FuzzPl031(input);
  }
}

}  // namespace
}  // namespace atoll
