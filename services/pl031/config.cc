#include "services/pl031/config.h"

#include <pb_decode.h>

#include "proto/rtc_config.atoll.h"

namespace atoll {

std::optional<uint32_t> StartSeconds(std::span<const std::byte> config, uint32_t machine_seconds) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(config.data()), config.size());
  RtcConfig decoded{};
  if (!pb_decode(&stream, atoll_RtcConfig_fields, &decoded)) return std::nullopt;
  // Modulo 2^32, as the count is.
  return machine_seconds + static_cast<uint32_t>(static_cast<uint64_t>(decoded.offset_s));
}

}  // namespace atoll
