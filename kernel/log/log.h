// The kernel's log: a bounded ring, and the machine's UART until the supervisor reads the ring instead.
#ifndef ATOLL_KERNEL_LOG_LOG_H_
#define ATOLL_KERNEL_LOG_LOG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/log/line.h"

namespace atoll {

enum class LogLevel : uint8_t { kError, kWarning, kInfo };

struct Task;

// Writes one line, with the time since boot before it, and tells the reader. The caller holds no lock
// of an endpoint or run queue.
void LogLine(LogLevel level, std::string_view text);

// bits 0: lines go to the UART, at once those from stream position `from` on. Else into the ring only,
// and each sets these bits of the reader's signal. Returns the position of the next line. A panic prints in
// any case.
uint64_t LogSetReader(Task& reader, uint64_t bits, uint64_t from);

// Reads the ring as LogRing::Read does.
size_t LogRead(uint64_t& from, std::span<char> out);

template <typename... Parts>
[[gnu::noinline]] void Log(LogLevel level, const Parts&... parts) {
  Line line;
  (line << ... << parts);
  LogLine(level, line.view());
}
template <typename... Parts>
void LogError(const Parts&... parts) {
  Log(LogLevel::kError, parts...);
}
template <typename... Parts>
void LogWarning(const Parts&... parts) {
  Log(LogLevel::kWarning, parts...);
}
template <typename... Parts>
void LogInfo(const Parts&... parts) {
  Log(LogLevel::kInfo, parts...);
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_LOG_H_
