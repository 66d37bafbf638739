#include "services/vswitch/config.h"

#include <gtest/gtest.h>
#include <pb_encode.h>

#include <cstdio>
#include <vector>

namespace atoll::vswitch {
namespace {

atoll_SwitchConfig TwoPorts() {
  atoll_SwitchConfig message{};
  message.port_count = 4;
  for (const uint8_t i : {uint8_t{1}, uint8_t{3}}) {
    message.port[i].present = true;
    std::snprintf(message.port[i].name, sizeof message.port[i].name, "vm%d.0", i);
    message.port[i].mac = {6, {2, 0, 0, 0, 0, i}};
  }
  message.port[3].filter = true;
  message.uplink = true;
  return message;
}

const char* Read(const atoll_SwitchConfig& message, Config& config) {
  std::vector<std::byte> bytes(4096);
  pb_ostream_t stream =
      pb_ostream_from_buffer(reinterpret_cast<pb_byte_t*>(bytes.data()), bytes.size());
  EXPECT_TRUE(pb_encode(&stream, atoll_SwitchConfig_fields, &message));
  bytes.resize(stream.bytes_written);
  return ReadConfig(bytes, config);
}

TEST(VswitchConfig, ports_that_are_there) {
  Config config;
  ASSERT_EQ(Read(TwoPorts(), config), nullptr);
  EXPECT_TRUE(config.uplink);
  EXPECT_FALSE(config.ports[0].has_value() || config.ports[2].has_value());
  ASSERT_TRUE(config.ports[1].has_value() && config.ports[3].has_value());
  EXPECT_EQ(config.ports[1]->name, "vm1.0");
  EXPECT_EQ(config.ports[1]->mac, 0x0100'0000'0002u);
  EXPECT_FALSE(config.ports[1]->filter);
  EXPECT_TRUE(config.ports[3]->filter);
}

TEST(VswitchConfig, what_is_wrong_is_said) {
  atoll_SwitchConfig message = TwoPorts();
  message.port[1].mac.size = 5;
  Config config;
  EXPECT_STREQ(Read(message, config), "vswitch config: a MAC address has 6 bytes");
  message = TwoPorts();
  message.port[1].mac.bytes[0] = 3;
  config = {};
  EXPECT_STREQ(Read(message, config), "vswitch config: a port's MAC address must be unicast");
  message = TwoPorts();
  message.port[1].mac = message.port[3].mac;
  config = {};
  EXPECT_STREQ(Read(message, config), "vswitch config: two ports have the same MAC address");
  const std::vector<std::byte> garbage(10, std::byte{0xff});
  config = {};
  EXPECT_NE(ReadConfig(garbage, config), nullptr);
}

}  // namespace
}  // namespace atoll::vswitch
