#include "kernel/boot/secondary_cpus.h"

#include "kernel/boot/boot_phases.h"
#include "kernel/boot/image.h"
#include "kernel/cpu.h"
#include "kernel/cpu_setup.h"
#include "kernel/log/log.h"
#include "kernel/machine/gic_cpu_interface.h"
#include "kernel/machine/timer.h"
#include "kernel/scheduler.h"
#include "kernel/system_register.h"
#include "kernel/vcpu/sanitize.h"

namespace atoll {
namespace {

constexpr uint64_t kPsciCpuOn = 0xc400'0003;  // DEN0022 5.1.4, SMC64

// SMCCC: x4 to x17 are the firmware's to change.
int64_t CallFirmware(PsciConduit conduit, uint64_t function, uint64_t a, uint64_t b, uint64_t c) {
  register uint64_t x0 asm("x0") = function;
  register uint64_t x1 asm("x1") = a;
  register uint64_t x2 asm("x2") = b;
  register uint64_t x3 asm("x3") = c;
#define ATOLL_CONDUIT(instruction)                                                             \
  asm volatile(instruction " #0"                                                               \
               : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                        \
               :                                                                               \
               : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", \
                 "x16", "x17", "memory")
  if (conduit == PsciConduit::kHvc) {
    ATOLL_CONDUIT("hvc");
  } else {
    ATOLL_CONDUIT("smc");
  }
#undef ATOLL_CONDUIT
  return static_cast<int64_t>(x0);
}

bool WaitUntilOnline(const Cpu& cpu) {
  const uint64_t deadline = ReadCounter() + CounterFrequency();
  while (!cpu.online.load(std::memory_order_acquire)) {
    if (ReadCounter() > deadline) return false;
  }
  return true;
}

}  // namespace

void StartSecondaryCpus(const BootInfo& info) {
  const uint64_t own = MpidrEl1::Read() & kAffinityMask;
  const uint64_t entry = info.image.base.value + (reinterpret_cast<uint64_t>(boot::boot_secondary) -
                                                  reinterpret_cast<uint64_t>(image_start));
  for (const uint64_t affinity : info.machine.cpus) {
    if (affinity == own) continue;
    if (cpu_count == cpus.size()) return;  // this CPU is not in the list, which has the first eight
    if (!gic::IsSgiTarget(own) || !gic::IsSgiTarget(affinity)) {
      LogWarning("CPU ", Hex(affinity),
                 " and the first one cannot interrupt each other (Aff0 above 15); it and those "
                 "after it are not used");
      return;
    }
    Cpu& cpu = cpus[cpu_count];
    cpu.index = cpu_count;
    cpu.affinity = affinity;
    cpu.stack_top = KernelStackTop(cpu.index).value;
    cpu.emergency_stack_top = EmergencyStackTop(cpu.index).value;
    if (!FindRedistributor(info, cpu)) {
      LogWarning("CPU ", Hex(affinity),
                 " has no GIC redistributor; it and those after it are not used");
      return;
    }
    DsbIsh();  // it finds its block as written
    const int64_t status = CallFirmware(info.machine.psci, kPsciCpuOn, affinity, entry, cpu.index);
    if (status != 0 || !WaitUntilOnline(cpu)) {
      LogWarning("CPU ", Hex(affinity), " does not start (PSCI CPU_ON said ",
                 static_cast<uint64_t>(-status), " below 0); it and those after it are not used");
      return;
    }
    ++cpu_count;
  }
}

extern "C" void boot::boot_secondary_main(uint64_t index) {
  // The identity map has done its work.
  Ttbr0El2::Write(empty_space);
  Isb();
  asm volatile("tlbi alle2\n\tdsb nsh" ::: "memory");
  Isb();
  Cpu& cpu = cpus[index];
  SetUpCpu(cpu);
  SetUpCpuInterface(cpu);
  StartScheduling(cpu);
}

}  // namespace atoll
