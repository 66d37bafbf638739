// Looks into a dead task for its crash record, and at what the next instance says of itself.
#ifndef ATOLL_SERVICES_SUPERVISOR_CRASH_RECORDER_H_
#define ATOLL_SERVICES_SUPERVISOR_CRASH_RECORDER_H_

#include <cstdint>
#include <optional>

#include "services/runtime/statistics.h"
#include "services/supervisor/crash_record.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/tables.h"

namespace atoll {

class CrashRecorder {
 public:
  constexpr CrashRecorder(KernelCalls& kernel, Objects& objects)
      : kernel_(kernel), objects_(objects) {}

  // Fills in name, cause, registers, backtrace and calls, before the task's memory is made anew.
  void Fill(CrashRecord& record, const TaskEntry& task, const InspectTaskReply& death);

  // The supervisor's own death, of which the kernel has told. It goes on now.
  void FillOwn(CrashRecord& record, const abi::RootDeath& death);

  // The page of the running instance, as it is at this moment.
  std::optional<Statistics> Read(const TaskEntry& task);

  // Adds to the record of the death before what the instance that runs says; until both times are known.
  void Complete(CrashRecord& record, const TaskEntry& task);

 private:
  void ReadRegisters(CrashRecord& record, abi::Handle task);
  void ReadCalls(CrashRecord& record, abi::Handle task);
  void ReadBacktrace(CrashRecord& record, const TaskEntry& task);

  KernelCalls& kernel_;
  Objects& objects_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_CRASH_RECORDER_H_
