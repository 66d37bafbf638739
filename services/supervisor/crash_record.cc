#include "services/supervisor/crash_record.h"

namespace atoll {

std::string_view CauseName(Cause cause) {
  switch (cause) {
    case Cause::kNone: return "none";
    case Cause::kFault: return "fault";
    case Cause::kExit: return "exit";
    case Cause::kDeadline: return "deadline";
    case Cause::kFlood: return "flood";
    case Cause::kBadCall: return "bad call";
    case Cause::kHeartbeat: return "heartbeat";
    case Cause::kNoAnswer: return "no answer";
    case Cause::kDma: return "dma";
    case Cause::kKilled: return "killed";
    case Cause::kStepped: return "stepped";
    case Cause::kRestarted: return "restarted";
    case Cause::kUpgraded: return "upgraded";
  }
  return "unknown";
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNone: return "waits";
    case Outcome::kRestarted: return "restarted";
    case Outcome::kFailed: return "failed";
    case Outcome::kRefusing: return "refusing";
    case Outcome::kVmEnded: return "VM ended";
    case Outcome::kStopped: return "stopped";
  }
  return "unknown";
}

}  // namespace atoll
