#include "services/supervisor/plan_executor.h"

#include "services/supervisor/journal.h"
#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

// A kernel's refusal with the kind of the record and the object that it was
// about.
Checked<void> Check(Status status, std::string_view kind, uint32_t slot) {
  if (IsOk(status)) return {};
  return std::unexpected(
      LogLine(kind).Append(" of slot ").Decimal(slot).Append(": ").Append(StatusName(status)));
}

std::unexpected<LogLine> Refuse(std::string_view reason) {
  return std::unexpected(LogLine(reason));
}

std::unexpected<LogLine> About(const char* name, const LogLine& problem) {
  return std::unexpected(LogLine("task ").Append(name).Append(": ").Append(problem.view()));
}

}  // namespace

Checked<void> PlanExecutor::Execute(const atoll_PlanRecord& plan, bool is_begun) {
  Bulk bulk;
  Checked<void> done = is_begun ? Resume(plan, bulk) : Begin(plan, bulk);
  while (done && !bulk.done()) done = Continue(bulk);
  return done;
}

Checked<void> PlanExecutor::Begin(const atoll_PlanRecord& plan, Bulk& bulk) {
  const auto& record = plan.record;
  objects_.set_owner(plan.owner_vm);
  switch (plan.which_record) {
    case atoll_PlanRecord_vm_tag: return Vm(record.vm);
    case atoll_PlanRecord_object_tag: return Object(record.object);
    case atoll_PlanRecord_memory_tag: return Memory(record.memory, bulk);
    case atoll_PlanRecord_task_tag: return Task(record.task);
    case atoll_PlanRecord_config_tag: return Config(record.config);
    case atoll_PlanRecord_grant_tag: return Grant(record.grant);
    case atoll_PlanRecord_mapping_tag: return Mapping(record.mapping, bulk);
    case atoll_PlanRecord_mmio_tag: return Mmio(record.mmio);
    case atoll_PlanRecord_doorbell_tag: return Doorbell(record.doorbell);
    case atoll_PlanRecord_hypercall_tag: return Hypercall(record.hypercall);
    case atoll_PlanRecord_start_tag: return Start(record.start);
    case atoll_PlanRecord_dma_tag: return Dma(record.dma);
    case atoll_PlanRecord_schedule_tag: return Schedule(record.schedule);
    default: return Refuse("is a second header");
  }
}

Checked<void> PlanExecutor::Continue(Bulk& bulk) {
  const char* const kind = bulk.kind == Bulk::Kind::kMap ? "mapping" : "memory";
  return Check(objects_.Step(bulk), kind, bulk.memory);
}

Checked<void> PlanExecutor::Vm(const atoll_PlanVm& vm) {
  if (!objects_.Exists(vm.slot)) return Check(Status::kNotFound, "vm", vm.slot);
  if (vms_.Add(vm) == nullptr) return Refuse("vm: more than 8, or the slot is there twice");
  return {};
}

Checked<void> PlanExecutor::Object(const atoll_PlanObject& object) {
  const auto type = static_cast<ObjectType>(object.type);
  if (type == ObjectType::kNone || type == ObjectType::kMemory || type > ObjectType::kIrqLine) {
    return Refuse("object.type is not a kernel object other than memory");
  }
  uint64_t a = object.a;
  if (object.resource != 0) {
    const auto* resource = resources_.Find(static_cast<ResourceKind>(object.resource));
    if (resource == nullptr && object.optional) return {};
    if (resource == nullptr) return Refuse("object.resource: the machine has no such device");
    a = resource->intid;
  }
  return Check(objects_.Create(type, object.slot, object.owner, a, object.b), "object",
               object.slot);
}

Checked<void> PlanExecutor::Memory(const atoll_PlanMemory& memory, Bulk& bulk) {
  switch (memory.source) {
    case atoll_PlanMemory_Source_RAM: return RamMemory(memory, bulk);
    case atoll_PlanMemory_Source_FILE: return FileMemory(memory);
    case atoll_PlanMemory_Source_DEVICE: break;
    default: return Refuse("memory.source is none that there is");
  }
  const auto* resource = resources_.Find(static_cast<ResourceKind>(memory.resource));
  if (resource == nullptr && memory.optional) return {};
  if (resource == nullptr) return Refuse("memory.resource: the machine has no such device");
  if (memory.bytes > AlignUp(resource->bytes, kPageSize)) {
    return Refuse("memory.bytes is more than the device has");
  }
  return Check(objects_.CreateMemory(memory.slot, PhysAddr{resource->base}, memory.bytes,
                                     MemoryType::kDevice),
               "memory", memory.slot);
}

