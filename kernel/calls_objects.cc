// Kernel calls that create, destroy and hand out objects.
#include <algorithm>

#include "kernel/calls.h"
#include "kernel/cpu_setup.h"
#include "kernel/donation.h"
#include "kernel/interrupts.h"
#include "kernel/ipc.h"
#include "kernel/memory/page_table.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/memory_object.h"
#include "kernel/physical_gic.h"
#include "kernel/pools.h"
#include "kernel/scheduler.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vcpu/traps_configuration.h"
#include "kernel/vcpu_switch.h"
#include "kernel/vgic/list_register_hardware.h"

namespace atoll {
namespace {

constexpr uint64_t Field(uint64_t word, unsigned low, unsigned bits) {
  return (word >> low) & ((uint64_t{1} << bits) - 1);
}

// Aff3.Aff2.Aff1.Aff0, one byte each, from the fields of MPIDR_EL1.
constexpr uint32_t PackedAffinity(uint64_t mpidr) {
  return static_cast<uint32_t>((mpidr & 0xff'ffff) | (mpidr >> 32 & 0xff) << 24);
}

uint64_t NextCaller() ATOLL_KERNEL_LOCKED { return uint64_t{pools.callers.Take()} << 48; }

Result<Task*> OwnerTask(Task& caller, uint32_t slot) {
  return FindObject<Task>(caller, slot, ObjectType::kTask, Right::kManage);
}
Result<Vm*> OwnerVm(Task& caller, uint32_t slot) {
  return FindObject<Vm>(caller, slot, ObjectType::kVm, Right::kManage);
}

Result<Object*> CreateTask(Task& caller, const CreateObjectRequest& request,
                           Donation& donation) ATOLL_KERNEL_LOCKED {
  const uint32_t rank = static_cast<uint32_t>(Field(request.a, 0, 8));
  const uint32_t priority = static_cast<uint32_t>(Field(request.a, 8, 8));
  const uint32_t timer_bit = static_cast<uint32_t>(Field(request.a, 16, 8));
  const uint32_t handles = static_cast<uint32_t>(Field(request.a, 32, 16));
  if (rank > abi::kMaxRank || priority >= kPriorities || timer_bit >= 64 || handles < 2) {
    return std::unexpected(Status::kInvalidArgument);
  }
  Account account = 0;
  if (request.owner != 0) {
    const auto vm = OwnerVm(caller, request.owner);
    if (!vm.has_value()) return std::unexpected(vm.error());
    account = static_cast<Account>((*vm)->vmid);
  }
  const uint32_t table_pages = Donation::PagesFor(handles * sizeof(HandleEntry));
  // The object, its handles, its root table.
  if (donation.pages() < Donation::PagesFor(sizeof(Task)) + table_pages + 1 ||
      pools.tasks + 2 >= pools.task_limit) {
    return std::unexpected(Status::kResourceExhausted);
  }
  Task* const task = donation.Construct<Task>();
  task->handles = reinterpret_cast<HandleEntry*>(donation.Take(table_pages));
  task->handle_count = handles;
  task->rank = rank;
  task->root = donation.next();
  donation.Take(1);
  donation.GiveRest(task->tables);
  task->asid = pools.asids.Activate(task->asid_tag, 0, [] { InvalidateEveryTask(); });
  ++pools.tasks;
  task->ttbr0 = TranslationBase(task->root, task->asid);
  task->hcr = kHostHcr;
  task->token = NextCaller();
  task->schedule.priority = priority;
  task->schedule.account = account;
  task->port = &task->signal_port;
  task->timer.expired = OnTaskTimer;
  task->timer.owner = task;
  task->timer_bit = timer_bit;
  task->death_watcher = &caller;
  task->death_bits = request.b;
  return task;
}

Result<Object*> CreateVm(Task& caller, const CreateObjectRequest& request,
                         Donation& donation) ATOLL_KERNEL_LOCKED {
  const uint32_t intids = static_cast<uint32_t>(Field(request.a, 0, 16));
  const uint32_t vcpus = static_cast<uint32_t>(Field(request.a, 32, 16));
  if (intids < 64 || intids > 1024 || intids % 32 != 0 || vcpus == 0 || vcpus > kMaxVcpus) {
    return std::unexpected(Status::kInvalidArgument);
  }
  const uint32_t object_pages = Donation::PagesFor(sizeof(Vm));
  const uint32_t gic_pages = Donation::PagesFor(VirtualGic::BytesNeeded(intids, vcpus));
  // Two concatenated root tables must begin at a multiple of their size; one page may be lost before them.
  constexpr uint32_t kRootPages = Stage2Table::kRootBytes / kPageSize;
  if (donation.pages() < object_pages + gic_pages + kRootPages + 1 ||
      pools.vms + 2 >= pools.vm_limit) {
    return std::unexpected(Status::kResourceExhausted);
  }
  Vm* const vm = donation.Construct<Vm>();
  std::byte* const gic_memory = donation.Take(gic_pages);
  const Result<VirtualGic*> gic = VirtualGic::Create({gic_memory, gic_pages * kPageSize}, intids,
                                                     vcpus, ListRegisterHardware::ReadType());
  if (!gic.has_value()) return std::unexpected(gic.error());
  vm->gic = *gic;
  vm->id_registers = IdRegisters(shown_id_registers);
  if (!donation.next().IsAligned(Stage2Table::kRootBytes)) {
    vm->tables.Give(donation.next());
    donation.Take(1);
  }
  vm->root = donation.next();
  donation.Take(kRootPages);
  donation.GiveRest(vm->tables);
  vm->vmid = pools.vmids.Activate(vm->vmid_tag, 0, [] { InvalidateEveryGuest(); });
  OpenAccount(static_cast<Account>(vm->vmid));
  ++pools.vms;
  vm->vcpu_count = vcpus;
  vm->watcher = &caller;
  vm->watcher_bits = request.b;
  return vm;
}

Result<Object*> CreateVcpu(Task& caller, const CreateObjectRequest& request,
                           Donation& donation) ATOLL_KERNEL_LOCKED {
  const auto vm = OwnerVm(caller, request.owner);
  if (!vm.has_value()) return std::unexpected(vm.error());
  const uint32_t index = static_cast<uint32_t>(Field(request.a, 0, 8));
  const uint32_t priority = static_cast<uint32_t>(Field(request.a, 8, 8));
  if (!IsAffinity(request.b) || index >= (*vm)->vcpu_count || priority >= kPriorities) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if ((*vm)->vcpus[index] != nullptr) return std::unexpected(Status::kAlreadyExists);
  if (donation.pages() < Donation::PagesFor(sizeof(Vcpu))) {
    return std::unexpected(Status::kResourceExhausted);
  }
  Vcpu* const vcpu = donation.Construct<Vcpu>();
  vcpu->vm = *vm;
  vcpu->index = index;
  vcpu->mpidr = request.b;
  vcpu->hypercall = (*vm)->hypercall;
  vcpu->schedule.priority = priority;
  vcpu->schedule.home_cpu = index % cpu_count;
  vcpu->payers.charged = static_cast<Account>((*vm)->vmid);
  VcpuMask kicks = 0;
  const Status status = (*vm)->gic->Attach(index, PackedAffinity(request.b), kicks);
  if (!IsOk(status)) return std::unexpected(status);
  // The EL1 timers' interrupts are the physical ones while the vCPU is loaded.
  for (const uint32_t intid : {physical_gic.timers.virtual_, physical_gic.timers.physical}) {
    (*vm)->gic->vcpu(index).MapPhysical(intid, intid);
  }
  vcpu->token = NextCaller();
  (*vm)->vcpus[index] = vcpu;
  ++(*vm)->references;
  Kick(**vm, kicks);
  ResetVcpu(*vcpu);
  return vcpu;
}

Result<Object*> CreateEndpoint(Task& caller, const CreateObjectRequest& request,
                               Donation& donation) ATOLL_KERNEL_LOCKED {
  const auto owner = OwnerTask(caller, request.owner);
  if (!owner.has_value()) return std::unexpected(owner.error());
  if (request.a > abi::kMaxRank) return std::unexpected(Status::kInvalidArgument);
  if ((*owner)->port != &(*owner)->signal_port) return std::unexpected(Status::kAlreadyExists);
  // Whoever may call it ranks above its owner then, so no cycle of calls can be.
  if ((*owner)->state == TaskState::kRunning || request.a < (*owner)->rank) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  Endpoint* const endpoint = donation.Construct<Endpoint>(static_cast<uint32_t>(request.a));
  endpoint->owner = *owner;
  (*owner)->port = endpoint;
  ++(*owner)->references;
  return endpoint;
}

Result<Object*> CreateSignal(Task& caller, const CreateObjectRequest& request,
                             Donation& donation) ATOLL_KERNEL_LOCKED {
  const auto owner = OwnerTask(caller, request.owner);
  if (!owner.has_value()) return std::unexpected(owner.error());
  ++(*owner)->references;
  return donation.Construct<Signal>(*owner);
}

Result<Object*> CreateIrq(Task& caller, const CreateObjectRequest& request,
                          Donation& donation) ATOLL_KERNEL_LOCKED {
  const auto signal =
      FindObject<Signal>(caller, request.owner, ObjectType::kSignal, Right::kManage);
  if (!signal.has_value()) return std::unexpected(signal.error());
  if (request.a < 32 || request.a >= 1020) return std::unexpected(Status::kOutOfRange);
  Irq* const irq =
      donation.Construct<Irq>(static_cast<uint32_t>(request.a), (*signal)->owner, request.b);
  if (const Status status = BindIrq(irq->intid, irq); !IsOk(status)) return std::unexpected(status);
  ++irq->owner->references;
  return irq;
}

Result<Object*> CreateIrqLine(Task& caller, const CreateObjectRequest& request,
                              Donation& donation) ATOLL_KERNEL_LOCKED {
  const auto vm = OwnerVm(caller, request.owner);
  if (!vm.has_value()) return std::unexpected(vm.error());
  if (request.a < 32 || request.a >= (*vm)->gic->intids())
    return std::unexpected(Status::kOutOfRange);
  ++(*vm)->references;
  return donation.Construct<IrqLine>(*vm, static_cast<uint32_t>(request.a));
}

// Device registers may be given away only if the machine's list has them; whatever the kernel drives itself
// (GIC) is not in it.
bool IsListedDevice(PhysAddr base, uint64_t bytes) ATOLL_KERNEL_LOCKED {
  return std::any_of(
      pools.resources.begin(), pools.resources.end(), [&](const GetResourceReply& entry) {
        return entry.kind != ResourceKind::kRam && entry.kind != ResourceKind::kArchive &&
               entry.kind != ResourceKind::kCpus &&
               InBounds(base.value - AlignDown(entry.base, kPageSize), bytes,
                        AlignUp(entry.bytes, kPageSize));
      });
}

Result<Object*> CreateMemory(const CreateObjectRequest& request,
                             Donation& donation) ATOLL_KERNEL_LOCKED {
  const PhysAddr base(AlignDown(request.a, kPageSize));
  const uint64_t type = request.a - base.value;
  if (type > static_cast<uint64_t>(MemoryType::kDevice) || request.b == 0 ||
      request.b % kPageSize != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (type == static_cast<uint64_t>(MemoryType::kDevice)) {
    if (pools.frames.Overlaps(base, request.b) || !IsListedDevice(base, request.b)) {
      return std::unexpected(Status::kOutOfRange);
    }
  } else if (const Status status = pools.frames.Claim(base, request.b, FrameState::kMemory);
             !IsOk(status)) {
    return std::unexpected(status);
  }
  return donation.Construct<Memory>(base, request.b, static_cast<MemoryType>(type));
}

Result<Object*> Create(Task& caller, const CreateObjectRequest& request,
                       Donation& donation) ATOLL_KERNEL_LOCKED {
  switch (request.type) {
    case ObjectType::kMemory: return CreateMemory(request, donation);
    case ObjectType::kTask: return CreateTask(caller, request, donation);
    case ObjectType::kVm: return CreateVm(caller, request, donation);
    case ObjectType::kVcpu: return CreateVcpu(caller, request, donation);
    case ObjectType::kEndpoint: return CreateEndpoint(caller, request, donation);
    case ObjectType::kSignal: return CreateSignal(caller, request, donation);
    case ObjectType::kIrq: return CreateIrq(caller, request, donation);
    case ObjectType::kIrqLine: return CreateIrqLine(caller, request, donation);
    case ObjectType::kNone: break;
  }
  return std::unexpected(Status::kInvalidArgument);
}

inline constexpr uint32_t kAllRights = 511;

}  // namespace

template <>
Result<Empty> Execute<KernelCall::kCreateObject>(Task& caller, HandleEntry* handle,
                                                 const CreateObjectRequest& request) {
  // The authority to create is the right to manage oneself, which the kernel gives to its first task alone.
  if (request.slot >= caller.handle_count) return std::unexpected(Status::kOutOfRange);
  if (caller.handles[request.slot].object != nullptr)
    return std::unexpected(Status::kAlreadyExists);
  Donation donation(request.backing);
  if (donation.pages() == 0) return std::unexpected(Status::kResourceExhausted);
  const uint64_t bytes = donation.pages() * kPageSize;
  if (const Status status = pools.frames.Claim(donation.base(), bytes, FrameState::kObject);
      !IsOk(status)) {
    return std::unexpected(status);
  }
  const Result<Object*> object = Create(caller, request, donation);
  if (!object.has_value()) {
    static_cast<void>(pools.frames.Release(donation.base(), bytes, FrameState::kObject));
    return std::unexpected(object.error());
  }
  (*object)->backing = donation.base();
  (*object)->backing_pages = donation.pages();
  (*object)->references = 1;
  caller.handles[request.slot] = {.object = *object,
                                  .type_and_rights = HandleEntry::Pack(request.type, kAllRights)};
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kGrantHandle>(Task& caller, HandleEntry* handle,
                                                const GrantHandleRequest& request) {
  const auto task = OwnerTask(caller, request.task);
  if (!task.has_value()) return std::unexpected(task.error());
  if (request.slot >= (*task)->handle_count) return std::unexpected(Status::kOutOfRange);
  HandleEntry& slot = (*task)->handles[request.slot];
  if (request.rights == 0) {
    if (slot.object != nullptr) --slot.object->references;
    slot = {};
    return Empty{};
  }
  if ((request.rights & ~handle->rights()) != 0) return std::unexpected(Status::kPermissionDenied);
  if (handle->type() == ObjectType::kEndpoint &&
      (request.rights & static_cast<uint32_t>(Right::kSend)) != 0 &&
      static_cast<Endpoint*>(handle->object)->rank >= (*task)->rank) {
    return std::unexpected(Status::kFailedPrecondition);
  }
  if (slot.object != nullptr) --slot.object->references;
  ++handle->object->references;
  slot = {.object = handle->object,
          .type_and_rights = HandleEntry::Pack(handle->type(), request.rights),
          .badge = request.badge};
  return Empty{};
}

}  // namespace atoll
