// A virtio network device (VIRTIO 1.2, 5.1) between a guest's queues and one port of the switch.
#ifndef ATOLL_SERVICES_VIRTIO_NET_NET_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_NET_NET_DEVICE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "services/net/frame_ring.h"
#include "services/runtime/ports.h"
#include "services/virtio-net/control.h"
#include "services/virtio-net/flow_table.h"
#include "services/virtio-net/receiver.h"
#include "services/virtio-net/specification.h"
#include "services/virtio-net/state.h"
#include "services/virtio-net/transmitter.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_net {

inline constexpr uint32_t kQueueSize = 256;
inline constexpr uint32_t kControlQueueSize = 64;
inline constexpr uint32_t kMaxQueues = 2 * kMaxPairs + 1;
inline constexpr uint16_t kMinMtu = 68;  // 5.1.4.1

// Bit of the service's signal: the switch put frames into the ring or made room.
inline constexpr uint32_t kSwitchBit = 62;
inline constexpr uint64_t kSwitchSignal = uint64_t{1} << kSwitchBit;

using NetJournal = virtio::Journal<NetState, kMaxQueues>;

// What a device is from its VM's start to its end.
struct NetSettings {
  Mac mac = 0;         // unicast
  uint16_t mtu = 0;    // at least kMinMtu
  uint32_t pairs = 1;  // 1..kMaxPairs; more than one offers MQ
};

class NetDevice final : public virtio::DeviceModel {
 public:
  // port: the two rings of a port, towards the switch and from it; where they are not, the link is
  // down. Port, peer (the switch) and journal outlive the device.
  NetDevice(NetJournal& journal, const NetSettings& settings, std::span<std::byte> port,
            Notifier& peer);

  virtio::Description Describe() const override;
  std::span<const std::byte> Config() const override;
  bool AcceptsFeatures(uint64_t features) const override;
  virtio::Work ProcessQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features) override;
  bool RecoverQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features,
                    bool blamed) override;
  bool InOrder() const override { return true; }
  bool ForgetChains() override;
  bool SkipNext(uint32_t index, virtio::SplitQueue& queue) override;
  void SetFailing(bool until_reset) override;
  bool StopQueue(uint32_t index) override;
  virtio::PeerWork OnPeerSignals(uint64_t bits) override;
  void Reset() override;
  bool IsIntact() const override;

  // There is a switch, it does not say that the link is down, and this device does not fail.
  bool link_up() const { return to_switch_.has_value() && from_switch_.has_value(); }
  const Counters& counters() const { return state_.counters; }

 private:
  enum class Role { kNone, kReceive, kTransmit, kControl };
  // What of the link the driver knows, in the journal.
  enum Link : uint64_t { kUnknown = 0, kDown = 1, kUp = 2 };
  // Attaches to the rings if they are there and the link is up.
  void RefreshLink();
  // True: the driver is to be told of the link. It was if this is called again.
  bool LinkChanged();
  // What the user sees (statistics.h): counted since the VM started.
  void NameCounters();
  void ShowCounters() const;
  Role RoleOf(uint32_t index, uint64_t features) const;
  uint32_t PairsNow(uint64_t features) const;
  Mac mac() const;
  void RefreshMac();
  virtio::Work Serve(uint32_t index, virtio::SplitQueue& queue, uint64_t features);
  virtio::Work Receive(uint64_t features);
  virtio::Work ExecuteCommands(virtio::SplitQueue& queue, uint64_t features);

  NetState& state_;
  Kept<DriverSettings> chosen_;
  const NetSettings settings_;
  const std::span<std::byte> port_;
  std::optional<net::FrameWriter> to_switch_;
  std::optional<net::FrameReader> from_switch_;
  Transmitter transmitter_;
  Receiver receiver_;
  FlowTable flows_;
  std::array<uint32_t, kMaxQueues> queue_sizes_ = {};
  // Those that are ready, as far as they were seen: of the pairs, by direction.
  std::array<virtio::SplitQueue*, kMaxPairs> receive_queues_ = {};
  std::array<virtio::SplitQueue*, kMaxPairs> transmit_queues_ = {};
  virtio::ChainRecord command_;  // of the control queue
  virtio_net::Config config_;
  uint64_t features_ = 0;    // of which RecoverQueue was told
  bool failing_ = false;     // the link is down, whatever the switch says ...
  bool fails_ever_ = false;  // ... after a reset, too
  Link told_ = kUnknown;
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_NET_DEVICE_H_
