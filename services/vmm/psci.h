// PSCI 1.1 (Arm DEN0022) for one VM.
#ifndef ATOLL_SERVICES_VMM_PSCI_H_
#define ATOLL_SERVICES_VMM_PSCI_H_

#include <cstdint>
#include <optional>
#include <span>

#include "ipc/address.h"
#include "ipc/message.h"
#include "services/vmm/journal.h"
#include "services/vmm/power_states.h"
#include "services/vmm/vm_control.h"

namespace atoll {

inline constexpr uint32_t kPsciVersionId = 0x84000000;
inline constexpr int64_t kPsciVersion1_1 = 0x0001'0001;

// Return codes (DEN0022 5.2.2). NOT_SUPPORTED is also SMCCC's.
inline constexpr int64_t kSuccess = 0;
inline constexpr int64_t kNotSupported = -1;
inline constexpr int64_t kInvalidParameters = -2;
inline constexpr int64_t kAlreadyOn = -4;
inline constexpr int64_t kInternalFailure = -6;
inline constexpr int64_t kInvalidAddress = -9;

// One call of a guest.
struct SmcccCall {
  uint32_t function = 0;     // W0
  uint64_t arguments[3]{};   // x1-x3; of a 32-bit call the low halves only
  uint32_t vcpu = 0;         // index of the caller, an existing vCPU
  uint64_t token = 0;        // of the call as the kernel delivers it
  bool redelivered = false;  // an earlier instance died while it served the call
};

// What goes to x0. Nothing: the call is not answered, for its vCPU has been stopped.
using SmcccAnswer = std::optional<int64_t>;

class Psci {
 public:
  // `affinities`: MPIDR_EL1 affinity fields by vCPU index, unique, no other bits. RAM: where entry
  // points may lie. All references outlive this.
  Psci(VmControl& vm, std::span<const uint64_t> affinities, GuestPhys ram_base, uint64_t ram_bytes,
       VmmJournal& journal)
      : vm_(vm),
        affinities_(affinities),
        ram_base_(ram_base),
        ram_bytes_(ram_bytes),
        journal_(journal),
        powers_(vm, journal, static_cast<uint32_t>(affinities.size())) {}

  uint32_t vcpus() const { return static_cast<uint32_t>(affinities_.size()); }

  // NOT_SUPPORTED for whatever is not a function of PSCI that is implemented, in that width.
  SmcccAnswer Call(const SmcccCall& call);

 private:
  using Handler = SmcccAnswer (Psci::*)(const SmcccCall&);
  struct Function {
    Handler handler = nullptr;
    bool has_64_bit_form = false;
  };
  struct Table;
  static Handler Find(uint32_t function);

  SmcccAnswer Version(const SmcccCall& call);
  SmcccAnswer CpuSuspend(const SmcccCall& call);
  SmcccAnswer CpuOff(const SmcccCall& call);
  SmcccAnswer CpuOn(const SmcccCall& call);
  SmcccAnswer AffinityInfo(const SmcccCall& call);
  SmcccAnswer MigrateInfoType(const SmcccCall& call);
  SmcccAnswer SystemOff(const SmcccCall& call);
  SmcccAnswer SystemReset(const SmcccCall& call);
  SmcccAnswer SystemReset2(const SmcccCall& call);
  SmcccAnswer Features(const SmcccCall& call);

  std::optional<uint32_t> FindVcpu(uint64_t affinity) const;
  bool IsLastOn(uint32_t vcpu);
  SmcccAnswer StopVm(VmState state);

  VmControl& vm_;
  std::span<const uint64_t> affinities_;
  GuestPhys ram_base_;
  uint64_t ram_bytes_;
  VmmJournal& journal_;
  PowerStates powers_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_PSCI_H_
