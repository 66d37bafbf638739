// The start configuration of virtio-blk, checked.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_CONFIG_H_
#define ATOLL_SERVICES_VIRTIO_BLK_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/block_config.atoll.h"

namespace atoll::virtio_blk {

// Null: the configuration is fine. Otherwise what is wrong with it. disk_window: the most bytes
// that may be mapped.
const char* ReadConfig(std::span<const std::byte> encoded, uint64_t disk_window,
                       BlockConfig& config);
const char* CheckConfig(const BlockConfig& config, uint64_t disk_window);

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_CONFIG_H_
