// The start configuration of blk-driver, checked.
#ifndef ATOLL_SERVICES_BLK_DRIVER_CONFIG_H_
#define ATOLL_SERVICES_BLK_DRIVER_CONFIG_H_

#include <cstddef>
#include <span>

#include "proto/block_driver_config.pb.h"

namespace atoll::blk_driver {

// Null: the configuration is fine. Otherwise what is wrong with it.
const char* ReadConfig(std::span<const std::byte> encoded, atoll_BlockDriverConfig& config);

}  // namespace atoll::blk_driver

#endif  // ATOLL_SERVICES_BLK_DRIVER_CONFIG_H_
