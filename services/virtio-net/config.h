// The start configuration of virtio-net, checked.
#ifndef ATOLL_SERVICES_VIRTIO_NET_CONFIG_H_
#define ATOLL_SERVICES_VIRTIO_NET_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/network_config.atoll.h"
#include "services/virtio-net/net_device.h"

namespace atoll::virtio_net {

// Null: the configuration is fine. Otherwise what is wrong with it.
const char* ReadConfig(std::span<const std::byte> encoded, NetworkConfig& config);
const char* CheckConfig(const NetworkConfig& config);

// Of a configuration that is fine.
NetSettings SettingsOf(const NetworkConfig& config);

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_CONFIG_H_
