// What a PL031 keeps over a restart of its service, as it lies in the journal.
#ifndef ATOLL_SERVICES_PL031_STATE_H_
#define ATOLL_SERVICES_PL031_STATE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/runtime/ports.h"
#include "services/runtime/two_copies.h"

namespace atoll {

// Where the clock starts: at `ticks` of the system counter it showed `seconds` (UTC since 1970).
struct ClockOrigin {
  uint64_t ticks = 0;
  uint32_t seconds = 0;
};

// Small, and seldom changed: the journal has two copies of all of it, and each access that changes something stores it
// as a whole (TwoCopies). So there is no state between two accesses, and an access that is delivered again finds its
// token if its change was stored, and has nothing to do but answer.
struct Pl031State {
  static constexpr uint32_t kFormat = 0x50'4c'31'02;  // "PL", part, version of this layout

  // Set once. So time cannot jump at a restart, when the machine's clock would be read anew.
  uint64_t origin_ticks = 0;
  uint32_t origin_seconds = 0;

  // RTCDR = origin_seconds + whole seconds since origin_ticks + offset, modulo 2^32. A store to
  // RTCLR changes it.
  uint32_t offset = 0;
  uint32_t match = 0;      // RTCMR
  uint32_t load = 0;       // RTCLR as last written
  uint32_t mask = 0;       // RTCIMSC
  uint32_t interrupt = 0;  // RTCRIS

  // Counter value at which RTCDR next comes to equal RTCMR; kNever beyond the counter's end. In the
  // journal, so that a new instance sees that the moment passed while nobody was there.
  uint64_t alarm_ticks = DeadlineTimer::kNever;

  uint64_t token = 0;  // of the call that stored to a register last
  uint32_t format = kFormat;
  uint32_t reserved = 0;
};
static_assert(std::has_unique_object_representations_v<Pl031State>);

using Pl031Journal = TwoCopies<Pl031State>;

// The state of a clock that was just switched on.
constexpr Pl031State NewPl031State(const ClockOrigin& origin) {
  return {.origin_ticks = origin.ticks, .origin_seconds = origin.seconds};
}

// Fills `state` with what an earlier instance left, if it did. kFresh, kLost: with nothing, and the clock is to be set
// anew. kLost is also what another version of this program has left.
Copies LoadPl031State(Pl031Journal& journal, Pl031State& state);

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL031_STATE_H_
