#include "services/runtime/service.h"

namespace atoll {

extern "C" [[noreturn]] void atoll_start_service(uint64_t config_bytes, uint64_t start) {
  const auto* config = TaskPointer<const std::byte>(abi::kConfigPage);
  const size_t bytes = config_bytes < abi::kConfigBytes ? config_bytes : abi::kConfigBytes;
  ServiceMain({.config = {config, bytes},
               .generation = static_cast<uint32_t>(start & abi::kStartGeneration),
               .failed = (start & abi::kStartFailed) != 0,
               .blamed = (start & abi::kStartBlamed) != 0});
  Exit(0);
}

}  // namespace atoll
