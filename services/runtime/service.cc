#include "services/runtime/service.h"

#include "ipc/abi.h"
#include "proto/kernel_calls.atoll.h"

namespace atoll {

void Exit(uint32_t code) {
  (void)kernel::Exit({.code = code});
  __builtin_trap();  // Exit does not return; should it, the fault ends the task
}

extern "C" [[noreturn]] void atoll_start_service(uint64_t config_bytes, uint64_t generation) {
  const auto* config = reinterpret_cast<const std::byte*>(abi::kConfigPage.value);
  ServiceMain({.config = {config, config_bytes < abi::kConfigBytes ? config_bytes : abi::kConfigBytes},
               .generation = generation});
  Exit(0);
}

}  // namespace atoll
