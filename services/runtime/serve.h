// The event loop of a service: answers calls, passes on signals, for ever.
#ifndef ATOLL_SERVICES_RUNTIME_SERVE_H_
#define ATOLL_SERVICES_RUNTIME_SERVE_H_

#include <cstdint>

#include "ipc/system_call.h"
#include "services/runtime/device.h"
#include "services/runtime/log.h"
#include "services/runtime/statistics.h"

namespace atoll {

class SignalHandler {
 public:
  // Bits of the task's signal that were set. Names: the service's manifest.
  virtual void OnSignals(uint64_t bits) = 0;
  // As MmioDevice::IsIntact.
  virtual bool IsIntact() { return true; }

 protected:
  ~SignalHandler() = default;
};

// Calls of interface Device become accesses to the device, signals its OnSignals.
[[noreturn]] void Serve(MmioDevice& device);

// Neither a call nor signals came: the service lacks an endpoint or answered with a token of its own making.
[[noreturn]] void PanicOfReplyWait(Status status);
// What this instance keeps for itself was written over.
[[noreturn]] void PanicOfDamage();

// Gives the request to the server whose interface it names; UNIMPLEMENTED if none does.
template <typename... Servers>
Message DispatchTo(const CallInfo& call, const Message& request, Servers&... servers) {
  const uint32_t interface = abi::LabelCode(request.label) >> 8;
  Message reply = StatusMessage(Status::kUnimplemented);
  (void)((interface == Servers::kInterface ? (reply = servers.Dispatch(call, request), true)
                                           : false) ||
         ...);
  return reply;
}

inline constexpr uint64_t kHeartbeat = uint64_t{1} << abi::kHeartbeatBit;

// Gives signals to who is there for them: the heartbeat is the loop's own.
template <typename Handler>
[[gnu::always_inline]] inline void GiveSignals(Handler& handler, uint64_t bits) {
  if ((bits & kHeartbeat) != 0) [[unlikely]] {
    NoteHeartbeat();
    if (!handler.IsIntact()) PanicOfDamage();
    if (bits == kHeartbeat) return;
  }
  const uint64_t begin = StatisticsTicks();
  handler.OnSignals(bits & ~kHeartbeat);
  NoteSignals(begin);
}

// Serves generated interfaces (classes derived from XServer) and signals.
template <typename... Servers>
[[noreturn]] void Serve(SignalHandler& signals, Servers&... servers) {
  uint64_t token = 0;  // of the call to be answered next
  Message reply;
  for (bool first = true;; first = false) {
    const abi::Received received = abi::ReplyWait(token, reply);
    token = 0;
    if (received.status == Status::kCancelled) continue;  // the caller is gone, and so is the reply
    if (!IsOk(received.status)) PanicOfReplyWait(received.status);
    if (received.call.token == 0) {
      GiveSignals(signals, received.message.words[0]);
    } else {
      reply = DispatchTo(received.call, received.message, servers...);
      if (reply.label != kNoReplyLabel) token = received.call.token;
    }
    if (first) NoteFirstAnswer();
  }
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_SERVE_H_
