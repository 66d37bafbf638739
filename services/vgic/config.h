// The start configuration of vgic, checked.
#ifndef ATOLL_SERVICES_VGIC_CONFIG_H_
#define ATOLL_SERVICES_VGIC_CONFIG_H_

#include <cstddef>
#include <span>

#include "proto/vgic_config.atoll.h"

namespace atoll {

// Null: the configuration is fine. Otherwise what is wrong with it.
const char* ReadConfig(std::span<const std::byte> encoded, VgicConfig& config);
const char* CheckConfig(const VgicConfig& config);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VGIC_CONFIG_H_
