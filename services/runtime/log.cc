#include "services/runtime/log.h"

#include "proto/kernel_calls.atoll.h"

namespace atoll {

void SendLogLine(size_t bytes) {
  if (bytes == 0) return;
  // Nothing can be done about a line that the kernel does not take; it counts the lost ones.
  (void)kernel::Log({.bytes = static_cast<uint32_t>(bytes)});
}

void Exit(uint32_t code) {
  (void)kernel::Exit({.code = code});
  __builtin_trap();  // Exit does not return; should it, the fault ends the task
}

}  // namespace atoll
