#include "services/virtio-net/net_device.h"

#include <algorithm>

#include "services/runtime/statistics.h"
#include "services/virtio-net/ethernet.h"
#include "services/virtio-net/offloads.h"
#include "services/virtio-net/receive_filter.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_net {
namespace {

using virtio::Chain;
using virtio::SplitQueue;
using virtio::Work;

constexpr uint64_t kOffered =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx |
    kFeatureCsum | kFeatureGuestCsum | kFeatureCtrlGuestOffloads | kFeatureMtu | kFeatureMac |
    kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn | kFeatureHostTso4 | kFeatureHostTso6 |
    kFeatureHostEcn | kFeatureMrgRxbuf | kFeatureStatus | kFeatureCtrlVq | kFeatureCtrlRx |
    kFeatureCtrlVlan | kFeatureCtrlRxExtra | kFeatureCtrlMacAddr;

// Commands that one pass executes at most.
constexpr uint32_t kPassCommands = 64;

// A frame of `mtu` bytes behind the Ethernet header, which may have a VLAN tag.
constexpr uint32_t MaxFrame(uint16_t mtu) {
  return std::min(kEthernetBytes + kVlanTagBytes + mtu, net::kMaxFrameBytes);
}

template <typename Ring>
std::optional<Ring> RingIn(std::span<std::byte> port, size_t offset) {
  if (port.size() < net::kPortBytes) return std::nullopt;
  const Result<Ring> ring = Ring::Attach(port.subspan(offset, net::kRingBytes));
  return ring.has_value() ? std::optional<Ring>(*ring) : std::nullopt;
}

}  // namespace

NetDevice::NetDevice(NetJournal& journal, const NetSettings& settings, std::span<std::byte> port,
                     Notifier& peer)
    : state_(journal.device),
      chosen_(state_.settings),
      settings_(settings),
      port_(port),
      transmitter_(to_switch_, peer, state_, MaxFrame(settings.mtu)),
      receiver_(from_switch_, peer, state_, *chosen_, MaxFrame(settings.mtu)) {
  queue_sizes_.fill(kQueueSize);
  queue_sizes_[2 * settings_.pairs] = kControlQueueSize;
  // Without MQ the control queue is the third (5.1.2), which may be longer than it need be.
  config_.max_virtqueue_pairs = static_cast<uint16_t>(settings_.pairs);
  config_.mtu = settings_.mtu;
  RefreshMac();
  RefreshLink();
  NameCounters();
}

void NetDevice::NameCounters() {
  size_t index = 0;
  for (const char* name :
       {"sent", "received", "dropped_out", "dropped_in", "finished", "repeated", "poisoned"}) {
    NameCounter(index++, name);
  }
  ShowCounters();
}

void NetDevice::ShowCounters() const {
  const Counters& all = state_.counters;
  auto& shown = OwnStatistics().counters;
  shown[0] = all.sent;
  shown[1] = all.received;
  shown[2] = all.sent_bad + all.sent_link_down;
  shown[3] =
      all.received_filtered + all.received_too_long + all.received_bad + all.received_not_live;
  shown[4] = all.finished;
  shown[5] = all.repeated;
  shown[6] = all.poisoned;
}

void NetDevice::RefreshLink() {
  if (failing_) {
    to_switch_.reset();
    from_switch_.reset();
  } else {
    if (!from_switch_.has_value()) {
      from_switch_ = RingIn<net::FrameReader>(port_, net::kRingBytes);
    }
    const bool up = from_switch_.has_value() && !from_switch_->WriterIsDown();
    if (!up) to_switch_.reset();
    if (up && !to_switch_.has_value()) to_switch_ = RingIn<net::FrameWriter>(port_, 0);
  }
  config_.status = link_up() ? kStatusLinkUp : 0;
}

// Told first, noted then: a death in between makes a successor tell it again.
bool NetDevice::LinkChanged() {
  RefreshLink();
  const Link now = link_up() ? kUp : kDown;
  if (state_.link_was_up == now) return false;
  const bool tell = state_.link_was_up != kUnknown && told_ != now;
  told_ = now;
  if (!tell) virtio::StoreRelease(state_.link_was_up, uint64_t{now});
  return tell;
}

virtio::Description NetDevice::Describe() const {
  return {.device_id = kDeviceId,
          .features = kOffered | (settings_.pairs > 1 ? kFeatureMq : 0),
          .queue_sizes = std::span(queue_sizes_).first(2 * settings_.pairs + 1),
          .format = NetState::kFormat};
}

std::span<const std::byte> NetDevice::Config() const {
  return std::as_bytes(std::span(&config_, 1));
}

bool NetDevice::AcceptsFeatures(uint64_t features) const {
  constexpr uint64_t kNeedControl = kFeatureCtrlRx | kFeatureCtrlVlan | kFeatureCtrlRxExtra |
                                    kFeatureMq | kFeatureCtrlMacAddr | kFeatureCtrlGuestOffloads;
  const bool control = (features & kFeatureCtrlVq) != 0 || (features & kNeedControl) == 0;
  return control && OffloadsAcceptable(features);
}

NetDevice::Role NetDevice::RoleOf(uint32_t index, uint64_t features) const {
  const uint32_t control = (features & kFeatureMq) != 0 ? 2 * settings_.pairs : 2;
  if (index < control) return index % 2 == 0 ? Role::kReceive : Role::kTransmit;
  const bool is_control = index == control && (features & kFeatureCtrlVq) != 0;
  return is_control ? Role::kControl : Role::kNone;
}

// 5.1.6.5.6.2: one, until the driver sets more.
uint32_t NetDevice::PairsNow(uint64_t features) const {
  if ((features & kFeatureMq) == 0) return 1;
  return static_cast<uint32_t>(std::clamp<uint64_t>(chosen_->pairs, 1, settings_.pairs));
}

