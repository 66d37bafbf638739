// The ports of ports.h on the real machine: kernel calls and the system counter.
#ifndef ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_
#define ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_

#include <cstdint>

#include "ipc/abi.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/ports.h"

namespace atoll {

// These calls fail only if the system description is wrong or the object is being taken away; either way the
// service goes on.
void LogFailure(const char* call, abi::Handle handle, Status status);

// Drives one IrqLine. The service is its only driver, so a level that does not change costs no kernel call. The handle is
// part of the code, where no stray store reaches it: a line that is not driven would be noticed by nobody but the guest.
template <abi::Handle kLine>
class KernelInterruptLine final : public InterruptLine {
 public:
  void Set(bool level) override {
    const uint64_t word = level ? kHigh : kLow;
    if (level_ == word) return;
    level_ = word;
    const Status status = kernel::SetIrqLine(kLine, {.level = level});
    if (!IsOk(status)) [[unlikely]]
      LogFailure("SetIrqLine", kLine, status);
  }

 private:
  // Words of which hardly any is a level: if this one is written over, the kernel is told again.
  static constexpr uint64_t kLow = 0xaaaa'aaaa'aaaa'aaaa;
  static constexpr uint64_t kHigh = ~kLow;

  uint64_t level_ = 0;  // what an earlier instance left, which nobody knows
};

// Sets the bits of a handle's badge in another task's signal. Nothing happens when the handle is empty: the peer's VM is
// off, and a new instance of the peer looks at everything by itself.
class KernelNotifier final : public Notifier {
 public:
  constexpr explicit KernelNotifier(abi::Handle signal) : signal_(signal) {}
  void Notify() override;

 private:
  abi::Handle signal_;
};

class SystemCounter final : public Counter {
 public:
  uint64_t Ticks() const override;
  uint64_t TicksPerSecond() const override;
};

// The task's one timer; its signal bit is in the manifest.
class KernelTimer final : public DeadlineTimer {
 public:
  void Set(uint64_t deadline_ticks) override;
};

// By a handle of the VM with the right POWER.
class KernelVmPower final : public VmPower {
 public:
  constexpr explicit KernelVmPower(abi::Handle vm) : vm_(vm) {}
  void Reset() override;

 private:
  abi::Handle vm_;
};

// A physical interrupt, masked from its delivery until its driver acknowledges it.
class KernelIrq {
 public:
  constexpr explicit KernelIrq(abi::Handle irq) : irq_(irq) {}
  void Acknowledge();

 private:
  abi::Handle irq_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_
