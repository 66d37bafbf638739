// Takes down what belongs to a VM that has ended: empties handles, unmaps, destroys, in small steps.
#ifndef ATOLL_SERVICES_SUPERVISOR_TEARDOWN_H_
#define ATOLL_SERVICES_SUPERVISOR_TEARDOWN_H_

#include <cstddef>
#include <cstdint>

#include "services/supervisor/ledger.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/objects.h"

namespace atoll {

class Teardown {
 public:
  constexpr Teardown() = default;
  // None of the VM's tasks and vCPUs runs any more, and no device accesses its memory.
  explicit Teardown(Owner vm) : vm_(vm) {}

  // Bounded: one call of the kernel, or a look at a part of the ledger. True when all is done. The error names what
  // the kernel did not give back.
  Checked<bool> Step(Objects& objects);

 private:
  // Whatever refers to an object goes before it: handles and mappings first, then objects by type. A VM is named by
  // its vCPUs and lines and names its services' endpoints and signals, these name their tasks.
  enum class Stage : uint8_t { kGrants, kMappings, kObjects, kDone };

  Checked<void> RevokeNext(Objects& objects);
  Checked<void> UnmapNext(Objects& objects);
  Checked<void> DestroyNext(Objects& objects);
  void NextStage();

  Owner vm_ = kMachine;
  Stage stage_ = Stage::kGrants;
  size_t position_ = 0;  // in the list that the stage walks through
  size_t type_ = 0;      // kObjects: of kOrder
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_TEARDOWN_H_
