// Faults on demand: what a service does when somebody wants to see how the system bears it.
//
// Every image has a table of them at a fixed place, right behind _start. The supervisor finds it by its magic and sends
// a task there (kernel call Divert), whatever the task was doing. The code uses nothing of the program: no data,
// a fresh stack where it needs one, and the fixed places of ipc/abi.h. It costs a service some text and no time.
//
// None of them returns. Those that still answer calls end (kFaultExitCode) after a while, so that the service is not
// lost for good when nobody is there to notice.
#ifndef ATOLL_SERVICES_RUNTIME_FAULTS_H_
#define ATOLL_SERVICES_RUNTIME_FAULTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ipc/abi.h"

namespace atoll {

// The order is that of the table (start.S).
enum class Fault : uint32_t {
  kHang,            // spins
  kCrash,           // stores to address 0
  kExit,            // ends itself
  kPanic,           // finds a fault in itself: one line in the log, then the end
  kStackOverflow,   // recurses into the guard page
  kLogFlood,        // logs for ever
  kSignalFlood,     // signals to every handle for ever
  kLineFlood,       // raises and lowers every interrupt line for ever
  kGarbage,         // answers the next calls with OK and random words, then ends
  kAnswerTwice,     // answers the next calls three times each, then ends
  kNeverAnswer,     // takes calls and signals, and does nothing about them
  kScribble,        // writes over a part of its journal, from one bit to all of it, then crashes
  kCallEverything,  // makes every kernel call with random arguments and handles, then ends
};
inline constexpr size_t kFaults = 13;

// The entry behind them is no fault: it answers every call with an error, for ever. As that the supervisor starts a
// service that cannot even fail in order any more.
inline constexpr uint32_t kRefuse = kFaults;
inline constexpr uint32_t kFaultEntries = kFaults + 1;

// As the monitor calls them.
inline constexpr std::array<std::string_view, kFaults> kFaultNames = {
    "hang",         "crash",        "exit",           "panic",   "overflow",
    "log-flood",    "signal-flood", "line-flood",     "garbage", "answer-twice",
    "never-answer", "scribble",     "call-everything"};

// At kFaultTable of an image; the entries follow it, an instruction each.
struct FaultTable {
  static constexpr uint64_t kMagic = 0x3154'4c55'4146'5441;  // "ATFAULT1"

  uint64_t magic;
  uint64_t count;
};
inline constexpr VirtAddr kFaultTable = abi::kImageBase + 64;

// Where to send a task whose image has a table with at least this many entries.
constexpr VirtAddr FaultEntry(uint32_t entry) {
  constexpr uint64_t kInstructionBytes = 4;
  return kFaultTable + sizeof(FaultTable) + uint64_t{entry} * kInstructionBytes;
}
constexpr VirtAddr FaultEntry(Fault fault) { return FaultEntry(static_cast<uint32_t>(fault)); }

inline constexpr uint32_t kFaultExitCode = 0xfa17;

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_FAULTS_H_
