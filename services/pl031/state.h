// What a PL031 keeps over a restart of its service, as it lies in the journal.
#ifndef ATOLL_SERVICES_PL031_STATE_H_
#define ATOLL_SERVICES_PL031_STATE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/runtime/ports.h"

namespace atoll {

// Where the clock starts: at `ticks` of the system counter it showed `seconds` (UTC since 1970).
struct ClockOrigin {
  uint64_t ticks = 0;
  uint32_t seconds = 0;
};

struct Pl031State {
  static constexpr uint32_t kFormat = 0x50'4c'31'01;  // "PL", part, version of this layout

  uint32_t format = 0;  // written last when the state is made

  // Set once. So time cannot jump at a restart, when the machine's clock would be read anew.
  ClockOrigin origin;

  // RTCDR = origin.seconds + whole seconds since origin.ticks + offset, modulo 2^32. A store to
  // RTCLR changes it.
  uint32_t offset = 0;
  uint32_t match = 0;      // RTCMR
  uint32_t load = 0;       // RTCLR as last written
  uint32_t mask = 0;       // RTCIMSC
  uint32_t interrupt = 0;  // RTCRIS

  // Counter value at which RTCDR next comes to equal RTCMR; kNever beyond the counter's end. In the
  // journal, so that a new instance sees that the moment passed while nobody was there. RTCRIS is
  // written before it moves on: ending between the two repeats an alarm that the guest has not been
  // able to clear.
  uint64_t alarm_ticks = DeadlineTimer::kNever;
};
static_assert(std::is_trivially_copyable_v<Pl031State> && std::is_standard_layout_v<Pl031State>);

// The state in a journal if there is one, else nullptr: then make it with NewPl031State.
// RESOURCE_EXHAUSTED if the journal is too small, INVALID_ARGUMENT if it is not aligned.
Result<Pl031State*> AttachPl031State(std::span<std::byte> journal);

// Makes the state of a clock that was just switched on. `journal` as accepted by AttachPl031State.
Pl031State* NewPl031State(std::span<std::byte> journal, const ClockOrigin& origin);

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL031_STATE_H_
