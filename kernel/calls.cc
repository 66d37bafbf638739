#include "kernel/calls.h"

#include <algorithm>
#include <array>

#include "kernel/cpu.h"
#include "kernel/ipc.h"
#include "kernel/scheduler.h"

namespace atoll {
namespace {

void Answer(Task& caller, Status status, const abi::Words& words) {
  caller.frame.x[0] = static_cast<uint64_t>(status);
  std::copy(words.begin(), words.end(), caller.frame.x + 1);
}

template <KernelCall kCall>
void Run(Task& caller, HandleEntry* handle) {
  kernel_lock.AssertHeld();
  using Traits = KernelCallTraits<kCall>;
  const uint64_t* const x = caller.frame.x;
  const abi::Words words = {x[1], x[2], x[3], x[4], x[5], x[6]};
  if (!Traits::Request::InRange(words)) return Answer(caller, Status::kInvalidArgument, {});
  const auto result = Execute<kCall>(caller, handle, Traits::Request::Unpack(words));
  if (!result.has_value()) return Answer(caller, result.error(), {});
  Answer(caller, Status::kOk, result->Pack());
}

inline constexpr size_t kCallNumbers = 64;

// What x0 of a call names: an object of a type, or one of these.
inline constexpr ObjectType kAnyObject = ObjectType::kNone;
inline constexpr ObjectType kOwnTask{0xff};

struct Call {
  void (*run)(Task& caller, HandleEntry* handle) = nullptr;
  Right right = Right::kNone;  // none: x0 is no handle
  ObjectType object = kAnyObject;
  bool has_effect = false;  // reaches others: counted (SetLimits)
  bool stops = false;       // the task in x0, which leaves its commit window first
};

constexpr std::array<Call, kCallNumbers> MakeTable() {
  std::array<Call, kCallNumbers> table = {};
#define ATOLL_CALL(name, operand)                          \
  table[static_cast<size_t>(KernelCall::name)] = {         \
      .run = Run<KernelCall::name>,                        \
      .right = KernelCallTraits<KernelCall::name>::kRight, \
      .object = (operand)}
  ATOLL_CALL(kSetSignal, ObjectType::kSignal);
  ATOLL_CALL(kSetIrqLine, ObjectType::kIrqLine);
  ATOLL_CALL(kAcknowledgeIrq, ObjectType::kIrq);
  ATOLL_CALL(kSetTimer, kAnyObject);
  ATOLL_CALL(kLog, kAnyObject);
  ATOLL_CALL(kExit, kAnyObject);
  ATOLL_CALL(kGetInterrupts, ObjectType::kVm);
  ATOLL_CALL(kSetInterrupts, ObjectType::kVm);
  ATOLL_CALL(kStartVcpu, ObjectType::kVcpu);
  ATOLL_CALL(kStopVcpu, ObjectType::kVcpu);
  ATOLL_CALL(kGetVcpuState, ObjectType::kVcpu);
  ATOLL_CALL(kStopVm, ObjectType::kVm);
  ATOLL_CALL(kGetVmState, ObjectType::kVm);
  ATOLL_CALL(kSetIdRegister, ObjectType::kVm);
  ATOLL_CALL(kGetIdRegister, ObjectType::kVm);
  ATOLL_CALL(kSuspendVcpu, ObjectType::kVcpu);
  ATOLL_CALL(kCreateObject, kOwnTask);
  ATOLL_CALL(kDestroyObject, kAnyObject);
  ATOLL_CALL(kGrantHandle, kAnyObject);
  ATOLL_CALL(kMapMemory, ObjectType::kMemory);
  ATOLL_CALL(kUnmapMemory, kAnyObject);
  ATOLL_CALL(kClearMemory, ObjectType::kMemory);
  ATOLL_CALL(kStartTask, ObjectType::kTask);
  ATOLL_CALL(kKillTask, ObjectType::kTask);
  ATOLL_CALL(kBindMmio, ObjectType::kVm);
  ATOLL_CALL(kBindDoorbell, ObjectType::kVm);
  ATOLL_CALL(kBindHypercall, ObjectType::kVm);
  ATOLL_CALL(kInspectTask, ObjectType::kTask);
  ATOLL_CALL(kDonateTables, kAnyObject);
  ATOLL_CALL(kResetVm, ObjectType::kVm);
  ATOLL_CALL(kPowerOff, kOwnTask);
  ATOLL_CALL(kGetResource, kOwnTask);
  ATOLL_CALL(kSetSchedule, kAnyObject);
  ATOLL_CALL(kReadLog, kOwnTask);
  ATOLL_CALL(kGetCpu, kOwnTask);
  ATOLL_CALL(kSetLogOutput, kOwnTask);
  ATOLL_CALL(kInspectObject, kAnyObject);
  ATOLL_CALL(kReadRegisters, ObjectType::kTask);
  ATOLL_CALL(kReadCall, ObjectType::kTask);
  ATOLL_CALL(kPauseVm, ObjectType::kVm);
  ATOLL_CALL(kDivert, ObjectType::kTask);
  ATOLL_CALL(kRaiseTask, ObjectType::kTask);
  ATOLL_CALL(kGetProgress, ObjectType::kTask);
  ATOLL_CALL(kSetCommitWindow, kAnyObject);
  ATOLL_CALL(kSetLimits, ObjectType::kTask);
  ATOLL_CALL(kStepTask, ObjectType::kTask);
#undef ATOLL_CALL
  for (const KernelCall call :
       {KernelCall::kSetSignal, KernelCall::kSetIrqLine, KernelCall::kSetTimer, KernelCall::kLog}) {
    table[static_cast<size_t>(call)].has_effect = true;
  }
  for (const KernelCall call : {KernelCall::kKillTask, KernelCall::kDivert}) {
    table[static_cast<size_t>(call)].stops = true;
  }
  return table;
}

constexpr std::array<Call, kCallNumbers> kTable = MakeTable();

// Whether the handle in x0 is what the call wants.
Status Authorize(Task& caller, const Call& call, HandleEntry* handle) {
  if (call.right == Right::kNone) return Status::kOk;
  if (handle == nullptr) return Status::kNotFound;
  if ((handle->rights() & static_cast<uint32_t>(call.right)) == 0) return Status::kPermissionDenied;
  if (call.object == kOwnTask) {
    return handle->object == &caller ? Status::kOk : Status::kPermissionDenied;
  }
  return call.object == kAnyObject || call.object == handle->type() ? Status::kOk
                                                                    : Status::kInvalidArgument;
}

void CallKernel(Task& caller, uint64_t number) ATOLL_KERNEL_LOCKED {
  if (number >= kCallNumbers || kTable[number].run == nullptr) {
    return Answer(caller, Status::kUnimplemented, {});
  }
  const Call& call = kTable[number];
  HandleEntry* const handle = caller.FindHandle(caller.frame.x[0]);
  const Status status = Authorize(caller, call, handle);
  if (!IsOk(status)) return Answer(caller, status, {});
  if (call.has_effect && !CountEffect(caller)) return;
  if (call.stops && LeavesCommitWindow(caller, ObjectOf<Task>(*handle))) return;
  call.run(caller, handle);
}

void CallEndpoint(Task& caller) ATOLL_KERNEL_LOCKED {
  HandleEntry* const entry = caller.FindHandle(caller.frame.x[0]);
  if (entry == nullptr) return Answer(caller, Status::kNotFound, {});
  if (entry->type() != ObjectType::kEndpoint) {
    return Answer(caller, Status::kInvalidArgument, {});
  }
  if ((entry->rights() & static_cast<uint32_t>(Right::kSend)) == 0) {
    return Answer(caller, Status::kPermissionDenied, {});
  }
  if (abi::LabelBytes(caller.frame.x[1]) > abi::kIpcBytes) {
    return Answer(caller, Status::kInvalidArgument, {});
  }
  caller.badge = entry->badge;
  BeginCall(caller, ObjectOf<Endpoint>(*entry), BlockedOn::kCall);
}

Status ReplyFromFrame(Task& server) ATOLL_KERNEL_LOCKED {
  const uint64_t* const x = server.frame.x;
  return Reply(server, x[0], x[1], {x[2], x[3], x[4], x[5], x[6], x[7]});
}

}  // namespace

// From kernel/vectors.S: x0-x7 and the number x8 are in the frame of the current task.
extern "C" Thread* HandleTaskCall() ABSL_EXCLUSIVE_LOCK_FUNCTION(kernel_lock) {
  Cpu& cpu = Cpu::This();
  kernel_lock.Lock(cpu);
  if (cpu.current == nullptr) return Schedule(cpu);  // stopped by another CPU meanwhile
  Task& caller = *static_cast<Task*>(cpu.current);
  const uint64_t number = caller.frame.x[8];
  switch (number) {
    case abi::kCall: CallEndpoint(caller); break;
    case abi::kReplyWait: {
      const Status status = caller.frame.x[0] == 0 ? Status::kOk : ReplyFromFrame(caller);
      if (IsOk(status)) {
        Receive(caller);
      } else {
        Answer(caller, status, {});
      }
      break;
    }
    case abi::kReply: Answer(caller, ReplyFromFrame(caller), {}); break;
    default: CallKernel(caller, number);
  }
  return Schedule(cpu);
}

}  // namespace atoll
