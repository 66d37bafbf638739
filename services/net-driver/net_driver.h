// The uplink of the vswitch: frames from its ring to the machine's network interface and back.
//
// What the interface cannot do is done here: checksums are completed, TCP packets cut. Frames to
// the wire stay in the ring while the interface has no room, so the switch feels it; frames from
// the wire for which the ring has no room are dropped and counted, as any wire would.
#ifndef ATOLL_SERVICES_NET_DRIVER_NET_DRIVER_H_
#define ATOLL_SERVICES_NET_DRIVER_NET_DRIVER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/net-driver/network_interface.h"
#include "services/net/frame_ring.h"
#include "services/net/segmenter.h"
#include "services/runtime/ports.h"
#include "services/virtio_driver/event_log.h"

namespace atoll::net_driver {

// Bits of the service's signal.
inline constexpr uint64_t kIrqSignal = uint64_t{1} << 16;
inline constexpr uint64_t kTimerSignal = uint64_t{1} << 17;
inline constexpr uint64_t kSwitchSignal = uint64_t{1} << 62;

// An interface that takes no frame for so long is reset.
inline constexpr uint64_t kStuckSeconds = 5;

class NetDriver {
 public:
  struct Ports {
    net::FrameWriter to_switch;
    net::FrameReader from_switch;
    Notifier& vswitch;
    const Counter& counter;
    DeadlineTimer& timer;
    virtio_driver::EventLog& log;
  };
  struct Counters {
    uint64_t received = 0;  // frames
    uint64_t sent = 0;      // to the interface; segments count each
    uint64_t full = 0;      // from the wire, dropped because the ring had no room
    uint64_t refused = 0;   // to the wire, dropped: offloads that lie, or too long for a wire
  };

  // Everything referenced outlives the driver. interface: none if the machine has no such device.
  NetDriver(const Ports& ports, NetworkInterface* interface)
      : ports_(ports), interface_(interface) {}

  void Start();
  // Instead of Start, when the interface is given up: it is stopped, and the switch is told that the link is down.
  void Fail();
  void OnSignals(uint64_t bits);

  const Counters& counters() const { return counters_; }

 private:
  enum class Step { kDone, kNoRoom };

  void Work();
  void ShowCounters() const;
  uint32_t ReceiveFrames();
  uint32_t SendFrames();
  Step SendFrame(const net::Frame& frame);
  Step SendSegments();
  Step SendWhole(const net::Frame& frame);
  void SendTo(const net::FrameHeader& header);
  bool TakesSegmentation(const net::FrameHeader& header) const;
  bool MaySleep();
  void Recover(std::string_view reason);

  Ports ports_;
  NetworkInterface* interface_;
  std::optional<net::Segmenter> segmenter_;  // of the frame at segmenter_position_ in the ring
  uint32_t segmenter_position_ = 0;
  bool blocked_ = false;  // that frame waits for room
  bool ready_ = false;
  uint64_t stuck_deadline_ = DeadlineTimer::kNever;  // while blocked: until it has to move
  uint32_t idle_restarts_ = 0;  // of the interface, since it last took or brought a frame
  Counters counters_;
};

}  // namespace atoll::net_driver

#endif  // ATOLL_SERVICES_NET_DRIVER_NET_DRIVER_H_
