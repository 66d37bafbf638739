// The registers of the crasher, 32 bits each, as the guest and the service see them.
#ifndef ATOLL_TESTS_FAULT_CRASHER_REGISTERS_H_
#define ATOLL_TESTS_FAULT_CRASHER_REGISTERS_H_

#include <cstdint>

namespace atoll::crasher {

inline constexpr uint32_t kGeneration = 0x00;  // read: of this instance
inline constexpr uint32_t kScratch = 0x04;     // read, write: kept in the journal
inline constexpr uint32_t kCount = 0x08;       // read: commands that took effect; in the journal
inline constexpr uint32_t kDeliveries =
    0x0c;  // read: how often a command was delivered; in the journal
inline constexpr uint32_t kAttempt =
    0x10;  // read: attempt of the command that took effect last; in the journal
inline constexpr uint32_t kCommand = 0x14;  // write: counts one, and dies as the value says
inline constexpr uint32_t kDyingRead =
    0x18;  // read: dies at the first attempt, then gives the attempt
inline constexpr uint32_t kEndAtStart =
    0x1c;  // write kEndAtStartValue: every instance from the next on dies before it serves
inline constexpr uint32_t kBusy =
    0x20;  // read: works first, until the machine has stood still so often
inline constexpr uint32_t kBusyPauses = 22;
inline constexpr uint32_t kBusyMicroseconds = 20'000;  // ... or for so long without
// Not one of the values that a journal gets by accident.
inline constexpr uint32_t kEndAtStartValue = 0xe4d5'7a27;

// kCommand: how, where and when.
inline constexpr uint32_t kCause = 0x0f;
inline constexpr uint32_t kLive = 0;
inline constexpr uint32_t kNullWrite = 1;
inline constexpr uint32_t kExit = 2;
inline constexpr uint32_t kStackOverflow = 3;
inline constexpr uint32_t kUndefined = 4;
inline constexpr uint32_t kCauses = 4;  // the last of them

inline constexpr uint32_t kPlace = 0x30;
inline constexpr uint32_t kBefore = 0x00;  // nothing was done
inline constexpr uint32_t kHalfway =
    0x10;  // the journal's new record is written but does not count yet
inline constexpr uint32_t kAfter = 0x20;  // it counts, the answer is missing

inline constexpr uint32_t kFaultShift =
    12;  // instead of a cause: 1 + a Fault of services/runtime/faults.h
inline constexpr uint32_t kFault = 0x1f << kFaultShift;

inline constexpr uint32_t kAlways = 0x100;  // at every attempt, not at the first only

}  // namespace atoll::crasher

#endif  // ATOLL_TESTS_FAULT_CRASHER_REGISTERS_H_
