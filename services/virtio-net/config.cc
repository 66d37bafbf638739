#include "services/virtio-net/config.h"

#include <pb_decode.h>

#include <limits>

#include "ipc/abi.h"

namespace atoll::virtio_net {
namespace {

Mac MacOf(const NetworkConfig& config) {
  Mac mac = 0;
  for (size_t i = 0; i < config.mac.size; ++i) mac |= Mac{config.mac.bytes[i]} << 8 * i;
  return mac;
}

}  // namespace

const char* CheckConfig(const NetworkConfig& config) {
  if (config.ram_base % kPageSize != 0 || config.ram_bytes % kPageSize != 0) {
    return "virtio-net config: ram_base and ram_bytes must be multiples of 4096";
  }
  if (config.ram_bytes == 0 ||
      !InBounds(config.ram_base, config.ram_bytes, uint64_t{1} << abi::kGuestPhysBits)) {
    return "virtio-net config: guest RAM must lie within 40 bits and not be empty";
  }
  if (config.mac.size != kMacBytes || MacOf(config) == 0 || IsMulticast(MacOf(config))) {
    return "virtio-net config: mac must be the six bytes of a unicast address";
  }
  if (config.mtu < kMinMtu || config.mtu > std::numeric_limits<uint16_t>::max()) {
    return "virtio-net config: mtu must be in 68..65535";
  }
  if (config.queue_pairs == 0 || config.queue_pairs > kMaxPairs) {
    return "virtio-net config: queue_pairs must be in 1..8";
  }
  return nullptr;
}

const char* ReadConfig(std::span<const std::byte> encoded, NetworkConfig& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_NetworkConfig_fields, &config)) {
    return "virtio-net config: cannot be decoded; expected a NetworkConfig "
           "(proto/network_config.proto)";
  }
  return CheckConfig(config);
}

NetSettings SettingsOf(const NetworkConfig& config) {
  return {
      .mac = MacOf(config), .mtu = static_cast<uint16_t>(config.mtu), .pairs = config.queue_pairs};
}

}  // namespace atoll::virtio_net
