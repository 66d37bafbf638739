#include "services/runtime/kernel_ports.h"

#include "proto/kernel_calls.atoll.h"
#include "services/runtime/log.h"

namespace atoll {
namespace {

// These calls fail only if the system description is wrong or the object is being taken away; either way the
// service goes on.
void LogFailure(const char* call, abi::Handle handle, Status status) {
  if (!IsOk(status)) Log(call, " of handle ", handle.slot, ": ", status);
}

}  // namespace

void KernelInterruptLine::Set(bool level) {
  const uint64_t word = level ? kHigh : kLow;
  if (level_ == word) return;
  level_ = word;
  const Status status = kernel::SetIrqLine(line_, {.level = level});
  if (!IsOk(status) && line_.slot != again_.slot)
    Panic("the interrupt line's handle was written over");
  LogFailure("SetIrqLine", line_, status);
}

void KernelNotifier::Notify() {
  const Status status = kernel::SetSignal(signal_);
  if (status != Status::kNotFound) LogFailure("SetSignal", signal_, status);
}

void KernelTimer::Set(uint64_t deadline_ticks) {
  LogFailure("SetTimer", {}, kernel::SetTimer({.deadline = deadline_ticks}));
}

void KernelVmPower::Reset() {
  const Status status = kernel::StopVm(vm_, {.state = VmState::kReset});
  if (status != Status::kFailedPrecondition) LogFailure("StopVm", vm_, status);
}

void KernelIrq::Acknowledge() { LogFailure("AcknowledgeIrq", irq_, kernel::AcknowledgeIrq(irq_)); }

}  // namespace atoll
