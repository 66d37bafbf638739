#include "services/pl031/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <limits>
#include <random>
#include <vector>

#include "proto/rtc_config.atoll.h"

namespace atoll {
namespace {

std::vector<std::byte> Encode(int64_t offset) {
  RtcConfig config{};
  config.offset_s = offset;
  std::array<pb_byte_t, 32> buffer;
  pb_ostream_t stream = pb_ostream_from_buffer(buffer.data(), buffer.size());
  if (!pb_encode(&stream, atoll_RtcConfig_fields, &config)) std::abort();
  const auto bytes = std::as_bytes(std::span(buffer).first(stream.bytes_written));
  return {bytes.begin(), bytes.end()};
}

TEST(RtcConfig, PL031_12_starts_at_the_machines_time_and_the_offset) {
  EXPECT_EQ(StartSeconds({}, 1000), 1000u);
  EXPECT_EQ(StartSeconds(Encode(3600), 1000), 4600u);
  EXPECT_EQ(StartSeconds(Encode(-600), 1000), 400u);
}

TEST(RtcConfig, PL031_35_offsets_wrap_as_the_count_does) {
  EXPECT_EQ(StartSeconds(Encode(-1001), 1000), ~0u);
  EXPECT_EQ(StartSeconds(Encode(5), ~0u), 4u);
  EXPECT_EQ(StartSeconds(Encode(std::numeric_limits<int64_t>::min()), 7), 7u);
  EXPECT_EQ(StartSeconds(Encode(std::numeric_limits<int64_t>::max()), 7), 6u);
}

TEST(RtcConfig, refuses_what_is_no_configuration) {
  std::vector<std::byte> config = Encode(1'000'000);
  config.pop_back();
  EXPECT_FALSE(StartSeconds(config, 0).has_value());
  EXPECT_FALSE(StartSeconds(std::vector<std::byte>(8, std::byte{0xff}), 0).has_value());
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::byte> bytes(random() % 40);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    (void)StartSeconds(bytes, 1);
  }
}

}  // namespace
}  // namespace atoll
