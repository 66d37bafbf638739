// What virtio-blk refuses to start with.
#include "services/virtio-blk/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <array>
#include <cstring>

namespace atoll::virtio_blk {
namespace {

constexpr uint64_t kWindow = uint64_t{4} << 30;

BlockConfig Good() {
  BlockConfig config{};
  config.ram_base = 0x4000'0000;
  config.ram_bytes = 512 << 20;
  config.disk_bytes = 64 << 20;
  std::strcpy(config.id, "linux-disk0");
  return config;
}

TEST(BlockConfigTest, good_configuration_is_read_back) {
  std::array<pb_byte_t, 256> bytes;
  pb_ostream_t stream = pb_ostream_from_buffer(bytes.data(), bytes.size());
  const BlockConfig good = Good();
  ASSERT_TRUE(pb_encode(&stream, atoll_BlockConfig_fields, &good));
  BlockConfig read{};
  ASSERT_EQ(ReadConfig(std::as_bytes(std::span(bytes).first(stream.bytes_written)), kWindow, read),
            nullptr);
  EXPECT_EQ(read.ram_base, good.ram_base);
  EXPECT_EQ(read.disk_bytes, good.disk_bytes);
  EXPECT_STREQ(read.id, "linux-disk0");
  // Cut anywhere: refused, or the fields that are missing are.
  for (size_t i = 0; i < 8; ++i) {
    BlockConfig cut{};
    EXPECT_NE(ReadConfig(std::as_bytes(std::span(bytes).first(i)), kWindow, cut), nullptr) << i;
  }
}

TEST(BlockConfigTest, bad_values_are_refused) {
  const auto refused = [](void (*change)(BlockConfig&)) {
    BlockConfig config = Good();
    change(config);
    return CheckConfig(config, kWindow) != nullptr;
  };
  EXPECT_FALSE(refused([](BlockConfig&) {}));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.ram_base += 1; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.ram_bytes += 512; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.ram_bytes = 0; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.ram_base = uint64_t{1} << 40; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.ram_bytes = ~uint64_t{0xfff}; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.disk_bytes = kWindow + 1; }));
  EXPECT_TRUE(refused([](BlockConfig& c) { c.queues = 9; }));
  EXPECT_FALSE(refused([](BlockConfig& c) {
    c.null_disk = true;
    c.disk_bytes = uint64_t{1} << 50;
  }));
}

TEST(BlockConfigTest, garbage_is_refused) {
  std::array<std::byte, 64> garbage;
  garbage.fill(std::byte{0xff});
  BlockConfig config{};
  EXPECT_NE(ReadConfig(garbage, kWindow, config), nullptr);
  EXPECT_NE(ReadConfig({}, kWindow, config), nullptr);
}

}  // namespace
}  // namespace atoll::virtio_blk
