// Packets between the rings that are shared with the vsock-switch and a line of bytes to the host's program, which may
// lose any number of bytes whenever one of the two ends starts anew: each packet comes once and in order nevertheless.
//
// To the host. A packet stays in the ring until the host has acknowledged it, and its number is its place in the ring.
// So a new instance knows without a journal what is to be sent (again).
//
// From the host. Packets are numbered from 0 in each session. Before one is published in the ring, a word of the journal
// says which one and where; the ring's position tells a successor whether it is there.
//
// Greeting. An end that has lost the thread (a new instance, a gap, no progress) lets the driver say where it stands in
// both directions (hello); the host answers with where it stands (welcome), and both go on from there. If the two do not
// fit, or the host's program is a new one, or one of the rings' epochs has changed, the host begins a new session, and
// the driver an epoch: the switch then ends all connections with the host, before anything of the new session.
#ifndef ATOLL_SERVICES_VSOCK_DRIVER_HOST_LINK_H_
#define ATOLL_SERVICES_VSOCK_DRIVER_HOST_LINK_H_

#include <cstdint>
#include <optional>
#include <span>

#include "services/net/frame_ring.h"
#include "services/runtime/ports.h"
#include "services/vsock-driver/link_frame.h"

namespace atoll::vsock_driver {

// Lies in the service's journal, all zero at first.
struct LinkJournal {
  uint64_t session;  // WithComplement; anything else, and 0: none
  uint64_t placed;   // Placed: the packet that came last
};

inline constexpr uint64_t kGreetSeconds = 1;     // between hellos
inline constexpr uint64_t kPatienceSeconds = 5;  // with a host that acknowledges nothing

class HostLink {
 public:
  struct Ports {
    net::FrameWriter to_switch;
    net::FrameReader from_switch;
    const Counter& counter;
    LinkJournal& journal;
  };
  struct Counters {
    uint64_t sent = 0;  // packets, again ones included
    uint64_t received = 0;
    uint64_t sessions = 0;
    uint64_t greetings = 0;
    uint64_t refused = 0;  // frames that make no sense, or come again
  };

  explicit HostLink(const Ports& ports);

  // Somebody is at the other end. Nobody: connections with the host end, and nobody can connect.
  void Open();
  void Close();
  // The line was broken off; whether somebody is there is to be heard.
  void Suspend();

  // Takes bytes from the line. Returns how many: less than all if the switch has no room, of which it will tell.
  size_t Receive(std::span<const std::byte> bytes);
  // Fills `room` with bytes for the line. 0: there is nothing to say.
  size_t Send(std::span<std::byte> room);

  // To be called when deadline() has passed, which may be at any time.
  void OnTime();
  uint64_t deadline() const;

  // Whether the switch must be told since the last call.
  bool MustNotify();
  // Before sleeping. False: there is something to be sent. blocked: the line takes nothing.
  bool MaySleep(bool blocked);

  const Counters& counters() const { return counters_; }
  uint64_t damaged() const { return decoder_.damaged(); }

 private:
  enum class State : uint8_t { kWaiting, kClosed, kGreeting, kLinked };

  bool silent() const { return state_ == State::kWaiting || state_ == State::kClosed; }
  void Silence(State state);

  void Greet();
  bool OnFrame();  // false: no room
  void OnWelcome(const LinkHeader& header, std::span<const std::byte> payload);
  bool OnData(const LinkHeader& header, std::span<const std::byte> payload);
  void OnAcknowledge(uint32_t acknowledged);
  void NextFrame();
  bool NextPacket();
  uint32_t JournalledSession() const;
  void SetSession(uint32_t session);
  uint32_t NextWanted() const;

  Ports ports_;
  State state_ = State::kWaiting;
  FrameDecoder decoder_;
  FrameEncoder encoder_;
  bool pending_ = false;  // the decoder's frame waits for room
  uint32_t session_ = 0;
  uint32_t wanted_ = 0;  // number of the next packet from the host
  // Places in the ring from the switch: all before is acknowledged; all before was sent.
  uint32_t acknowledged_ = 0;
  uint32_t sent_ = 0;
  uint32_t sending_ = 0;  // behind the packet that is being written; sent_ if there is none
  uint32_t epoch_ = 0;    // of that ring
  uint32_t faults_ = 0;   // of that ring, as seen last
  Nonce nonce_ = 0;
  bool hello_due_ = false;
  bool ack_due_ = false;
  bool notify_ = false;
  uint64_t deadline_ = DeadlineTimer::kNever;
  Counters counters_;
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_SERVICES_VSOCK_DRIVER_HOST_LINK_H_
