// The start configuration of pl031, and what follows from it.
#ifndef ATOLL_SERVICES_PL031_CONFIG_H_
#define ATOLL_SERVICES_PL031_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace atoll {

// RTCDR of a VM's clock when the machine's shows `machine_seconds`. Nothing: the configuration is not an RtcConfig
// (proto/rtc_config.proto).
std::optional<uint32_t> StartSeconds(std::span<const std::byte> config, uint32_t machine_seconds);

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL031_CONFIG_H_
