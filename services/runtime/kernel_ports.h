// The ports of ports.h on the real machine: kernel calls and the system counter.
#ifndef ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_
#define ATOLL_SERVICES_RUNTIME_KERNEL_PORTS_H_

#include <cstdint>
#include <optional>

#include "ipc/abi.h"
#include "services/runtime/ports.h"

namespace atoll {

// Drives one IrqLine. The service is its only driver, so a level that does not change costs no kernel call.
class KernelInterruptLine final : public InterruptLine {
 public:
  constexpr explicit KernelInterruptLine(abi::Handle line) : line_(line) {}
  void Set(bool level) override;

 private:
  abi::Handle line_;
  std::optional<bool> level_;  // nullopt: what an earlier instance left, which nobody knows
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
