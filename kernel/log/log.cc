#include "kernel/log/log.h"

#include "kernel/log/log_output.h"
#include "kernel/log/log_ring.h"
#include "kernel/machine/timer.h"
#include "kernel/spinlock.h"

namespace atoll {
namespace {

constexpr size_t kRingBytes = 16384;

struct LogState {
  Spinlock lock;  // leaf
  LogRing<kRingBytes> ring;
  Pl011 uart;
  bool ring_only = false;  // zero at first, so that all of this is in .bss
};
constinit LogState state;

std::string_view Prefix(LogLevel level) {
  if (level == LogLevel::kError) return " error: ";
  if (level == LogLevel::kWarning) return " warning: ";
  return " ";
}

// Seconds since the counter started, to the microsecond.
void AppendTime(Line& line) {
  const uint64_t micros = TicksToNanoseconds(ReadCounter(), CounterFrequency()) / 1000;
  const uint64_t fraction = micros % 1'000'000;
  line << '[' << micros / 1'000'000 << '.';
  for (uint64_t digit = 100'000; digit > 1 && fraction < digit; digit /= 10) line << '0';
  line << fraction << ']';
}

// With the lock held.
[[gnu::noinline]] void Append(std::string_view text) {
  state.ring.Append(text);
  if (!state.ring_only) state.uart.Put(text);
}

}  // namespace

void LogLine(LogLevel level, std::string_view text) {
  Line start;
  AppendTime(start);
  start << Prefix(level);
  LockGuard guard(state.lock);
  Append(start.view());
  Append(text);
  Append("\n");
}

void LogSetOutput(bool to_uart) {
  LockGuard guard(state.lock);
  state.ring_only = !to_uart;
}

size_t LogRead(uint64_t& from, std::span<char> out) {
  LockGuard guard(state.lock);
  return state.ring.Read(from, out);
}

void LogSetUart(Pl011 uart) {
  uart.EnableTransmitter();
  LockGuard guard(state.lock);
  state.uart = uart;
}

void LogEmergency(std::string_view text) {
  state.ring.Append(text);
  state.uart.EnableTransmitter();
  state.uart.Put(text);
  state.uart.Flush();
}

}  // namespace atoll
