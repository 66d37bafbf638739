// The monitor: commands of the user at the console, and of the script that the boot archive holds (scripts/run
// --monitor), which is executed from the start of the machine, in guest time. A line of the script that fails ends the
// machine, unless it begins with a '-'.
//
// The script goes on when the supervisor has died: no line is executed twice, and a wait ends when it would have ended.
// A command of the user is forgotten.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/runtime/byte_ring.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/monitor_expectation.h"
#include "services/supervisor/monitor_journal.h"
#include "services/supervisor/monitor_output.h"
#include "services/supervisor/monitor_session.h"
#include "services/supervisor/operations.h"

namespace atoll {

class Monitor {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr const char* kScriptFile = "monitor";
  static constexpr size_t kMaxScriptBytes = 1 << 20;
  static constexpr char kMayFail = '-';

  constexpr Monitor(KernelCalls& kernel, Operations& operations)
      : kernel_(kernel), operations_(operations) {}

  // `channel`: what is shared with the console; empty: there is none. `script`: the file, which zeros may follow; empty:
  // there is none.
  void Start(std::span<std::byte> channel, std::span<const std::byte> script,
             MonitorJournal& journal);

  // The console will never print again: lines go to the log.
  void ForgetConsole() { output_.Detach(); }

  enum class Wish { kNone, kPowerOff, kFail };
  // Goes on with whatever there is to do, for a bounded time. What is to become of the machine.
  Wish Work();
  // When to call Work() again at the latest: ticks.
  uint64_t Deadline() const;

  // There is nothing left that the machine should go on for.
  bool script_done() const { return script_done_; }

 private:
  void ServeUser();
  std::optional<std::string_view> TypedLine(std::span<char> buffer);
  Wish RunScript();
  std::optional<std::string_view> NextLine();
  Wish FailScript(const LogLine& reason);
  static std::string_view CommandOf(std::string_view line);
  bool Pardon(const LogLine& reason);
  Checked<void> BeginLine(std::string_view line);
  void Announce(std::string_view line);
  uint64_t PositionAfter(std::string_view line) const;

  uint32_t offset() const { return static_cast<uint32_t>(position_); }
  uint32_t line_number() const { return static_cast<uint32_t>(position_ >> 32) + 1; }

  KernelCalls& kernel_;
  Operations& operations_;
  MonitorOutput output_{kernel_};
  MonitorExpectation expectation_;
  MonitorSession user_{kernel_, operations_, output_, expectation_, ""};
  MonitorSession script_{kernel_, operations_, output_, expectation_, "monitor: "};
  std::optional<ByteRingReader> input_;
  std::string_view script_text_;
  MonitorJournal* journal_ = nullptr;
  uint64_t position_ = 0;    // of the line that is executed, as in the journal
  uint64_t not_before_ = 0;  // ticks: of the script's next line
  bool script_done_ = true;
  bool more_ = false;  // the user typed more than one line
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_H_
