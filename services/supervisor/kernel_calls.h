// The kernel as the supervisor uses it: proto/kernel.proto behind an interface,
// so that everything the supervisor decides runs on the host against a fake
// kernel.
#ifndef ATOLL_SERVICES_SUPERVISOR_KERNEL_CALLS_H_
#define ATOLL_SERVICES_SUPERVISOR_KERNEL_CALLS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "ipc/status.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// What a task did so far and what it owes (GetProgress).
struct TaskProgress {
  uint64_t jobs = 0;     // receptions of signals
  uint64_t pending = 0;  // signal bits that it has not taken
  uint64_t owed_since =
      0;  // CNTPCT_EL0 when the oldest call that it owes an answer was set aside; 0: none
  uint64_t executed = 0;  // instructions since StepTask
  uint64_t died = 0;      // CNTPCT_EL0; 0: never
};

class KernelCalls {
 public:
  virtual Status CreateObject(const CreateObjectRequest& request) = 0;
  virtual Status DestroyObject(abi::Handle object) = 0;
  virtual Status GrantHandle(abi::Handle object, const GrantHandleRequest& request) = 0;
  virtual Result<MapMemoryReply> MapMemory(abi::Handle memory, const MapMemoryRequest& request) = 0;
  virtual Result<MapMemoryReply> UnmapMemory(abi::Handle space,
                                             const UnmapMemoryRequest& request) = 0;
  virtual Result<MapMemoryReply> ClearMemory(abi::Handle memory,
                                             const ClearMemoryRequest& request) = 0;
  virtual Status DonateTables(abi::Handle space, const DonateTablesRequest& request) = 0;
  virtual Status BindMmio(abi::Handle vm, const BindMmioRequest& request) = 0;
  virtual Status BindDoorbell(abi::Handle vm, const BindDoorbellRequest& request) = 0;
  virtual Status BindHypercall(abi::Handle vm, const BindHypercallRequest& request) = 0;

  virtual Status StartTask(abi::Handle task, const StartTaskRequest& request) = 0;
  virtual Status KillTask(abi::Handle task) = 0;
  virtual Result<InspectTaskReply> InspectTask(abi::Handle task) = 0;
  virtual Status SetLimits(abi::Handle task, uint32_t deadline, uint32_t effects) = 0;
  // It dies unless it does this again within `again_ms`; 0: it need not.
  virtual Status SetOwnLimits(uint32_t deadline, uint32_t again_ms) = 0;
  virtual Status StepTask(abi::Handle task, uint32_t steps) = 0;
  virtual Result<abi::Words> ReadRegisters(abi::Handle task, uint32_t first) = 0;
  virtual Result<abi::Words> ReadCall(abi::Handle task, uint32_t index) = 0;
  virtual Status Divert(abi::Handle task, VirtAddr pc) = 0;
  virtual Status RaiseTask(abi::Handle task, uint64_t bits) = 0;
  virtual Result<TaskProgress> GetProgress(abi::Handle task) = 0;
  virtual Status PauseVm(abi::Handle vm, bool pause) = 0;
  virtual Status StopVm(abi::Handle vm, const StopVmRequest& request) = 0;
  virtual Result<GetVmStateReply> GetVmState(abi::Handle vm) = 0;
  virtual Result<InspectObjectReply> InspectObject(abi::Handle object,
                                                   const InspectObjectRequest& request) = 0;
  virtual Status SetSchedule(abi::Handle thread, const SetScheduleRequest& request) = 0;

  virtual Result<GetResourceReply> GetResource(const GetResourceRequest& request) = 0;
  virtual Status SetSignal(abi::Handle signal) = 0;
  virtual void GoTo(VirtAddr pc) = 0;  // goes on there, in its own image; returns only in tests
  virtual Status SetTimer(const SetTimerRequest& request) = 0;
  virtual void Log(std::string_view line) = 0;
  virtual Result<ReadLogReply> ReadLog(const ReadLogRequest& request) = 0;  // into the IPC page
  virtual Result<SetLogOutputReply> SetLogOutput(const SetLogOutputRequest& request) = 0;
  virtual void PowerOff(const PowerOffRequest& request) = 0;  // returns only in tests

  // CNTPCT_EL0 and CNTFRQ_EL0.
  virtual uint64_t Ticks() = 0;
  virtual uint64_t TicksPerSecond() = 0;

  virtual std::span<const std::byte> IpcPage() = 0;
  // The supervisor's own mapping of [address, address + bytes).
  virtual std::span<std::byte> OwnMemory(VirtAddr address, uint64_t bytes) = 0;

 protected:
  ~KernelCalls() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_KERNEL_CALLS_H_
