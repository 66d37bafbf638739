// A virtual machine: a Stage-2 address space, its bindings, its virtual interrupts and its vCPUs.
#ifndef ATOLL_KERNEL_VM_H_
#define ATOLL_KERNEL_VM_H_

#include <array>
#include <cstdint>

#include "kernel/boot/stacks.h"
#include "kernel/endpoint.h"
#include "kernel/memory/id_allocator.h"
#include "kernel/memory/page_pool.h"
#include "kernel/memory_object.h"
#include "kernel/object.h"
#include "kernel/range.h"
#include "kernel/thread.h"
#include "kernel/timer_queue.h"
#include "kernel/vcpu/el1_context.h"
#include "kernel/vcpu/id_registers.h"
#include "kernel/vgic/virtual_gic.h"

namespace atoll {

inline constexpr uint32_t kMaxVcpus = 8;

struct Vm;

struct Vcpu : Thread, Object {
  Vcpu() : Thread(true), Object(ObjectType::kVcpu) {}

  Vm* vm = nullptr;
  Endpoint* hypercall = nullptr;  // copy of its VM's, one load less
  uint32_t index = 0;
  uint64_t mpidr = 0;
  VcpuState power = VcpuState::kOff;
  Range* last_range = &no_range;  // of the last access: consecutive accesses mostly hit one device
  Cpu* loaded_on = nullptr;       // where its EL1 state is in the registers
  bool mmio_big_endian = false;   // with kWorkMmio: the access it waits for
  El1Context context;
  // Stand in for its EL1 timers while it is not loaded: they wake it.
  Timer virtual_timer;
  Timer physical_timer;
};

struct Vm : Object {
  Vm() : Object(ObjectType::kVm) {}

  VmState state = VmState::kCreated;
  PhysAddr root;  // two concatenated level 1 tables
  AddressSpaceTag vmid_tag;
  uint32_t vmid = 0;
  PagePool tables;
  LaterDonations later_donations;
  MappingRecords mappings;
  RangeTable ranges;
  Endpoint* hypercall = nullptr;  // its vmm
  uint32_t vcpu_count = 0;
  bool paused = false;
  std::array<Vcpu*, kMaxVcpus> vcpus = {};
  IdRegisters id_registers;
  VirtualGic* gic = nullptr;
  // By CPU: whose local TLB entries it may hold.
  std::array<Vcpu*, kMaxCpus> last_loaded = {};
  uint32_t unclaimed_logged = 0;
  Task* watcher = nullptr;  // whose signal bits tell of a change of state
  uint64_t watcher_bits = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VM_H_
