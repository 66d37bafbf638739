// The fuzz targets on pseudo-random inputs, the same at every run.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/fuzz/driver_fuzz.h"

namespace atoll {
namespace {

std::vector<std::byte> RandomBytes(std::mt19937_64& random, size_t limit) {
  std::vector<std::byte> bytes(random() % limit);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(DriverFuzz, random_clients) {
  std::mt19937_64 random(20261122);
  for (int i = 0; i < 15; ++i) FuzzDriverClient(RandomBytes(random, 4000));
}

TEST(DriverFuzz, random_devices) {
  std::mt19937_64 random(20261123);
  for (int i = 0; i < 100; ++i) FuzzDriverDevice(RandomBytes(random, 600));
}

}  // namespace
}  // namespace atoll
