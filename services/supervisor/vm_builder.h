// Starts a VM again: executes the records of the plan that belong to it, in small steps.
#ifndef ATOLL_SERVICES_SUPERVISOR_VM_BUILDER_H_
#define ATOLL_SERVICES_SUPERVISOR_VM_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/supervisor/ledger.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/plan.h"

namespace atoll {

class PlanExecutor;

class VmBuilder {
 public:
  constexpr VmBuilder() = default;

  // Of a plan that was executed once already; `last` is the number of the VM's last record.
  static Checked<VmBuilder> Open(std::span<const std::byte> plan, Owner vm, uint32_t last);

  // One that an earlier instance of the supervisor was at. 0: at none yet.
  Checked<void> ResumeAt(uint32_t record);

  // Bounded: one record, or a piece of one. True when all is done. `under_way` is where the number of the record is
  // before anything of it is done.
  Checked<bool> Step(PlanExecutor& executor, uint32_t& under_way);

 private:
  PlanReader reader_;
  Owner vm_ = kMachine;
  uint32_t last_ = 0;
  uint32_t resume_ = 0;  // the record that may be done in part
  Bulk bulk_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_VM_BUILDER_H_
