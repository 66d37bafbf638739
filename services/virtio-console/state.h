// What a console device keeps over a restart of its service besides transport and queues. All zero is the state after a
// reset. The bytes themselves are in the driver's buffers and in the rings to console and switch, nowhere else.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_STATE_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_STATE_H_

#include <array>
#include <cstdint>
#include <optional>

#include "services/port-switch/port_memory.h"
#include "services/runtime/check_word.h"
#include "services/runtime/two_copies.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_console {

inline constexpr uint32_t kMaxPorts = 1 + port_switch::kPorts;  // the console and the named ones
inline constexpr uint32_t kMaxQueues = 2 * kMaxPorts + 2;
static_assert(kMaxQueues <= virtio::kMaxQueues);

// What passes between a queue and something else that has a position of its own, as one word with its check: so that a
// successor can tell whether it went through. `place` is the other's.
struct Passage {
  uint32_t place = 0;
  uint16_t position = 0;  // of the queue, before the chain

  uint64_t Pack() const { return Numbers() | Check() << 48; }
  // Nothing: nobody packed this, or it was cleared.
  static std::optional<Passage> Unpack(uint64_t word) {
    const Passage passage{.place = static_cast<uint32_t>(word),
                          .position = static_cast<uint16_t>(word >> 32)};
    if (word != passage.Pack()) return std::nullopt;
    return passage;
  }

 private:
  uint64_t Numbers() const { return place | uint64_t{position} << 32; }
  uint64_t Check() const {
    CheckWord check;  // not 0 for zeros
    check.Add(Numbers());
    return check.value() & 0xffff;
  }
};

struct PortJournal {
  uint64_t sending = 0;    // Passage; place: the output ring's index at the chain's first byte
  uint64_t receiving = 0;  // Passage; place: the input ring's index behind the chain's last byte
};

// What driver and device have told each other of a port.
enum PortFlag : uint16_t {
  kAdded = 1,     // DEVICE_ADD was sent
  kReady = 2,     // PORT_READY came
  kMarked = 4,    // then CONSOLE_PORT or PORT_NAME was sent
  kToldOpen = 8,  // the driver believes that the other end is open
  kOpen = 16,     // the driver has its end open
};

struct ControlState {
  uint16_t device_ready = 0;          // DEVICE_READY came
  std::array<uint16_t, 7> port = {};  // PortFlags
};
static_assert(kMaxPorts == 7);

struct State {
  static constexpr uint32_t kFormat = 1;  // changes with the layout

  TwoCopies<ControlState> control;
  uint64_t telling =
      0;  // Passage; place: port << 16 | its flags once the message is with the driver
  std::array<PortJournal, kMaxPorts> ports;
  // Of the last emergency write: the token of the access, stored last; and where the output ring and the chain that was
  // on its way stood before it, low and high word.
  uint64_t emergency_token = 0;
  uint64_t emergency = 0;
};
using Journal = virtio::Journal<State, kMaxQueues>;

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_STATE_H_
