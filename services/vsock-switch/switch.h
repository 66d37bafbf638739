// Passes packets between the socket devices of VMs, and to the host's end. It sees rings only.
//
// Exactly once. A packet is copied once, from its sender's ring into its receiver's. Before it is published there, a word
// of the journal says from where to where; by comparing that with the rings' positions a successor finds whether it went
// through. What else the switch keeps is which connections there are (connections.h).
//
// Ends that go. A port is gone when its device says so (driver reset, device given up: epoch and "down" of its ring), when
// its VM is off, or when it is in quarantine. Then each of its connections is ended with RST to the other end, before
// anything that the port sends later; and whoever asks for a port that is gone gets RST.
//
// Back-pressure. A packet waits in its sender's ring until there is room, and the sender's next ones with it; who came
// first goes first. A port that, being full, takes nothing for as long as `patience` is stalled: its connections end, its
// guest is told by TRANSPORT_RESET when it takes packets again (the epoch of the ring to it), and others get RST for
// what they send to it until half of its ring is free. So nobody loses a part of a stream without knowing.
#ifndef ATOLL_SERVICES_VSOCK_SWITCH_SWITCH_H_
#define ATOLL_SERVICES_VSOCK_SWITCH_SWITCH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ipc/status.h"
#include "services/net/frame_ring.h"
#include "services/runtime/ports.h"
#include "services/runtime/quarantine.h"
#include "services/vsock-switch/connections.h"
#include "services/vsock/packet.h"

namespace atoll::vsock_switch {

// What the switch has to tell a human.
class SwitchLog {
 public:
  virtual void Stalled(std::string_view port) = 0;
  virtual void Quarantined(std::string_view port) = 0;

 protected:
  ~SwitchLog() = default;
};

// A device that may be off.
class Peer {
 public:
  virtual bool Notify() = 0;  // false: nobody is there

 protected:
  ~Peer() = default;
};

struct PortSettings {
  std::string_view name;  // for the log
  uint64_t cid = 0;       // of whoever sends here
  uint32_t peers = ~0u;   // bit per port that it may talk to
};

// Lies in the journal, all zero at first.
struct SwitchJournal {
  // A packet that is passing: sender and receiver (4 bits each, the sender plus 1), and their rings' positions in units of
  // 16 bytes (28 bits each). The second word is its complement, and is stored first.
  uint64_t moving;
  uint64_t moving_complement;
  std::array<uint64_t, kPorts> epochs;  // WithComplement: of each port's ring, as it was seen last
  std::array<uint64_t, kPorts> ending;  // 1: the port's connections are being ended
  Quarantine<kPorts> quarantine;
  Connections connections;
};

struct PortCounters {
  uint64_t in = 0;       // passed on from this port
  uint64_t refused = 0;  // from it, and answered with RST
  uint64_t dropped =
      0;               // from it: of another sender's name, no packet, or of an epoch that is over
  uint64_t ended = 0;  // RST to it, since the other end was gone
};

class Switch {
 public:
  // Signal bits for OnSignals; main.cc asserts that the manifest agrees. Bit i below: port i.
  static constexpr uint64_t kTimerSignal = 1u << 16;

  struct Surroundings {
    const Counter& counter;
    DeadlineTimer& timer;
    SwitchLog& log;
    SwitchJournal& journal;
    uint64_t patience_ms = 1000;
  };

  explicit Switch(const Surroundings& surroundings);

  // Before Start. `memory`: vsock::kPortBytes, the ring towards the switch first.
  // OUT_OF_RANGE, ALREADY_EXISTS: the number; INVALID_ARGUMENT: the memory cannot hold two rings.
  Status AddPort(uint32_t number, const PortSettings& settings, std::span<std::byte> memory,
                 Peer& peer);

  // Goes on where an earlier instance ended. blamed: that one died of what it did.
  void Start(bool blamed);
  // Instead of Start, when there is to be no switch any more: tells all peers so. Signals then lead to nothing.
  void Fail();
  // Moves packets until there are none that can be moved now.
  void OnSignals(uint64_t bits);

  const PortCounters& counters(uint32_t port) const { return ports_[port]->counters; }

 private:
  enum class Outcome : uint8_t { kDone, kBlocked, kStale };

  struct Port {
    PortSettings settings;
    net::FrameReader from;  // towards the switch
    net::FrameWriter to;
    Peer& peer;
    PortCounters counters{};

    bool absent = false;  // its VM is off, as far as known
    bool quarantined = false;
    bool gone = false;  // as it was when last looked at

    // As a sender.
    int64_t credit = 0;  // bytes that it may move in this turn; below 0 after large ones
    std::optional<uint32_t> blocked_on{};  // port that its next packet waits for
    uint64_t ticket = 0;                   // since when it waits there: lower ones come first
    // As a receiver.
    uint32_t waiters = 0;                  // bit per port that waits for room here
    std::optional<uint64_t> full_since{};  // ticks; since then it took nothing
    uint32_t taken_mark = 0;               // its reader index at that time
    bool stalled = false;
  };

  // A packet on its way.
  struct Transit {
    vsock::PacketHeader header;          // private
    std::span<const std::byte> payload;  // shared memory
  };

  void FinishMove();
  void TakeTurn(uint32_t number);
  bool MoveSome(uint32_t number);
  bool CheckPort(uint32_t number);
  void BeginEnding(uint32_t number);
  bool EndConnections(uint32_t number);
  Outcome Forward(uint32_t number, const net::Frame& frame);
  std::optional<uint32_t> Route(uint32_t number, const vsock::PacketHeader& header) const;
  bool MayReceive(uint32_t number);
  bool MayConnect(uint32_t number, uint32_t receiver, const vsock::PacketHeader& header);
  Outcome Refuse(uint32_t number, const vsock::PacketHeader& header);
  // Publishes it at `receiver`; kStale: that takes nothing any more.
  Outcome Put(uint32_t sender, uint32_t receiver, const Transit& transit, bool consumes);
  bool IsStalled(Port& receiver);
  void NoteFull(uint32_t number);
  std::optional<uint32_t> FirstWaiter(uint32_t receiver) const;
  void Notify(uint32_t number);
  void Signal(uint32_t sender, bool consumed);
  void Probe();
  void SetTimer();

  Surroundings surroundings_;
  SwitchJournal& journal_;
  uint64_t patience_;  // ticks
  std::array<std::optional<Port>, kPorts> ports_{};
  uint32_t present_ = 0;    // bit per port that there is
  uint32_t active_ = 0;     // bit per port that is to be looked at
  uint32_t delivered_ = 0;  // bit per port that got packets in this turn
  uint32_t first_ = 0;      // whose turn is first in the next round
  uint64_t tickets_ = 0;
  uint64_t now_ = 0;               // ticks, of this round
  std::optional<uint64_t> timer_;  // deadline that is set
  std::optional<uint64_t> probe_;  // when ports are looked for; none: nobody is connected
};

}  // namespace atoll::vsock_switch

#endif  // ATOLL_SERVICES_VSOCK_SWITCH_SWITCH_H_