Mac NetDevice::mac() const {
  const uint64_t set = chosen_->mac;
  return (set & DriverSettings::kSet) != 0 ? set & kMacMask : settings_.mac;
}

void NetDevice::RefreshMac() {
  for (size_t i = 0; i < kMacBytes; ++i) config_.mac[i] = static_cast<uint8_t>(mac() >> 8 * i);
}

bool NetDevice::IsIntact() const {
  bool same_mac = true;
  for (size_t i = 0; i < kMacBytes; ++i) {
    same_mac = same_mac && config_.mac[i] == static_cast<uint8_t>(mac() >> 8 * i);
  }
  const bool same_rings =
      (!to_switch_.has_value() || to_switch_->IsIntact(port_.first(net::kRingBytes))) &&
      (!from_switch_.has_value() ||
       from_switch_->IsIntact(port_.subspan(net::kRingBytes, net::kRingBytes)));
  return chosen_.IsIntact() && same_rings && same_mac &&
         config_.max_virtqueue_pairs == settings_.pairs && config_.mtu == settings_.mtu;
}

Work NetDevice::ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) {
  const Work work = Serve(index, queue, features);
  ShowCounters();
  return work;
}

Work NetDevice::Serve(uint32_t index, SplitQueue& queue, uint64_t features) {
  switch (RoleOf(index, features)) {
    case Role::kReceive: receive_queues_[index / 2] = &queue; return Receive(features);
    case Role::kTransmit:
      transmit_queues_[index / 2] = &queue;
      return transmitter_.Run(index, queue, features, PairsNow(features) > 1 ? &flows_ : nullptr);
    case Role::kControl: return ExecuteCommands(queue, features);
    case Role::kNone: break;  // 5.1.2: no such queue then
  }
  return Work::kDone;
}

Work NetDevice::Receive(uint64_t features) {
  const uint32_t pairs = PairsNow(features);
  return receiver_.Run({.queues = std::span(receive_queues_).first(pairs),
                        .mac = mac(),
                        .features = features,
                        .flows = pairs > 1 ? &flows_ : nullptr});
}

Work NetDevice::ExecuteCommands(SplitQueue& queue, uint64_t features) {
  queue.SuppressNotifications();
  for (uint32_t i = 0; i < kPassCommands; ++i) {
    const SplitQueue::Fetched fetched = queue.Fetch(command_);
    if (fetched == SplitQueue::Fetched::kNone) {
      if (queue.ResumeNotifications()) continue;
      return Work::kDone;
    }
    const Chain chain = queue.chain(command_);
    if (fetched == SplitQueue::Fetched::kBroken || !chain.reachable() ||
        chain.writable_bytes() == 0) {
      return Work::kBroken;
    }
    const ControlAck ack = Control(chosen_, settings_.pairs).Execute(chain, features);
    RefreshMac();
    (void)chain.CopyToWritable(0, std::as_bytes(std::span(&ack, 1)));
    queue.Accept();
    queue.Push(command_.head, sizeof(ack));
    queue.Publish();
  }
  return Work::kMore;
}

bool NetDevice::RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features, bool blamed) {
  features_ = features;
  switch (RoleOf(index, features)) {
    case Role::kReceive:
      receive_queues_[index / 2] = &queue;
      receiver_.Recover(index, queue);
      break;
    case Role::kTransmit:
      transmit_queues_[index / 2] = &queue;
      transmitter_.Recover(index, queue);
      break;
    default: break;
  }
  return !chosen_.lost();
}

// Nothing is held over a pass. What the driver chose by commands it will not say again.
bool NetDevice::ForgetChains() {
  if (chosen_.lost()) chosen_.Set(DriverSettings::ForAnyDriver());
  return true;
}

// A frame in the ring, or whatever the driver sent: both are dropped.
bool NetDevice::SkipNext(uint32_t index, SplitQueue& queue) {
  if (RoleOf(index, features_) == Role::kReceive) {
    receiver_.Skip();
  } else {
    queue.Skip();
    ++state_.counters.poisoned;
  }
  return true;
}

void NetDevice::SetFailing(bool until_reset) {
  failing_ = true;
  fails_ever_ = fails_ever_ || !until_reset;
  RefreshLink();
}

bool NetDevice::StopQueue(uint32_t index) {
  if (index / 2 < kMaxPairs) {
    (index % 2 == 0 ? receive_queues_ : transmit_queues_)[index / 2] = nullptr;
  }
  return true;
}

virtio::PeerWork NetDevice::OnPeerSignals(uint64_t bits) {
  virtio::PeerWork work;
  if ((bits & kSwitchSignal) == 0) return work;
  work.config_changed = LinkChanged();
  const auto ready = [](const SplitQueue* queue) { return queue != nullptr; };
  const auto receive = std::ranges::find_if(receive_queues_, ready);
  if (receive == receive_queues_.end()) {
    receiver_.Drain();
  } else {
    work.queues |= uint64_t{1} << 2 * (receive - receive_queues_.begin());  // it serves them all
  }
  for (uint32_t pair = 0; pair < kMaxPairs && transmitter_.waits(); ++pair) {
    if (ready(transmit_queues_[pair])) work.queues |= uint64_t{2} << 2 * pair;
  }
  return work;
}

void NetDevice::Reset() {
  chosen_.Set({});
  state_.sending = 0;
  state_.receiving = 0;
  failing_ = fails_ever_;
  RefreshLink();
  state_.link_was_up = kUnknown;
  RefreshMac();
  // What came for the driver before is not for the next one.
  receiver_.Drain();
  if (to_switch_.has_value()) to_switch_->StartEpoch();
}

}  // namespace atoll::virtio_net
