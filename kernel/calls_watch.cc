// Kernel calls of the supervisor that watch tasks, and that break and halt them.
#include <algorithm>

#include "kernel/calls.h"
#include "kernel/ipc.h"
#include "kernel/root_restart.h"
#include "kernel/scheduler.h"
#include "kernel/vcpu/sanitize.h"
#include "kernel/vm.h"

namespace atoll {

template <>
Result<Empty> Execute<KernelCall::kSetLimits>(Task& caller, HandleEntry* handle,
                                              const SetLimitsRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  task.limits.deadline = request.deadline;
  task.limits.effects = request.effects;
  if (&task == &caller) ExpectRoot(task, request.again_ms);
  return Empty{};
}

template <>
Result<StepTaskReply> Execute<KernelCall::kStepTask>(Task& caller, HandleEntry* handle,
                                                     const StepTaskRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  if (&task == &caller) return std::unexpected(Status::kFailedPrecondition);
  const uint64_t executed = task.stepping.executed;
  ArmStepping(task, request.steps);
  return StepTaskReply{.executed = executed};
}

template <>
Result<ReadRegistersReply> Execute<KernelCall::kReadRegisters>(
    Task&, HandleEntry* handle, const ReadRegistersRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  BringIn(task);
  // One after the other in the frame: see below.
  constexpr size_t kWords = 34;
  static_assert(FRAME_X0 == 0 && FRAME_PSTATE == (kWords - 1) * sizeof(uint64_t));
  const uint64_t* const registers = task.frame.x;
  const auto word = [&](size_t number) {
    return request.first < kWords - number ? registers[request.first + number] : 0;
  };
  return ReadRegistersReply{word(0), word(1), word(2), word(3), word(4), word(5)};
}

template <>
Result<ReadCallReply> Execute<KernelCall::kReadCall>(Task&, HandleEntry* handle,
                                                     const ReadCallRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  const Thread* const caller = FindTaken(task, request.index);
  if (caller == nullptr) return std::unexpected(Status::kNotFound);
  const auto [badge, message] = BuildRequest(*caller);
  return ReadCallReply{caller->token,    badge,           message.label, message.words[0],
                       message.words[1], message.words[2]};
}

template <>
Result<Empty> Execute<KernelCall::kPauseVm>(Task&, HandleEntry* handle,
                                            const PauseVmRequest& request) {
  Vm& vm = ObjectOf<Vm>(*handle);
  if (vm.paused == request.pause) return Empty{};
  vm.paused = request.pause;
  for (Vcpu* const vcpu : vm.vcpus) {
    if (vcpu == nullptr) continue;
    if (request.pause) {
      // One that is on its way into the kernel with a call makes it; Schedule stops it then. Its reply waits as well.
      vcpu->work |= kWorkPaused;
      BringIn(*vcpu);
      continue;
    }
    vcpu->work &= ~kWorkPaused;
    if (vcpu->server != nullptr || vcpu->queued_at != nullptr) continue;
    vcpu->waiting_for_interrupt = false;  // a WFI may end for nothing
    MakeReady(*vcpu);
  }
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kDivert>(Task& caller, HandleEntry* handle,
                                           const DivertRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  if (&task == &caller || task.stopped) return std::unexpected(Status::kFailedPrecondition);
  if (!IsTaskEntry(request.pc)) return std::unexpected(Status::kInvalidArgument);
  Unschedule(task);
  CancelCall(task);
  if (task.port->receiver == &task) task.port->receiver = nullptr;
  task.frame.pc = request.pc;
  task.frame.pstate = 0;
  MakeReady(task);
  return Empty{};
}

template <>
Result<Empty> Execute<KernelCall::kRaiseTask>(Task&, HandleEntry* handle,
                                              const RaiseTaskRequest& request) {
  Task& task = ObjectOf<Task>(*handle);
  RaiseSignal(task, request.bits);
  return Empty{};
}

template <>
Result<GetProgressReply> Execute<KernelCall::kGetProgress>(Task&, HandleEntry* handle,
                                                           const Empty&) {
  const Task& task = ObjectOf<Task>(*handle);
  const Thread* const oldest = task.owed.head();
  return GetProgressReply{.jobs = task.jobs,
                          .pending = task.signals.load(std::memory_order_relaxed),
                          .owed_since = oldest == nullptr ? 0 : oldest->owed_since,
                          .executed = task.stepping.executed,
                          .died = task.died};
}

}  // namespace atoll
