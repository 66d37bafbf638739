#include "kernel/interrupts.h"

#include <array>

#include "kernel/boot/boot_info.h"
#include "kernel/cpu_setup.h"
#include "kernel/ipc.h"
#include "kernel/log/panic.h"
#include "kernel/machine/gic_cpu_interface.h"
#include "kernel/machine/gicv3.h"
#include "kernel/physical_gic.h"
#include "kernel/scheduler.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vgic/list_register_hardware.h"

namespace atoll {

constinit PhysicalGic physical_gic;

namespace {

// The PPI of the virtual CPU interface's maintenance interrupt, by the Server Base System Architecture.
inline constexpr uint32_t kMaintenanceIntid = 25;

constinit std::array<Irq*, kGicSpiEnd> irqs = {};
constinit ListRegisterHardware list_registers;

void Finish(uint32_t intid) {
  gic::EndOfInterrupt(intid);
  gic::Deactivate(intid);
}

// A guest's timer. It stays active until the guest ends it (list register with HW = 1).
void OnGuestTimer(Cpu& cpu, uint32_t intid) ATOLL_KERNEL_LOCKED {
  gic::EndOfInterrupt(intid);
  Vcpu* const vcpu = cpu.loaded_vcpu;
  if (vcpu == nullptr) {  // timers of unloaded vCPUs are off; one that fired just before is dropped
    gic::Deactivate(intid);
    return;
  }
  Kick(*vcpu->vm, vcpu->vm->gic->vcpu(vcpu->index).PhysicalPending(intid));
}

inline constexpr uint64_t kTimerLine = 0b101;  // CNTx_CTL_EL0: ENABLE and ISTATUS, not IMASK
inline constexpr uint64_t kTimerLineMask = 0b111;

// The guest lowers its timers' lines without an exit. Where it can see whether they pend, the hardware is asked, for
// the physical interrupt tells of rising ones only. The vCPU, which is loaded here, is at rest afterwards.
VcpuMask SampleTimersHere(Vcpu& vcpu) {
  VirtualCpuInterface& interface = vcpu.vm->gic->vcpu(vcpu.index);
  VcpuMask kicks = interface.Sync(list_registers);
  kicks |= interface.SamplePhysicalLine(physical_gic.timers.virtual_,
                                        (CntvCtlEl02::Read() & kTimerLineMask) == kTimerLine);
  kicks |= interface.SamplePhysicalLine(physical_gic.timers.physical,
                                        (CntpCtlEl02::Read() & kTimerLineMask) == kTimerLine);
  return kicks | uint64_t{1} << vcpu.index;  // dirty
}

// One vCPU's list registers are wanted, wherever they are loaded. It stays at rest while the kernel lock is held:
// its CPU has entered the kernel, and flushes before it runs the vCPU again.
struct AtRest {
  Vcpu& vcpu;
  VcpuMask kicks = 0;

