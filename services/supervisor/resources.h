// What the kernel found in the machine and left to the supervisor.
#ifndef ATOLL_SERVICES_SUPERVISOR_RESOURCES_H_
#define ATOLL_SERVICES_SUPERVISOR_RESOURCES_H_

#include <array>
#include <cstddef>
#include <optional>

#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/page_allocator.h"

namespace atoll {

class Resources {
 public:
  static constexpr size_t kMaxEntries = 96;

  // Reads the kernel's list and gives the RAM in it, less the boot archive, to
  // `pages`.
  Checked<void> Read(KernelCalls& kernel, PageAllocator& pages);

  // The first one of its kind.
  const GetResourceReply* Find(ResourceKind kind) const;

 private:
  std::array<GetResourceReply, kMaxEntries> entries_{};
  size_t count_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_RESOURCES_H_
