// What the start of every service looks like, and its fixed places in memory.
#ifndef ATOLL_SERVICES_RUNTIME_SERVICE_H_
#define ATOLL_SERVICES_RUNTIME_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/abi.h"
#include "services/runtime/log.h"
#include "services/runtime/task_memory.h"

namespace atoll {

struct StartInfo {
  std::span<const std::byte> config;  // the start configuration that the supervisor wrote
  uint32_t generation = 0;            // 0 for the first instance, one more after each restart
  // The service died too often and is given up: this instance is there to present itself to guest and peers as a device
  // that fails. It answers with errors whatever is outstanding and whatever comes, and believes as little of the journal
  // as it can.
  bool failed = false;
  // The instance before died of what it did: it crashed, hung, flooded. Not: somebody ended or replaced it. Then what
  // it was at is suspect (services/virtio, quarantine.h).
  bool blamed = false;
};

// Each service defines this. When it returns, the task exits with code 0.
void ServiceMain(const StartInfo& start);

// What a service tells its peers when it is given up in failed mode, too, and from now on is there to refuse calls only: it
// runs in a fresh instance, before the first call. A service may define it; without, it does nothing.
void OnRefusing();

// The journal: memory that outlives the instance, all zero when the VM is fresh. What it holds after a
// restart is whatever the last instance left there: check it. The manifest says how large it is.
template <typename T>
T& Journal() {
  static_assert(std::is_trivially_copyable_v<T>, "a journal outlives the program that wrote it");
  return *TaskPointer<T>(abi::kJournalBase);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_SERVICE_H_
