// What a PL011 keeps over a restart of its service, as it lies in the journal.
#ifndef ATOLL_SERVICES_PL011_STATE_H_
#define ATOLL_SERVICES_PL011_STATE_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/pl011/registers.h"
#include "services/runtime/journal.h"

namespace atoll {

// What an access was about to change: enough to tell whether it did, and to finish it.
struct Pl011Change {
  enum class Kind : uint8_t {
    kSend,  // a byte into the output ring, whose index was `position`. 0: UARTDR's fast way stores the index alone
    kLoop,  // an entry into `loop`, whose write index was `position`
    kHold,  // a byte into `held`, likewise
    kTake,  // a byte out of the input ring, whose index was `position`; `value` is what UARTDR read
    kTakeLooped,  // an entry out of `loop`, likewise
    kTakeBreak,   // the break; `position` is Pl011State::breaks
    kRegister,  // UARTCR and the like: `detail` is the register's index, `value` what it held; `position` as kLoop
  };

  uint32_t position = 0;
  uint16_t value = 0;
  uint8_t detail = 0;  // kTake...: entries in the receive FIFO before
  Kind kind = Kind::kSend;
};
static_assert(sizeof(Pl011Change) == sizeof(uint64_t) &&
              std::has_unique_object_representations_v<Pl011Change>);

// Every word is written by one store. Most are meaningful whatever the others hold: a new instance derives the rest
// (interrupt line, deadlines, FIFO levels) from them and from the rings. Where an order matters:
//   - `format` last when the state is made;
//   - an access that must not be done twice (a byte moves, an interrupt follows from how a register changed) stores
//     `change`, then `token`, then does it. A call that is delivered again comes before all others, with the token that
//     it had: if it stands here, `change` tells whether the move was done (its index has moved on), and what the
//     register held. All that follows from a move or a register may be done again;
//   - a FIFO's level is stored after the interrupt that it raises and before the one that it clears, so that a
//     successor sees the step in between again;
//   - `breaks` after the break that it counts; `check` after the register.
struct Pl011State {
  static constexpr uint32_t kFormat = 0x50'4c'11'03;  // "PL", part, version of this layout

  uint32_t format = 0;
  pl011::Table::Values registers{};  // UARTDR: 0; UARTFR, UARTMIS, UARTICR: not used
  uint32_t check = 0;                // over the registers that only the guest changes (Pl011Check)
  uint32_t receive_level = 0;  // entries in the FIFOs when interrupts were last derived from them
  uint32_t transmit_level = 0;

  // Loopback (UARTCR.LBE): received entries, data and error bits as in UARTDR. Free-running
  // indices.
  std::array<uint16_t, pl011::kFifoDepth> loop{};
  uint32_t loop_read = 0;
  uint32_t loop_write = 0;
  uint32_t overruns = 0;  // bytes lost to a full FIFO in loopback
  // Loopback with CTS flow control: the transmit FIFO, from which bytes go when the receiver is ready.
  std::array<uint8_t, pl011::kFifoDepth> held{};
  uint32_t held_read = 0;
  uint32_t held_write = 0;

  // A break that the console has put into the input and the guest has not read yet. `breaks` is written last: until
  // then a new instance notices the same break again.
  uint32_t break_position = 0;  // index of the input ring
  uint32_t break_waits = 0;
  uint32_t breaks = 0;  // of the ring's marks, those noticed

  uint64_t change = 0;  // Pl011Change
  uint64_t token = 0;   // of the call that it belongs to
  // The byte that is on its way out of `held`: where it goes (kSend, kLoop), and in `detail` the low bits of held_read. It
  // is stored before the byte, and held_read after it.
  uint64_t leaving = 0;

  uint32_t held_entries() const { return held_write - held_read; }
  uint32_t loop_entries() const { return loop_write - loop_read; }

  void Note(uint64_t call, Pl011Change what) {
    StoreRelease(change, std::bit_cast<uint64_t>(what));
    StoreRelease(token, call);
  }
};
static_assert(std::is_trivially_copyable_v<Pl011State> && std::is_standard_layout_v<Pl011State>);

// A register's part in Pl011State::check, which is the exclusive or of all of them. 0 for registers that are not the
// guest's alone.
constexpr uint32_t Pl011Check(size_t index, uint32_t value) {
  using namespace pl011;  // NOLINT: registers only
  const bool guests_alone =
      kTable.writable(index) != 0 && index != kDr && index != kRsr && index != kIcr;
  // Odd factors: no two values of a register have the same part.
  return guests_alone ? (value + 1) * (0x9e37'79b1 + 2 * static_cast<uint32_t>(index)) : 0;
}

struct Pl011Journal {
  Pl011State* state = nullptr;
  bool damaged = false;  // it held what no instance has left
};

// The state in a journal: what an earlier instance left there, else (new or unknown content)
// freshly reset. A damaged journal is reset too if it is the guest's settings that cannot be believed; of the rest no
// value is taken that could not have been.
// RESOURCE_EXHAUSTED if the journal is too small, INVALID_ARGUMENT if it is not aligned.
Result<Pl011Journal> AttachPl011State(std::span<std::byte> journal);

// Registers to their reset values, both FIFOs empty.
void ResetPl011State(Pl011State& state);

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL011_STATE_H_
