// A VmmConfig that has been checked.
#ifndef ATOLL_SERVICES_VMM_CONFIG_H_
#define ATOLL_SERVICES_VMM_CONFIG_H_

#include <cstddef>
#include <optional>
#include <span>

#include "proto/vmm_config.atoll.h"
#include "services/vmm/error_text.h"

namespace atoll {

// Decodes `encoded` into `config` and checks every field that vmm relies on. Returns what is wrong,
// if anything; `config` is then not to be used.
std::optional<ErrorText> ReadConfig(std::span<const std::byte> encoded, VmmConfig& config);

// The checks alone.
std::optional<ErrorText> CheckConfig(const VmmConfig& config);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_CONFIG_H_
