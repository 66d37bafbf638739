// What the scheduler runs and what calls: a task's one thread, or a vCPU.
//
// State is implied by links, so that the fast path writes few words:
//   waits for a reply    <=> server != nullptr  (and then server serves it, or owes it a reply)
//   waits in a queue     <=> queued_at != nullptr
//   waits for work       <=> its port's receiver is this thread
//   vCPU waits in WFI    <=> waiting_for_interrupt
//   stopped              <=> stopped
//   otherwise it is current on a CPU or in a run queue.
#ifndef ATOLL_KERNEL_THREAD_H_
#define ATOLL_KERNEL_THREAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "ipc/abi.h"
#include "kernel/list.h"
#include "kernel/object.h"
#include "kernel/offsets.h"
#include "kernel/shares.h"
#include "kernel/timer_queue.h"

namespace atoll {

struct Cpu;
struct Endpoint;
struct Range;
struct Task;
struct Vcpu;

// General registers as saved on entry to EL2. SP_EL2 points here while the thread runs.
struct Frame {
  uint64_t x[31];
  uint64_t sp_el0;
  uint64_t pc;
  uint64_t pstate;
  uint64_t tpidr_el0;
  uint64_t tpidrro_el0;  // 0 in tasks, which could read a guest's
};

// Why a caller waits: how its reply is delivered and, after a server's death, its message rebuilt.
enum class BlockedOn : uint32_t { kCall, kMmio, kHypercall, kSecureCall };

// Reasons why a thread must not be resumed by the fast path; Thread::work is their union.
inline constexpr uint32_t kWorkNotLoaded = 1;   // vCPU: EL1 state is not in this CPU's registers
inline constexpr uint32_t kWorkInterrupts = 2;  // vCPU: list registers need a flush
inline constexpr uint32_t kWorkSuspend = 4;     // vCPU: wait as in WFI before it goes on
inline constexpr uint32_t kWorkDebug = 16;      // vCPU: its debug registers are in use
inline constexpr uint32_t kWorkBudget = 8;      // its budget ran out while a server worked for it
inline constexpr uint32_t kWorkTurn = 32;       // its turn ended while a server worked for it
inline constexpr uint32_t kWorkMmio = 64;   // vCPU: the fast path cannot complete its device access
inline constexpr uint32_t kWorkMove = 512;  // its home has changed since it was scheduled last
inline constexpr uint32_t kWorkElsewhere =
    128;  // it waits for a server that took its call on another CPU

// A task's home: it works for signals on the CPU that raises them.
inline constexpr uint32_t kAnyCpu = 255;

inline constexpr uint32_t kWorkPaused = 1024;  // vCPU: its VM is paused (PauseVm)
inline constexpr uint32_t kWorkStep = 2048;    // task: it is single-stepped (kernel/stepping.h)
inline constexpr uint32_t kWorkAbort =
    256;  // vCPU: its device access failed; it takes an external abort

// Scheduling context. Times are 1 ms ticks.
struct SchedulingContext {
  uint32_t priority = 0;  // higher runs first
  uint32_t budget = 0;    // ticks per period; 0: unlimited
  uint32_t period = 0;
  uint32_t used = 0;            // in the current period
  uint32_t home_cpu = kAnyCpu;  // tasks: kAnyCpu
  Account account = 0;          // of the VM that a task belongs to
  bool throttled = false;       // used up; waits for its next period
};

// For whom a thread works outside of calls: a vCPU for its VM, a task for those that raised the signals that it took.
struct Payers {
  Account charged = 0;  // on whose account; of several the one that has had most time
  Account favoured =
      0;  // tasks: as urgent as whose work; of several the one that has had least. 0: as it is itself
};

inline constexpr uint32_t kPriorities = 32;
inline constexpr uint32_t kRootPriority = 20;  // above all services

struct alignas(64) Thread {
  explicit Thread(bool is_vcpu) : vcpu(is_vcpu) {}

  // Stack of the fast path's leaf functions, which run with SP = &frame; their frames are bounded at compile
  // time (-Wframe-larger-than). Everything else runs on the CPU's stack.
  std::byte scratch[THREAD_FRAME];
  Frame frame = {};

  uint64_t hcr = 0;    // HCR_EL2 while it runs
  uint64_t ttbr0 = 0;  // task: root table | ASID << 48

  // --- as a caller -------------------------------------------------------------------------------
  uint64_t token = 0;  // of the call under way, or the last one: caller id | call id
  Thread* server = nullptr;
  BlockedOn blocked_on = BlockedOn::kCall;
  uint32_t work = 0;
  uint64_t badge =
      0;  // of a task's call: of its handle, which may be another's when the call is redelivered
  // vCPU exits: what completes the access when the reply comes.
  uint64_t mmio_syndrome = 0;
  uint64_t mmio_offset = 0;
  Range* mmio_range = nullptr;
  uint64_t mmio_far = 0;    // guest virtual address
  uint64_t died_token = 0;  // the call during which a server died last; `deaths`: how many did
  Endpoint* queued_at = nullptr;
  ListNode<Thread> queue_node;  // in the endpoint's queue, or in its server's list of owed replies
  uint64_t owed_since = 0;      // CNTPCT_EL0 when it came into that list

  // --- as a server -------------------------------------------------------------------------------
  Thread* serving = nullptr;  // the call taken last and not answered yet
  Endpoint* port = nullptr;   // where it receives
  std::atomic<uint64_t> signals{0};

  // --- scheduling --------------------------------------------------------------------------------
  SchedulingContext schedule;
  Payers payers;
  Payers next_payers;   // of the signals that came since
  uint32_t deaths = 0;  // as a caller; here it fills a gap
  ListNode<Thread> run_node;
  Cpu* ready_on = nullptr;    // with `ready`: in whose run queue
  uint32_t run_priority = 0;  // the queue it is in
  bool ready = false;         // in a run queue
  bool stopped = true;        // dead task, vCPU that is off
  bool waiting_for_interrupt = false;
  const bool vcpu;
  uint64_t ticks = 0;  // of running time
  Timer replenish;     // end of its budget's period
};

static_assert(offsetof(Frame, sp_el0) == FRAME_SP && offsetof(Frame, pc) == FRAME_PC);
static_assert(offsetof(Frame, pstate) == FRAME_PSTATE && offsetof(Frame, tpidr_el0) == FRAME_TPIDR);
static_assert(offsetof(Frame, tpidrro_el0) == FRAME_TPIDRRO);

// On whose time a thread runs: the first caller of its chain of calls.
inline Thread& ChargedThread(Thread& thread) {
  Thread* charged = &thread;
  while (charged->serving != nullptr) charged = charged->serving;
  return *charged;
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_THREAD_H_
