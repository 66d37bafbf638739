// The ports of ports.h on the real machine: kernel calls and the system counter.
#ifndef ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_
#define ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_

#include <cstdint>

#include "ipc/abi.h"
#include "services/runtime/ports.h"

namespace atoll {

// Drives one IrqLine. The service is its only driver, so a level that does not change costs no kernel call.
class KernelInterruptLine final : public InterruptLine {
 public:
  constexpr explicit KernelInterruptLine(abi::Handle line) : line_(line), again_(line) {}
  void Set(bool level) override;

 private:
  // Words of which hardly any is a level: if this one is written over, the kernel is told again.
  static constexpr uint64_t kLow = 0xaaaa'aaaa'aaaa'aaaa;
  static constexpr uint64_t kHigh = ~kLow;

  abi::Handle line_;
  uint64_t level_ = 0;  // what an earlier instance left, which nobody knows
  abi::Handle again_;   // the same: a line that cannot be driven is to be noticed
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
