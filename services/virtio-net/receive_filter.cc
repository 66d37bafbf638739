#include "services/virtio-net/receive_filter.h"

#include <algorithm>

#include "services/virtio-net/ethernet.h"

namespace atoll::virtio_net {
namespace {

bool Lists(const MacTable::List& list, Mac mac) {
  if (list.count == MacTable::List::kAll) return true;
  const auto macs = std::span(list.macs).first(std::min(list.count, kMaxFilterMacs));
  return std::ranges::find(macs, mac) != macs.end();
}

}  // namespace

bool ReceiveFilter::Passes(std::span<const std::byte> frame, Mac own, uint64_t features) const {
  const bool address = (features & kFeatureCtrlRx) == 0 || AddressPasses(DestinationOf(frame), own);
  return address && ((features & kFeatureCtrlVlan) == 0 || VlanPasses(frame));
}

// 5.1.6.5.1.1: PROMISC takes everything; of the others NO... overrides ALL... .
bool ReceiveFilter::AddressPasses(Mac destination, Mac own) const {
  if (ModeIs(kRxPromisc)) return true;
  if (destination == kBroadcast) return !ModeIs(kRxNoBcast);
  const MacTable& table = settings_.table;
  if (IsMulticast(destination)) {
    if (ModeIs(kRxNoMulti)) return false;
    return ModeIs(kRxAllMulti) || Lists(table.multicast, destination);
  }
  if (ModeIs(kRxNoUni)) return false;
  return destination == own || ModeIs(kRxAllUni) || Lists(table.unicast, destination);
}

bool ReceiveFilter::VlanPasses(std::span<const std::byte> frame) const {
  if (!IsTagged(frame)) return true;
  const uint16_t id = VlanOf(frame);
  return (settings_.vlans[id / 64] >> id % 64 & 1) != 0;
}

}  // namespace atoll::virtio_net
