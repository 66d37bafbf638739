// What the monitor's commands show, line by line, so that nobody has to keep more of it than a line.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_LISTING_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_LISTING_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/monitor_command.h"
#include "services/supervisor/operations.h"

namespace atoll {

class MonitorListing {
 public:
  static constexpr size_t kLineBytes =
      246;  // at most of a line with a script's prefix; longer ones are cut

  constexpr MonitorListing(KernelCalls& kernel, Operations& operations)
      : kernel_(kernel), operations_(operations) {}

  // `command.lists()`. The error is about what is not there.
  Checked<void> Begin(const MonitorCommand& command);

  // The next line; false if there is none.
  bool Next(LogLine& line);

 private:
  static constexpr size_t kNameBytes = 48;

  bool NextTask(LogLine& line);
  bool NextStatistics(LogLine& line);
  bool NextVm(LogLine& line);
  bool NextCrash(LogLine& line);
  bool NextOfRecord(LogLine& line);
  bool NextOfLog(LogLine& line);
  void Summary(const CrashRecord& record, LogLine& line) const;
  LogLine& Seconds(LogLine& line, uint64_t ticks) const;
  LogLine& After(LogLine& line, std::string_view what, uint64_t ticks, uint64_t base) const;
  bool IsShown(std::string_view task) const;

  KernelCalls& kernel_;
  Operations& operations_;
  MonitorCommand::Verb verb_ = MonitorCommand::Verb::kHelp;
  size_t index_ = 0;     // of the next entry
  size_t line_ = 0;      // of the entry
  uint64_t number_ = 0;  // of the record; the next position in the log
  uint64_t end_ = 0;     // what comes later is not shown: else it never ends
  std::array<char, kNameBytes> who_{};
  size_t who_bytes_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_LISTING_H_
