// Log lines and the end of a task that found a fault in itself.
//
//   Log("queue ", index, " at ", address, ": ", status);
//
// A line goes through the IPC page: a buffer message that is still to be read or sent is lost.
#ifndef ATOLL_SERVICES_RUNTIME_LOG_H_
#define ATOLL_SERVICES_RUNTIME_LOG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ipc/system_call.h"
#include "services/runtime/format.h"

namespace atoll {

inline constexpr size_t kLogLineBytes = 256;  // LogRequest.bytes
// Exit codes, which are in the crash record: of a task that panicked, and of one that finds a journal which it cannot go
// on with although that is as another build of it left it. After an upgrade the other build is put back then.
inline constexpr uint32_t kPanicExitCode = 0xdead;
inline constexpr uint32_t kExitJournalRefused = 0x10c0;

// Sends the line that stands at the start of the IPC page. Lines beyond the task's allowance are dropped.
void SendLogLine(size_t bytes);

// Ends this task; the supervisor finds the code in its crash record.
[[noreturn]] void Exit(uint32_t code);

template <typename... Arguments>
void Log(const Arguments&... arguments) {
  const std::span<std::byte> page = abi::IpcPage();
  const std::span<char> line(reinterpret_cast<char*>(page.data()), kLogLineBytes);
  SendLogLine(Format(line, arguments...).size());
}

// For states that only a fault of this program can bring about, never for what others send.
template <typename... Arguments>
[[noreturn]] void Panic(const Arguments&... arguments) {
  Log("panic: ", arguments...);
  Exit(kPanicExitCode);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_LOG_H_
