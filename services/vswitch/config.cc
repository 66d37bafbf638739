#include "services/vswitch/config.h"

#include <pb_decode.h>
#include <string.h>

#include <algorithm>

namespace atoll::vswitch {
namespace {

constexpr size_t kMacBytes = 6;

MacAddress MacOf(const uint8_t (&bytes)[kMacBytes]) {
  MacAddress mac = 0;
  for (size_t i = 0; i < kMacBytes; ++i) mac |= MacAddress{bytes[i]} << (8 * i);
  return mac;
}

}  // namespace

const char* ReadConfig(std::span<const std::byte> encoded, Config& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_SwitchConfig_fields, &config.message)) {
    return "vswitch config: cannot be decoded; expected a SwitchConfig (proto/switch_config.proto)";
  }
  config.uplink = config.message.uplink;
  for (size_t i = 0; i < config.message.port_count; ++i) {
    const auto& port = config.message.port[i];
    if (!port.present) continue;
    if (port.mac.size != kMacBytes) return "vswitch config: a MAC address has 6 bytes";
    const MacAddress mac = MacOf(port.mac.bytes);
    if (mac == 0 || (mac & 1) != 0) return "vswitch config: a port's MAC address must be unicast";
    const auto same = [mac](const std::optional<PortSettings>& other) {
      return other.has_value() && other->mac == mac;
    };
    if (std::ranges::any_of(config.ports, same)) {
      return "vswitch config: two ports have the same MAC address";
    }
    config.ports[i] = PortSettings{.name = {port.name, strnlen(port.name, sizeof port.name)},
                                   .mac = mac,
                                   .filter = port.filter};
  }
  return nullptr;
}

}  // namespace atoll::vswitch
