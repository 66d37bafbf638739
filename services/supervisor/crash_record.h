// What is kept of a task's death.
#ifndef ATOLL_SERVICES_SUPERVISOR_CRASH_RECORD_H_
#define ATOLL_SERVICES_SUPERVISOR_CRASH_RECORD_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace atoll {

// Why a task died: what the kernel says, or why the supervisor killed it.
enum class Cause : uint32_t {
  kNone,
  kFault,      // synchronous exception: esr, far
  kExit,       // its own call; esr is its code
  kDeadline,   // worked on one job for too long
  kFlood,      // too many effects in one job, or too many log lines
  kBadCall,    // a state that the kernel does not resume
  kHeartbeat,  // gave no sign of life
  kNoAnswer,   // owed an answer for too long
  kDma,        // kept a VM's memory that had ended
  kKilled,     // by the user ...
  kStepped,    // ... after a number of instructions
  kRestarted,  // ... to start it again
  kUpgraded,   // ... to go on with another build
};

std::string_view CauseName(Cause cause);

// What came after it.
enum class Outcome : uint32_t {
  kNone,       // under way
  kRestarted,  // started again
  kFailed,     // given up: started again in failed mode
  kRefusing,   // given up: its calls are refused
  kVmEnded,    // given up: its VM cannot live without it
  kStopped,    // its VM ended meanwhile
};

std::string_view OutcomeName(Outcome outcome);

struct CrashRecord {
  static constexpr size_t kNameBytes = 48;
  static constexpr size_t kBacktrace = 16;
  static constexpr size_t kCalls = 4;

  // A call that it had taken and not answered.
  struct Call {
    uint64_t token;
    uint64_t badge;
    uint64_t label;
    std::array<uint64_t, 3> words;
  };

  uint64_t sequence;  // from 1; 0: no record
  std::array<char, kNameBytes> task;
  uint32_t generation;  // of the instance that died
  Cause cause;
  Outcome outcome;
  uint32_t backtrace_count;
  uint32_t call_count;
  uint32_t exit_code;

  // CNTPCT_EL0; 0: not (yet).
  uint64_t ordered;       // the user asked for a fault of it
  uint64_t died;          // as the kernel says
  uint64_t detected;      // the supervisor knew
  uint64_t started;       // the next instance
  uint64_t first_answer;  // by that, as it says
  uint64_t first_completion;

  uint64_t esr;
  uint64_t far;
  std::array<uint64_t, 31> x;
  uint64_t sp;
  uint64_t pc;
  uint64_t pstate;
  std::array<uint64_t, kBacktrace> backtrace;  // return addresses, the innermost first
  std::array<Call, kCalls> calls;

  std::string_view name() const {
    return {task.data(), static_cast<size_t>(std::ranges::find(task, '\0') - task.begin())};
  }
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_CRASH_RECORD_H_
