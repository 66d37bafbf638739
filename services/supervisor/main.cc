// The supervisor, the root task: its kernel calls for real, and its event loop.
#include <algorithm>
#include <span>

#include "ipc/system_call.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/service.h"
#include "services/supervisor/journal.h"
#include "services/supervisor/supervisor.h"

namespace atoll {
namespace {

// Numbers of proto/kernel.proto.
enum RawCall : uint32_t {
  kSetLimits = 52,
  kStepTask = 53,
  kReadRegisters = 54,
  kReadCall = 55,
  kPauseVm = 57,
  kDivert = 58,
  kRaiseTask = 59,
  kGetProgress = 60,
};

Result<abi::Words> Ask(RawCall call, abi::Handle handle, const abi::Words& words) {
  const abi::KernelReply reply = abi::SystemCall(call, handle, words);
  if (!IsOk(reply.status)) return std::unexpected(reply.status);
  return reply.words;
}
Status Tell(RawCall call, abi::Handle handle, const abi::Words& words) {
  return abi::SystemCall(call, handle, words).status;
}

class TargetKernelCalls final : public KernelCalls {
 public:
  Status CreateObject(const CreateObjectRequest& request) override {
    return kernel::CreateObject(kOwnTask, request);
  }
  Status DestroyObject(abi::Handle object) override { return kernel::DestroyObject(object); }
  Status GrantHandle(abi::Handle object, const GrantHandleRequest& request) override {
    return kernel::GrantHandle(object, request);
  }
  Result<MapMemoryReply> MapMemory(abi::Handle memory, const MapMemoryRequest& request) override {
    return kernel::MapMemory(memory, request);
  }
  Result<MapMemoryReply> UnmapMemory(abi::Handle space,
                                     const UnmapMemoryRequest& request) override {
    return kernel::UnmapMemory(space, request);
  }
  Result<MapMemoryReply> ClearMemory(abi::Handle memory,
                                     const ClearMemoryRequest& request) override {
    return kernel::ClearMemory(memory, request);
  }
  Status DonateTables(abi::Handle space, const DonateTablesRequest& request) override {
    return kernel::DonateTables(space, request);
  }
  Status BindMmio(abi::Handle vm, const BindMmioRequest& request) override {
    return kernel::BindMmio(vm, request);
  }
  Status BindDoorbell(abi::Handle vm, const BindDoorbellRequest& request) override {
    return kernel::BindDoorbell(vm, request);
  }
  Status BindHypercall(abi::Handle vm, const BindHypercallRequest& request) override {
    return kernel::BindHypercall(vm, request);
  }
  Status StartTask(abi::Handle task, const StartTaskRequest& request) override {
    return kernel::StartTask(task, request);
  }
  Status KillTask(abi::Handle task) override { return kernel::KillTask(task); }
  Result<InspectTaskReply> InspectTask(abi::Handle task) override {
    return kernel::InspectTask(task);
  }
  Status SetLimits(abi::Handle task, uint32_t deadline, uint32_t effects) override {
    return Tell(kSetLimits, task, {deadline, effects});
  }
  Status SetOwnLimits(uint32_t deadline, uint32_t again_ms) override {
    return Tell(kSetLimits, kOwnTask, {deadline, 0, again_ms});
  }
  Status StepTask(abi::Handle task, uint32_t steps) override {
    return Tell(kStepTask, task, {steps});
  }
  Result<abi::Words> ReadRegisters(abi::Handle task, uint32_t first) override {
    return Ask(kReadRegisters, task, {first});
  }
  Result<abi::Words> ReadCall(abi::Handle task, uint32_t index) override {
    return Ask(kReadCall, task, {index});
  }
  Status Divert(abi::Handle task, VirtAddr pc) override { return Tell(kDivert, task, {pc.value}); }
  Status RaiseTask(abi::Handle task, uint64_t bits) override {
    return Tell(kRaiseTask, task, {bits});
  }
  Result<TaskProgress> GetProgress(abi::Handle task) override {
    const auto words = Ask(kGetProgress, task, {});
    if (!words.has_value()) return std::unexpected(words.error());
    return TaskProgress{.jobs = (*words)[0],
                        .pending = (*words)[1],
                        .owed_since = (*words)[2],
                        .executed = (*words)[3],
                        .died = (*words)[4]};
  }
  Status PauseVm(abi::Handle vm, bool pause) override { return Tell(kPauseVm, vm, {pause}); }
  Status StopVm(abi::Handle vm, const StopVmRequest& request) override {
    return kernel::StopVm(vm, request);
  }
  Result<GetVmStateReply> GetVmState(abi::Handle vm) override { return kernel::GetVmState(vm); }
  Result<InspectObjectReply> InspectObject(abi::Handle object,
                                           const InspectObjectRequest& request) override {
    return kernel::InspectObject(object, request);
  }
  Status SetSchedule(abi::Handle thread, const SetScheduleRequest& request) override {
    return kernel::SetSchedule(thread, request);
  }
  Result<GetResourceReply> GetResource(const GetResourceRequest& request) override {
    return kernel::GetResource(kOwnTask, request);
  }
  Status SetSignal(abi::Handle signal) override { return kernel::SetSignal(signal); }
  void GoTo(VirtAddr pc) override { reinterpret_cast<void (*)()>(pc.value)(); }
  Status SetTimer(const SetTimerRequest& request) override { return kernel::SetTimer(request); }

  void Log(std::string_view line) override {
    const auto bytes = std::as_bytes(std::span(line));
    std::ranges::copy(bytes,
                      abi::IpcPage().begin());  // at most LogLine::kMaxBytes
    (void)kernel::Log({.bytes = static_cast<uint32_t>(bytes.size())});
  }

  Result<ReadLogReply> ReadLog(const ReadLogRequest& request) override {
    return kernel::ReadLog(kOwnTask, request);
  }
  Result<SetLogOutputReply> SetLogOutput(const SetLogOutputRequest& request) override {
    return kernel::SetLogOutput(kOwnTask, request);
  }

  void PowerOff(const PowerOffRequest& request) override {
    (void)kernel::PowerOff(kOwnTask, request);
    Exit(request.status);  // not reached
  }

  uint64_t Ticks() override {
    uint64_t ticks;
    asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks));  // isb: not read ahead of time
    return ticks;
  }
  uint64_t TicksPerSecond() override {
    uint64_t frequency;
    asm("mrs %0, cntfrq_el0" : "=r"(frequency));
    return frequency;
  }

  std::span<const std::byte> IpcPage() override { return abi::IpcPage(); }
  std::span<std::byte> OwnMemory(VirtAddr address, uint64_t bytes) override {
    return {reinterpret_cast<std::byte*>(address.value), bytes};
  }
};

constinit TargetKernelCalls kernel_calls;
constinit Supervisor supervisor(kernel_calls);

}  // namespace

void ServiceMain(const StartInfo& start) {
  SupervisorJournal& journal = JournalOf(kernel_calls);
  if (start.generation == 0) {
    supervisor.Boot();
  } else {
    supervisor.Recover();
  }
  supervisor.SetOwnLimits();
  while (true) {
    const abi::Received received = abi::ReplyWait(0, {});
    const uint64_t bits = received.message.words[0];
    Journal(journal.pending, bits);
    supervisor.OnSignals(bits);
    Journal(journal.pending, uint64_t{0});
  }
}

}  // namespace atoll
