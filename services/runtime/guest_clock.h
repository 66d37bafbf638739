// The one clock that feeds a guest's devices, as its device tree has it ("fixed-clock").
#ifndef ATOLL_SERVICES_RUNTIME_GUEST_CLOCK_H_
#define ATOLL_SERVICES_RUNTIME_GUEST_CLOCK_H_

#include <cstdint>

namespace atoll {

// The rate that boards with PL011 and PL031 commonly have.
inline constexpr uint32_t kGuestClockHertz = 24'000'000;

// What that clock counts in `ticks` of a system counter of `hertz`, rounded down. No argument overflows.
constexpr uint64_t GuestClocks(uint64_t ticks, uint64_t hertz) {
  return ticks / hertz * kGuestClockHertz + ticks % hertz * kGuestClockHertz / hertz;
}

// The ticks in which it counts `clocks`, rounded up; all ones beyond the counter's end.
constexpr uint64_t TicksOfGuestClocks(uint64_t clocks, uint64_t hertz) {
  uint64_t ticks = 0;
  if (__builtin_mul_overflow(clocks / kGuestClockHertz, hertz, &ticks)) return ~uint64_t{0};
  const uint64_t rest =
      (clocks % kGuestClockHertz * hertz + kGuestClockHertz - 1) / kGuestClockHertz;
  return __builtin_add_overflow(ticks, rest, &ticks) ? ~uint64_t{0} : ticks;
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_GUEST_CLOCK_H_