Checked<void> PlanExecutor::RamMemory(const atoll_PlanMemory& memory, Bulk& bulk) {
  const Status status = objects_.CreateRam(memory.slot, memory.bytes, memory.alignment, bulk);
  if (status != Status::kResourceExhausted) return Check(status, "memory", memory.slot);
  return std::unexpected(LogLine("memory.bytes: ")
                             .Decimal(memory.bytes)
                             .Append(" are wanted, ")
                             .Decimal(objects_.free_bytes())
                             .Append(" are free: give the machine more memory"));
}

Checked<void> PlanExecutor::FileMemory(const atoll_PlanMemory& memory) {
  const auto refuse = [&](std::string_view reason) {
    return std::unexpected(
        LogLine("boot archive: file \"").Append(memory.file).Append("\": ").Append(reason));
  };
  const Archive::File* file = archive_.Find(memory.file);
  if (file == nullptr) return refuse("is not there");
  // Whole pages, so that whoever maps it sees no other file's bytes. Bounds
  // bytes, too: no sum wraps.
  if (file->offset % kPageSize != 0 || file->data.size() % kPageSize != 0) {
    return refuse("does not fill whole pages: write the archive with scripts/archive.py");
  }
  if (memory.bytes == 0 || memory.bytes > file->data.size() ||
      AlignUp(memory.bytes, kPageSize) != file->data.size()) {
    return refuse("its size is not the one in the plan");
  }
  const auto* archive = resources_.Find(ResourceKind::kArchive);
  if (archive == nullptr) return refuse("the machine has no boot archive");
  return Check(objects_.CreateMemory(memory.slot, PhysAddr{archive->base + file->offset},
                                     file->data.size(), MemoryType::kNormal),
               "memory", memory.slot);
}

Checked<void> PlanExecutor::Task(const atoll_PlanTask& task) {
  if (!objects_.Exists(task.slot)) return Check(Status::kNotFound, "task", task.slot);
  if (task.vm != 0 && vms_.Find(task.vm) == nullptr)
    return Refuse("task.vm is not a VM of the plan");
  TaskEntry* const entry = tasks_.Add(task);
  TaskHistory* const history = RecoveryJournalOf(kernel_).Find(task.slot);
  if (entry == nullptr || history == nullptr) {
    return Refuse("task: more than 128, or the slot is there twice");
  }
  // The VM is fresh, and so is the service; but it is the build that the user wants.
  TaskHistory fresh;
  fresh.slot = task.slot;
  fresh.file = history->file;
  *history = fresh;
  entry->history = history;
  entry->UseBuild();
  if (auto loaded = loader_.Load(entry->plan); !loaded) {
    tasks_.Remove(static_cast<size_t>(entry - tasks_.entries().data()));
    return About(task.name, loaded.error());
  }
  return {};
}

Checked<void> PlanExecutor::Config(const atoll_PlanConfig& config) {
  const TaskEntry* task = tasks_.Find(config.task);
  if (task == nullptr) return Refuse("config.task is not a task of the plan");
  const auto data = std::as_bytes(std::span(config.data.bytes, config.data.size));
  return loader_.WriteConfig(task->plan, config.offset, data);
}

Checked<void> PlanExecutor::Grant(const atoll_PlanGrant& grant) {
  if (grant.optional && !objects_.Exists(grant.object)) return {};
  return Check(
      objects_.Grant(
          grant.object,
          {.task = grant.task, .slot = grant.slot, .rights = grant.rights, .badge = grant.badge}),
      "grant", grant.object);
}

Checked<void> PlanExecutor::Mapping(const atoll_PlanMapping& mapping, Bulk& bulk) {
  if (mapping.optional && !objects_.Exists(mapping.memory)) return {};
  // What its manifest names; nothing else is granted to the supervisor itself.
  if (mapping.space == kOwnTask.slot && !NoteOwn(mapping.address, mapping.bytes)) {
    return Refuse("mapping.space is the supervisor itself");
  }
  if (mapping.bytes == 0) return Check(Status::kInvalidArgument, "mapping", mapping.memory);
  bulk = objects_.MapLater(mapping.memory, mapping.space, 0, mapping.address, mapping.bytes,
                           mapping.rights);
  return {};
}

