// Executes command lines, one at a time: those of the user at the console, or those of a script. What takes time (a
// list for which the output has no room, a wait, an expected text) is gone on with whenever there may be news.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_SESSION_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_SESSION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/monitor_command.h"
#include "services/supervisor/monitor_expectation.h"
#include "services/supervisor/monitor_listing.h"
#include "services/supervisor/monitor_output.h"
#include "services/supervisor/operations.h"

namespace atoll {

class MonitorSession {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};

  // `prefix`: of each line that it prints.
  constexpr MonitorSession(KernelCalls& kernel, Operations& operations, MonitorOutput& output,
                           MonitorExpectation& expectation, std::string_view prefix)
      : kernel_(kernel),
        operations_(operations),
        output_(output),
        expectation_(expectation),
        listing_(kernel, operations),
        prefix_(prefix) {}

  // Does what the line says, or begins it. `resumed`: it is one that takes time, and an earlier instance of the
  // supervisor began it; the ticks at which it ends. The error is one sentence, and the line is done.
  Checked<void> Begin(std::string_view line, std::optional<uint64_t> resumed = std::nullopt);

  // A line is not done yet.
  bool busy() const { return command_.verb != MonitorCommand::Verb::kNothing; }
  // Goes on with it. The error: what was waited for did not come.
  Checked<void> Work();

  // When to go on at the latest: ticks.
  uint64_t Deadline() const;
  // When the time of the line is over; kNever if it has none.
  uint64_t wait_end() const { return wait_end_; }
  // The user wants the machine off.
  bool power_off() const { return power_off_; }

 private:
  Checked<void> Execute();
  Checked<void> BeginExpect(bool resumed);
  bool IsThere();
  void Done() {
    command_.verb = MonitorCommand::Verb::kNothing;
    wait_end_ = kNever;
  }

  KernelCalls& kernel_;
  Operations& operations_;
  MonitorOutput& output_;
  MonitorExpectation& expectation_;
  MonitorListing listing_;
  std::string_view prefix_;
  std::array<char, MonitorCommand::kLineBytes + 1> line_{};  // into which `command_` looks
  MonitorCommand command_;
  uint64_t wait_end_ = kNever;  // ticks
  bool blocked_ = false;        // by the output
  bool power_off_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_SESSION_H_
