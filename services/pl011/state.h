// What a PL011 keeps over a restart of its service, as it lies in the journal.
#ifndef ATOLL_SERVICES_PL011_STATE_H_
#define ATOLL_SERVICES_PL011_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/pl011/registers.h"

namespace atoll {

// Every word is written by one store and is meaningful whatever the others hold: a new instance
// derives the rest (interrupt line, deadlines, FIFO levels) from these words and from the rings. So
// no order between them matters, except that `format` is written last when the state is made.
struct Pl011State {
  static constexpr uint32_t kFormat = 0x50'4c'11'02;  // "PL", part, version of this layout

  uint32_t format = 0;
  pl011::Table::Values registers{};  // UARTDR: 0; UARTFR, UARTMIS, UARTICR: not used
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

  uint32_t held_entries() const { return held_write - held_read; }
  uint32_t loop_entries() const { return loop_write - loop_read; }
};
static_assert(std::is_trivially_copyable_v<Pl011State> && std::is_standard_layout_v<Pl011State>);

// The state in a journal: what an earlier instance left there, else (new or unknown content)
// freshly reset. Of a damaged journal no value is taken that the registers could not hold.
// RESOURCE_EXHAUSTED if the journal is too small, INVALID_ARGUMENT if it is not aligned.
Result<Pl011State*> AttachPl011State(std::span<std::byte> journal);

// Registers to their reset values, both FIFOs empty.
void ResetPl011State(Pl011State& state);

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL011_STATE_H_
