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

// The entry of the handle in x0 if it has the right; else null, and the caller has its answer.
[[gnu::noinline]] HandleEntry* Authorize(Task& caller, Right right) {
  HandleEntry* const handle = caller.FindHandle(caller.frame.x[0]);
  Status status = Status::kNotFound;
  if (handle != nullptr) {
    if ((handle->rights() & static_cast<uint32_t>(right)) != 0) return handle;
    status = Status::kPermissionDenied;
  }
  Answer(caller, status, {});
  return nullptr;
}

template <KernelCall kCall>
void Run(Task& caller) {
  kernel_lock.AssertHeld();
  using Traits = KernelCallTraits<kCall>;
  const uint64_t* const x = caller.frame.x;
  const abi::Words words = {x[1], x[2], x[3], x[4], x[5], x[6]};
  HandleEntry* handle = nullptr;
  if constexpr (Traits::kRight != Right::kNone) {
    handle = Authorize(caller, Traits::kRight);
    if (handle == nullptr) return;
  }
  if (!Traits::Request::InRange(words)) return Answer(caller, Status::kInvalidArgument, {});
  const auto result = Execute<kCall>(caller, handle, Traits::Request::Unpack(words));
  if (!result.has_value()) return Answer(caller, result.error(), {});
  Answer(caller, Status::kOk, result->Pack());
}

using Handler = void (*)(Task&);
inline constexpr size_t kCallNumbers = 64;

constexpr std::array<Handler, kCallNumbers> MakeTable() {
  std::array<Handler, kCallNumbers> table = {};
#define ATOLL_CALL(name) table[static_cast<size_t>(KernelCall::name)] = Run<KernelCall::name>
  ATOLL_CALL(kSetSignal);
  ATOLL_CALL(kSetIrqLine);
  ATOLL_CALL(kAcknowledgeIrq);
  ATOLL_CALL(kSetTimer);
  ATOLL_CALL(kLog);
  ATOLL_CALL(kExit);
  ATOLL_CALL(kGetInterrupts);
  ATOLL_CALL(kSetInterrupts);
  ATOLL_CALL(kStartVcpu);
  ATOLL_CALL(kStopVcpu);
  ATOLL_CALL(kGetVcpuState);
  ATOLL_CALL(kStopVm);
  ATOLL_CALL(kGetVmState);
  ATOLL_CALL(kSetIdRegister);
  ATOLL_CALL(kGetIdRegister);
  ATOLL_CALL(kSuspendVcpu);
  ATOLL_CALL(kCreateObject);
  ATOLL_CALL(kDestroyObject);
  ATOLL_CALL(kGrantHandle);
  ATOLL_CALL(kMapMemory);
  ATOLL_CALL(kUnmapMemory);
  ATOLL_CALL(kClearMemory);
  ATOLL_CALL(kStartTask);
  ATOLL_CALL(kKillTask);
  ATOLL_CALL(kBindMmio);
  ATOLL_CALL(kBindDoorbell);
  ATOLL_CALL(kBindHypercall);
  ATOLL_CALL(kInspectTask);
  ATOLL_CALL(kDonateTables);
  ATOLL_CALL(kResetVm);
  ATOLL_CALL(kPowerOff);
  ATOLL_CALL(kGetResource);
  ATOLL_CALL(kSetSchedule);
  ATOLL_CALL(kReadLog);
  ATOLL_CALL(kGetCpu);
  ATOLL_CALL(kSetLogOutput);
  ATOLL_CALL(kInspectObject);
#undef ATOLL_CALL
  return table;
}

constexpr std::array<Handler, kCallNumbers> kTable = MakeTable();

void CallEndpoint(Task& caller) ATOLL_KERNEL_LOCKED {
  HandleEntry* const entry = caller.FindHandle(caller.frame.x[0]);
  if (entry == nullptr) return Answer(caller, Status::kNotFound, {});
  const Result<Endpoint*> endpoint = ObjectOf<Endpoint>(*entry, ObjectType::kEndpoint);
  if (!endpoint.has_value()) return Answer(caller, endpoint.error(), {});
  if ((entry->rights() & static_cast<uint32_t>(Right::kSend)) == 0) {
    return Answer(caller, Status::kPermissionDenied, {});
  }
  if (abi::LabelBytes(caller.frame.x[1]) > abi::kIpcBytes) {
    return Answer(caller, Status::kInvalidArgument, {});
  }
  caller.badge = entry->badge;
  BeginCall(caller, **endpoint, BlockedOn::kCall);
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
    default:
      if (number < kCallNumbers && kTable[number] != nullptr) {
        kTable[number](caller);
      } else {
        Answer(caller, Status::kUnimplemented, {});
      }
  }
  return Schedule(cpu);
}

}  // namespace atoll
