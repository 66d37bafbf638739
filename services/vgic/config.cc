#include "services/vgic/config.h"

#include <pb_decode.h>

namespace atoll {
namespace {

constexpr uint64_t kAffinityBits = 0xff'00ff'ffff;  // Aff3, Aff2-Aff0 of MPIDR_EL1 (DDI0487)

}  // namespace

const char* CheckConfig(const VgicConfig& config) {
  if (config.vcpu_affinity_count == 0)
    return "vgic config: vcpu_affinity is empty; give one per vCPU";
  for (size_t i = 0; i < config.vcpu_affinity_count; ++i) {
    if ((config.vcpu_affinity[i] & ~kAffinityBits) != 0) {
      return "vgic config: a vcpu_affinity has bits outside [39:32] and [23:0]";
    }
    for (size_t j = 0; j < i; ++j) {
      if (config.vcpu_affinity[i] == config.vcpu_affinity[j]) {
        return "vgic config: a vcpu_affinity stands there twice; each vCPU has its own";
      }
    }
  }
  return nullptr;
}

const char* ReadConfig(std::span<const std::byte> encoded, VgicConfig& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_VgicConfig_fields, &config)) {
    return "vgic config: cannot be decoded; expected a VgicConfig (proto/vgic_config.proto)";
  }
  return CheckConfig(config);
}

}  // namespace atoll
