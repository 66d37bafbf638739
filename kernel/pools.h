// What the kernel lends to objects, machine-wide. Guarded by the kernel lock.
#ifndef ATOLL_KERNEL_POOLS_H_
#define ATOLL_KERNEL_POOLS_H_

#include <array>
#include <cstdint>

#include "kernel/boot/stacks.h"
#include "kernel/caller_ids.h"
#include "kernel/machine/bounded_vector.h"
#include "kernel/memory/frame_table.h"
#include "kernel/memory/id_allocator.h"
#include "kernel/object.h"
#include "proto/kernel.atoll.h"

namespace atoll {

inline constexpr size_t kMaxTasks = 4096;
inline constexpr size_t kMaxVms = 256;
inline constexpr size_t kMaxResources = 64;

struct Pools {
  FrameTable frames;
  IdAllocator<kMaxTasks, kMaxCpus> asids;
  IdAllocator<kMaxVms, kMaxCpus> vmids;
  uint32_t tasks = 0;  // that hold an ASID
  uint32_t vms = 0;
  uint32_t task_limit = 0;  // ids that the CPU's registers have room for
  uint32_t vm_limit = 0;
  CallerIds callers;
  BoundedVector<GetResourceReply, kMaxResources> resources;
};

inline constinit Pools pools ABSL_GUARDED_BY(kernel_lock);

}  // namespace atoll

#endif  // ATOLL_KERNEL_POOLS_H_
