// Which connections there are between ports, so that when one end is gone the other can be told: RST for each.
//
// A connection is there from its REQUEST until its RST, which ends each of them. It counts against whoever asked for it;
// who has asked for as many as there may be loses those first that nobody answered, and then gets RST.
//
// Lies in the service's journal, all zero at first. A slot is what its check confirms, or free. Adding what is there and
// removing what is not does nothing, so a packet that is looked at twice does no harm.
#ifndef ATOLL_SERVICES_VSOCK_SWITCH_CONNECTIONS_H_
#define ATOLL_SERVICES_VSOCK_SWITCH_CONNECTIONS_H_

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "services/runtime/check_word.h"
#include "services/runtime/journal.h"

namespace atoll::vsock_switch {

inline constexpr uint32_t kPorts = 9;  // one for each VM, and the host's
inline constexpr uint32_t kHostPort = 8;

// Seen from one end, which is asked about or to be told.
struct Connection {
  uint32_t own = 0;    // port of the switch
  uint32_t other = 0;  // of the other end
  uint32_t own_port = 0;
  uint32_t other_port = 0;
};

class Connections {
 public:
  static constexpr uint32_t kPerPort = 256;  // that one end may have asked for

  // `c.own` asks `c.other`. False: it has all that it may have.
  bool Add(const Connection& c) {
    if (Find(c) != nullptr) return true;
    Row& row = rows_[c.own];
    Slot* place = nullptr;
    for (Slot& slot : row) {
      const auto found = Read(slot);
      if (!found.has_value()) {
        place = &slot;
        break;
      }
      if (found->answered == 0 && place == nullptr) place = &slot;
    }
    if (place == nullptr) return false;
    StoreRelease(place->state, 0);
    place->ports = c.own_port | uint64_t{c.other_port} << 32;
    Seal(*place, {.other = static_cast<uint8_t>(c.other), .answered = 0, .used = 1, .check = 0});
    return true;
  }

  // `c.own` answers a REQUEST of `c.other`.
  void Answer(const Connection& c) {
    if (Slot* const slot = FindIn(c.other, c.own, c.other_port, c.own_port)) {
      State state = *Read(*slot);
      if (state.answered == 0) {
        state.answered = 1;
        Seal(*slot, state);
      }
    }
  }

  // Whoever asked for it.
  void Remove(const Connection& c) {
    if (Slot* const slot = Find(c)) StoreRelease(slot->state, 0);
  }

  // The connections of one end, seen from the other: the first from slot `from` on, which becomes the slot behind it.
  std::optional<Connection> Next(uint32_t end, uint32_t& from) const {
    for (; from < kPorts * kPerPort; ++from) {
      const uint32_t asking = from / kPerPort;
      const Slot& slot = rows_[asking][from % kPerPort];
      const auto state = Read(slot);
      if (!state.has_value() || (asking != end && state->other != end)) continue;
      ++from;
      const auto asking_port = static_cast<uint32_t>(slot.ports);
      const auto asked_port = static_cast<uint32_t>(slot.ports >> 32);
      if (asking == end) return Connection{state->other, asking, asked_port, asking_port};
      return Connection{asking, state->other, asking_port, asked_port};
    }
    return std::nullopt;
  }

  uint32_t count() const {
    uint32_t count = 0;
    for (const Row& row : rows_) {
      for (const Slot& slot : row) count += Read(slot).has_value() ? 1 : 0;
    }
    return count;
  }

 private:
  struct State {
    uint8_t other = 0;     // port of the switch that was asked
    uint8_t answered = 0;  // RESPONSE came
    uint16_t used = 0;     // 1
    uint32_t check = 0;
  };
  struct Slot {
    uint64_t ports;  // of who asked; << 32: of who was asked
    uint64_t state;  // State; it makes the slot count
  };
  using Row = std::array<Slot, kPerPort>;

  static uint32_t CheckOf(const Slot& slot, State state) {
    state.check = 0;
    CheckWord check;
    check.Add(slot.ports);
    check.Add(std::bit_cast<uint64_t>(state));
    return check.value();
  }
  static void Seal(Slot& slot, State state) {
    state.check = CheckOf(slot, state);
    StoreRelease(slot.state, std::bit_cast<uint64_t>(state));
  }
  static std::optional<State> Read(const Slot& slot) {
    if (slot.state == 0) return std::nullopt;
    const auto state = std::bit_cast<State>(slot.state);
    const bool good =
        state.check == CheckOf(slot, state) && state.used == 1 && state.other < kPorts;
    return good ? std::optional<State>(state) : std::nullopt;
  }

  Slot* Find(const Connection& c) {
    Slot* const asked_by_own = FindIn(c.own, c.other, c.own_port, c.other_port);
    return asked_by_own != nullptr ? asked_by_own
                                   : FindIn(c.other, c.own, c.other_port, c.own_port);
  }
  Slot* FindIn(uint32_t asking, uint32_t asked, uint32_t asking_port, uint32_t asked_port) {
    const uint64_t ports = asking_port | uint64_t{asked_port} << 32;
    for (Slot& slot : rows_[asking]) {
      if (slot.ports != ports) continue;
      const auto state = Read(slot);
      if (state.has_value() && state->other == asked) return &slot;
    }
    return nullptr;
  }

  std::array<Row, kPorts> rows_;
};

}  // namespace atoll::vsock_switch

#endif  // ATOLL_SERVICES_VSOCK_SWITCH_CONNECTIONS_H_
