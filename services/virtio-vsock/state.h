// What a socket device keeps over a restart of its service besides transport and queues. All zero is a fresh one.
#ifndef ATOLL_SERVICES_VIRTIO_VSOCK_STATE_H_
#define ATOLL_SERVICES_VIRTIO_VSOCK_STATE_H_

#include <cstdint>

#include "services/runtime/check_word.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_vsock {

// A packet, or a piece of one, that is passing between a queue and a ring: stored as one word before the first of the two
// moves on, cleared after the second did. By comparing, a successor finds what was done.
struct Transfer {
  uint64_t ring : 28 = 0;  // this side's index in the ring before the packet, in units of 16 bytes
  uint64_t position : 16 = 0;  // of the queue before it
  uint64_t end : 18 = 0;       // bytes of the payload that are delivered when it is through
  uint64_t last : 1 = 0;       // and these are all
  uint64_t valid : 1 = 0;
};
static_assert(sizeof(Transfer) == sizeof(uint64_t));

// How much of the payload of the packet at `ring` the driver has.
struct Progress {
  uint64_t ring : 28 = 0;
  uint64_t delivered : 18 = 0;
  uint64_t check : 18 = 0;

  constexpr Progress WithCheck() const {
    Progress sealed = *this;
    CheckWord word;
    word.Add(uint64_t{ring} << 18 | delivered);
    sealed.check = word.value() & 0x3ffff;
    return sealed;
  }
};
static_assert(sizeof(Progress) == sizeof(uint64_t));

constexpr uint32_t RingMark(uint32_t position) { return position >> 4; }

struct Counters {
  uint64_t sent = 0;      // packets put into the ring
  uint64_t received = 0;  // packets given to the driver, in pieces where its buffers are short
  uint64_t refused = 0;   // sent, and answered with RST: wrong type, op or length, no such CID
  uint64_t dropped = 0;   // of a false sender, shorter than a header, without a switch; poisoned
  uint64_t events = 0;    // TRANSPORT_RESET
  uint64_t finished = 0;  // were through when an instance died
};

struct VsockState {
  static constexpr uint32_t kFormat = 1;  // changes with the layout

  uint64_t sending = 0;    // Transfer
  uint64_t receiving = 0;  // Transfer
  uint64_t progress = 0;   // Progress
  uint64_t switch_epoch =
      0;  // WithComplement: that of the ring from the switch, as the driver was told
  uint64_t event_owed = 0;  // TRANSPORT_RESET is to be sent
  Counters counters;
};

inline constexpr uint32_t kQueues = 3;
using VsockJournal = virtio::Journal<VsockState, kQueues>;

}  // namespace atoll::virtio_vsock

#endif  // ATOLL_SERVICES_VIRTIO_VSOCK_STATE_H_
