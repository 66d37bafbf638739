// The kernel's log: a bounded ring, and the machine's UART until the console service owns it.
#ifndef ATOLL_KERNEL_LOG_LOG_H_
#define ATOLL_KERNEL_LOG_LOG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/log/line.h"

namespace atoll {

enum class LogLevel : uint8_t { kError, kWarning, kInfo };

// Writes one line, with the time since boot before it. The log's lock is a leaf: a caller may hold
// any other. Called with interrupts masked, as all of the kernel runs.
void LogLine(LogLevel level, std::string_view text);

// false: into the ring only (the console service drives the UART). A panic prints in any case.
void LogSetOutput(bool to_uart);

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
