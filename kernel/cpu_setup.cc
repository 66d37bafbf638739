#include "kernel/cpu_setup.h"

#include "kernel/log/panic.h"
#include "kernel/machine/gic_cpu_interface.h"
#include "kernel/machine/timer.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/physical_gic.h"
#include "kernel/pools.h"
#include "kernel/vcpu/debug_registers.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vcpu/traps_configuration.h"
#include "kernel/vgic/list_register_hardware.h"

extern "C" char ExceptionVectors[];

namespace atoll {
namespace {

inline constexpr uint32_t kMaintenanceIntid = 25;

ATOLL_SYSTEM_REGISTER(VbarEl2, "vbar_el2");
ATOLL_SYSTEM_REGISTER(CptrEl2, "cptr_el2");
ATOLL_SYSTEM_REGISTER(MdcrEl2, "mdcr_el2");
ATOLL_SYSTEM_REGISTER(CnthctlEl2, "cnthctl_el2");
ATOLL_SYSTEM_REGISTER(CntvoffEl2, "cntvoff_el2");
ATOLL_SYSTEM_REGISTER(HstrEl2, "hstr_el2");

}  // namespace

void SetUpCpu(Cpu& cpu) {
  TpidrEl2::Write(reinterpret_cast<uint64_t>(&cpu));
  VbarEl2::Write(reinterpret_cast<uint64_t>(ExceptionVectors));
  const CpuFeatures& features = cpu_features;
  DebugRegisters::InitializeCpu();
  VtcrEl2::Write(VtcrEl2Value(features.physical_range, features.vmid16));
  CptrEl2::Write(kCptrEl2);
  MdcrEl2::Write(MdcrEl2Value(MdcrEl2::Read()));
  CnthctlEl2::Write(kCnthctlEl2);
  CntvoffEl2::Write(0);
  HstrEl2::Write(0);  // AArch32 EL0 may use what its EL1 lets it
  ProgramHypervisorTimer(Timer::kNever);
  CntvCtlEl02::Write(0);
  CntpCtlEl02::Write(0);
  Isb();
}

void SetUpFeatures() {
  const IdValues hardware = ReadHardwareIdRegisters();
  cpu_features = CpuFeatures::From(hardware);
  shown_id_registers = Baseline(hardware);
}

void SetUpDistributor(const BootInfo& info) {
  physical_gic.timers = info.machine.timers;
  physical_gic.distributor = GicDistributor(info.distributor);
  physical_gic.distributor.Initialize();
  for (const Device& device : info.machine.virtio) {
    if (physical_gic.distributor.HasSpi(device.intid)) {
      physical_gic.distributor.interrupts().SetEdge(device.intid, device.edge);
    }
  }
}

bool FindRedistributor(const BootInfo& info, const Cpu& cpu) {
  for (size_t i = 0; i < info.redistributors.size(); ++i) {
    const Result<GicRedistributor> found = GicRedistributor::Find(
        info.redistributors[i], info.machine.redistributors[i].bytes, cpu.affinity);
    if (!found.has_value()) continue;
    physical_gic.redistributors[cpu.index] = *found;
    return true;
  }
  return false;
}

void SetUpCpuInterface(const Cpu& cpu) {
  if (!IsOk(physical_gic.redistributors[cpu.index].Initialize())) {
    Panic("this CPU's GIC redistributor does not wake");
  }
  if (!gic::InitializeCpuInterface()) Panic("the GIC CPU interface has no system registers");
  // What the vgic service tells guests (GICD_TYPER.A3V, 5 priority bits) and what the kernel relies on (TDS).
  const VirtualTypeRegister type = ListRegisterHardware::ReadType();
  if (!type.trap_dir() || !type.affinity3() || type.priority_bits() != 5 ||
      type.preemption_bits() != 5) {
    Panic("the virtual GIC CPU interface must trap ICC_DIR_EL1 and have Aff3 and 5 priority bits");
  }
  const GicInterruptRegisters& own = physical_gic.redistributors[cpu.index].interrupts();
  for (const uint32_t intid :
       {kInterruptSgi, physical_gic.timers.hypervisor, physical_gic.timers.virtual_,
        physical_gic.timers.physical, kMaintenanceIntid}) {
    own.Enable(intid);
  }
}

void SetUpIds() {
  kernel_lock.AssertHeld();
  const CpuFeatures& features = ThisCpuFeatures();
  pools.asids.Initialize(features.asid16 ? 16 : 8);
  pools.vmids.Initialize(features.vmid16 ? 16 : 8);
  pools.task_limit = features.asid16 ? kMaxTasks : 256;
  pools.vm_limit = kMaxVms;
}

}  // namespace atoll
