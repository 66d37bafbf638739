// The parts of an Ethernet frame that a network device looks at. Frames lie in shared memory: each
// field is read once.
#ifndef ATOLL_SERVICES_VIRTIO_NET_ETHERNET_H_
#define ATOLL_SERVICES_VIRTIO_NET_ETHERNET_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/virtio-net/state.h"
#include "services/virtio/guest_access.h"

namespace atoll::virtio_net {

inline constexpr uint32_t kEthernetBytes = 14;
inline constexpr uint32_t kVlanTagBytes = 4;
inline constexpr uint16_t kTypeIpv4 = 0x0800;
inline constexpr uint16_t kTypeIpv6 = 0x86dd;
inline constexpr uint16_t kTypeVlan = 0x8100;  // IEEE 802.1Q, customer tag

inline uint16_t Big16(std::span<const std::byte> frame, size_t offset) {
  return __builtin_bswap16(virtio::ReadOnce<uint16_t>(frame.data() + offset));
}

// All take a frame of at least kEthernetBytes.
inline Mac DestinationOf(std::span<const std::byte> frame) {
  return virtio::ReadOnce<uint64_t>(frame.data()) & kMacMask;
}
inline uint16_t TypeOf(std::span<const std::byte> frame) { return Big16(frame, 12); }
inline bool IsTagged(std::span<const std::byte> frame) {
  return TypeOf(frame) == kTypeVlan && frame.size() >= kEthernetBytes + kVlanTagBytes;
}
inline uint16_t VlanOf(std::span<const std::byte> tagged) { return Big16(tagged, 14) & 0xfff; }

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_ETHERNET_H_
