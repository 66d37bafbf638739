#include "kernel/log/log.h"

#include "kernel/ipc.h"
#include "kernel/kernel_lock.h"
#include "kernel/log/log_output.h"
#include "kernel/log/log_ring.h"
#include "kernel/machine/timer.h"

namespace atoll {
namespace {

constexpr size_t kRingBytes = 16384;

struct LogState {
  LogRing<kRingBytes> ring;
  Pl011 uart;
  Task* reader = nullptr;
  uint64_t reader_bits = 0;  // 0: lines go to the UART
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
  if (state.reader_bits == 0) state.uart.Put(text);
}

}  // namespace

void LogLine(LogLevel level, std::string_view text) {
  kernel_lock.AssertHeld();  // or one CPU runs: before the first task
  Line start;
  AppendTime(start);
  start << Prefix(level);
  Append(start.view());
  Append(text);
  Append("\n");
  if (state.reader_bits != 0) RaiseSignal(*state.reader, state.reader_bits);
}

uint64_t LogSetReader(Task& reader, uint64_t bits, uint64_t from) {
  state.reader = &reader;
  state.reader_bits = bits;
  if (bits == 0) {
    std::array<char, 64> piece;
    while (const size_t bytes = state.ring.Read(from, piece)) state.uart.Put({piece.data(), bytes});
  }
  return state.ring.written();
}

size_t LogRead(uint64_t& from, std::span<char> out) { return state.ring.Read(from, out); }

void LogSetUart(Pl011 uart) {
  uart.EnableTransmitter();
  state.uart = uart;
}

void LogEmergency(std::string_view text) {
  state.ring.Append(text);
  state.uart.EnableTransmitter();
  state.uart.Put(text);
  state.uart.Flush();
}

}  // namespace atoll
