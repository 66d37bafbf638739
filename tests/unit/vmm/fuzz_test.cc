// The fuzz targets of tests/fuzz, bounded and always with the same inputs.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/fuzz/vmm_fuzz.h"
#include "tests/unit/vmm/images.h"

namespace atoll {
namespace {

std::vector<std::byte> Random(std::mt19937_64& random, size_t bytes) {
  std::vector<std::byte> input(bytes);
  for (std::byte& byte : input) byte = static_cast<std::byte>(random());
  return input;
}

TEST(VmmFuzz, SMCCC_32_random_calls) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) FuzzSmccc(Random(random, 34 * 40));
}

TEST(VmmFuzz, random_kernel_headers) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100'000; ++i) {
    auto input = Random(random, 16);
    // Offsets and sizes of every magnitude, the former mostly in whole pages.
    const auto magnitude = [&] { return random() >> (random() % 64); };
    const auto file = MakeImage(magnitude() & ~uint64_t{i % 8 == 0 ? 0u : 0xfffu}, magnitude(),
                                i % 16 == 0 ? random() : 0, 64 + random() % 64);
    input.insert(input.end(), file.begin(), file.end());
    FuzzImage(input);
  }
  for (int i = 0; i < 10'000; ++i) FuzzImage(Random(random, random() % 128));
}

}  // namespace
}  // namespace atoll
