// What a network device keeps over a restart of its service besides transport and queues.
//
// All zero is the state after a reset. What the driver sets by commands is there twice (TwoCopies), so
// it is whole after every store, and damage to it is noticed.
#ifndef ATOLL_SERVICES_VIRTIO_NET_STATE_H_
#define ATOLL_SERVICES_VIRTIO_NET_STATE_H_

#include <array>
#include <cstdint>

#include "services/runtime/two_copies.h"
#include "services/virtio-net/specification.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_net {

inline constexpr uint32_t kMaxPairs = 8;
inline constexpr uint32_t kMaxFilterMacs = 64;  // of each of the two lists; longer ones pass all
inline constexpr uint32_t kVlans = 4096;

// An Ethernet address as a number: its first byte is the lowest.
using Mac = uint64_t;
inline constexpr Mac kMacMask = (Mac{1} << 48) - 1;
inline constexpr Mac kBroadcast = kMacMask;
constexpr bool IsMulticast(Mac mac) { return (mac & 1) != 0; }

struct MacTable {
  struct List {
    static constexpr uint32_t kAll = ~uint32_t{0};
    uint32_t count = 0;  // kAll: was too long to be kept, so every address is listed
    uint32_t reserved = 0;
    std::array<Mac, kMaxFilterMacs> macs = {};
  };
  List unicast;
  List multicast;
};

// A frame that is passing between a queue and the ring, stored as one word before the first of the
// two moves on, and cleared after the second did. By comparing, a successor finds what was done.
struct Transfer {
  static constexpr uint16_t kQueue = 0xff;  // its index + 1; 0: no transfer
  // The frame is delivered in segments, of which some may be delivered; and this one is the last.
  static constexpr uint16_t kSegment = 0x100;
  static constexpr uint16_t kLast = 0x200;

  uint32_t ring = 0;      // this side's index in the ring before the frame
  uint16_t position = 0;  // of the queue before it
  uint16_t what = 0;
};
static_assert(sizeof(Transfer) == sizeof(uint64_t));

struct Counters {
  uint64_t sent = 0;      // frames handed to the switch
  uint64_t received = 0;  // packets handed to the driver
  // Dropped on their way out: wrong header or buffers; no switch.
  uint64_t sent_bad = 0;
  uint64_t sent_link_down = 0;
  // Dropped on their way in: not for this guest; longer than the MTU or the buffers; such as this
  // guest cannot be given; nobody listens.
  uint64_t received_filtered = 0;
  uint64_t received_too_long = 0;
  uint64_t received_bad = 0;
  uint64_t received_not_live = 0;
  // Of instances that died: frames that were through already; frames of which a part is given again.
  uint64_t finished = 0;
  uint64_t repeated = 0;
  // Dropped, since two instances died of them.
  uint64_t poisoned = 0;
};

// What the driver chose by commands.
struct DriverSettings {
  static constexpr uint64_t kSet = uint64_t{1} << 63;  // in mac, offloads: the driver set it

  uint64_t modes = 0;     // bit n: RX command n is on
  uint64_t mac = 0;       // kSet | Mac, or 0: as configured
  uint64_t pairs = 0;     // pairs for reception, or 0: one
  uint64_t offloads = 0;  // kSet | GUEST_OFFLOADS, or 0: all that were negotiated
  MacTable table;
  std::array<uint64_t, kVlans / 64> vlans = {};

  // Serve a driver whatever it chose: it gets all frames, each whole and with its checksum, on its first pair.
  static DriverSettings ForAnyDriver() {
    DriverSettings settings;
    settings.modes = 1 << kRxPromisc;
    settings.offloads = kSet;
    settings.vlans.fill(~uint64_t{0});
    return settings;
  }
};

struct NetState {
  static constexpr uint32_t kFormat = 2;  // changes with the layout

  TwoCopies<DriverSettings> settings;
  uint64_t link_was_up = 0;  // as the driver was told

  uint64_t sending = 0;    // Transfer
  uint64_t receiving = 0;  // Transfer
  Counters counters;
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_STATE_H_
