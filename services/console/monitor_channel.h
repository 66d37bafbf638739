// What console and supervisor share for the monitor: a ring for what the monitor prints, a ring for the lines that the
// user types, the text that is expected from a guest, and the user's wish to leave. Each word is written by one side.
#ifndef ATOLL_SERVICES_CONSOLE_MONITOR_CHANNEL_H_
#define ATOLL_SERVICES_CONSOLE_MONITOR_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "services/runtime/byte_ring.h"

namespace atoll {

// A text to be found in what a guest prints. The supervisor sets `armed` to 0, then writes the rest, then `armed`.
struct Expectation {
  static constexpr size_t kTextBytes = 80;
  static constexpr size_t kVmBytes = 32;

  uint32_t armed;       // number of the expectation; 0: none. The supervisor's
  uint32_t met;         // number of the last one that was met. The console's
  uint32_t text_bytes;  // 1..kTextBytes. The supervisor's, as what follows
  uint32_t reserved;
  std::array<char, kVmBytes> vm;  // ended by NUL; empty: any guest
  std::array<char, kTextBytes> text;
};

// The user wants the machine off: the signal that tells of it is believed only with this word, as a console that
// signals everybody for nothing must not turn the machine off.
struct PowerOffWish {
  static constexpr uint32_t kWanted = 0x6f'66'66'21;  // "off!"

  uint32_t word;  // the console's
};

struct MonitorChannel {
  static constexpr size_t kBytes = 8192;
  static constexpr size_t kOutputBytes = 6144;  // a ring of 4096
  static constexpr size_t kInputBytes = 1024;   // a ring of 512

  // In the output: the command line that was typed last has been answered.
  static constexpr std::byte kAnswered{0x04};  // EOT

  static std::span<std::byte> Output(std::span<std::byte> channel) {
    return channel.first(kOutputBytes);
  }
  static std::span<std::byte> Input(std::span<std::byte> channel) {
    return channel.subspan(kOutputBytes, kInputBytes);
  }
  static Expectation& Expected(std::span<std::byte> channel) {
    return *reinterpret_cast<Expectation*>(channel.data() + kOutputBytes + kInputBytes);
  }
  static PowerOffWish& PowerOff(std::span<std::byte> channel) {
    return *reinterpret_cast<PowerOffWish*>(channel.data() + kOutputBytes + kInputBytes +
                                            sizeof(Expectation));
  }
};
static_assert(MonitorChannel::kOutputBytes + MonitorChannel::kInputBytes + sizeof(Expectation) +
                  sizeof(PowerOffWish) <=
              MonitorChannel::kBytes);

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_MONITOR_CHANNEL_H_
