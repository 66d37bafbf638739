#include "services/virtio-net/receive_filter.h"

#include <algorithm>

#include "services/virtio-net/ethernet.h"

namespace atoll::virtio_net {
namespace {

// The count is the journal's: what lies beyond the table is not there.
bool Lists(const MacTable::List& list, Mac mac) {
  if (list.count == MacTable::List::kAll) return true;
  const auto macs = std::span(list.macs).first(std::min(list.count, kMaxFilterMacs));
  return std::ranges::find(macs, mac) != macs.end();
}

}  // namespace

void ReceiveFilter::Reset() {
  state_.modes = 0;
  for (MacTable& table : state_.tables) table.unicast.count = table.multicast.count = 0;
  state_.table = 0;
  state_.vlans.fill(0);
}

void ReceiveFilter::SetMode(RxCommand mode, bool on) {
  const uint64_t bit = uint64_t{1} << mode;
  virtio::StoreRelease(state_.modes, on ? state_.modes | bit : state_.modes & ~bit);
}

void ReceiveFilter::SetTable(const MacTable& table) {
  const uint64_t other = ~state_.table & 1;
  state_.tables[other] = table;
  virtio::StoreRelease(state_.table, other);
}

void ReceiveFilter::SetVlan(uint16_t id, bool listed) {
  uint64_t& word = state_.vlans[id / 64 % state_.vlans.size()];
  const uint64_t bit = uint64_t{1} << id % 64;
  virtio::StoreRelease(word, listed ? word | bit : word & ~bit);
}

bool ReceiveFilter::Passes(std::span<const std::byte> frame, Mac own, uint64_t features) const {
  const bool address = (features & kFeatureCtrlRx) == 0 || AddressPasses(DestinationOf(frame), own);
  return address && ((features & kFeatureCtrlVlan) == 0 || VlanPasses(frame));
}

// 5.1.6.5.1.1: PROMISC takes everything; of the others NO... overrides ALL... .
bool ReceiveFilter::AddressPasses(Mac destination, Mac own) const {
  if (ModeIs(kRxPromisc)) return true;
  if (destination == kBroadcast) return !ModeIs(kRxNoBcast);
  const MacTable& table = state_.tables[state_.table & 1];
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
  return (state_.vlans[id / 64] >> id % 64 & 1) != 0;
}

}  // namespace atoll::virtio_net
