// A task: an address space, a handle table and one thread at EL0.
#ifndef ATOLL_KERNEL_TASK_H_
#define ATOLL_KERNEL_TASK_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/endpoint.h"
#include "kernel/job_limits.h"
#include "kernel/memory/id_allocator.h"
#include "kernel/memory/page_pool.h"
#include "kernel/memory_object.h"
#include "kernel/object.h"
#include "kernel/stepping.h"
#include "kernel/thread.h"
#include "kernel/timer_queue.h"

namespace atoll {

struct Task : Thread, Object {
  Task() : Thread(false), Object(ObjectType::kTask), signal_port(0) {}

  // One slot per handle; slot 0 stays empty.
  HandleEntry* handles = nullptr;
  uint32_t handle_count = 0;
  uint32_t rank = 0;

  // Where a task without an endpoint waits for its signals.
  Endpoint signal_port;
  // Calls taken, not answered yet and set aside while it takes others (deferred replies).
  List<Thread, &Thread::queue_node> owed;

  bool took_signals = false;  // what it received last
  uint64_t jobs = 0;          // how often it received signals
  PagePool tables;            // donated pages for its page tables
  PhysAddr root;              // level 1 table
  LaterDonations later_donations;
  MappingRecords mappings;
  AddressSpaceTag asid_tag;
  uint32_t asid = 0;
  Memory* ipc_memory = nullptr;
  std::byte* ipc_page =
      nullptr;  // the kernel's own mapping, so that no user address is dereferenced

  Timer timer;
  uint32_t timer_bit = 0;

  // The supervisor's signal bits that tell of its death.
  Task* death_watcher = nullptr;
  uint64_t death_bits = 0;

  TaskState state = TaskState::kCreated;
  DeathCause cause = DeathCause::kNone;
  uint64_t death_esr = 0;
  uint64_t death_far = 0;
  uint64_t died = 0;  // CNTPCT_EL0; 0: never

  // Log allowance: lines left in this second, and those that were dropped in it.
  uint32_t log_credit = 0;
  uint64_t log_refilled = 0;
  uint32_t log_dropped = 0;

  Limits limits;
  Stepping stepping;

  HandleEntry* FindHandle(uint64_t slot) {
    return slot != 0 && slot < handle_count && handles[slot].object != nullptr ? &handles[slot]
                                                                               : nullptr;
  }
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_TASK_H_
