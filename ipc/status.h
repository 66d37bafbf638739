// The one status type of Atoll: the code names and numbers of absl::StatusCode, without the message.
//
// Every kernel call, every IPC reply and every fallible function in kernel and services returns it.
// The numbers are ABI: they travel in registers and in message labels.
#ifndef ATOLL_IPC_STATUS_H_
#define ATOLL_IPC_STATUS_H_

#include <cstdint>
#include <expected>

namespace atoll {

enum class [[nodiscard]] Status : uint32_t {
  kOk = 0,
  kCancelled = 1,  // the caller of the call being answered is gone or was reset
  kUnknown = 2,
  kInvalidArgument = 3,  // a value that is wrong whatever the state of the system
  kDeadlineExceeded = 4,
  kNotFound = 5,  // no such handle, object or name
  kAlreadyExists = 6,
  kPermissionDenied = 7,    // the handle lacks the right
  kResourceExhausted = 8,   // no donated memory, slot, VMID or queue entry left
  kFailedPrecondition = 9,  // not in this state, or against the rank order
  kAborted = 10,
  kOutOfRange = 11,     // an offset or number beyond the object's end
  kUnimplemented = 12,  // no such call or method
  kInternal = 13,       // also: a poisoned call (two servers died of it)
  kUnavailable = 14,    // no server is there to take the call
  kDataLoss = 15,
};

template <typename T>
using Result = std::expected<T, Status>;

constexpr bool IsOk(Status status) { return status == Status::kOk; }

// A number that comes from elsewhere; whatever is not a code becomes kUnknown.
constexpr Status StatusFromNumber(uint64_t number) {
  return number <= static_cast<uint64_t>(Status::kDataLoss) ? static_cast<Status>(number)
                                                            : Status::kUnknown;
}

constexpr const char* StatusName(Status status) {
  switch (status) {
    case Status::kOk: return "OK";
    case Status::kCancelled: return "CANCELLED";
    case Status::kUnknown: return "UNKNOWN";
    case Status::kInvalidArgument: return "INVALID_ARGUMENT";
    case Status::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case Status::kNotFound: return "NOT_FOUND";
    case Status::kAlreadyExists: return "ALREADY_EXISTS";
    case Status::kPermissionDenied: return "PERMISSION_DENIED";
    case Status::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case Status::kFailedPrecondition: return "FAILED_PRECONDITION";
    case Status::kAborted: return "ABORTED";
    case Status::kOutOfRange: return "OUT_OF_RANGE";
    case Status::kUnimplemented: return "UNIMPLEMENTED";
    case Status::kInternal: return "INTERNAL";
    case Status::kUnavailable: return "UNAVAILABLE";
    case Status::kDataLoss: return "DATA_LOSS";
  }
  return "UNKNOWN";
}

}  // namespace atoll

#endif  // ATOLL_IPC_STATUS_H_
