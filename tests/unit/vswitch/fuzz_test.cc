// The fuzz target of tests/fuzz, bounded and always with the same inputs.
#include <gtest/gtest.h>

#include <vector>

#include "tests/fuzz/vswitch_fuzz.h"
#include "tests/unit/net/packets.h"

namespace atoll::vswitch {
namespace {

TEST(VswitchFuzz, NET_53_NET_93_hostile_rings) {
  net::Random random(1);
  for (int i = 0; i < 60; ++i) {
    std::vector<std::byte> input(400);
    for (std::byte& byte : input) byte = static_cast<std::byte>(random());
    FuzzVswitch(input);
  }
}

}  // namespace
}  // namespace atoll::vswitch
