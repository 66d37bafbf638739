// A VM with four vCPUs that calls its vmm.
#ifndef ATOLL_TESTS_UNIT_VMM_MACHINE_H_
#define ATOLL_TESTS_UNIT_VMM_MACHINE_H_

#include <array>
#include <cstdint>
#include <optional>

#include "services/vmm/smccc.h"
#include "tests/unit/vmm/fake_vm.h"

namespace atoll {

inline constexpr GuestPhys kRamBase{0x4000'0000};
inline constexpr uint64_t kRamBytes = 64 << 20;
inline constexpr GuestPhys kEntry = kRamBase + 0x80000;

// Aff0, Aff1, Aff2 and Aff3 each tell one vCPU from the first.
inline constexpr std::array<uint64_t, 4> kAffinities = {0x0, 0x1, 0x1'0200, 0x3'0000'0000};

// Function ids by their names in DEN0022 and DEN0028.
inline constexpr uint64_t kPsciVersion = 0x84000000, kCpuSuspend = 0x84000001, kCpuOff = 0x84000002,
                          kCpuOn = 0x84000003, kAffinityInfo = 0x84000004, kMigrate = 0x84000005,
                          kMigrateInfoType = 0x84000006, kMigrateInfoUpCpu = 0x84000007,
                          kSystemOff = 0x84000008, kSystemReset = 0x84000009,
                          kPsciFeatures = 0x8400000a, kSystemSuspend = 0x8400000e,
                          kSetSuspendMode = 0x8400000f, kSystemReset2 = 0x84000012;
inline constexpr uint64_t k64 = 0x40000000;  // the same function by its 64-bit id

struct Registers {
  uint64_t x0 = 0, x1 = 0, x2 = 0, x3 = 0;
};

class Machine {
 public:
  Machine() { (void)powers.TurnOn(0, kEntry, 0); }

  // Registers after the call, or nothing if it is not answered.
  std::optional<Registers> CallRegisters(uint32_t vcpu, const Registers& in, bool smc = false,
                                         uint64_t attempt = 1) {
    if (attempt == 1) ++call_id;
    const SmcccRequest request{.x0 = in.x0, .x1 = in.x1, .x2 = in.x2, .x3 = in.x3, .smc = smc};
    const CallInfo info{
        .badge = vcpu, .token = (uint64_t{vcpu + 1} << 48) | call_id, .attempt = attempt};
    const Message reply = calls.Dispatch(
        info, {.label = abi::MakeLabel(HypercallInterface::kSmccc), .words = request.Pack()});
    if (reply.label == kNoReplyLabel) return std::nullopt;
    if (!IsOk(ReplyStatus(reply))) return Registers{.x0 = ~uint64_t{0}};  // as the kernel does
    const SmcccReply out = SmcccReply::Unpack(reply.words);
    return Registers{.x0 = out.x0, .x1 = out.x1, .x2 = out.x2, .x3 = out.x3};
  }

  // x0 after the call.
  std::optional<int64_t> Call(uint32_t vcpu, uint64_t function, uint64_t x1 = 0, uint64_t x2 = 0,
                              uint64_t x3 = 0) {
    const auto out = CallRegisters(vcpu, {function, x1, x2, x3});
    if (!out.has_value()) return std::nullopt;
    return static_cast<int64_t>(out->x0);
  }

  // The last call again, as a new instance of vmm gets it: only the VM and the journal are left.
  std::optional<int64_t> Redeliver(uint32_t vcpu, uint64_t function, uint64_t x1 = 0,
                                   uint64_t x2 = 0, uint64_t x3 = 0) {
    const auto out = CallRegisters(vcpu, {function, x1, x2, x3}, false, ++attempts);
    if (!out.has_value()) return std::nullopt;
    return static_cast<int64_t>(out->x0);
  }

  FakeVm vm{kAffinities.size()};
  VmmJournal journal;
  PowerStates powers{vm, journal, kAffinities.size()};
  Psci psci{vm, kAffinities, kRamBase, kRamBytes, journal};
  Hypercalls calls{psci};
  uint64_t call_id = 0;
  uint64_t attempts = 1;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VMM_MACHINE_H_