  void Sync() ATOLL_KERNEL_LOCKED {
    OnCpu(
        *vcpu.loaded_on,
        [](void* argument) {
          AtRest& own = *static_cast<AtRest*>(argument);
          own.kicks = own.vcpu.vm->gic->vcpu(own.vcpu.index).Sync(list_registers) |
                      uint64_t{1} << own.vcpu.index;
        },
        this);
  }
  void Sample() ATOLL_KERNEL_LOCKED {
    OnCpu(
        *vcpu.loaded_on,
        [](void* argument) {
          AtRest& own = *static_cast<AtRest*>(argument);
          own.kicks = SampleTimersHere(own.vcpu);
        },
        this);
  }
};

VcpuMask SampleTimers(Vcpu& vcpu) ATOLL_KERNEL_LOCKED {
  if (vcpu.loaded_on == nullptr) return 0;
  AtRest rest{vcpu};
  rest.Sample();
  return rest.kicks;
}

// For an access of the vgic service to whether private interrupts pend, or are enabled: what pended when it was
// disabled may not pend any more.
VcpuMask SampleTimers(Vm& vm, InterruptField field, uint32_t first,
                      uint32_t vcpu) ATOLL_KERNEL_LOCKED {
  if (field != InterruptField::kPending && field != InterruptField::kEnabled) return 0;
  if (first >= kGicFirstSpi || vcpu >= vm.vcpus.size()) return 0;
  return vm.vcpus[vcpu] == nullptr ? 0 : SampleTimers(*vm.vcpus[vcpu]);
}

// The list registers need attention: some were used up, or the guest ended what was not in one.
void OnMaintenance(Cpu& cpu) ATOLL_KERNEL_LOCKED {
  Vcpu* const vcpu = cpu.loaded_vcpu;
  if (vcpu != nullptr) {
    // Switches the conditions off until the next flush, so the level falls.
    const VcpuMask kicks = vcpu->vm->gic->vcpu(vcpu->index).Sync(list_registers);
    vcpu->work |= kWorkInterrupts;
    Kick(*vcpu->vm, kicks);
  }
  Isb();
  Finish(kMaintenanceIntid);
}

void OnShared(uint32_t intid) ATOLL_KERNEL_LOCKED {
  // Masked until the driver acknowledges: a level that it has not yet served must not come again.
  physical_gic.distributor.interrupts().Disable(intid);
  Finish(intid);
  Irq* const irq = irqs[intid];
  if (irq != nullptr) RaiseSignal(*irq->owner, irq->bits);
}

}  // namespace

void ServeInterrupts(Cpu& cpu) {
  for (;;) {
    const uint32_t intid = gic::Acknowledge();
    if (intid >= gic::kSpurious) return;
    if (intid == physical_gic.timers.hypervisor) {
      gic::EndOfInterrupt(intid);
      RunTimers(cpu);  // programs the timer anew, which lowers its line
      gic::Deactivate(intid);
    } else if (intid == physical_gic.timers.virtual_ || intid == physical_gic.timers.physical) {
      OnGuestTimer(cpu, intid);
    } else if (intid == kMaintenanceIntid) {
      OnMaintenance(cpu);
    } else if (intid >= kGicFirstSpi) {
      OnShared(intid);
    } else {
      Finish(intid);
    }
  }
}

// From kernel/vectors.S: an interrupt while a thread ran.
extern "C" Thread* HandleInterrupt() ABSL_EXCLUSIVE_LOCK_FUNCTION(kernel_lock) {
  Cpu& cpu = Cpu::This();
  kernel_lock.Lock(cpu);
  ServeInterrupts(cpu);
  return Schedule(cpu);
}

Status BindIrq(uint32_t intid, Irq* irq) {
  if (!physical_gic.distributor.HasSpi(intid)) return Status::kOutOfRange;
  if (irq != nullptr && irqs[intid] != nullptr) return Status::kAlreadyExists;
  physical_gic.distributor.interrupts().Disable(intid);
  physical_gic.distributor.WaitForWrites();
  irqs[intid] = irq;
  if (irq != nullptr) {
    physical_gic.distributor.Route(intid, MpidrEl1::Read() & kAffinityMask);
    physical_gic.distributor.interrupts().Enable(intid);
  }
  return Status::kOk;
}

void UnmaskIrq(const Irq& irq) { physical_gic.distributor.interrupts().Enable(irq.intid); }

void SetLine(Vm& vm, uint32_t intid, bool level) { Kick(vm, vm.gic->SetLine(intid, level)); }

void Kick(Vm& vm, uint64_t mask) {
  for (; mask != 0; mask &= mask - 1) {
    Vcpu* const vcpu = vm.vcpus[static_cast<size_t>(__builtin_ctzll(mask))];
    if (vcpu == nullptr) continue;
    vcpu->work |= kWorkInterrupts;
    Cpu* const loaded_on = vcpu->loaded_on;
    const bool elsewhere = loaded_on != nullptr && loaded_on != &Cpu::This();
    if (vcpu->waiting_for_interrupt) {
      // Elsewhere it looks for itself: a WFI may end for nothing (DDI0487, WFI), and asking its CPU costs more.
      if (!elsewhere && !HasDeliverableInterrupt(*vcpu)) continue;
      vcpu->waiting_for_interrupt = false;
      MakeReady(*vcpu);
    } else if (elsewhere && loaded_on->current == vcpu) {
      Interrupt(*loaded_on);  // it flushes on its way back to the guest
    }
  }
}

bool HasDeliverableInterrupt(Vcpu& vcpu) {
  Vm& vm = *vcpu.vm;
  VcpuMask kicks = 0;
  if (vcpu.loaded_on != nullptr) {
    kicks = SampleTimers(vcpu);
    vcpu.work |= kWorkInterrupts;
  }
  const bool deliverable = vm.gic->vcpu(vcpu.index).HasDeliverable();
  Kick(vm, kicks & ~(uint64_t{1} << vcpu.index));
  return deliverable;
}

void FlushInterrupts(Vcpu& vcpu) {
  Vm& vm = *vcpu.vm;
  VirtualCpuInterface& interface = vm.gic->vcpu(vcpu.index);
  const VcpuMask kicks = interface.dirty() ? interface.Flush(list_registers) : 0;
  vcpu.work &= ~kWorkInterrupts;
  Kick(vm, kicks);
}

namespace {

// Brings the vCPUs to rest whose list registers hold what is to be read or written: loaded ones.
VcpuMask BringToRest(Vm& vm, VcpuMask vcpus) ATOLL_KERNEL_LOCKED {
  VcpuMask kicks = 0;
  for (; vcpus != 0; vcpus &= vcpus - 1) {
    AtRest rest{*vm.vcpus[static_cast<size_t>(__builtin_ctzll(vcpus))]};
    rest.Sync();
    kicks |= rest.kicks;
  }
  return kicks;
}

}  // namespace

Result<uint64_t> GetInterrupts(Vm& vm, const GetInterruptsRequest& request) {
  VcpuMask kicks = SampleTimers(vm, request.field, request.first, request.vcpu);
  kicks |=
      BringToRest(vm, vm.gic->MustSync(request.field, request.first, request.count, request.vcpu));
  const Result<uint64_t> value =
      vm.gic->Get(request.field, request.first, request.count, request.vcpu);
  Kick(vm, kicks);
  return value;
}

Status SetInterrupts(Vm& vm, const SetInterruptsRequest& request) {
  // The highest set bit of the mask bounds the interrupts; 32 is the most that any field has.
  VcpuMask kicks = SampleTimers(vm, request.field, request.first, request.vcpu);
  kicks |= BringToRest(vm, vm.gic->MustSync(request.field, request.first, 32, request.vcpu));
  const Result<VcpuMask> set =
      vm.gic->Set(request.field, request.first, request.mask, request.value, request.vcpu);
  Kick(vm, kicks | set.value_or(0));
  return set.has_value() ? Status::kOk : set.error();
}

void SendSgi(Vcpu& source, uint64_t value, SgiRegister which) {
  Vm& vm = *source.vm;
  Kick(vm, vm.gic->SendSgi(source.index, value, which));
}

void DeactivateInterrupt(Vcpu& vcpu, uint32_t intid) {
  Vm& vm = *vcpu.vm;
  VcpuMask kicks = vm.gic->vcpu(vcpu.index).Sync(list_registers) | uint64_t{1} << vcpu.index;
  kicks |= BringToRest(vm, vm.gic->MustSync(InterruptField::kActive, intid, 1, vcpu.index));
  kicks |= vm.gic->Deactivate(vcpu.index, intid).value_or(0);
  Kick(vm, kicks);
}

}  // namespace atoll
