#include "services/supervisor/vm_builder.h"

#include "services/supervisor/journal.h"
#include "services/supervisor/plan_executor.h"

namespace atoll {

Checked<VmBuilder> VmBuilder::Open(std::span<const std::byte> plan, Owner vm, uint32_t last) {
  const Checked<PlanReader> reader = PlanReader::Open(plan);
  if (!reader) return std::unexpected(reader.error());
  VmBuilder builder;
  builder.reader_ = *reader;
  builder.vm_ = vm;
  builder.last_ = last;
  return builder;
}

Checked<void> VmBuilder::ResumeAt(uint32_t record) {
  resume_ = record;
  PlanOutline skipped;
  while (reader_.index() + 1 < record) {
    if (const Checked<bool> more = reader_.Next(skipped); !more) {
      return std::unexpected(more.error());
    }
  }
  return {};
}

Checked<bool> VmBuilder::Step(PlanExecutor& executor, uint32_t& under_way) {
  Checked<void> done;
  if (!bulk_.done()) {
    done = executor.Continue(bulk_);
  } else {
    PlanOutline outline;
    const Checked<bool> more = reader_.Next(outline);
    if (!more) return std::unexpected(more.error());
    if (!*more) return true;
    // PlanVm, which is the system's, names a VM for ever.
    if (outline.owner_vm == vm_) {
      atoll_PlanRecord record;
      if (auto decoded = reader_.Decode(record); !decoded) return std::unexpected(decoded.error());
      Journal(under_way, reader_.index());
      done = reader_.index() == resume_ ? executor.Resume(record, bulk_)
                                        : executor.Begin(record, bulk_);
    }
  }
  if (!done) return std::unexpected(PlanProblem(reader_.index(), done.error().view()));
  // Not at the end of the plan: its guest may run from now on.
  return bulk_.done() && reader_.index() >= last_;
}

}  // namespace atoll
