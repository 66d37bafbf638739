// vmm: brings one VM up and answers its PSCI and SMCCC calls.
#include "ipc/abi.h"
#include "proto/vmm_config.atoll.h"
#include "services/runtime/check_word.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/vmm/config.h"
#include "services/vmm/device_keeper.h"
#include "services/vmm/journal.h"
#include "services/vmm/kernel_vm_control.h"
#include "services/vmm/loader.h"
#include "services/vmm/manifest.h"
#include "services/vmm/power_states.h"
#include "services/vmm/psci.h"
#include "services/vmm/smccc.h"

namespace atoll {
namespace {

constinit VmmConfig config{};  // too large for the stack

// The manifest grants no signal but the heartbeat's.
class NoSignals final : public SignalHandler {
 public:
  void OnSignals(uint64_t) override {}
  // What PSCI answers follows from these parts of the configuration.
  bool IsIntact() override { return CheckOfConfig() == check_; }

 private:
  static uint32_t CheckOfConfig() {
    CheckWord check(config.vcpu_affinity_count);
    check.Add(config.ram_base);
    check.Add(config.ram_bytes);
    for (const uint64_t affinity : config.vcpu_affinity) check.Add(affinity);
    return check.value();
  }

  const uint32_t check_ = CheckOfConfig();
};

// Says what is to be said of the journal. Does not return from one of a layout that this program does not know.
void LookAt(VmmJournal& journal, VmControl& vm) {
  VmmJournal::Powers powers;
  switch (journal.Load(powers)) {
    case VmmJournal::Found::kGood: break;
    case VmmJournal::Found::kRepaired: Log("the journal was damaged and has been mended"); break;
    case VmmJournal::Found::kLost:
      Log("the journal is damaged: which vCPUs are on is taken from the kernel");
      break;
    case VmmJournal::Found::kNothing:
      if (vm.GetVmState() == VmState::kRunning) {
        Log("the journal is of the layout before ATVMM1: which vCPUs are on is taken from the "
            "kernel, words kept for devices count if these find them whole");
      }
      break;
    case VmmJournal::Found::kRefused:
      Log("the journal is of another layout than this program's (ATVMM1)");
      Exit(kExitJournalRefused);
  }
}

std::optional<ErrorText> Start(const StartInfo& start, VmControl& vm, VmmJournal& journal) {
  if (auto error = ReadConfig(start.config, config)) return error;
  if (config.vcpu_affinity_count > vmm_manifest::kVcpuHandleCount) {
    return ErrorText("vmm config: ", config.vcpu_affinity_count,
                     " vCPUs, but the manifest has handles for ", vmm_manifest::kVcpuHandleCount);
  }
  PowerStates powers(vm, journal, config.vcpu_affinity_count);
  return StartGuest(
      config, MappedMemory(vmm_manifest::kKernelAddress, config.kernel_bytes),
      MappedMemory(vmm_manifest::kInitrdAddress, config.initrd_bytes),
      GuestMemory(GuestPhys(config.ram_base),
                  MappedMemory(abi::kGuestRamBase + config.ram_base, config.ram_bytes)),
      vm, powers);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  KernelVmControl<vmm_manifest::kVm.slot, vmm_manifest::kVcpu.slot> vm;
  static_assert(sizeof(VmmJournal) <= vmm_manifest::kJournalBytes);
  auto& journal = Journal<VmmJournal>();
  LookAt(journal, vm);
  const auto error = Start(start, vm, journal);
  if (error.has_value()) {
    // Trying again would fail again: the VM is given up, and this task stays as a server without
    // clients.
    Log(error->text());
    // FAILED_PRECONDITION: it has ended meanwhile.
    if (const Status status = vm.StopVm(VmState::kCrashed);
        !IsOk(status) && status != Status::kFailedPrecondition) {
      Panic("the VM cannot be given up: ", status);
    }
    config.vcpu_affinity_count = 0;
  }
  Psci psci(vm, std::span(config.vcpu_affinity, config.vcpu_affinity_count),
            GuestPhys(config.ram_base), config.ram_bytes, journal);
  Hypercalls calls(psci);
  DeviceKeeper keeper(journal.devices());
  NoSignals signals;
  Serve(signals, calls, keeper);
}

}  // namespace atoll
