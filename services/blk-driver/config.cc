#include "services/blk-driver/config.h"

#include <pb_decode.h>

#include "services/blk-driver/block_driver.h"

namespace atoll::blk_driver {

static_assert(std::size(atoll_BlockDriverConfig{}.range) == kMaxClients);

const char* ReadConfig(std::span<const std::byte> encoded, atoll_BlockDriverConfig& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_BlockDriverConfig_fields, &config)) {
    return "blk-driver config: cannot be decoded; expected a BlockDriverConfig "
           "(proto/block_driver_config.proto)";
  }
  for (const atoll_BlockRange& range : std::span(config.range).first(config.range_count)) {
    // In bytes it is below 2^63, so that no sum with it wraps.
    if (!InBounds(range.first_sector, range.sectors, (uint64_t{1} << 63) / block::kSectorBytes)) {
      return "blk-driver config: first_sector + sectors is beyond any disk";
    }
  }
  return nullptr;
}

}  // namespace atoll::blk_driver
