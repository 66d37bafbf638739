// The fuzz targets of tests/fuzz, bounded and always with the same inputs.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/fuzz/vgic_fuzz.h"

namespace atoll {
namespace {

std::vector<std::byte> Random(uint64_t seed, size_t bytes) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> input(bytes);
  for (std::byte& byte : input) byte = static_cast<std::byte>(random());
  return input;
}

TEST(VgicFuzz, GIC_042_GIC_043_GIC_084_GIC_086_random_scenarios_agree_with_the_architecture) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    ASSERT_EQ(FuzzVgic(Random(seed, 1500)), "") << "seed " << seed;
  }
}

TEST(VgicFuzz, GIC_102_random_register_accesses_break_nothing) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    ASSERT_EQ(FuzzVgicRegisters(Random(seed, 4000)), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace atoll
