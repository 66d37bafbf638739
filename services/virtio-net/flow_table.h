// Which queue pair a flow was last sent on, so that its answers come back there (VIRTIO 1.2,
// 5.1.6.5.6). A hint: flows that share an entry share a pair, and a new instance starts without.
#ifndef ATOLL_SERVICES_VIRTIO_NET_FLOW_TABLE_H_
#define ATOLL_SERVICES_VIRTIO_NET_FLOW_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "services/virtio-net/ethernet.h"

namespace atoll::virtio_net {

class FlowTable {
 public:
  void Note(std::span<const std::byte> frame, uint32_t pair) {
    pairs_[IndexOf(frame)] = static_cast<uint8_t>(pair);
  }
  // 0 for a flow that nothing was sent on.
  uint32_t PairOf(std::span<const std::byte> frame) const { return pairs_[IndexOf(frame)]; }

  // The same for both directions of a flow.
  static uint32_t HashOf(std::span<const std::byte> frame) {
    size_t ip = kEthernetBytes;
    uint16_t type = TypeOf(frame);
    if (IsTagged(frame)) {
      ip += kVlanTagBytes;
      type = Big16(frame, ip - 2);
    }
    uint64_t sum = type;
    size_t ports = 0;  // offset of the transport header, if it is TCP or UDP
    if (type == kTypeIpv4 && frame.size() >= ip + kIpv4Bytes) {
      sum += Words32(frame, ip + 12, 1);
      const bool fragment = (Big16(frame, ip + 6) & 0x3fff) != 0;
      if (!fragment && HasPorts(frame[ip + 9])) {
        ports = ip + (std::to_integer<size_t>(frame[ip]) & 0xf) * 4;
      }
    } else if (type == kTypeIpv6 && frame.size() >= ip + kIpv6Bytes) {
      sum += Words32(frame, ip + 8, 4);
      if (HasPorts(frame[ip + 6])) ports = ip + kIpv6Bytes;
    }
    if (ports != 0 && frame.size() >= ports + 4) {
      sum += Big16(frame, ports) ^ Big16(frame, ports + 2);
    }
    return static_cast<uint32_t>(sum * 0x9e37'79b9'7f4a'7c15 >> 32);  // 2^64 / golden ratio
  }

 private:
  static constexpr size_t kIpv4Bytes = 20;
  static constexpr size_t kIpv6Bytes = 40;

  static bool HasPorts(std::byte protocol) {
    return protocol == std::byte{6} || protocol == std::byte{17};
  }
  // Two addresses of `count` words each, whichever comes first.
  static uint64_t Words32(std::span<const std::byte> frame, size_t at, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < 2 * count; ++i) {
      sum += virtio::ReadOnce<uint32_t>(frame.data() + at + 4 * i);
    }
    return sum;
  }
  size_t IndexOf(std::span<const std::byte> frame) const { return HashOf(frame) % pairs_.size(); }

  std::array<uint8_t, 256> pairs_ = {};
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_FLOW_TABLE_H_
