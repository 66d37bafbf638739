// A port of the switch: its two rings, what it may do, and what came and went.
#ifndef ATOLL_SERVICES_VSWITCH_PORT_H_
#define ATOLL_SERVICES_VSWITCH_PORT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/net/frame_ring.h"
#include "services/runtime/ports.h"
#include "services/vswitch/address_table.h"

namespace atoll::vswitch {

struct PortSettings {
  std::string_view name;            // for the log
  std::optional<MacAddress> mac{};  // belongs to this port: no other may send from it
  bool filter = false;              // and this port may send from no other
  bool verifies_checksums = false;  // its word that a checksum is right (DATA_VALID) is passed on
};

// Frames. "in": of the port's sender, and found good; "out": put before its receiver.
struct PortCounters {
  uint64_t in = 0;
  uint64_t in_bytes = 0;
  uint64_t out = 0;
  uint64_t out_bytes = 0;
  // In, and dropped:
  uint64_t invalid =
      0;  // offload fields that lie (net::ValidateOffload), a group address as sender
  uint64_t spoofed = 0;  // sent from an address that is not this port's to use
  uint64_t storm = 0;    // floods beyond the port's allowance
  uint64_t local = 0;    // to an address behind the port itself
  // For this port, and dropped:
  uint64_t full = 0;     // floods that found no room
  uint64_t stalled = 0;  // it takes no frames
  // Times that one of its rings made no sense and was emptied.
  uint64_t ring_faults = 0;
};

struct Port {
  PortSettings settings;
  net::FrameReader from;  // towards the switch
  net::FrameWriter to;
  Notifier& peer;  // frames came, or room
  PortCounters counters{};

  // It has given up (its writer says so), or is in quarantine: nothing goes to it.
  bool down = false;
  bool quarantined = false;

  // As a sender.
  int64_t credit = 0;  // bytes that it may move in this turn; below 0 after large ones
  std::optional<uint32_t> blocked_on{};  // port that its next frame waits for
  uint64_t flood_allowance = 0;          // bytes of copies
  uint64_t flood_refilled = 0;           // ticks

  // As a receiver.
  uint32_t waiters = 0;                  // bit per port whose next frame waits for room here
  std::optional<uint32_t> head{};        // the one of them that came first; nobody overtakes it
  std::optional<uint64_t> full_since{};  // ticks; since then it took less than it must
  uint32_t taken_mark = 0;               // its reader index at that time
  bool stalled = false;
};

}  // namespace atoll::vswitch

#endif  // ATOLL_SERVICES_VSWITCH_PORT_H_
