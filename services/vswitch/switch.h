// A learning Ethernet switch between virtio-net instances and an uplink. It sees rings of frames only.
//
// A frame is copied once, from its sender's ring into its receiver's; its headers go through private memory, where
// they are checked, so what is checked is what arrives. Only then it is published and given back to the sender, so a
// restart loses or doubles at most the frame being copied. Everything else that the switch knows it learns again.
//
// Back-pressure. A frame to one port waits in its sender's ring until there is room, and the sender's next frames
// with it. Who came first goes first. A port that, being full, takes less than kProgressBytes in kPatience is
// stalled: frames to it are dropped until half of its ring is free. Floods never wait, and find no room where others
// wait.
//
// Quarantine. A port whose frame two instances died of is cut off: its link is down, and what it sends is dropped
// unseen, until it begins a new epoch.
//
// Fairness. Senders take turns; each turn moves a bounded number of bytes, every copy of a flooded frame counted.
// The second and further copies of floods have an allowance per second for each sender.
#ifndef ATOLL_SERVICES_VSWITCH_SWITCH_H_
#define ATOLL_SERVICES_VSWITCH_SWITCH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ipc/status.h"
#include "services/net/frame_ring.h"
#include "services/net/packet.h"
#include "services/runtime/ports.h"
#include "services/runtime/quarantine.h"
#include "services/vswitch/address_table.h"
#include "services/vswitch/port.h"

namespace atoll::vswitch {

// What the switch has to tell a human.
class SwitchLog {
 public:
  virtual void RingMadeNoSense(std::string_view port) = 0;  // once for each port
  virtual void Quarantined(std::string_view port) = 0;

 protected:
  ~SwitchLog() = default;
};

class Switch {
 public:
  static constexpr uint32_t kPorts = AddressTable::kPorts;
  static constexpr uint32_t kUplink = AddressTable::kUplink;
  // Signal bits for OnSignals; main.cc asserts that the manifest agrees. Bit i below: port i.
  static constexpr uint64_t kTimerSignal = 1u << 17;

  static constexpr uint64_t kMaxAgeSeconds = 300;
  static constexpr uint64_t kPatiencePerSecond = 100;  // 10 ms
  static constexpr uint32_t kProgressBytes = 16384;
  static constexpr uint64_t kFloodBytesPerSecond = 16 << 20;
  static constexpr uint64_t kFloodBurst = 2 << 20;

  struct Surroundings {
    const Counter& counter;
    DeadlineTimer& timer;
    SwitchLog& log;
    Quarantine<kPorts>& quarantine;  // in the journal
  };

  explicit Switch(const Surroundings& surroundings);

  // Before Start. `memory`: net::kPortBytes, the ring towards the switch first.
  // OUT_OF_RANGE, ALREADY_EXISTS: the number; INVALID_ARGUMENT: the memory cannot hold two rings.
  Status AddPort(uint32_t number, const PortSettings& settings, std::span<std::byte> memory,
                 Notifier& peer);

  // Goes on where an earlier instance ended: it may have owed its peers a signal. blamed: that one died
  // of what it did.
  void Start(bool blamed);

  // Instead of Start, when there is to be no switch any more: tells all peers that the link is down. Signals then lead
  // to nothing.
  void Fail();

  // Moves frames until there are none that can be moved.
  void OnSignals(uint64_t bits);

  const PortCounters& counters(uint32_t port) const { return ports_[port]->counters; }

 private:
  enum class Outcome : uint8_t { kDone, kBlocked };

  // A frame on its way.
  struct Transit {
    net::FrameHeader header;            // checked
    std::span<const std::byte> head;    // private
    std::span<const std::byte> shared;  // all of it
    uint32_t sender;
  };

  void Wake(uint32_t ports);
  bool MayTakeTurn(uint32_t number);
  void TakeTurn(uint32_t number);
  Outcome Forward(uint32_t number, const net::Frame& frame);
  Outcome ForwardTo(uint32_t receiver, const Transit& transit);
  uint32_t NextHead(uint32_t receiver, uint32_t sender) const;
  void Flood(const Transit& transit);
  bool TakeFloodAllowance(Port& sender, uint64_t bytes);
  bool IsStalled(Port& receiver);
  void NoteFull(Port& receiver);
  void Deliver(uint32_t receiver, std::span<std::byte> room, const Transit& transit);
  void Signal(uint32_t sender, bool consumed);
  void CheckRings(Port& port);
  void SetTimer();

  Surroundings surroundings_;
  AddressTable addresses_;
  uint64_t patience_;  // ticks
  std::array<std::optional<Port>, kPorts> ports_{};
  uint32_t present_ = 0;           // bit per port
  uint32_t active_ = 0;            // bit per port that may have frames to be moved now
  uint32_t delivered_ = 0;         // bit per port that got frames in this turn
  uint32_t first_ = 0;             // whose turn is first in the next round
  uint64_t now_ = 0;               // ticks, of this round
  std::optional<uint64_t> timer_;  // deadline that is set
};

}  // namespace atoll::vswitch

#endif  // ATOLL_SERVICES_VSWITCH_SWITCH_H_
