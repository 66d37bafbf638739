// Any sequence of calls by hvc and smc, from any vCPU, also redelivered: see vmm_fuzz.h.
#include <cstdlib>
#include <cstring>

#include "tests/fuzz/vmm_fuzz.h"
#include "tests/unit/vmm/machine.h"

namespace atoll {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// What holds whatever the guest asks.
void Check(const FakeVm& vm) {
  for (const FakeVm::Vcpu& vcpu : vm.vcpus) {
    if (vcpu.starts == 0) continue;
    Require(vcpu.entry >= kRamBase && vcpu.entry.IsAligned(4) &&
            vcpu.entry.value - kRamBase.value <= kRamBytes - 4);
  }
  if (vm.state != VmState::kRunning) return;
  // A VM runs as long as a vCPU does.
  bool any_on = false;
  for (const FakeVm::Vcpu& vcpu : vm.vcpus) any_on |= vcpu.state == VcpuState::kOn;
  Require(any_on);
}

}  // namespace

// Per call 34 bytes: vCPU, flags, x0 to x3.
void FuzzSmccc(std::span<const std::byte> input) {
  constexpr size_t kBytesPerCall = 34;
  Machine machine;
  for (; input.size() >= kBytesPerCall; input = input.subspan(kBytesPerCall)) {
    const auto vcpu = std::to_integer<uint32_t>(input[0]) % machine.psci.vcpus();
    const auto flags = std::to_integer<uint32_t>(input[1]);
    Registers in;
    std::memcpy(&in, input.data() + 2, sizeof(in));
    // Half of the calls get a plausible function and target, or few would reach a handler.
    if ((flags & 1) != 0) {
      in.x0 = 0x84000000 | (in.x0 & 0xf) | ((flags & 2) != 0 ? k64 : 0);
      if ((flags & 4) != 0) in.x1 = kAffinities[in.x1 % kAffinities.size()];
      if ((flags & 8) != 0) in.x2 = kRamBase.value + in.x2 % (2 * kRamBytes);
    }
    const bool smc = (flags & 16) != 0;
    const bool caller_runs = machine.vm.vcpus[vcpu].state == VcpuState::kOn;
    if (!caller_runs || machine.vm.state != VmState::kRunning) continue;
    const auto out = machine.CallRegisters(vcpu, in, smc);
    Check(machine.vm);
    // Not answered exactly if the caller does not run any more.
    Require(out.has_value() == (machine.vm.vcpus[vcpu].state == VcpuState::kOn));
    if (!out.has_value()) continue;
    Require(out->x1 == in.x1 && out->x2 == in.x2 && out->x3 == in.x3);
    if ((flags & 32) == 0) continue;
    const auto starts = machine.vm.vcpus;
    const auto again = machine.CallRegisters(vcpu, in, smc, 2);
    Require(again.has_value() && again->x0 == out->x0);
    for (size_t i = 0; i < starts.size(); ++i)
      Require(starts[i].starts == machine.vm.vcpus[i].starts);
  }
}

}  // namespace atoll
