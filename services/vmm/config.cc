#include "services/vmm/config.h"

#include <pb_decode.h>

#include <algorithm>

#include "ipc/abi.h"
#include "ipc/address.h"

namespace atoll {
namespace {

// Aff3 in [39:32], Aff2..Aff0 in [23:0] of MPIDR_EL1 (DDI0487 D19.2.102).
constexpr uint64_t kAffinityBits = 0xff'00ff'ffff;
constexpr uint64_t kGuestPhysEnd = uint64_t{1} << abi::kGuestPhysBits;
constexpr uint32_t kFirstSpi = 32;
constexpr uint32_t kLastSpi = 1019;

std::optional<ErrorText> CheckVcpus(const VmmConfig& config) {
  const auto affinities = std::span(config.vcpu_affinity, config.vcpu_affinity_count);
  if (affinities.empty()) return ErrorText("vmm config: vcpu_affinity is empty; give one per vCPU");
  for (size_t i = 0; i < affinities.size(); ++i) {
    if ((affinities[i] & ~kAffinityBits) != 0) {
      return ErrorText("vmm config: vcpu_affinity ", Hex{affinities[i]},
                       " has bits outside [39:32] and [23:0]");
    }
    if (std::ranges::count(affinities.first(i), affinities[i]) != 0) {
      return ErrorText("vmm config: vcpu_affinity ", Hex{affinities[i]}, " stands there twice");
    }
  }
  return std::nullopt;
}

// `max_depth`: one more than that of the node before it.
std::optional<ErrorText> CheckDevice(const DeviceNode& device, uint32_t max_depth) {
  if (device.name[0] == '\0' || (device.compatible_count == 0 && device.depth == 0)) {
    return ErrorText("vmm config: device at ", Hex{device.address},
                     " needs a name and a compatible string");
  }
  if (device.depth > max_depth) {
    return ErrorText("vmm config: device ", device.name, ": depth ", device.depth,
                     " is more than one below the node before it");
  }
  if (!InBounds(device.address, device.bytes, kGuestPhysEnd)) {
    return ErrorText("vmm config: device ", device.name, " at ", Hex{device.address},
                     " ends beyond the guest's 2^40 bytes");
  }
  if (device.intid != 0 && (device.intid < kFirstSpi || device.intid > kLastSpi)) {
    return ErrorText("vmm config: device ", device.name, ": intid ", device.intid,
                     " is not an SPI (32..1019) nor 0");
  }
  return std::nullopt;
}

}  // namespace

std::optional<ErrorText> CheckConfig(const VmmConfig& config) {
  if (config.ram_bytes == 0 || config.ram_base % kPageSize != 0 ||
      config.ram_bytes % kPageSize != 0 ||
      !InBounds(config.ram_base, config.ram_bytes, kGuestPhysEnd)) {
    return ErrorText("vmm config: RAM ", Hex{config.ram_bytes}, " bytes at ", Hex{config.ram_base},
                     " must be whole 4 KiB pages below 2^40");
  }
  if (auto error = CheckVcpus(config)) return error;
  uint32_t max_depth = 0;
  for (const auto& device : std::span(config.devices, config.devices_count)) {
    if (auto error = CheckDevice(device, max_depth)) return error;
    max_depth = device.depth + 1;
  }
  return std::nullopt;
}

std::optional<ErrorText> ReadConfig(std::span<const std::byte> encoded, VmmConfig& config) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_VmmConfig_fields, &config)) {
    return ErrorText("vmm config: cannot be decoded: ", PB_GET_ERROR(&stream));
  }
  return CheckConfig(config);
}

}  // namespace atoll
