#include "services/vmm/power_states.h"

#include <bit>

namespace atoll {
namespace {

constexpr uint32_t BitOf(uint32_t vcpu) { return uint32_t{1} << vcpu; }

constexpr bool IsThere(VmmJournal::Found found) {
  return found == VmmJournal::Found::kGood || found == VmmJournal::Found::kRepaired;
}

}  // namespace

Status PowerStates::TurnOn(uint32_t vcpu, GuestPhys entry, uint64_t context) {
  const Powers powers = Begin(vcpu);
  const Status status = vm_.StartVcpu(vcpu, entry, context);
  const bool was_on = (powers.on & BitOf(vcpu)) != 0;
  End(powers, vcpu, was_on || IsOk(status) || status == Status::kAlreadyExists);
  return status;
}

Status PowerStates::TurnOff(uint32_t vcpu) {
  const Powers powers = Begin(vcpu);
  const Status status = vm_.StopVcpu(vcpu);
  const bool was_on = (powers.on & BitOf(vcpu)) != 0;
  End(powers, vcpu, was_on && !IsOk(status));
  return status;
}

std::optional<ErrorText> PowerStates::Compare() {
  Powers noted;
  const bool is_noted = IsThere(journal_.Load(noted));
  const Powers now = Now();
  const uint32_t wrong = is_noted ? (noted.on ^ now.on) & ~noted.changing : 0;
  if (wrong != 0) {
    const auto vcpu = static_cast<uint32_t>(std::countr_zero(wrong));
    return ErrorText("the VM has to end: vCPU ", vcpu,
                     (now.on & BitOf(vcpu)) != 0 ? " is on" : " is off",
                     ", and its guest did not ask for that");
  }
  // CPU_OFF of the last one ends the VM instead.
  if (now.on == 0) return ErrorText("the VM has to end: no vCPU is on, and nobody asked for that");
  if (!is_noted || noted.changing != 0) journal_.Store(now);
  return std::nullopt;
}

PowerStates::Powers PowerStates::Begin(uint32_t vcpu) {
  Powers powers;
  if (!IsThere(journal_.Load(powers))) powers = Now();
  powers.changing |= BitOf(vcpu);
  journal_.Store(powers);  // before the kernel call that follows
  return powers;
}

void PowerStates::End(Powers powers, uint32_t vcpu, bool on) {
  powers.on = (powers.on & ~BitOf(vcpu)) | (on ? BitOf(vcpu) : 0);
  powers.changing &= ~BitOf(vcpu);
  journal_.Store(powers);
}

PowerStates::Powers PowerStates::Now() {
  Powers powers;
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    const Result<VcpuState> state = vm_.GetVcpuState(vcpu);
    if (state.has_value() && *state == VcpuState::kOn) powers.on |= BitOf(vcpu);
  }
  return powers;
}

}  // namespace atoll
