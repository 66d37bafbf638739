// What the start of every service looks like.
#ifndef ATOLL_SERVICES_RUNTIME_SERVICE_H_
#define ATOLL_SERVICES_RUNTIME_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace atoll {

struct StartInfo {
  std::span<const std::byte> config;  // the start configuration that the supervisor wrote
  uint64_t generation = 0;            // 0 for the first instance, one more after each restart
};

// Each service defines this. When it returns, the task exits with code 0.
void ServiceMain(const StartInfo& start);

// Ends this task; the supervisor finds the code in its crash record.
[[noreturn]] void Exit(uint32_t code);

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_SERVICE_H_
