// Kernel calls that any task may make.
#include <algorithm>
#include <string_view>

#include "kernel/calls.h"
#include "kernel/interrupts.h"
#include "kernel/ipc.h"
#include "kernel/log/log.h"
#include "kernel/machine/timer.h"
#include "kernel/scheduler.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/sanitize.h"

namespace atoll {
namespace {

// A task may write this many lines a second; the rest is counted, so that a flood costs its neighbours nothing.
inline constexpr uint32_t kLogLinesPerSecond = 50;

bool TakeLogCredit(Task& task) ATOLL_KERNEL_LOCKED {
  const uint64_t now = CntpctEl0::Read();
  if (task.log_refilled == 0 || now - task.log_refilled >= CounterFrequency()) {
    task.log_refilled = now;
    task.log_credit = kLogLinesPerSecond;
    task.log_dropped = 0;
  }
  if (task.log_credit == 0) {
    CountDroppedLine(task);
    return false;
  }
  --task.log_credit;
  return true;
}

// The log is read on terminals: nothing but printable ASCII goes there.
char Printable(std::byte byte) {
  const char c = static_cast<char>(byte);
  return c >= ' ' && c <= '~' ? c : '?';
}

}  // namespace

template <>
Result<Empty> Execute<KernelCall::kSetSignal>(Task&, HandleEntry* handle, const Empty&) {
  Signal& signal = ObjectOf<Signal>(*handle);
  RaiseSignalFor(Cpu::This().shares.account(), *signal.owner, handle->badge);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kSetIrqLine>(Task&, HandleEntry* handle,
                                               const SetIrqLineRequest& request) {
  IrqLine& line = ObjectOf<IrqLine>(*handle);
  SetLine(*line.vm, line.intid, request.level);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kAcknowledgeIrq>(Task&, HandleEntry* handle, const Empty&) {
  Irq& irq = ObjectOf<Irq>(*handle);
  UnmaskIrq(irq);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kSetTimer>(Task& caller, HandleEntry*,
                                             const SetTimerRequest& request) {
  SetTimer(caller.timer, request.deadline);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kLog>(Task& caller, HandleEntry*, const LogRequest& request) {
  if (caller.ipc_page == nullptr) return std::unexpected(Status::kFailedPrecondition);
  if (!TakeLogCredit(caller)) return std::unexpected(Status::kResourceExhausted);
  std::array<char, 256> text;
  const size_t bytes = std::min<size_t>(request.bytes, text.size());
  std::transform(caller.ipc_page, caller.ipc_page + bytes, text.begin(), Printable);
  LogLine(LogLevel::kInfo, std::string_view(text.data(), bytes));
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kSetCommitWindow>(Task& caller, HandleEntry*,
                                                    const SetCommitWindowRequest& request) {
  if (!IsTaskEntry(request.address) || request.bytes % sizeof(uint32_t) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  caller.stepping.window = request.address;
  caller.stepping.window_bytes = request.bytes;
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kExit>(Task& caller, HandleEntry*, const ExitRequest& request) {
  caller.death_esr = request.code;
  caller.death_far = 0;
  Die(caller, DeathCause::kExit);
  return Empty{};
}

}  // namespace atoll
