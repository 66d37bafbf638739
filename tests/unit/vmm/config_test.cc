#include "services/vmm/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <string>
#include <vector>

#include "tests/unit/vmm/images.h"

namespace atoll {
namespace {

std::vector<std::byte> Encode(const VmmConfig& config) {
  std::vector<std::byte> bytes(atoll_VmmConfig_size);
  pb_ostream_t stream =
      pb_ostream_from_buffer(reinterpret_cast<pb_byte_t*>(bytes.data()), bytes.size());
  EXPECT_TRUE(pb_encode(&stream, atoll_VmmConfig_fields, &config));
  bytes.resize(stream.bytes_written);
  return bytes;
}

// What ReadConfig says against the config; empty if nothing.
std::string Refusal(const VmmConfig& config) {
  auto read = std::make_unique<VmmConfig>();
  const auto error = ReadConfig(Encode(config), *read);
  return error.has_value() ? std::string(error->text()) : "";
}

TEST(VmmConfig, good_one_arrives_whole) {
  const auto config = MakeConfig();
  config->kernel_bytes = 12345;
  auto read = std::make_unique<VmmConfig>();
  ASSERT_FALSE(ReadConfig(Encode(*config), *read).has_value());
  EXPECT_EQ(read->kernel_bytes, 12345);
  EXPECT_STREQ(read->command_line, config->command_line);
  EXPECT_EQ(read->devices_count, 4);
  EXPECT_STREQ(read->devices[3].properties[0].name, "dma-coherent");
  EXPECT_EQ(Encode(*read), Encode(*config));
}

TEST(VmmConfig, every_cut_off_encoding_is_refused_or_checked) {
  const auto bytes = Encode(*MakeConfig());
  auto read = std::make_unique<VmmConfig>();
  for (size_t length = 0; length < 12; ++length) {  // up to the end of the RAM fields
    EXPECT_TRUE(ReadConfig(std::span(bytes).first(length), *read).has_value()) << length;
  }
  for (size_t length = 12; length < bytes.size(); ++length) {
    (void)ReadConfig(std::span(bytes).first(length), *read);  // under the sanitizers
  }
}

TEST(VmmConfig, ram_that_is_not_whole_pages_of_the_guest_space_is_refused) {
  const std::pair<uint64_t, uint64_t> bad[] = {{0x4000'0000, 0},
                                               {0x4000'0800, 0x10'0000},
                                               {0x4000'0000, 0x10'0800},
                                               {uint64_t{1} << 40, 4096},
                                               {(uint64_t{1} << 40) - 4096, 8192},
                                               {~uint64_t{0xfff}, 4096},
                                               {0x4000'0000, ~uint64_t{0xfff}}};
  for (const auto& [base, bytes] : bad) {
    const auto config = MakeConfig();
    config->ram_base = base;
    config->ram_bytes = bytes;
    EXPECT_NE(Refusal(*config).find("RAM"), std::string::npos) << std::hex << base << " " << bytes;
  }
}

TEST(VmmConfig, affinities_are_there_unique_and_have_no_other_bits) {
  const auto config = MakeConfig();
  config->vcpu_affinity[1] = 0;
  EXPECT_NE(Refusal(*config).find("twice"), std::string::npos);
  for (uint64_t bit : {24, 31, 40, 63}) {
    config->vcpu_affinity[1] = uint64_t{1} << bit;
    EXPECT_NE(Refusal(*config).find("outside"), std::string::npos) << bit;
  }
  config->vcpu_affinity_count = 0;
  EXPECT_NE(Refusal(*config).find("empty"), std::string::npos);
}

TEST(VmmConfig, device_without_name_compatible_place_or_spi_is_refused) {
  const auto refused = [](auto change) {
    const auto config = MakeConfig();
    change(config->devices[1]);
    return Refusal(*config).find("device") != std::string::npos;
  };
  EXPECT_TRUE(refused([](auto& d) { d.name[0] = '\0'; }));
  EXPECT_TRUE(refused([](auto& d) { d.compatible_count = 0; }));
  EXPECT_FALSE(refused([](auto& d) { d.compatible_count = 0, d.depth = 1; }));
  EXPECT_TRUE(refused([](auto& d) { d.depth = 2; }));
  EXPECT_TRUE(refused([](auto& d) { d.depth = ~0u; }));
  EXPECT_TRUE(refused([](auto& d) { d.address = (uint64_t{1} << 40) - 1; }));
  EXPECT_TRUE(refused([](auto& d) { d.bytes = ~uint64_t{0}; }));
  for (uint32_t intid : {1u, 31u, 1020u, ~0u}) {
    EXPECT_TRUE(refused([&](auto& d) { d.intid = intid; })) << intid;
  }
  EXPECT_FALSE(refused([](auto& d) { d.intid = 0; }));
  const auto config = MakeConfig();
  config->devices[0].depth = 1;  // within nothing
  EXPECT_NE(Refusal(*config).find("depth 1"), std::string::npos);
}

}  // namespace
}  // namespace atoll
