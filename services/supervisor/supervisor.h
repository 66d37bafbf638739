// The supervisor's behaviour: start everything, restart what dies, end when the
// VMs have ended for good.
#ifndef ATOLL_SERVICES_SUPERVISOR_SUPERVISOR_H_
#define ATOLL_SERVICES_SUPERVISOR_SUPERVISOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "services/supervisor/archive.h"
#include "services/supervisor/crash_recorder.h"
#include "services/supervisor/dma_windows.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/log_relay.h"
#include "services/supervisor/monitor.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/page_allocator.h"
#include "services/supervisor/plan.h"
#include "services/supervisor/plan_executor.h"
#include "services/supervisor/reporter.h"
#include "services/supervisor/resources.h"
#include "services/supervisor/service_operations.h"
#include "services/supervisor/service_recovery.h"
#include "services/supervisor/tables.h"
#include "services/supervisor/task_loader.h"
#include "services/supervisor/vm_life.h"

namespace atoll {

// Status with which the machine is powered off.
inline constexpr uint32_t kExitOk = 0;        // every VM turned itself off
inline constexpr uint32_t kExitFailed = 1;    // a VM crashed, or a service was given up
inline constexpr uint32_t kExitBadInput = 2;  // plan, archive or ELF file refused

// Where the kernel maps the boot archive, read-only.
inline constexpr VirtAddr kArchiveBase{0x30'0000'0000};

class Supervisor {
 public:
  constexpr explicit Supervisor(KernelCalls& kernel) : kernel_(kernel) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Reads archive and plan and starts the system. If something is wrong with
  // them: logs one line and powers the machine off.
  void Boot();

  // Instead, when an earlier instance died (recovery.cc): finds out what there is, finishes what that was at, and goes on.
  void Recover();

  uint64_t free_bytes() const { return pages_.free_bytes(); }

  // From now on the kernel notices if it hangs, or does not do its work. With each heartbeat it does this again.
  void SetOwnLimits();

  // Bits of the supervisor's signal (services/supervisor/manifest.textproto).
  void OnSignals(uint64_t bits);

  // What the user can do. Followed by Continue().
  Operations& operations() { return operations_; }

 private:
  Checked<void> ReadInputs();
  // The plan from its first record on; what its header says is set.
  Checked<PlanReader> OpenPlan();
  // From the record on that may be done in part; 0: from the start.
  Checked<void> ExecutePlan(uint32_t under_way);

  Checked<void> Rebuild();
  void Report();
  Checked<void> AdoptRecord(PlanReader& reader, const PlanOutline& outline);
  Checked<void> AdoptObject(uint32_t slot, Owner owner);
  bool IsDone(Owner owner, uint32_t index);
  void RelayLog();
  void StartMonitor();
  void BeginHeartbeat();

  void LookAtConsole();
  bool any_given_up();

  // Goes on with what is under way, and sets the timer for the rest.
  void Continue();
  bool IsPowerOffWanted();
  void SetTimer(uint64_t deadline);

  void StopAllVms();
  // Lets the console write out what it has, then powers off; at once when there
  // is no console.
  void BeginPowerOff(uint32_t status);
  void PowerOff();

  KernelCalls& kernel_;
  Reporter reporter_{kernel_};
  PageAllocator pages_;
  Objects objects_{kernel_, pages_};
  Resources resources_;
  Archive archive_;
  TaskTable tasks_;
  VmTable vms_;
  DmaWindows dma_{kernel_, objects_};
  TaskLoader loader_{kernel_, objects_, archive_};
  PlanExecutor executor_{kernel_, objects_, resources_, archive_, loader_, tasks_, vms_, dma_};
  VmLife life_{kernel_, objects_, executor_, tasks_, vms_, dma_, reporter_};
  LogRelay log_{kernel_};
  CrashRecorder recorder_{kernel_, objects_};
  ServiceRecovery recovery_{kernel_, tasks_, vms_, loader_, life_, recorder_, reporter_};
  ServiceOperations operations_{kernel_, objects_, tasks_,    vms_,
                                loader_, archive_, recorder_, recovery_};
  Monitor monitor_{kernel_, operations_};
  std::span<const std::byte> plan_;
  uint32_t heartbeat_ms_ = 0;
  uint32_t deadline_ms_ = 0;
  uint64_t total_bytes_ = 0;  // that were free before anything was made
  bool started_ = false;
  uint64_t deaths_seen_ = 0;
  std::optional<uint32_t> ending_;  // the status to power off with, while the console writes
  uint64_t flush_deadline_ = VmLife::kNever;  // its time for that
  uint64_t timer_ = VmLife::kNever;           // what the timer is set to
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_SUPERVISOR_H_
