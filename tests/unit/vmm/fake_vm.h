// A VM without a kernel: power states as proto/kernel.proto describes them.
#ifndef ATOLL_TESTS_UNIT_VMM_FAKE_VM_H_
#define ATOLL_TESTS_UNIT_VMM_FAKE_VM_H_

#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "services/vmm/vm_control.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {

class FakeVm final : public VmControl {
 public:
  struct Vcpu {
    VcpuState state = VcpuState::kOff;
    GuestPhys entry;
    uint64_t context = 0;
    int starts = 0;
    int suspends = 0;
  };

  // What the calls throw at which vmm is to die.
  struct Death {};

  explicit FakeVm(size_t count) : vcpus(count) {}

  Status StartVcpu(uint32_t vcpu, GuestPhys entry, uint64_t context) override {
    return MayDie([&] { return Start(vcpu, entry, context); });
  }
  Status Start(uint32_t vcpu, GuestPhys entry, uint64_t context) {
    if (vcpu >= vcpus.size()) return Status::kNotFound;
    if (!IsOk(start_error)) return start_error;
    if (vcpus[vcpu].state == VcpuState::kOn) return Status::kAlreadyExists;
    vcpus[vcpu].state = VcpuState::kOn;
    vcpus[vcpu].entry = entry;
    vcpus[vcpu].context = context;
    ++vcpus[vcpu].starts;
    if (state == VmState::kCreated) state = VmState::kRunning;
    return Status::kOk;
  }
  Status StopVcpu(uint32_t vcpu) override {
    if (vcpu >= vcpus.size()) return Status::kNotFound;
    return MayDie([&] {
      vcpus[vcpu].state = VcpuState::kOff;
      return Status::kOk;
    });
  }
  Status SuspendVcpu(uint32_t vcpu) override {
    if (vcpu >= vcpus.size()) return Status::kNotFound;
    return MayDie([&] {
      ++vcpus[vcpu].suspends;
      return Status::kOk;
    });
  }
  Result<VcpuState> GetVcpuState(uint32_t vcpu) override {
    if (vcpu >= vcpus.size()) return std::unexpected(Status::kNotFound);
    return MayDie([&] { return Result<VcpuState>(vcpus[vcpu].state); });
  }
  Status StopVm(VmState why) override {
    return MayDie([&] { return Stop(why); });
  }
  Status Stop(VmState why) {
    if (state != VmState::kRunning) return Status::kFailedPrecondition;
    state = why;
    ++stops;
    for (Vcpu& vcpu : vcpus) vcpu.state = VcpuState::kOff;
    return Status::kOk;
  }
  Result<VmState> GetVmState() override { return state; }
  Result<uint64_t> GetIdRegister(uint32_t crm, uint32_t op2) override {
    const auto found = id_registers.find({crm, op2});
    if (found == id_registers.end()) return std::unexpected(Status::kInvalidArgument);
    return found->second;
  }
  Status SetIdRegister(uint32_t crm, uint32_t op2, uint64_t value) override {
    if (state != VmState::kCreated) return Status::kFailedPrecondition;
    id_registers[{crm, op2}] = value;
    return Status::kOk;
  }

  // vmm dies at the call of this number from now on (0: the next), before its effect or after it; -1: at none.
  int die_at = -1;
  bool die_after_effect = false;

  std::vector<Vcpu> vcpus;
  VmState state = VmState::kCreated;
  int stops = 0;
  Status start_error = Status::kOk;  // what StartVcpu answers whatever it is asked
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> id_registers;

 private:
  template <typename Body>
  std::invoke_result_t<Body> MayDie(Body body) {
    const bool now = die_at == 0;
    if (die_at >= 0) --die_at;
    if (now && !die_after_effect) throw Death();
    std::optional<std::invoke_result_t<Body>> result;
    MemoryStates::AsOneStep([&] { result = body(); });
    if (now) throw Death();
    return *result;
  }
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VMM_FAKE_VM_H_
