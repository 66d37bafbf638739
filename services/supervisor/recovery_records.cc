// The plan's records for a supervisor that was started again: those that an earlier instance did are noted, the one that
// it was at is finished.
#include <algorithm>

#include "services/supervisor/journal.h"
#include "services/supervisor/plan_executor.h"

namespace atoll {
namespace {

Checked<void> Check(Status status, std::string_view kind, uint32_t slot) {
  if (IsOk(status)) return {};
  return std::unexpected(
      LogLine(kind).Append(" of slot ").Decimal(slot).Append(": ").Append(StatusName(status)));
}

}  // namespace

// ---- done --------------------------------------------------------------------------------------------------------

Checked<void> PlanExecutor::Adopt(const atoll_PlanRecord& plan) {
  const auto& record = plan.record;
  switch (plan.which_record) {
    case atoll_PlanRecord_vm_tag:
      if (VmEntry* const vm = vms_.Add(record.vm)) {
        vm->grants_known = false;
        return {};
      }
      return std::unexpected(LogLine("vm: more than 8"));
    case atoll_PlanRecord_task_tag: return AdoptTask(record.task);
    case atoll_PlanRecord_dma_tag: return AdoptDma(record.dma);
    default: return {};
  }
}

void PlanExecutor::AdoptOwn() {
  for (const Ledger::Mapping& mapping : objects_.ledger().mappings.entries()) {
    if (mapping.space == kOwnTask.slot) (void)NoteOwn(mapping.address, mapping.bytes);
  }
}

Checked<void> PlanExecutor::AdoptTask(const atoll_PlanTask& task) {
  if (!objects_.Exists(task.slot)) return {};  // went with its VM
  TaskEntry* const entry = tasks_.Add(task);
  TaskHistory* const history = RecoveryJournalOf(kernel_).Find(task.slot);
  if (entry == nullptr || history == nullptr) {
    return std::unexpected(LogLine("task: more than 128"));
  }
  entry->history = history;
  entry->UseBuild();
  const auto reply = kernel_.InspectTask(abi::Handle{task.slot});
  if (!reply.has_value()) return Check(reply.error(), "task", task.slot);
  if (reply->state == TaskState::kCreated) return {};
  // One that runs was started, if there was time to write that down or not.
  if (reply->state == TaskState::kRunning) Journal(history->started, history->generation + 1);
  // Others are found dead.
  entry->state =
      history->mode == TaskMode::kLost ? TaskEntry::State::kLost : TaskEntry::State::kRunning;
  return {};
}

Checked<void> PlanExecutor::AdoptDma(const atoll_PlanDma& dma) {
  const auto* resource = resources_.Find(static_cast<ResourceKind>(dma.resource));
  const uint64_t offset = dma.resource != 0 && resource != nullptr ? resource->base % kPageSize : 0;
  return Check(dma_.Adopt(dma, offset), "dma", dma.target);
}

Status DmaWindows::Adopt(const atoll_PlanDma& plan, uint64_t offset) {
  const JournaledWindow& journaled = JournalOf(kernel_).windows[windows_.entries().size()];
  if (journaled.generation == 0 || journaled.place != Place(plan.table, plan.entry)) {
    return Status::kOk;  // it was never opened
  }
  const auto tables = tables_.entries();
  const auto index = static_cast<size_t>(std::ranges::find(tables, plan.table) - tables.begin());
  if (index == tables.size() && tables_.Add(plan.table) == nullptr) {
    return Status::kResourceExhausted;
  }
  DmaTable& table = At(index);  // mapped, or there were no generation
  Window* const window = windows_.Add({.table = plan.table,
                                       .entry = plan.entry,
                                       .vm = plan.vm,
                                       .driver = plan.driver,
                                       .signal = plan.signal,
                                       .generation = journaled.generation});
  if (window == nullptr) return Status::kResourceExhausted;
  // The page again: it may not have come to that.
  const Ledger::Object& target = objects_.ledger().objects[plan.target];
  if (IsOpenDmaGeneration(window->generation)) {
    OpenDmaWindow(table[plan.entry], plan.guest_base + offset, target.memory_bytes, target.memory,
                  window->generation);
  } else {
    CloseDmaWindow(table[plan.entry], window->generation);
  }
  return Status::kOk;
}

bool DmaWindows::IsOpen(const atoll_PlanDma& plan) {
  for (const Window& window : windows_.entries()) {
    if (window.table == plan.table && window.entry == plan.entry) {
      return IsOpenDmaGeneration(window.generation);
    }
  }
  return false;
}

// ---- under way ---------------------------------------------------------------------------------------------------

Checked<void> PlanExecutor::Resume(const atoll_PlanRecord& plan, Bulk& bulk) {
  const auto& record = plan.record;
  objects_.set_owner(plan.owner_vm);
  switch (plan.which_record) {
    case atoll_PlanRecord_object_tag:
      if (objects_.Exists(record.object.slot)) return {};
      break;
    case atoll_PlanRecord_memory_tag:
      if (!objects_.Exists(record.memory.slot)) break;
      if (record.memory.source != atoll_PlanMemory_Source_RAM) return {};
      bulk = {
          .kind = Bulk::Kind::kClear, .memory = record.memory.slot, .bytes = record.memory.bytes};
      return {};
    case atoll_PlanRecord_task_tag: return ResumeTask(record.task);
    case atoll_PlanRecord_mapping_tag: return ResumeMapping(record.mapping, bulk);
    case atoll_PlanRecord_start_tag: return ResumeStart(record.start);
    case atoll_PlanRecord_dma_tag:
      if (dma_.IsOpen(record.dma)) return {};
      break;
    default: break;
  }
  resuming_ = true;
  const Checked<void> done = Begin(plan, bulk);
  resuming_ = false;
  return done;
}

// Its memory is made from the start. It has not run.
Checked<void> PlanExecutor::ResumeTask(const atoll_PlanTask& task) {
  for (const uint32_t slot : {task.image_slot, task.private_slot, task.ipc_slot}) {
    if (const Status status = objects_.Discard(slot); !IsOk(status)) {
      return Check(status, "task", slot);
    }
  }
  return Task(task);
}

Checked<void> PlanExecutor::ResumeMapping(const atoll_PlanMapping& mapping, Bulk& bulk) {
  if (auto begun = Mapping(mapping, bulk); !begun || bulk.done()) return begun;
  const uint64_t done = objects_.MappedBytes(mapping.memory, mapping.space, mapping.address);
  bulk.offset += done;
  bulk.address += done;
  bulk.bytes -= done;
  if (bulk.bytes == 0) bulk = {};
  return {};
}

Checked<void> PlanExecutor::ResumeStart(const atoll_PlanStart& start) {
  TaskEntry* const task = tasks_.Find(start.task);
  // It runs, or has died since.
  if (task != nullptr && task->state != TaskEntry::State::kLoaded) return {};
  return Start(start);
}

}  // namespace atoll
