#include "services/virtio-blk/config.h"

#include <pb_decode.h>

#include "ipc/abi.h"
#include "services/virtio-blk/block_device.h"

namespace atoll::virtio_blk {

const char* CheckConfig(const BlockConfig& config, uint64_t disk_window) {
  if (config.ram_base % kPageSize != 0 || config.ram_bytes % kPageSize != 0) {
    return "virtio-blk config: ram_base and ram_bytes must be multiples of 4096";
  }
  if (config.ram_bytes == 0 ||
      !InBounds(config.ram_base, config.ram_bytes, uint64_t{1} << abi::kGuestPhysBits)) {
    return "virtio-blk config: guest RAM must lie within 40 bits and not be empty";
  }
  if (!config.null_disk && !config.physical && config.disk_bytes > disk_window) {
    return "virtio-blk config: disk_bytes is more than the manifest maps";
  }
  if (config.queues > kMaxQueues) return "virtio-blk config: queues must be at most 8";
  return nullptr;
}

const char* ReadConfig(std::span<const std::byte> encoded, uint64_t disk_window,
                       BlockConfig& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_BlockConfig_fields, &config)) {
    return "virtio-blk config: cannot be decoded; expected a BlockConfig "
           "(proto/block_config.proto)";
  }
  return CheckConfig(config, disk_window);
}

}  // namespace atoll::virtio_blk
