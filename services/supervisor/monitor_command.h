// A line of the monitor, typed or of a script, as a command.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_COMMAND_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_COMMAND_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "services/console/monitor_channel.h"
#include "services/runtime/faults.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/operations.h"

namespace atoll {

struct MonitorCommand {
  enum class Verb : uint8_t {
    kNothing,  // an empty line, a comment
    kHelp,
    kPs,
    kStats,
    kLog,
    kCrashes,
    kRecord,
    kVmList,
    kKill,
    kRestart,
    kInject,
    kCorrupt,
    kUpgrade,
    kStep,
    kSweep,
    kVmPause,
    kVmResume,
    kVmReboot,
    kVmPowerOff,
    kVmForceOff,
    kWait,
    kWaitRunning,
    kWaitStepped,
    kExpect,
    kPowerOff,
  };
  static constexpr size_t kLineBytes = 240;
  static constexpr uint64_t kMaxNumber = 1'000'000'000;
  static constexpr uint64_t kMaxSeconds = 1'000'000;

  Verb verb = Verb::kNothing;
  std::string_view who;   // a task or VM, as the line names it; views end with the line
  std::string_view file;  // of the boot archive
  Fault fault = Fault::kHang;
  CorruptPart part = CorruptPart::kJournal;
  uint64_t number = 0;  // a count; of a range the first
  uint64_t last = 0;
  uint64_t microseconds = 0;  // to wait, or within which something has to come
  std::array<char, Expectation::kTextBytes> text{};
  size_t text_bytes = 0;

  // It only shows something.
  bool lists() const { return verb >= Verb::kHelp && verb <= Verb::kVmList; }
  // It takes time.
  bool waits() const { return verb >= Verb::kWait && verb <= Verb::kExpect; }
};

// The error is one sentence.
Checked<MonitorCommand> ParseMonitorCommand(std::string_view line);

// What `help` shows.
std::span<const std::string_view> MonitorHelp();

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_COMMAND_H_
