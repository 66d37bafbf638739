// What virtio-net refuses to start with.
#include "services/virtio-net/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <array>
#include <cstring>

namespace atoll::virtio_net {
namespace {

NetworkConfig Good() {
  NetworkConfig config{};
  config.ram_base = 0x4000'0000;
  config.ram_bytes = 512 << 20;
  config.mac = {6, {2, 'a', 't', 'l', 0, 1}};
  config.mtu = 1500;
  config.queue_pairs = 2;
  return config;
}

TEST(NetConfigTest, good_configuration_is_read_back) {
  std::array<pb_byte_t, 256> bytes;
  pb_ostream_t stream = pb_ostream_from_buffer(bytes.data(), bytes.size());
  const NetworkConfig good = Good();
  ASSERT_TRUE(pb_encode(&stream, atoll_NetworkConfig_fields, &good));
  NetworkConfig read{};
  ASSERT_EQ(ReadConfig(std::as_bytes(std::span(bytes).first(stream.bytes_written)), read), nullptr);
  const NetSettings settings = SettingsOf(read);
  EXPECT_EQ(settings.mac, 0x0100'6c74'6102u);
  EXPECT_EQ(settings.mtu, 1500);
  EXPECT_EQ(settings.pairs, 2u);
  for (size_t i = 0; i < stream.bytes_written; ++i) {
    NetworkConfig cut{};
    EXPECT_NE(ReadConfig(std::as_bytes(std::span(bytes).first(i)), cut), nullptr) << i;
  }
}

TEST(NetConfigTest, NET_10_NET_12_NET_13_bad_fields_are_refused) {
  ASSERT_EQ(CheckConfig(Good()), nullptr);
  const auto refused = [](const auto& change) {
    NetworkConfig config = Good();
    change(config);
    return CheckConfig(config) != nullptr;
  };
  EXPECT_TRUE(refused([](auto& c) { c.ram_base += 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.ram_bytes += 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.ram_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.ram_bytes = uint64_t{1} << 40; }));
  EXPECT_TRUE(refused([](auto& c) { c.mac.size = 5; }));
  EXPECT_TRUE(refused([](auto& c) { c.mac.size = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.mac.bytes[0] = 3; }));
  EXPECT_TRUE(refused([](auto& c) { std::memset(c.mac.bytes, 0, 6); }));
  EXPECT_TRUE(refused([](auto& c) { c.mtu = 67; }));
  EXPECT_TRUE(refused([](auto& c) { c.mtu = 65536; }));
  EXPECT_TRUE(refused([](auto& c) { c.queue_pairs = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.queue_pairs = 9; }));
  EXPECT_FALSE(refused([](auto& c) { c.mtu = 68; }));
  EXPECT_FALSE(refused([](auto& c) { c.mtu = 65535; }));
}

TEST(NetConfigTest, garbage_is_refused) {
  NetworkConfig config{};
  const std::array<std::byte, 5> garbage = {std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                            std::byte{0xff}, std::byte{0xff}};
  EXPECT_NE(ReadConfig(garbage, config), nullptr);
  EXPECT_NE(ReadConfig({}, config), nullptr);
}

}  // namespace
}  // namespace atoll::virtio_net
