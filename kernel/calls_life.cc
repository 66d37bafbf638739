// Kernel calls of the supervisor that start, stop, bind, inspect and destroy.
#include <algorithm>

#include "kernel/calls.h"
#include "kernel/direct_map.h"
#include "kernel/donation.h"
#include "kernel/interrupts.h"
#include "kernel/ipc.h"
#include "kernel/log/log.h"
#include "kernel/machine/power.h"
#include "kernel/memory/tlb.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/memory_object.h"
#include "kernel/pools.h"
#include "kernel/scheduler.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/sanitize.h"

namespace atoll {
namespace {

bool AnyVcpuOn(const Vm& vm) {
  for (const Vcpu* const vcpu : vm.vcpus) {
    if (vcpu != nullptr && vcpu->power == VcpuState::kOn) return true;
  }
  return false;
}

void Drop(Object& object) { --object.references; }

void ReleaseLater(const LaterDonations& donations) ATOLL_KERNEL_LOCKED {
  for (const LaterDonation& donation : donations) {
    static_cast<void>(
        pools.frames.Release(donation.base, donation.pages * kPageSize, FrameState::kObject));
  }
}

// No register of a CPU leads to pages that are given back; OnCpu.
void LeaveTaskSpace(void*) {
  Cpu::This().ttbr0 = empty_space;
  Ttbr0El2::Write(empty_space);
  Isb();  // not walked from any more when its TLB entries go
}
void LeaveGuestSpace(void* vttbr) {
  if (VttbrEl2::Read() == *static_cast<uint64_t*>(vttbr)) VttbrEl2::Write(0);
  Isb();
}

Status DestroyTask(Task& task) ATOLL_KERNEL_LOCKED {
  if (task.state == TaskState::kRunning) return Status::kFailedPrecondition;
  if (task.mappings.InUse() || task.port != &task.signal_port) return Status::kFailedPrecondition;
  for (uint32_t slot = 1; slot < task.handle_count; ++slot) {
    if (task.handles[slot].object != nullptr) Drop(*task.handles[slot].object);
  }
  if (task.ipc_memory != nullptr) Drop(*task.ipc_memory);
  SetTimer(task.replenish, Timer::kNever);
  for (Cpu& cpu : OnlineCpus()) {
    if (cpu.ttbr0 == task.ttbr0) OnCpu(cpu, LeaveTaskSpace, nullptr);
  }
  TaskTlb(task.asid).InvalidateAll();
  ReleaseLater(task.later_donations);
  pools.asids.Release(task.asid_tag);
  pools.callers.Give(static_cast<uint16_t>(task.token >> 48));
  --pools.tasks;
  return Status::kOk;
}

Status DestroyVm(Vm& vm) ATOLL_KERNEL_LOCKED {
  if (vm.mappings.InUse()) return Status::kFailedPrecondition;
  for (size_t i = 0; i < vm.ranges.size(); ++i) {
    if (vm.ranges[i].endpoint != nullptr) Drop(*vm.ranges[i].endpoint);
    if (vm.ranges[i].signal != nullptr) Drop(*vm.ranges[i].signal);
  }
  if (vm.hypercall != nullptr) Drop(*vm.hypercall);
  uint64_t vttbr = TranslationBase(vm.root, vm.vmid);
  for (Cpu& cpu : OnlineCpus()) OnCpu(cpu, LeaveGuestSpace, &vttbr);
  Stage2Tlb(vttbr).InvalidateAll();
  ReleaseLater(vm.later_donations);
  pools.vmids.Release(vm.vmid_tag);
  --pools.vms;
  return Status::kOk;
}

Status DestroyVcpu(Vcpu& vcpu) ATOLL_KERNEL_LOCKED {
  if (vcpu.power == VcpuState::kOn) return Status::kFailedPrecondition;
  SetTimer(vcpu.replenish, Timer::kNever);  // the others stopped when it was turned off
  vcpu.vm->vcpus[vcpu.index] = nullptr;
  pools.callers.Give(static_cast<uint16_t>(vcpu.token >> 48));
  // Another one may come to lie at this address: it is not the one whose TLB entries are still there.
  std::ranges::replace(vcpu.vm->last_loaded, &vcpu, nullptr);
  Drop(*vcpu.vm);
  return Status::kOk;
}

Status DestroyEndpoint(Endpoint& endpoint) ATOLL_KERNEL_LOCKED {
  if (endpoint.owner->state == TaskState::kRunning || !endpoint.queue.empty()) {
    return Status::kFailedPrecondition;
  }
  endpoint.owner->port = &endpoint.owner->signal_port;
  Drop(*endpoint.owner);
  return Status::kOk;
}

Status DestroyMemory(Memory& memory) ATOLL_KERNEL_LOCKED {
  if (memory.mapped_bytes != 0) return Status::kFailedPrecondition;
  if (memory.memory_type == MemoryType::kDevice) return Status::kOk;
  return pools.frames.Release(memory.base, memory.bytes, FrameState::kMemory);
}

Status DestroyIrq(Irq& irq) ATOLL_KERNEL_LOCKED {
  Drop(*irq.owner);
  return BindIrq(irq.intid, nullptr);
}

Status DestroyIrqLine(IrqLine& line) ATOLL_KERNEL_LOCKED {
  SetLine(*line.vm, line.intid, false);
  Drop(*line.vm);
  return Status::kOk;
}

// What an object lets go of. Only with the supervisor's own handle left.
Status Dismantle(Object& object) ATOLL_KERNEL_LOCKED {
  switch (object.type) {
    case ObjectType::kTask: return DestroyTask(static_cast<Task&>(object));
    case ObjectType::kVm: return DestroyVm(static_cast<Vm&>(object));
    case ObjectType::kVcpu: return DestroyVcpu(static_cast<Vcpu&>(object));
    case ObjectType::kEndpoint: return DestroyEndpoint(static_cast<Endpoint&>(object));
    case ObjectType::kSignal: Drop(*static_cast<Signal&>(object).owner); return Status::kOk;
    case ObjectType::kMemory: return DestroyMemory(static_cast<Memory&>(object));
    case ObjectType::kIrq: return DestroyIrq(static_cast<Irq&>(object));
    case ObjectType::kIrqLine: return DestroyIrqLine(static_cast<IrqLine&>(object));
    case ObjectType::kNone: break;
  }
  return Status::kInvalidArgument;
}

// Of a task or a VM; null for other objects.
struct TableDonations {
  PagePool* tables = nullptr;
  LaterDonations* later = nullptr;
  const MappingRecords* mappings = nullptr;
};

[[gnu::noinline]] TableDonations TableDonationsOf(const HandleEntry& handle) {
  if (handle.type() == ObjectType::kTask) {
    Task& task = *static_cast<Task*>(handle.object);
    return {&task.tables, &task.later_donations, &task.mappings};
  }
  if (handle.type() == ObjectType::kVm) {
    Vm& vm = *static_cast<Vm*>(handle.object);
    return {&vm.tables, &vm.later_donations, &vm.mappings};
  }
  return {};
}

}  // namespace

template <>
Result<Empty> Execute<KernelCall::kDestroyObject>(Task& caller, HandleEntry* handle, const Empty&) {
  Object& object = *handle->object;
  if (&object == &caller || object.references != 1)
    return std::unexpected(Status::kFailedPrecondition);
  if (const Status status = Dismantle(object); !IsOk(status)) return std::unexpected(status);
  *handle = {};
  // From here on nothing refers to the object: its pages are the supervisor's again.
  return FromStatus(
      pools.frames.Release(object.backing, object.backing_pages * kPageSize, FrameState::kObject));
}

template <>
Result<Empty> Execute<KernelCall::kStartTask>(Task& caller, HandleEntry* handle,
                                              const StartTaskRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  if (task.state == TaskState::kRunning) return std::unexpected(Status::kFailedPrecondition);
  if (!IsTaskEntry(request.pc) || !IsTaskStack(request.sp))
    return std::unexpected(Status::kInvalidArgument);
  const auto page =
      FindObject<Memory>(caller, request.ipc_memory, ObjectType::kMemory, Right::kManage);
  if (!page.has_value()) return std::unexpected(page.error());
  if ((*page)->memory_type != MemoryType::kNormal || (*page)->bytes != abi::kIpcBytes) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (task.ipc_memory != nullptr) Drop(*task.ipc_memory);
  ++(*page)->references;
  task.ipc_memory = *page;
  task.ipc_page = PhysToPointer<std::byte>((*page)->base);
  StartTask(task, request.pc, request.sp, request.argument, request.generation);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kKillTask>(Task& caller, HandleEntry* handle, const Empty&) {
  Task& task = ObjectOf<Task>(*handle);
  if (&task == &caller) return std::unexpected(Status::kFailedPrecondition);
  Die(task, DeathCause::kKilled);
  return Empty{};
}

template <>
Result<InspectTaskReply> Execute<KernelCall::kInspectTask>(Task&, HandleEntry* handle,
                                                           const Empty&) {
  Task& task = ObjectOf<Task>(*handle);
  return InspectTaskReply{.state = task.state,
                          .cause = task.cause,
                          .pc = task.frame.pc,
                          .esr = task.death_esr,
                          .far = task.death_far,
                          .ticks = task.ticks};
}

template <>
Result<InspectObjectReply> Execute<KernelCall::kInspectObject>(
    Task&, HandleEntry* handle, const InspectObjectRequest& request) {
  const Object& object = *handle->object;
  InspectObjectReply reply = {.type = static_cast<uint64_t>(object.type),
                              .backing = object.backing.value | object.backing_pages};
  const TableDonations space = TableDonationsOf(*handle);
  if (object.type == ObjectType::kMemory) {
    const Memory& memory = static_cast<const Memory&>(object);
    reply.memory = memory.base.value | static_cast<uint64_t>(memory.memory_type);
    reply.bytes = memory.bytes;
  } else if (space.later != nullptr) {
    size_t index = request.index;
    while (index < MappingRecords::kCapacity && (*space.mappings)[index].memory == nullptr) ++index;
    reply.type |= index << 8;
    if (index < MappingRecords::kCapacity) {
      const MappingRecords::Record& record = (*space.mappings)[index];
      reply.memory = record.memory->backing.value;
      reply.address = record.address;
      reply.bytes = record.bytes;
      reply.offset = record.offset;
    } else if (index -= MappingRecords::kCapacity; index < space.later->size()) {
      const LaterDonation& donation = (*space.later)[index];
      reply.address = donation.base.value;
      reply.bytes = donation.pages * kPageSize;
    }
  }
  return reply;
}

template <>
Result<Empty> Execute<KernelCall::kDonateTables>(Task&, HandleEntry* handle,
                                                 const DonateTablesRequest& request) {
  const TableDonations space = TableDonationsOf(*handle);
  if (space.later == nullptr) return std::unexpected(Status::kInvalidArgument);
  Donation donation(request.backing);
  if (donation.pages() == 0) return std::unexpected(Status::kInvalidArgument);
  if (space.later->full()) return std::unexpected(Status::kResourceExhausted);
  const Status status =
      pools.frames.Claim(donation.base(), donation.pages() * kPageSize, FrameState::kObject);
  if (!IsOk(status)) return std::unexpected(status);
  static_cast<void>(space.later->PushBack({donation.base(), donation.pages()}));  // there is room
  donation.GiveRest(*space.tables);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kBindMmio>(Task& caller, HandleEntry* handle,
                                             const BindMmioRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  const auto endpoint =
      FindObject<Endpoint>(caller, request.endpoint, ObjectType::kEndpoint, Right::kManage);
  if (!endpoint.has_value()) return std::unexpected(endpoint.error());
  if (AnyVcpuOn(vm)) return std::unexpected(Status::kFailedPrecondition);
  if (request.address % kPageSize != 0 || request.bytes % kPageSize != 0 || request.bytes == 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (!InBounds(request.address, request.bytes, uint64_t{1} << abi::kGuestPhysBits)) {
    return std::unexpected(Status::kOutOfRange);
  }
  const Status status = vm.ranges.Insert({.base = request.address,
                                          .size = request.bytes,
                                          .endpoint = *endpoint,
                                          .badge = request.badge});
  if (!IsOk(status)) return std::unexpected(status);
  ++(*endpoint)->references;
  for (Vcpu* const vcpu : vm.vcpus) {
    if (vcpu != nullptr) vcpu->last_range = &no_range;  // the table's entries have moved
  }
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kBindDoorbell>(Task& caller, HandleEntry* handle,
                                                 const BindDoorbellRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  const auto signal =
      FindObject<Signal>(caller, request.signal, ObjectType::kSignal, Right::kManage);
  if (!signal.has_value()) return std::unexpected(signal.error());
  if (request.address % sizeof(uint32_t) != 0 || request.first_bit + request.bits > 64) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (AnyVcpuOn(vm)) return std::unexpected(Status::kFailedPrecondition);
  Range* const range = vm.ranges.Find(GuestPhys(request.address));
  if (range == nullptr) return std::unexpected(Status::kNotFound);
  if (range->signal != nullptr) return std::unexpected(Status::kAlreadyExists);
  range->doorbell = request.address - range->base;
  range->signal = *signal;
  range->first_bit = request.first_bit;
  range->bits = request.bits;
  range->patient = request.patient;
  ++(*signal)->references;
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kBindHypercall>(Task& caller, HandleEntry* handle,
                                                  const BindHypercallRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  const auto endpoint =
      FindObject<Endpoint>(caller, request.endpoint, ObjectType::kEndpoint, Right::kManage);
  if (!endpoint.has_value()) return std::unexpected(endpoint.error());
  if (AnyVcpuOn(vm)) return std::unexpected(Status::kFailedPrecondition);
  if (vm.hypercall != nullptr) Drop(*vm.hypercall);
  ++(*endpoint)->references;
  vm.hypercall = *endpoint;
  for (Vcpu* const vcpu : vm.vcpus) {
    if (vcpu != nullptr) vcpu->hypercall = *endpoint;
  }
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kResetVm>(Task&, HandleEntry* handle, const Empty&) {
  Vm& vm = ObjectOf<Vm>(*handle);
  if (vm.state == VmState::kRunning) return std::unexpected(Status::kFailedPrecondition);
  for (Vcpu* const vcpu : vm.vcpus) {
    if (vcpu != nullptr) TurnOff(*vcpu);
  }
  vm.gic->Reset();
  vm.id_registers.Reset();
  vm.state = VmState::kCreated;
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kPowerOff>(Task& caller, HandleEntry* handle,
                                             const PowerOffRequest& request) {
  PowerOff(request.status);
}

template <>
Result<GetResourceReply> Execute<KernelCall::kGetResource>(Task& caller, HandleEntry* handle,
                                                           const GetResourceRequest& request) {
  if (request.index >= pools.resources.size()) return GetResourceReply{};
  return pools.resources[request.index];
}

template <>
Result<ReadLogReply> Execute<KernelCall::kReadLog>(Task& caller, HandleEntry* handle,
                                                   const ReadLogRequest& request) {
  uint64_t position = request.from;
  const size_t bytes =
      LogRead(position, {reinterpret_cast<char*>(caller.ipc_page), abi::kIpcBytes});
  return ReadLogReply{.bytes = static_cast<uint32_t>(bytes), .next = position};
}

template <>
Result<SetLogOutputReply> Execute<KernelCall::kSetLogOutput>(Task& caller, HandleEntry* handle,
                                                             const SetLogOutputRequest& request) {
  return SetLogOutputReply{.next = LogSetReader(caller, request.bits, request.from)};
}

template <>
Result<GetCpuReply> Execute<KernelCall::kGetCpu>(Task& caller, HandleEntry* handle,
                                                 const GetCpuRequest& request) {
  if (request.cpu >= cpu_count) return std::unexpected(Status::kOutOfRange);
  const Cpu& cpu = cpus[request.cpu];
  return GetCpuReply{
      .idle = cpu.idle_ticks, .contended = cpu.contended, .waited = cpu.contended_ticks};
}

template <>
Result<Empty> Execute<KernelCall::kSetSchedule>(Task&, HandleEntry* handle,
                                                const SetScheduleRequest& request) {
  Thread* thread = nullptr;
  if (handle->type() == ObjectType::kTask) thread = static_cast<Task*>(handle->object);
  if (handle->type() == ObjectType::kVcpu) thread = static_cast<Vcpu*>(handle->object);
  if (thread == nullptr || (request.budget != 0 && request.period < request.budget)) {
    return std::unexpected(Status::kInvalidArgument);
  }
  // A vCPU has a home: its EL1 state stays in that CPU's registers.
  if (request.cpu >= cpu_count && (request.cpu != kAnyCpu || thread->vcpu)) {
    return std::unexpected(Status::kOutOfRange);
  }
  thread->schedule.priority = request.priority;
  thread->schedule.budget = request.budget;
  thread->schedule.period = request.period;
  Reprioritize(*thread);
  SetHome(*thread, request.cpu);
  return Empty{};
}

}  // namespace atoll
