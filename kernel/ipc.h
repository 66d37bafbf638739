// Calls, replies and signals, in full: what the fast path does not do.
#ifndef ATOLL_KERNEL_IPC_H_
#define ATOLL_KERNEL_IPC_H_

#include <cstdint>

#include "ipc/abi.h"
#include "ipc/message.h"
#include "kernel/endpoint.h"
#include "kernel/scheduler.h"
#include "kernel/task.h"
#include "kernel/thread.h"

namespace atoll {

// The message of a waiting caller, from what its entry to the kernel saved: the same for every delivery.
struct Request {
  uint64_t badge = 0;
  Message message;
};
Request BuildRequest(const Thread& caller);

// `caller`, current on this CPU, calls: its message is in its frame (task: x1-x7; vCPU: as its exit left it).
// It is blocked afterwards.
void BeginCall(Thread& caller, Endpoint& endpoint, BlockedOn blocked_on) ATOLL_KERNEL_LOCKED;

// The current task receives: signals, the next queued call, or it waits.
void Receive(Task& server) ATOLL_KERNEL_LOCKED;

// Answers a call that `server` took. CANCELLED: nobody waits for it any more. INVALID_ARGUMENT: a
// buffer larger than the IPC page.
Status Reply(Task& server, uint64_t token, uint64_t label,
             const abi::Words& words) ATOLL_KERNEL_LOCKED;

// Sets bits in a task's signal word and wakes it if it waits. `patient`: it works when the current thread waits, at
// the latest when that one's turn ends.
void RaiseSignal(Task& owner, uint64_t bits, Payers payers, bool patient) ATOLL_KERNEL_LOCKED;

// Something happened that nobody asked for now, as an interrupt: it is urgent, and on the account that the task worked
// on last.
void RaiseSignal(Task& owner, uint64_t bits) ATOLL_KERNEL_LOCKED;

// On the account `payer` (Shares::account), 0: of the VM that the task belongs to. It is as urgent as that VM's work, or
// the payer's if the task serves several.
void RaiseSignalFor(Account payer, Task& owner, uint64_t bits,
                    bool patient = false) ATOLL_KERNEL_LOCKED;

// What `caller` waits for, a reply, has come: label and words.
void CompleteCall(Thread& caller, uint64_t label, const abi::Words& words,
                  Place place = Place::kLast) ATOLL_KERNEL_LOCKED;

// `server` does not owe `caller` a reply any more.
inline void UnlinkServed(Task& server, Thread& caller) {
  if (server.serving == &caller) {
    server.serving = nullptr;
  } else {
    server.owed.Remove(caller);
  }
}

// `caller` stops waiting, in a queue or for a reply; a reply that comes later gets CANCELLED.
void CancelCall(Thread& caller) ATOLL_KERNEL_LOCKED;

// The `index`-th caller that `server` has taken a call of and not answered; if it is dead: had. Null: there is none.
const Thread* FindTaken(const Task& server, uint32_t index) ATOLL_KERNEL_LOCKED;

// `server` is dead: the calls it took go back to the head of its port's queue in their order; one that two
// servers died of is failed (INTERNAL) instead.
void AbandonCalls(Task& server) ATOLL_KERNEL_LOCKED;

}  // namespace atoll

#endif  // ATOLL_KERNEL_IPC_H_
