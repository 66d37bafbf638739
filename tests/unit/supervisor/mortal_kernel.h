// The fake kernel for a supervisor that dies: before its n-th kernel call is done, or when it is done.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_MORTAL_KERNEL_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_MORTAL_KERNEL_H_

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "tests/unit/supervisor/fake_kernel.h"

namespace atoll {

struct SupervisorDied {};

class MortalKernel final : public KernelCalls {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};

  explicit MortalKernel(FakeKernel& kernel) : kernel_(kernel) {}

  uint64_t calls = 0;         // so far
  uint64_t dies_at = kNever;  // call that is its last, counted as `calls` counts
  bool dies_after = false;    // that call was done

  Status CreateObject(const CreateObjectRequest& request) override {
    return Do([&] { return kernel_.CreateObject(request); });
  }
  Status DestroyObject(abi::Handle object) override {
    return Do([&] { return kernel_.DestroyObject(object); });
  }
  Status GrantHandle(abi::Handle object, const GrantHandleRequest& request) override {
    return Do([&] { return kernel_.GrantHandle(object, request); });
  }
  Result<MapMemoryReply> MapMemory(abi::Handle memory, const MapMemoryRequest& request) override {
    return Do([&] { return kernel_.MapMemory(memory, request); });
  }
  Result<MapMemoryReply> UnmapMemory(abi::Handle space,
                                     const UnmapMemoryRequest& request) override {
    return Do([&] { return kernel_.UnmapMemory(space, request); });
  }
  Result<MapMemoryReply> ClearMemory(abi::Handle memory,
                                     const ClearMemoryRequest& request) override {
    return Do([&] { return kernel_.ClearMemory(memory, request); });
  }
  Status DonateTables(abi::Handle space, const DonateTablesRequest& request) override {
    return Do([&] { return kernel_.DonateTables(space, request); });
  }
  Status BindMmio(abi::Handle vm, const BindMmioRequest& request) override {
    return Do([&] { return kernel_.BindMmio(vm, request); });
  }
  Status BindDoorbell(abi::Handle vm, const BindDoorbellRequest& request) override {
    return Do([&] { return kernel_.BindDoorbell(vm, request); });
  }
  Status BindHypercall(abi::Handle vm, const BindHypercallRequest& request) override {
    return Do([&] { return kernel_.BindHypercall(vm, request); });
  }
  Status StartTask(abi::Handle task, const StartTaskRequest& request) override {
    return Do([&] { return kernel_.StartTask(task, request); });
  }
  Status KillTask(abi::Handle task) override {
    return Do([&] { return kernel_.KillTask(task); });
  }
  Result<InspectTaskReply> InspectTask(abi::Handle task) override {
    return Do([&] { return kernel_.InspectTask(task); });
  }
  Result<InspectObjectReply> InspectObject(abi::Handle object,
                                           const InspectObjectRequest& request) override {
    return Do([&] { return kernel_.InspectObject(object, request); });
  }
  Status SetLimits(abi::Handle task, uint32_t deadline, uint32_t effects) override {
    return Do([&] { return kernel_.SetLimits(task, deadline, effects); });
  }
  Status SetOwnLimits(uint32_t deadline, uint32_t again_ms) override {
    return Do([&] { return kernel_.SetOwnLimits(deadline, again_ms); });
  }
  Status StepTask(abi::Handle task, uint32_t steps) override {
    return Do([&] { return kernel_.StepTask(task, steps); });
  }
  Result<abi::Words> ReadRegisters(abi::Handle task, uint32_t first) override {
    return Do([&] { return kernel_.ReadRegisters(task, first); });
  }
  Result<abi::Words> ReadCall(abi::Handle task, uint32_t index) override {
    return Do([&] { return kernel_.ReadCall(task, index); });
  }
  Status Divert(abi::Handle task, VirtAddr pc) override {
    return Do([&] { return kernel_.Divert(task, pc); });
  }
  Status RaiseTask(abi::Handle task, uint64_t bits) override {
    return Do([&] { return kernel_.RaiseTask(task, bits); });
  }
  Result<TaskProgress> GetProgress(abi::Handle task) override {
    return Do([&] { return kernel_.GetProgress(task); });
  }
  Status PauseVm(abi::Handle vm, bool pause) override {
    return Do([&] { return kernel_.PauseVm(vm, pause); });
  }
  void GoTo(VirtAddr) override { throw SupervisorDied(); }
  Status StopVm(abi::Handle vm, const StopVmRequest& request) override {
    return Do([&] { return kernel_.StopVm(vm, request); });
  }
  Result<GetVmStateReply> GetVmState(abi::Handle vm) override {
    return Do([&] { return kernel_.GetVmState(vm); });
  }
  Status SetSchedule(abi::Handle thread, const SetScheduleRequest& request) override {
    return Do([&] { return kernel_.SetSchedule(thread, request); });
  }
  Result<GetResourceReply> GetResource(const GetResourceRequest& request) override {
    return Do([&] { return kernel_.GetResource(request); });
  }
  Status SetSignal(abi::Handle signal) override {
    return Do([&] { return kernel_.SetSignal(signal); });
  }
  Status SetTimer(const SetTimerRequest& request) override {
    return Do([&] { return kernel_.SetTimer(request); });
  }
  void Log(std::string_view line) override {
    Do([&] {
      kernel_.Log(line);
      return 0;
    });
  }
  Result<ReadLogReply> ReadLog(const ReadLogRequest& request) override {
    return Do([&] { return kernel_.ReadLog(request); });
  }
  Result<SetLogOutputReply> SetLogOutput(const SetLogOutputRequest& request) override {
    return Do([&] { return kernel_.SetLogOutput(request); });
  }
  void PowerOff(const PowerOffRequest& request) override {
    Do([&] {
      kernel_.PowerOff(request);
      return 0;
    });
  }

  uint64_t Ticks() override { return kernel_.Ticks(); }
  uint64_t TicksPerSecond() override { return kernel_.TicksPerSecond(); }
  std::span<const std::byte> IpcPage() override { return kernel_.IpcPage(); }
  std::span<std::byte> OwnMemory(VirtAddr address, uint64_t bytes) override {
    return kernel_.OwnMemory(address, bytes);
  }

 private:
  template <typename Call>
  std::invoke_result_t<Call> Do(Call call) {
    const bool is_last = calls++ == dies_at;
    if (is_last && !dies_after) throw SupervisorDied();
    auto result = call();
    if (is_last) throw SupervisorDied();
    return result;
  }

  FakeKernel& kernel_;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_MORTAL_KERNEL_H_
