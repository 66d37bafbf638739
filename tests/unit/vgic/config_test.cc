// What vgic is told at its start, mostly wrong.
#include "services/vgic/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <array>
#include <string_view>

namespace atoll {
namespace {

VgicConfig Good() {
  VgicConfig config{};
  config.vcpu_affinity_count = 2;
  config.vcpu_affinity[1] = 1;
  return config;
}

const char* Encoded(const VgicConfig& config, size_t cut) {
  std::array<pb_byte_t, 256> bytes{};
  pb_ostream_t stream = pb_ostream_from_buffer(bytes.data(), bytes.size());
  EXPECT_TRUE(pb_encode(&stream, atoll_VgicConfig_fields, &config));
  VgicConfig read{};
  return ReadConfig(std::as_bytes(std::span(bytes).first(stream.bytes_written - cut)), read);
}

TEST(VgicConfig, takes_what_is_right) { EXPECT_EQ(Encoded(Good(), 0), nullptr); }

TEST(VgicConfig, refuses_a_truncated_message) {
  const char* error = Encoded(Good(), 1);
  ASSERT_NE(error, nullptr);
  EXPECT_NE(std::string_view(error).find("cannot be decoded"), std::string_view::npos);
}

TEST(VgicConfig, refuses_no_vcpus) {
  VgicConfig config{};
  EXPECT_NE(CheckConfig(config), nullptr);
  EXPECT_NE(ReadConfig({}, config), nullptr);
}

TEST(VgicConfig, refuses_affinities_that_are_none_or_not_unique) {
  VgicConfig config = Good();
  config.vcpu_affinity[1] = 0;
  EXPECT_NE(CheckConfig(config), nullptr);
  config.vcpu_affinity[1] = uint64_t{1} << 24;
  EXPECT_NE(CheckConfig(config), nullptr);
  config.vcpu_affinity[1] = uint64_t{1} << 40;
  EXPECT_NE(CheckConfig(config), nullptr);
  config.vcpu_affinity[1] = uint64_t{1} << 39;
  EXPECT_EQ(CheckConfig(config), nullptr);
}

}  // namespace
}  // namespace atoll
