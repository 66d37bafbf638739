// Calls that end without an answer: given up, or taken back from a dead server.
#include "kernel/ipc.h"
#include "kernel/scheduler.h"

namespace atoll {
namespace {

// A call that was present at this many deaths is never tried again.
inline constexpr uint32_t kPoisonousDeaths = 2;

// The call under way fails without having been answered.
void FailCall(Thread& caller, Status status) ATOLL_KERNEL_LOCKED {
  CompleteCall(caller, abi::MakeLabel(static_cast<uint32_t>(status)), {});
  if (caller.blocked_on != BlockedOn::kCall) return;
  caller.frame.x[0] = static_cast<uint64_t>(status);
  caller.frame.x[1] = 0;
}

}  // namespace

void CancelCall(Thread& caller) {
  if (caller.queued_at != nullptr) {
    caller.queued_at->queue.Remove(caller);
    caller.queued_at = nullptr;
  } else if (caller.server != nullptr) {
    Task& server = *static_cast<Task*>(caller.server);
    UnlinkServed(server, caller);
    caller.server = nullptr;
    caller.work &= ~kWorkElsewhere;
  } else {
    return;
  }
  ++caller.token;  // what the server knows now names nothing
}

void AbandonCalls(Task& server) {
  Endpoint& port = *server.port;
  if (port.receiver == &server) port.receiver = nullptr;
  if (server.serving != nullptr) {
    server.owed.PushBack(*server.serving);
    server.serving = nullptr;
  }
  Thread* const first_waiting = port.queue.head();
  while (Thread* const caller = server.owed.PopFront()) {
    caller->deaths = caller->died_token == caller->token ? caller->deaths + 1 : 1;
    caller->died_token = caller->token;
    caller->work &= ~kWorkSuspend;  // asked for by the instance that died, at its reply
    if (caller->deaths >= kPoisonousDeaths) {
      FailCall(*caller, Status::kInternal);
      continue;
    }
    caller->server = nullptr;
    caller->work &= ~kWorkElsewhere;
    caller->queued_at = &port;
    port.queue.InsertBefore(first_waiting, *caller);
  }
}

const Thread* FindTaken(const Task& server, uint32_t index) {
  using Queue = List<Thread, &Thread::queue_node>;
  const bool dead = server.stopped;
  const Thread* caller = dead ? server.port->queue.head() : server.owed.head();
  for (; caller != nullptr && index != 0; --index) caller = Queue::Next(*caller);
  if (dead) return caller != nullptr && caller->died_token == caller->token ? caller : nullptr;
  // The one taken last is behind those set aside.
  return caller == nullptr && index == 0 ? server.serving : caller;
}

}  // namespace atoll
