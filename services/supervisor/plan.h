// The plan (proto/plan.proto), record by record.
#ifndef ATOLL_SERVICES_SUPERVISOR_PLAN_H_
#define ATOLL_SERVICES_SUPERVISOR_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/plan.pb.h"
#include "services/supervisor/log_line.h"

namespace atoll {

inline constexpr uint32_t kPlanVersion = 1;
inline constexpr const char* kPlanFile = "plan.pb";

// What a record is about; known at a hundredth of the cost of decoding it.
struct PlanOutline {
  pb_size_t which = 0;  // which_record
  uint32_t owner_vm = 0;
  uint32_t slot = 0;  // of what an object's or memory's record makes
};

class PlanReader {
 public:
  // Reads the header. The file may have zeros after its last record.
  static Checked<PlanReader> Open(std::span<const std::byte> file);

  const atoll_PlanHeader& header() const { return header_; }

  // The next record; false after the last one. The error names record, field
  // and reason.
  Checked<bool> Next(atoll_PlanRecord& record);

  // The same of the outline alone; Decode then gives the record.
  Checked<bool> Next(PlanOutline& outline);
  Checked<void> Decode(atoll_PlanRecord& record);

  // Of the record read last, from 0 for the header.
  uint32_t index() const { return read_ - 1; }

 private:
  Checked<void> Take();
  Checked<bool> TakeNext();

  std::span<const std::byte> rest_;
  std::span<const std::byte> body_;  // of the record read last
  uint32_t read_ = 0;
  atoll_PlanHeader header_{};
};

// "plan.pb: record 7: REASON".
LogLine PlanProblem(uint32_t record, std::string_view reason);

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_PLAN_H_
