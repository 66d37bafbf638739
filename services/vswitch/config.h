// The start configuration of the vswitch, checked.
#ifndef ATOLL_SERVICES_VSWITCH_CONFIG_H_
#define ATOLL_SERVICES_VSWITCH_CONFIG_H_

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "proto/switch_config.pb.h"
#include "services/vswitch/port.h"

namespace atoll::vswitch {

struct Config {
  atoll_SwitchConfig message{};                                            // holds the names
  std::array<std::optional<PortSettings>, AddressTable::kUplink> ports{};  // none: no such instance
  bool uplink = false;
};

// Null: the configuration is fine. Otherwise what is wrong with it.
const char* ReadConfig(std::span<const std::byte> encoded, Config& config);

}  // namespace atoll::vswitch

#endif  // ATOLL_SERVICES_VSWITCH_CONFIG_H_
