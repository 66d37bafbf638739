// Where the monitor's lines go: through the ring that it shares with the console; into the kernel's log if there is no
// console. It never blocks: whoever prints asks for room first, and lines for which the console makes none are counted
// instead.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_OUTPUT_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_OUTPUT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/console/monitor_channel.h"
#include "services/runtime/byte_ring.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"

namespace atoll {

class MonitorOutput {
 public:
  // So long a console may leave a full ring alone.
  static constexpr uint64_t kPatienceSeconds = 1;

  constexpr explicit MonitorOutput(KernelCalls& kernel) : kernel_(kernel) {}

  void Attach(const ByteRingWriter& ring) { ring_ = ring; }

  void Detach() {
    ring_.reset();
    full_since_ = kNever;
  }

  // For a line; also if the console has made none for so long that it is not to be waited for.
  bool HasRoom() {
    if (!ring_.has_value() || ring_->Free() >= kLineBytes) {
      full_since_ = kNever;
      return true;
    }
    const uint64_t now = kernel_.Ticks();
    full_since_ = std::min(full_since_, now);
    return now >= Deadline();
  }
  // When to ask again at the latest: ticks.
  uint64_t Deadline() const {
    return full_since_ == kNever ? kNever
                                 : full_since_ + kPatienceSeconds * kernel_.TicksPerSecond();
  }

  void Print(std::string_view prefix, std::string_view text) {
    if (!ring_.has_value()) return kernel_.Log(LogLine(prefix).Append(text).view());
    if (ring_->Free() < kLineBytes) {
      ++lost_;
      return;
    }
    if (lost_ != 0) {
      const LogLine line = LogLine("monitor: ").Decimal(lost_).Append(" lines were lost");
      lost_ = 0;
      Write("", line.view());
      if (ring_->Free() < kLineBytes) {
        ++lost_;
        return;
      }
    }
    Write(prefix, text);
  }

  // The command line that was typed last is done.
  void Answered() {
    if (ring_.has_value()) wrote_ |= ring_->Put(MonitorChannel::kAnswered) != 0;
  }

  // Whether something was written since this was asked last.
  bool TakeWrote() {
    const bool wrote = wrote_;
    wrote_ = false;
    return wrote;
  }

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr size_t kLineBytes = 256;

  // The whole line in one step, so that the death of the writer leaves no part of it.
  void Write(std::string_view prefix, std::string_view text) {
    std::array<char, kLineBytes> line;
    size_t bytes = prefix.copy(line.data(), line.size() - 1);
    bytes += text.copy(line.data() + bytes, line.size() - 1 - bytes);
    line[bytes++] = '\n';
    ring_->Write(std::as_bytes(std::span(line).first(bytes)));
    wrote_ = true;
  }

  KernelCalls& kernel_;
  std::optional<ByteRingWriter> ring_;
  uint64_t full_since_ = kNever;  // ticks
  uint64_t lost_ = 0;             // lines
  bool wrote_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_OUTPUT_H_
