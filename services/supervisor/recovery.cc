// The supervisor died, and the kernel has started it again, from the image that it was built with. Guests and services
// have not noticed. What there is it learns from the kernel, what it means from the plan, and what was under way from
// the journal:
//
//   objects, mappings, page tables given   the kernel; they are in use, all else is free
//   whose they are, tasks, grants          the plan's records up to the one that was under way
//   that record                            is finished: each may be done again, or from where it was
//   where a VM is in its life              the journal, written after each step. A teardown begins again with what is left
//   deaths, ends of VMs meanwhile          states, at which it looks as after a signal
#include "services/supervisor/journal.h"
#include "services/supervisor/manifest.h"
#include "services/supervisor/supervisor.h"

namespace atoll {

void Supervisor::Recover() {
  const SupervisorJournal& journal = JournalOf(kernel_);
  if (const Checked<void> rebuilt = Rebuild(); !rebuilt) {
    reporter_.Warn(rebuilt.error());
    kernel_.PowerOff({.status = kExitFailed});
    return;
  }
  Report();
  namespace bit = supervisor_manifest;
  // VMs first: tasks of one that has ended are not started again.
  life_.Look();
  recovery_.Look();
  log_.Pass();
  if (journal.ending != 0) BeginPowerOff(journal.ending - 1);
  OnSignals(journal.pending & bit::kPowerOffSignal);
}

// Of the death, as the kernel noted it, and how long it was felt.
void Supervisor::Report() {
  const auto& death = *reinterpret_cast<const abi::RootDeath*>(
      kernel_.OwnMemory(abi::kRootDeathPage, sizeof(abi::RootDeath)).data());
  recorder_.FillOwn(RecoveryJournalOf(kernel_).crashes.Add(), death);
  constexpr uint64_t kMicroseconds = 1'000'000;
  const uint64_t ticks = kernel_.Ticks() - death.time;
  reporter_.Warn(LogLine("supervisor died: pc ")
                     .Hex(death.pc)
                     .Append(" esr ")
                     .Hex(death.esr)
                     .Append(" far ")
                     .Hex(death.far)
                     .Append("; generation ")
                     .Decimal(death.deaths)
                     .Append(" goes on, ")
                     .Decimal(ticks * kMicroseconds / kernel_.TicksPerSecond())
                     .Append(" us later"));
}

Checked<void> Supervisor::Rebuild() {
  SupervisorJournal& journal = JournalOf(kernel_);
  if (auto read = ReadInputs(); !read) return read;
  Checked<PlanReader> reader = OpenPlan();
  if (!reader) return std::unexpected(reader.error());
  PlanOutline outline;
  while (true) {
    const Checked<bool> more = reader->Next(outline);
    if (!more) return std::unexpected(more.error());
    if (!*more || reader->index() > journal.record) break;
    if (const auto adopted = AdoptRecord(*reader, outline); !adopted) {
      return std::unexpected(PlanProblem(reader->index(), adopted.error().view()));
    }
  }
  if (const Status status = objects_.AdoptSpaces(); !IsOk(status)) {
    return std::unexpected(LogLine("mappings: ").Append(StatusName(status)));
  }
  executor_.AdoptOwn();
  if (journal.record != SupervisorJournal::kAllRecords) return ExecutePlan(journal.record);
  started_ = true;
  RelayLog();
  BeginHeartbeat();
  auto resumed = life_.Resume(plan_, total_bytes_);
  if (resumed) StartMonitor();
  return resumed;
}

// Few kinds of records are looked at as a whole: of objects and memory the kernel knows all but whose they are, handles
// are of interest when their VM is taken down (VmLife::LearnGrants).
Checked<void> Supervisor::AdoptRecord(PlanReader& reader, const PlanOutline& outline) {
  if (VmEntry* vm = vms_.Find(outline.owner_vm)) vm->last_record = reader.index();
  switch (outline.which) {
    case atoll_PlanRecord_object_tag:
    case atoll_PlanRecord_memory_tag: return AdoptObject(outline.slot, outline.owner_vm);
    case atoll_PlanRecord_vm_tag:
    case atoll_PlanRecord_task_tag:
    case atoll_PlanRecord_dma_tag: break;
    default: return {};
  }
  atoll_PlanRecord record;
  if (auto decoded = reader.Decode(record); !decoded) return decoded;
  if (outline.which == atoll_PlanRecord_task_tag) {
    const atoll_PlanTask& task = record.record.task;
    for (const uint32_t slot : {task.image_slot, task.private_slot, task.ipc_slot}) {
      if (auto adopted = AdoptObject(slot, outline.owner_vm); !adopted) return adopted;
    }
  }
  // Windows that are closed, too, of a VM that is off.
  const bool is_done =
      outline.which == atoll_PlanRecord_dma_tag || IsDone(outline.owner_vm, reader.index());
  return is_done ? executor_.Adopt(record) : Checked<void>();
}

Checked<void> Supervisor::AdoptObject(uint32_t slot, Owner owner) {
  const Status status = objects_.Adopt(slot, owner, resources_.Find(ResourceKind::kArchive));
  if (IsOk(status)) return {};
  return std::unexpected(
      LogLine("object of slot ").Decimal(slot).Append(": ").Append(StatusName(status)));
}

bool Supervisor::IsDone(Owner owner, uint32_t index) {
  const SupervisorJournal& journal = JournalOf(kernel_);
  if (index >= journal.record) return false;
  const VmEntry* const vm = vms_.Find(owner);
  if (vm == nullptr) return true;
  const JournaledVm& journaled = journal.vms[static_cast<size_t>(vm - vms_.entries().data())];
  return journaled.phase() != static_cast<uint32_t>(VmEntry::State::kBuilding) ||
         index < journaled.record;
}

Checked<void> VmLife::Resume(std::span<const std::byte> plan, uint64_t total_bytes) {
  total_bytes_ = total_bytes;
  Open(plan);
  for (VmEntry& vm : vms_.entries()) {
    if (auto resumed = Resume(vm); !resumed) return resumed;
  }
  return {};
}

Checked<void> VmLife::Resume(VmEntry& vm) {
  const JournaledVm journaled = Journaled(vm);
  if (journaled.state == 0) {  // the machine had just started
    vm.started = kernel_.Ticks();
    Set(vm, VmEntry::State::kOn);
    return {};
  }
  vm.why = static_cast<VmState>(journaled.why());
  vm.starts = journaled.starts();
  vm.deadline = journaled.deadline;
  vm.started = journaled.started;
  vm.bytes = journaled.bytes;
  vm.paused = journaled.paused != 0;
  vm.state = static_cast<VmEntry::State>(journaled.phase());
  if (vm.state == VmEntry::State::kClosing) dma_.BeginClose(vm.plan.slot);
  if (vm.state == VmEntry::State::kDismantling) vm.teardown = Teardown(vm.plan.slot);
  if (vm.state == VmEntry::State::kBuilding) {
    const Checked<VmBuilder> builder = VmBuilder::Open(plan_, vm.plan.slot, vm.last_record);
    if (!builder) return std::unexpected(builder.error());
    vm.builder = *builder;
    if (auto skipped = vm.builder.ResumeAt(journaled.record); !skipped) return skipped;
  }
  if (!vm.runs()) {
    for (TaskEntry& task : tasks_.entries()) {
      if (task.plan.vm == vm.plan.slot) task.state = TaskEntry::State::kStopped;
    }
  }
  Show(vm);
  return {};
}

Checked<void> VmLife::LearnGrants(VmEntry& vm) {
  if (vm.grants_known) return {};
  Checked<PlanReader> reader = PlanReader::Open(plan_);
  if (!reader) return std::unexpected(reader.error());
  PlanOutline outline;
  while (true) {
    const Checked<bool> more = reader->Next(outline);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (outline.which != atoll_PlanRecord_grant_tag || outline.owner_vm != vm.plan.slot) continue;
    atoll_PlanRecord record;
    if (auto decoded = reader->Decode(record); !decoded) return decoded;
    const atoll_PlanGrant& grant = record.record.grant;
    if (!objects_.AdoptGrant(vm.plan.slot, grant.object, grant.task, grant.slot)) {
      return std::unexpected(LogLine("too many handles"));
    }
  }
  vm.grants_known = true;
  return {};
}

}  // namespace atoll
