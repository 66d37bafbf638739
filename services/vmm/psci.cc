#include "services/vmm/psci.h"

#include <algorithm>
#include <array>

#include "services/vmm/smccc.h"

namespace atoll {
namespace {

// Function ids: 0x8400'00nn in 32 bits, 0xC400'00nn in 64, n < 32 (DEN0022 5.1).
constexpr uint32_t kFirstId = 0x8400'0000;
constexpr uint32_t kFunctionNumbers = 0x20;

// power_state in the original format: StateID, StateType, AffinityLevel; the rest must be zero.
constexpr uint64_t kPowerStateBits = 0x0301'ffff;

// AFFINITY_INFO.
constexpr int64_t kAffinityOn = 0;
constexpr int64_t kAffinityOff = 1;

// MIGRATE_INFO_TYPE: no Trusted OS, or one that needs no migration.
constexpr int64_t kNoMigration = 2;

// SYSTEM_RESET2: reset_type, 32 bits. The only one that is not the vendor's.
constexpr uint32_t kWarmReset = 0;

// A64 instructions are words.
constexpr uint64_t kInstructionBytes = 4;

}  // namespace

// Functions that are not listed do not exist: what FEATURES says and what a call does cannot
// differ.
struct Psci::Table {
  static constexpr std::array<Function, kFunctionNumbers> kFunctions = [] {
    std::array<Function, kFunctionNumbers> table{};
    table[0x00] = {&Psci::Version, false};
    table[0x01] = {&Psci::CpuSuspend, true};
    table[0x02] = {&Psci::CpuOff, false};
    table[0x03] = {&Psci::CpuOn, true};
    table[0x04] = {&Psci::AffinityInfo, true};
    table[0x06] = {&Psci::MigrateInfoType, false};
    table[0x08] = {&Psci::SystemOff, false};
    table[0x09] = {&Psci::SystemReset, false};
    table[0x0a] = {&Psci::Features, false};
    table[0x12] = {&Psci::SystemReset2, true};
    return table;
  }();
};

Psci::Handler Psci::Find(uint32_t function) {
  const uint32_t number = (function & ~kSmccc64Bit) - kFirstId;
  if (number >= kFunctionNumbers) return nullptr;
  const Function& found = Table::kFunctions[number];
  if ((function & kSmccc64Bit) != 0 && !found.has_64_bit_form) return nullptr;
  return found.handler;
}

SmcccAnswer Psci::Call(const SmcccCall& call) {
  const Handler handler = Find(call.function);
  return handler == nullptr ? kNotSupported : (this->*handler)(call);
}

SmcccAnswer Psci::Version(const SmcccCall&) { return kPsciVersion1_1; }

SmcccAnswer Psci::MigrateInfoType(const SmcccCall&) { return kNoMigration; }

SmcccAnswer Psci::Features(const SmcccCall& call) {
  const auto function = static_cast<uint32_t>(call.arguments[0]);
  // Flags: CPU_SUSPEND has none (original StateID format, no OS-initiated mode), nor has any other.
  return Find(function) != nullptr || function == kSmcccVersionId ? kSuccess : kNotSupported;
}

// Every state is a standby: the vCPU waits as in WFI and comes back with its registers. A powerdown
// state may be served so too (DEN0022 5.4.5), and its entry point is then not used.
SmcccAnswer Psci::CpuSuspend(const SmcccCall& call) {
  if ((call.arguments[0] & 0xffff'ffff & ~kPowerStateBits) != 0) return kInvalidParameters;
  // The kernel suspends the vCPU when it gets the reply, in which an interrupt that pends by then
  // ends the wait at once: no wake-up is lost. Asking again after a restart changes nothing.
  return IsOk(vm_.SuspendVcpu(call.vcpu)) ? kSuccess : kInternalFailure;
}

SmcccAnswer Psci::CpuOff(const SmcccCall& call) {
  // A VM without a running vCPU can never run again.
  if (IsLastOn(call.vcpu)) return StopVm(VmState::kOff);
  if (!IsOk(powers_.TurnOff(call.vcpu))) return kInternalFailure;
  return std::nullopt;
}

SmcccAnswer Psci::CpuOn(const SmcccCall& call) {
  const std::optional<uint32_t> target = FindVcpu(call.arguments[0]);
  if (!target.has_value()) return kInvalidParameters;
  const GuestPhys entry(call.arguments[1]);
  if (entry < ram_base_ || !InBounds(entry - ram_base_, kInstructionBytes, ram_bytes_) ||
      !entry.IsAligned(kInstructionBytes)) {
    return kInvalidAddress;
  }
  using Noted = VmmJournal::Noted;
  const Noted noted = call.redelivered ? journal_.NotedCpuOn(call.token) : Noted::kNo;
  const bool ours = noted == Noted::kYes;
  if (!ours) {
    const Result<VcpuState> state = vm_.GetVcpuState(*target);
    if (!state.has_value()) return kInternalFailure;
    // Turned on by this call or not: who does not know must not say ALREADY_ON.
    if (*state != VcpuState::kOff) return noted == Noted::kNo ? kAlreadyOn : kInternalFailure;
    journal_.NoteCpuOn(call.token);
  }
  switch (powers_.TurnOn(*target, entry, call.arguments[2])) {
    case Status::kOk: return kSuccess;
    case Status::kAlreadyExists: return ours ? kSuccess : kAlreadyOn;
    case Status::kOutOfRange: return kInvalidAddress;
    default: return kInternalFailure;
  }
}

SmcccAnswer Psci::AffinityInfo(const SmcccCall& call) {
  const uint64_t lowest_level = call.arguments[1];
  if (lowest_level != 0) return kInvalidParameters;  // from PSCI 1.0 on other levels are optional
  const std::optional<uint32_t> target = FindVcpu(call.arguments[0]);
  if (!target.has_value()) return kInvalidParameters;
  const Result<VcpuState> state = vm_.GetVcpuState(*target);
  if (!state.has_value()) return kInternalFailure;
  return *state == VcpuState::kOff ? kAffinityOff : kAffinityOn;
}

SmcccAnswer Psci::SystemOff(const SmcccCall&) { return StopVm(VmState::kOff); }

SmcccAnswer Psci::SystemReset(const SmcccCall&) { return StopVm(VmState::kReset); }

// A warm reset may be as thorough as a cold one (DEN0022 5.13); nothing of the VM's memory is kept.
SmcccAnswer Psci::SystemReset2(const SmcccCall& call) {
  if (static_cast<uint32_t>(call.arguments[0]) != kWarmReset) return kInvalidParameters;
  return StopVm(VmState::kReset);
}

// Compares whole values: reserved bits that are set match no vCPU.
std::optional<uint32_t> Psci::FindVcpu(uint64_t affinity) const {
  const auto found = std::ranges::find(affinities_, affinity);
  if (found == affinities_.end()) return std::nullopt;
  return static_cast<uint32_t>(found - affinities_.begin());
}

// Only this service starts vCPUs, so one that is off now stays off while this call is served.
bool Psci::IsLastOn(uint32_t vcpu) {
  for (uint32_t other = 0; other < vcpus(); ++other) {
    if (other == vcpu) continue;
    const Result<VcpuState> state = vm_.GetVcpuState(other);
    if (!state.has_value() || *state != VcpuState::kOff) return false;
  }
  return true;
}

SmcccAnswer Psci::StopVm(VmState state) {
  const Status status = vm_.StopVm(state);
  // FAILED_PRECONDITION: stopped already, by a call served just before or by the instance that
  // died.
  if (IsOk(status) || status == Status::kFailedPrecondition) return std::nullopt;
  return kInternalFailure;
}

}  // namespace atoll
