#include "services/runtime/kernel_ports.h"

#include "services/runtime/log.h"

namespace atoll {
void LogFailure(const char* call, abi::Handle handle, Status status) {
  if (!IsOk(status)) Log(call, " of handle ", handle.slot, ": ", status);
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
