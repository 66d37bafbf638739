// The console in failed mode: it died too often to be trusted with the UART and with its journal, and touches neither.
// Guests go on: what they print is taken from their rings and dropped. The log stays where it is, as the kernel prints
// it by itself.
#ifndef ATOLL_SERVICES_CONSOLE_SILENT_H_
#define ATOLL_SERVICES_CONSOLE_SILENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "services/console/console.h"
#include "services/console/line.h"
#include "services/runtime/ports.h"

namespace atoll {

class SilentConsole {
 public:
  SilentConsole(ByteRingReader answers, Notifier& flushed) : answers_(answers), flushed_(flushed) {}

  // room: there is room for output again.
  void AddGuest(const ConsoleLine& line, Notifier& room) {
    if (count_ < lines_.size()) lines_[count_++].emplace(line, room);
  }

  void OnSignals(uint64_t bits) {
    for (size_t guest = 0; guest < count_; ++guest) {
      ByteRingReader& output = lines_[guest]->line.output;
      if (output.Available() == 0) continue;
      output.Consume(output.Available());
      lines_[guest]->room.Notify();
    }
    answers_.Consume(answers_.Available());  // the monitor's
    if ((bits & Console::kFlushSignal) != 0) flushed_.Notify();
  }

 private:
  struct Line {
    ConsoleLine line;
    Notifier& room;
  };
  std::array<std::optional<Line>, Console::kMaxGuests> lines_;
  size_t count_ = 0;
  ByteRingReader answers_;
  Notifier& flushed_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_SILENT_H_
