#include "kernel/vcpu_switch.h"

#include "kernel/cpu_setup.h"
#include "kernel/interrupts.h"
#include "kernel/machine/timer.h"
#include "kernel/memory/tlb.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/physical_gic.h"
#include "kernel/scheduler.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vcpu/traps_configuration.h"
#include "kernel/vgic/list_register_hardware.h"

namespace atoll {
namespace {

constinit ListRegisterHardware list_registers;

inline constexpr uint64_t kTimerEnable = 1u << 0;  // CNTx_CTL_EL0
inline constexpr uint64_t kTimerMask = 1u << 1;

VirtualCpuInterface& InterfaceOf(Vcpu& vcpu) { return vcpu.vm->gic->vcpu(vcpu.index); }

void SetTimerLine(Vcpu& vcpu, uint32_t intid, bool level) {
  kernel_lock.AssertHeld();
  Kick(*vcpu.vm, InterfaceOf(vcpu).SetPrivateLine(intid, level));
}

void OnVirtualTimer(Timer& timer) {
  SetTimerLine(*static_cast<Vcpu*>(timer.owner), physical_gic.timers.virtual_, true);
}
void OnPhysicalTimer(Timer& timer) {
  SetTimerLine(*static_cast<Vcpu*>(timer.owner), physical_gic.timers.physical, true);
}

bool IsArmed(uint64_t control) { return (control & (kTimerEnable | kTimerMask)) == kTimerEnable; }

// Lets a kernel timer stand in for an EL1 timer of an unloaded vCPU.
void StandIn(Vcpu& vcpu, Timer& timer, uint64_t control, uint64_t compare,
             void (*expired)(Timer&)) ATOLL_KERNEL_LOCKED {
  timer.owner = &vcpu;
  timer.expired = expired;
  SetTimer(timer, IsArmed(control) ? compare : Timer::kNever);
}

// The physical timer interrupts are active exactly while the loaded vCPU has them so.
void SetPhysicalActive(Cpu& cpu, uint32_t intid, bool active) {
  const GicInterruptRegisters& own = physical_gic.redistributors[cpu.index].interrupts();
  if (active) {
    own.SetActive(intid);
  } else {
    own.ClearActive(intid);
  }
}

void ForEachTimer(auto&& action) {
  action(physical_gic.timers.virtual_);
  action(physical_gic.timers.physical);
}

}  // namespace

void SwitchVcpu(Cpu& cpu, Vcpu& vcpu) {
  if (cpu.loaded_vcpu != nullptr) UnloadVcpu(*cpu.loaded_vcpu);
  UnloadVcpu(vcpu);  // it may have moved here from another CPU
  Vm& vm = *vcpu.vm;
  VttbrEl2::Write(TranslationBase(vm.root, vm.vmid));
  Isb();  // the EL1 registers below are used with this VM's Stage 2 only
  // Entries that a vCPU may keep to itself (not shared by broadcasts) must not serve its sibling.
  Vcpu*& last_loaded = vm.last_loaded[cpu.index];
  if (last_loaded != &vcpu) Stage2Tlb(TranslationBase(vm.root, vm.vmid)).InvalidateLocal();
  last_loaded = &vcpu;

  SetTimer(vcpu.virtual_timer, Timer::kNever);
  SetTimer(vcpu.physical_timer, Timer::kNever);
  VirtualCpuInterface& interface = InterfaceOf(vcpu);
  // From now on the hardware says when a timer is due.
  ForEachTimer([&](uint32_t intid) { static_cast<void>(interface.SetPrivateLine(intid, false)); });
  interface.Load(list_registers);
  ForEachTimer(
      [&](uint32_t intid) { SetPhysicalActive(cpu, intid, interface.PhysicalActive(intid)); });
  vcpu.context.Load(ThisCpuFeatures());
  cpu.loaded_vcpu = &vcpu;
  vcpu.loaded_on = &cpu;
  vcpu.work = (vcpu.work & ~kWorkNotLoaded) | kWorkInterrupts;
}

namespace {

// On the CPU that it is loaded on.
void Unload(void* argument) {
  kernel_lock.AssertHeld();
  Vcpu& vcpu = *static_cast<Vcpu*>(argument);
  Cpu& cpu = *vcpu.loaded_on;
  Vm& vm = *vcpu.vm;
  vcpu.context.Save(ThisCpuFeatures());  // timers are off afterwards
  const TimerContext& timers = vcpu.context.timers;
  const uint64_t now = CntpctEl0::Read();
  VirtualCpuInterface& interface = InterfaceOf(vcpu);
  VcpuMask kicks = interface.Save(list_registers);
  // The guest may have lowered a line that the hardware had told of.
  kicks |=
      interface.SetPrivateLine(physical_gic.timers.virtual_,
                               IsArmed(timers.virtual_control) && timers.virtual_compare <= now);
  kicks |=
      interface.SetPrivateLine(physical_gic.timers.physical,
                               IsArmed(timers.physical_control) && timers.physical_compare <= now);
  Isb();
  ForEachTimer([&](uint32_t intid) { SetPhysicalActive(cpu, intid, false); });
  cpu.loaded_vcpu = nullptr;
  vcpu.loaded_on = nullptr;
  vcpu.work |= kWorkNotLoaded;
  StandIn(vcpu, vcpu.virtual_timer, timers.virtual_control, timers.virtual_compare, OnVirtualTimer);
  StandIn(vcpu, vcpu.physical_timer, timers.physical_control, timers.physical_compare,
          OnPhysicalTimer);
  Kick(vm, kicks);
}

}  // namespace

void UnloadVcpu(Vcpu& vcpu) {
  if (vcpu.loaded_on != nullptr) OnCpu(*vcpu.loaded_on, Unload, &vcpu);
}

void ResetVcpu(Vcpu& vcpu) {
  UnloadVcpu(vcpu);
  SetTimer(vcpu.virtual_timer, Timer::kNever);
  SetTimer(vcpu.physical_timer, Timer::kNever);
  vcpu.context.Reset(SaneMpidr(vcpu.mpidr), MidrEl1::Read());
  vcpu.frame = {};
  vcpu.work = kWorkNotLoaded | (vcpu.vm->paused ? kWorkPaused : 0);
  vcpu.last_range = &no_range;
  vcpu.waiting_for_interrupt = false;
  vcpu.hcr = GuestHcr(ThisCpuFeatures(), vcpu.vm->id_registers);
  vcpu.hypercall = vcpu.vm->hypercall;
  ForEachTimer(
      [&](uint32_t intid) { static_cast<void>(InterfaceOf(vcpu).SetPrivateLine(intid, false)); });
  static_cast<void>(InterfaceOf(vcpu).ResetInterface());
}

}  // namespace atoll
