// Looks for the text that the supervisor expects (monitor_channel.h) in what guests print, whether that is on the wire
// already or waits in a ring. What comes next is looked for behind the last text that was found; of what is older than
// that, or than the ring's capacity, nothing is found again.
#ifndef ATOLL_SERVICES_CONSOLE_MATCHER_H_
#define ATOLL_SERVICES_CONSOLE_MATCHER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/console/monitor_channel.h"
#include "services/console/state.h"
#include "services/runtime/byte_ring.h"

namespace atoll {

class Matcher {
 public:
  Matcher(Expectation& expectation, ConsoleState& state)
      : expectation_(expectation), state_(state) {}

  // Whether there is an expectation that was not met yet.
  bool IsArmed();

  // Where the text ends in the output of a guest, if it is there. Looks at no more than `budget` bytes, which it counts
  // down; call it until it leaves some, before the output's room is given back.
  std::optional<uint32_t> Find(uint32_t guest, std::string_view name, const ByteRingReader& output,
                               size_t& budget);

  // The word in which it is noted that the expectation was met.
  WordStore MetStore() { return {.word = &expectation_.met, .value = number_}; }

 private:
  Expectation& expectation_;
  ConsoleState& state_;
  // The expectation, as it was when it was looked at.
  uint32_t number_ = 0;
  uint32_t text_bytes_ = 0;
  std::array<char, Expectation::kTextBytes> text_{};
  std::array<char, Expectation::kVmBytes> vm_{};
  std::array<uint32_t, ConsoleState::kGuests> looked_{};  // to here in vain
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_MATCHER_H_
