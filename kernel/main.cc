// From boot to the first task.
#include <algorithm>
#include <array>
#include <cstring>

#include "kernel/boot/boot_info.h"
#include "kernel/boot/leave_boot.h"
#include "kernel/boot/secondary_cpus.h"
#include "kernel/boot/stacks.h"
#include "kernel/cpu.h"
#include "kernel/cpu_setup.h"
#include "kernel/direct_map.h"
#include "kernel/log/log.h"
#include "kernel/log/panic.h"
#include "kernel/machine/gicv3.h"
#include "kernel/machine/timer.h"
#include "kernel/pools.h"
#include "kernel/root_task.h"
#include "kernel/scheduler.h"
#include "kernel/vcpu/sanitize.h"

namespace atoll {
namespace {

void SetUpFrames(const Machine& machine, BootPages& pages) ATOLL_KERNEL_LOCKED {
  const PhysAddr first = machine.memory[0].base;
  const PhysAddr last = machine.memory[machine.memory.size() - 1].end();
  const uint64_t count = (last - first) / kPageSize;
  const PhysAddr table = pages.Take(AlignUp(count, kPageSize) / kPageSize);
  pools.frames = FrameTable(first, {PhysToPointer<FrameState>(table), count});
}

void AddResource(ResourceKind kind, const PhysRange& range,
                 uint32_t intid = 0) ATOLL_KERNEL_LOCKED {
  // A list that is full drops devices, not the machine: a device that is not listed is not used.
  static_cast<void>(pools.resources.PushBack(
      {.kind = kind, .base = range.base.value, .bytes = range.bytes, .intid = intid}));
}

ResourceKind KindOf(const Device& virtio) {
  switch (virtio.virtio_device) {
    case kVirtioBlockDevice: return ResourceKind::kBlock;
    case kVirtioNetworkDevice: return ResourceKind::kNet;
    case kVirtioConsoleDevice: return ResourceKind::kSerial;
    default: return ResourceKind::kVirtio;
  }
}

void ListResources(const FreeMemory& free_memory, const Machine& machine) ATOLL_KERNEL_LOCKED {
  for (const PhysRange& range : free_memory) {
    if (range.bytes == 0) continue;
    AddResource(ResourceKind::kRam, range);
    // All free pages begin as the kernel's.
    if (const Status status = pools.frames.Release(range.base, range.bytes, FrameState::kKernel);
        !IsOk(status)) {
      Panic("free memory is not in the frame table");
    }
  }
  if (machine.initrd) AddResource(ResourceKind::kArchive, *machine.initrd);
  if (machine.uart) AddResource(ResourceKind::kUart, machine.uart->registers, machine.uart->intid);
  if (machine.rtc) AddResource(ResourceKind::kRtc, machine.rtc->registers, machine.rtc->intid);
  AddResource(ResourceKind::kCpus, {.base = PhysAddr(cpu_count)});
  for (const Device& device : machine.virtio) {
    AddResource(KindOf(device), device.registers, device.intid);
  }
}

// Bytes at the front of a piece of free memory, before the archive if that lies in it.
uint64_t FrontBytes(const PhysRange& range, const std::optional<PhysRange>& archive) {
  if (!archive || !range.Overlaps(*archive)) return range.bytes;
  return archive->base > range.base ? AlignDown(archive->base - range.base, kPageSize) : 0;
}

// The kernel's first pages come from the largest front.
BootPages FirstPages(FreeMemory& free_memory, const std::optional<PhysRange>& archive) {
  PhysRange* best = nullptr;
  for (PhysRange& range : free_memory.span()) {
    if (best == nullptr || FrontBytes(range, archive) > FrontBytes(*best, archive)) best = &range;
  }
  if (best == nullptr) Panic("there is no free memory; give the machine more");
  return BootPages(*best, FrontBytes(*best, archive));
}

}  // namespace
}  // namespace atoll

extern "C" ABSL_NO_THREAD_SAFETY_ANALYSIS void KernelMain(const atoll::BootInfo& info) {
  using namespace atoll;
  Cpu& cpu = cpus[0];
  cpu.stack_top = KernelStackTop(0).value;
  cpu.emergency_stack_top = EmergencyStackTop(0).value;
  cpu.affinity = MpidrEl1::Read() & kAffinityMask;
  empty_space = info.empty_table.value;
  SetUpFeatures();
  SetUpCpu(cpu);
  kernel_lock.Lock(cpu);  // until the first task runs
  SetUpDistributor(info);
  if (!FindRedistributor(info, cpu)) Panic("the boot CPU has no GIC redistributor");
  SetUpCpuInterface(cpu);
  StartSecondaryCpus(info);
  LogInfo(cpu_count, cpu_count == 1 ? " CPU" : " CPUs");

  FreeMemory free_memory = info.free_memory;
  BootPages pages = FirstPages(free_memory, info.machine.initrd);
  SetUpFrames(info.machine, pages);
  SetUpIds();
  CreateRootTask(pages, info.machine.initrd.value_or(PhysRange{}));
  ListResources(free_memory, info.machine);

  StartTick(cpu);
  LeaveBoot(Schedule(cpu));
}
