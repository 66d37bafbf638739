// Which frames a guest gets: its address, the driver's lists and modes (VIRTIO 1.2, 5.1.6.5.1 to
// 5.1.6.5.3).
#ifndef ATOLL_SERVICES_VIRTIO_NET_RECEIVE_FILTER_H_
#define ATOLL_SERVICES_VIRTIO_NET_RECEIVE_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/virtio-net/state.h"

namespace atoll::virtio_net {

class ReceiveFilter {
 public:
  // `settings` outlive the filter.
  explicit ReceiveFilter(const DriverSettings& settings) : settings_(settings) {}

  // `frame` has at least an Ethernet header; `own` is the device's address. Without CTRL_RX all
  // addresses pass, without CTRL_VLAN all VLANs.
  bool Passes(std::span<const std::byte> frame, Mac own, uint64_t features) const;

 private:
  bool ModeIs(RxCommand mode) const { return (settings_.modes >> mode & 1) != 0; }
  bool AddressPasses(Mac destination, Mac own) const;
  bool VlanPasses(std::span<const std::byte> frame) const;

  const DriverSettings& settings_;
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_RECEIVE_FILTER_H_
