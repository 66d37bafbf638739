// The four ways that matter: call, reply and wait, a guest's device access, a guest's hypercall.
//
// These functions are entered from kernel/vectors.S with the thread's registers as arguments, run on the
// scratch space below its frame, and leave by tail calls: Deliver (to a task, message in x0-x7), Resume (to
// a thread, everything from its frame), or Slow* (anything unusual: nothing has been changed yet). They call
// nothing else. Deliver and Resume give the kernel lock back; Slow* are entered without it, and wait for it.
// docs/mmio-path.md counts their instructions.
#include <cstdint>

#include "ipc/abi.h"
#include "kernel/cpu.h"
#include "kernel/direct_map.h"
#include "kernel/endpoint.h"
#include "kernel/range.h"
#include "kernel/system_register.h"
#include "kernel/task.h"
#include "kernel/thread.h"
#include "kernel/vcpu/mmio_access.h"
#include "kernel/vcpu/pstate.h"
#include "kernel/vcpu/traps_configuration.h"
#include "kernel/vm.h"
#include "proto/device.atoll.h"

namespace atoll {

#define ATOLL_MESSAGE                                                                        \
  uint64_t x0, uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4, uint64_t x5, uint64_t x6, \
      uint64_t x7

extern "C" {
void Deliver(ATOLL_MESSAGE);
void Resume(ATOLL_MESSAGE);  // x0: the Thread
void SlowCall(ATOLL_MESSAGE);
void SlowReplyWait(ATOLL_MESSAGE);
void SlowExit();  // finds everything in the frame and the syndrome registers
}

// Only branched to from vectors.S, so no landing pads.
// They leave with the lock that Deliver and Resume release.
#define ATOLL_ENTRY \
  extern "C" __attribute__((target("branch-protection=none"))) ABSL_NO_THREAD_SAFETY_ANALYSIS

namespace {

// Labels of the two messages that the kernel sends, from their schemas.
inline constexpr uint64_t kMmioAccessLabel = abi::MakeLabel(DeviceInterface::kMmioAccess);
inline constexpr uint64_t kSmcccLabel = abi::MakeLabel(HypercallInterface::kSmccc);

// ESR_EL2 of a data abort (DDI0487, ISS encoding): what a plain access to an unmapped device register shows.
inline constexpr uint64_t kIssValid = 1u << 24;
inline constexpr uint64_t kIssSignExtend = 1u << 21;
inline constexpr uint64_t kIssSixtyFour = 1u << 15;
inline constexpr uint64_t kIssWrite = 1u << 6;
// [10:2] but for WnR: FnV, EA, CM and S1PTW, which are 0 in a plain access, and the kind of fault without its level.
inline constexpr unsigned kIssFaultShift = 2;
inline constexpr uint64_t kIssFaultBits = 0x1ff;
inline constexpr uint64_t kTranslationFault = 1;
constexpr uint32_t SizeLog2(uint64_t esr) { return static_cast<uint32_t>(esr >> 22) & 3; }
constexpr uint32_t Register(uint64_t esr) { return static_cast<uint32_t>(esr >> 16) & 31; }

[[gnu::always_inline]] inline uint64_t ZeroExtend(uint64_t value, uint32_t size_log2) {
  const uint32_t shift = 64 - (8u << size_log2);
  return value << shift >> shift;
}

[[gnu::always_inline]] inline uint64_t LoadedValue(uint64_t value, uint64_t esr) {
  // A 32-bit load without sign extension is nearly every device access.
  if (((esr >> 21) & 7) == 4) [[likely]]
    return static_cast<uint32_t>(value);
  if ((esr & kIssSignExtend) == 0) return ZeroExtend(value, SizeLog2(esr));
  const uint32_t shift = 64 - (8u << SizeLog2(esr));
  const uint64_t extended = static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
  return (esr & kIssSixtyFour) != 0 ? extended : static_cast<uint32_t>(extended);
}

// Makes `task` the CPU's current thread. eret is the context synchronisation that TTBR0_EL2 needs: EL2 itself
// uses no TTBR0 address.
[[gnu::always_inline]] inline void SwitchToTask(Cpu& cpu, Thread& task) {
  cpu.current = &task;
  if (cpu.ttbr0 != task.ttbr0) {
    cpu.ttbr0 = task.ttbr0;
    Ttbr0El2::Write(task.ttbr0);
  }
}

// Takes the kernel lock, and the endpoint's receiver for a caller. Null: either is busy; nothing has changed, and
// the lock is not held.
[[gnu::always_inline]] inline Thread* TakeReceiver(Cpu& cpu, Endpoint& endpoint)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {
  KernelLock& lock = TheKernelLock();
  if (!lock.TryLock(cpu)) [[unlikely]]
    return nullptr;
  Thread* const server = endpoint.receiver;
  if (server == nullptr) [[unlikely]] {
    lock.Unlock();
    return nullptr;
  }
  endpoint.receiver = nullptr;
  return server;
}

[[gnu::always_inline]] inline void Link(Thread& caller, Thread& server, uint64_t badge,
                                        BlockedOn blocked_on) {
  const uint64_t token = caller.token + 1;
  caller.token = token;  // in pairs of neighbours
  caller.server = &server;
  caller.blocked_on = blocked_on;
  server.serving = &caller;
  server.frame.x[8] = badge;
  server.frame.x[9] = token;
  server.frame.x[10] = 1;  // attempt
}

}  // namespace

// x0 = handle, x1 = label, x2-x7 = words.
ATOLL_ENTRY void FastCall(ATOLL_MESSAGE) {
  Cpu& cpu = Cpu::This();
  Task& caller = *static_cast<Task*>(cpu.current);
  KernelLock& lock = TheKernelLock();
  // Before the handle is read: the supervisor may be changing the table.
  if (!lock.TryLock(cpu)) [[unlikely]] {
    [[clang::musttail]] return SlowCall(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  if (x0 >= caller.handle_count || abi::LabelBytes(x1) != 0) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowCall(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  const HandleEntry& entry = caller.handles[x0];
  constexpr uint32_t kWanted =
      HandleEntry::Pack(ObjectType::kEndpoint, static_cast<uint32_t>(Right::kSend));
  constexpr uint32_t kMask =
      HandleEntry::Pack(static_cast<ObjectType>(0xff), static_cast<uint32_t>(Right::kSend));
  if ((entry.type_and_rights & kMask) != kWanted) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowCall(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  // The rank order was checked when the handle was granted.
  Endpoint& endpoint = *static_cast<Endpoint*>(entry.object);
  Thread* const server = endpoint.receiver;
  if (server == nullptr) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowCall(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  endpoint.receiver = nullptr;
  // Kept for redelivery, should the server die.
  caller.frame.x[0] = x0;
  caller.frame.x[1] = x1;
  caller.frame.x[2] = x2;
  caller.frame.x[3] = x3;
  caller.frame.x[4] = x4;
  caller.frame.x[5] = x5;
  caller.frame.x[6] = x6;
  caller.frame.x[7] = x7;
  caller.badge = entry.badge;
  Link(caller, *server, entry.badge, BlockedOn::kCall);
  SwitchToTask(cpu, *server);
  [[clang::musttail]] return Deliver(0, x1, x2, x3, x4, x5, x6, x7);
}

// x0 = token, x1 = reply label, x2-x7 = words.
ATOLL_ENTRY void FastReplyWait(ATOLL_MESSAGE) {
  Cpu& cpu = Cpu::This();
  Thread& server = *cpu.current;
  KernelLock& lock = TheKernelLock();
  if (!lock.TryLock(cpu)) [[unlikely]] {
    [[clang::musttail]] return SlowReplyWait(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  Thread* const caller = server.serving;
  // serving != null proves that the caller still waits for this server: whoever cancels it clears that.
  if (caller == nullptr || caller->token != x0 || (caller->work | cpu.work) != 0) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowReplyWait(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  const BlockedOn blocked_on = caller->blocked_on;
  // A buffer, or the guest gets an error.
  if (x1 != 0 && (blocked_on != BlockedOn::kCall || abi::LabelBytes(x1) != 0)) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowReplyWait(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  Endpoint& port = *server.port;
  if (!port.queue.empty() || server.signals.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    lock.Unlock();
    [[clang::musttail]] return SlowReplyWait(x0, x1, x2, x3, x4, x5, x6, x7);
  }
  port.receiver = &server;
  server.serving = nullptr;
  caller->server = nullptr;
  if (blocked_on == BlockedOn::kCall) {
    SwitchToTask(cpu, *caller);
    [[clang::musttail]] return Deliver(0, x1, x2, x3, x4, x5, x6, x7);
  }
  cpu.current = caller;
  HcrEl2::Write(caller->hcr);
  if (blocked_on == BlockedOn::kMmio) {
    const uint64_t esr = caller->mmio_syndrome;
    caller->frame.pc +=
        4;  // that is all: neither FastDataAbort nor kWorkMmio let state pass that a step changes
    if ((esr & kIssWrite) == 0) {
      const uint32_t destination = Register(esr);
      if (destination != kZeroRegister) caller->frame.x[destination] = LoadedValue(x2, esr);
    }
  } else {
    caller->frame.x[0] = x2;
    caller->frame.x[1] = x3;
    caller->frame.x[2] = x4;
    caller->frame.x[3] = x5;
  }
  [[clang::musttail]] return Resume(reinterpret_cast<uint64_t>(caller), x1, x2, x3, x4, x5, x6, x7);
}

// x0 = ESR_EL2; all registers of the thread are in its frame.
ATOLL_ENTRY void FastDataAbort(ATOLL_MESSAGE) {
  // A valid syndrome is given for Stage-2 aborts only, so this is a vCPU. In two steps: the masks together are no
  // immediate operand.
  uint64_t fault = (x0 & ~kIssWrite) >> kIssFaultShift & kIssFaultBits;
  asm("" : "+r"(fault));  // keeps the compiler from joining them again
  if (fault != kTranslationFault || (x0 & kIssValid) == 0) [[unlikely]]
    return SlowExit();
  Cpu& cpu = Cpu::This();
  Vcpu& vcpu = *static_cast<Vcpu*>(cpu.current);
  // What else than PC an instruction changes when it is done: IT state and its own length (AArch32), BTYPE. A
  // single-stepped vCPU has no last range.
  if ((vcpu.frame.pstate & (pstate::kAarch32 | pstate::kBtype)) != 0) [[unlikely]]
    return SlowExit();
  // A guest may have turned big-endian since its last range was noted.
  if ((SctlrEl12::Read() & (kSctlrEe | kSctlrE0e)) != 0) [[unlikely]]
    return SlowExit();
  const uint64_t far = FarEl2::Read();
  const uint64_t address =
      HpfarEl2::Read() << 8 | (far & (kPageSize - 1));  // FIPA[51:12] in [43:4], RES0 below
  Range* const range = vcpu.last_range;                 // never null: an empty range at first
  const uint64_t offset = address - range->base;
  const uint32_t size_log2 = SizeLog2(x0);
  const uint64_t write = (x0 & kIssWrite) != 0;
  const uint64_t bytes = uint64_t{1} << size_log2;
  // Two comparisons: an access that begins below the base wraps, and its end might not.
  if (offset >= range->size || offset + bytes > range->size) [[unlikely]]
    return SlowExit();
  uint64_t value = 0;
  if (write) [[unlikely]] {  // reads are what a guest waits for
    if (offset == range->doorbell) [[unlikely]]
      return SlowExit();
    if (Register(x0) != kZeroRegister) value = ZeroExtend(vcpu.frame.x[Register(x0)], size_log2);
  }
  Thread* const server = TakeReceiver(cpu, *range->endpoint);
  if (server == nullptr) [[unlikely]]
    return SlowExit();
  Link(vcpu, *server, range->badge, BlockedOn::kMmio);
  vcpu.mmio_syndrome = x0;
  vcpu.mmio_offset = offset;
  vcpu.mmio_range = range;
  vcpu.mmio_far = far;
  HcrEl2::Write(kHostHcr);
  SwitchToTask(cpu, *server);
  [[clang::musttail]] return Deliver(0, kMmioAccessLabel, offset, bytes, write, value, 0, 0);
}

// x0-x3 = the guest's; all registers are in the frame.
ATOLL_ENTRY void FastHypercall(ATOLL_MESSAGE) {
  Cpu& cpu = Cpu::This();
  Vcpu& vcpu = *static_cast<Vcpu*>(cpu.current);
  Endpoint* const endpoint = vcpu.hypercall;
  if (endpoint == nullptr) [[unlikely]]
    return SlowExit();
  Thread* const server = TakeReceiver(cpu, *endpoint);
  if (server == nullptr) [[unlikely]]
    return SlowExit();
  Link(vcpu, *server, vcpu.index, BlockedOn::kHypercall);
  HcrEl2::Write(kHostHcr);
  SwitchToTask(cpu, *server);
  [[clang::musttail]] return Deliver(0, kSmcccLabel, x0, x1, x2, x3, 0, 0);
}

}  // namespace atoll