bool PlanExecutor::NoteOwn(uint64_t address, uint64_t bytes) {
  namespace own = supervisor_manifest;
  const auto is = [&](VirtAddr own_address, uint64_t own_bytes) {
    return address == own_address.value && bytes == own_bytes;
  };
  const bool is_log = is(own::kLogAddress, own::kLogBytes);
  const bool is_vms = is(own::kVmsAddress, own::kVmsBytes);
  const bool is_monitor = is(own::kMonitorAddress, own::kMonitorBytes);
  has_log_ |= is_log;
  has_vms_ |= is_vms;
  has_monitor_ |= is_monitor;
  return is_log || is_vms || is_monitor;
}

Status PlanExecutor::Bound(Status status) const {
  return resuming_ && status == Status::kAlreadyExists ? Status::kOk : status;
}

Checked<void> PlanExecutor::Mmio(const atoll_PlanMmio& mmio) {
  return Check(Bound(kernel_.BindMmio(abi::Handle{mmio.vm}, {.address = mmio.address,
                                                             .bytes = mmio.bytes,
                                                             .endpoint = mmio.endpoint,
                                                             .badge = mmio.badge})),
               "mmio", mmio.endpoint);
}

Checked<void> PlanExecutor::Doorbell(const atoll_PlanDoorbell& doorbell) {
  return Check(
      Bound(kernel_.BindDoorbell(abi::Handle{doorbell.vm}, {.address = doorbell.address,
                                                            .signal = doorbell.signal,
                                                            .first_bit = doorbell.first_bit,
                                                            .bits = doorbell.bits,
                                                            .patient = doorbell.patient})),
      "doorbell", doorbell.signal);
}

Checked<void> PlanExecutor::Hypercall(const atoll_PlanHypercall& hypercall) {
  return Check(kernel_.BindHypercall(abi::Handle{hypercall.vm}, {.endpoint = hypercall.endpoint}),
               "hypercall", hypercall.endpoint);
}

Checked<void> PlanExecutor::Start(const atoll_PlanStart& start) {
  TaskEntry* task = tasks_.Find(start.task);
  if (task == nullptr) return Refuse("start.task is not a task of the plan");
  if (task->state != TaskEntry::State::kLoaded) return Refuse("start.task is started already");
  const abi::Handle handle{start.task};
  // What it does at first, loading a guest perhaps, may take longer than its jobs: those are limited after the first one
  // (ServiceRecovery).
  const uint32_t deadline = task->plan.deadline_ms == 0 ? 0 : task->plan.start_ms;
  if (auto limited =
          Check(kernel_.SetLimits(handle, deadline, task->plan.effects), "limits", start.task);
      !limited) {
    return limited;
  }
  task->history->asked_at = 0;
  if (auto started = loader_.Start(task->plan, 0, TaskMode::kNormal); !started) {
    return About(task->plan.name, started.error());
  }
  Journal(task->history->started, uint32_t{1});
  task->state = TaskEntry::State::kRunning;
  return {};
}

Checked<void> PlanExecutor::Dma(const atoll_PlanDma& dma) {
  if (dma.optional && (!objects_.Exists(dma.table) || !objects_.Exists(dma.target))) return {};
  if (dma.entry >= kDmaWindows) return Refuse("dma.entry is beyond the table");
  if (tasks_.Find(dma.driver) == nullptr) return Refuse("dma.driver is not a task of the plan");
  uint64_t offset = 0;
  if (dma.resource != 0) {
    const auto* resource = resources_.Find(static_cast<ResourceKind>(dma.resource));
    if (resource == nullptr && dma.optional) return {};
    if (resource == nullptr) return Refuse("dma.resource: the machine has no such device");
    offset = resource->base % kPageSize;
  }
  return Check(dma_.Open(dma, offset), "dma", dma.target);
}

Checked<void> PlanExecutor::Schedule(const atoll_PlanSchedule& schedule) {
  const auto* resource = resources_.Find(ResourceKind::kCpus);
  const uint64_t cpus = resource != nullptr && resource->base != 0 ? resource->base : 1;
  if (!schedule.spread && schedule.cpu >= cpus) {
    return std::unexpected(LogLine("schedule.cpu: CPU ")
                               .Decimal(schedule.cpu)
                               .Append(" is wanted, the machine has ")
                               .Decimal(cpus));
  }
  return Check(kernel_.SetSchedule(abi::Handle{schedule.slot},
                                   {.priority = schedule.priority,
                                    .budget = schedule.budget,
                                    .period = schedule.period,
                                    .cpu = static_cast<uint32_t>(schedule.cpu % cpus)}),
               "schedule", schedule.slot);
}

}  // namespace atoll
