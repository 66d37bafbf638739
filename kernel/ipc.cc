#include "kernel/ipc.h"

#include <algorithm>
#include <cstring>

#include "kernel/exits.h"
#include "kernel/scheduler.h"
#include "kernel/vm.h"
#include "proto/device.atoll.h"

namespace atoll {

Request BuildRequest(const Thread& caller) {
  const uint64_t* const x = caller.frame.x;
  switch (caller.blocked_on) {
    case BlockedOn::kCall:
      return {.badge = caller.badge,
              .message = {.label = x[1], .words = {x[2], x[3], x[4], x[5], x[6], x[7]}}};
    case BlockedOn::kMmio:
      return {.badge = caller.mmio_range->badge,
              .message = {.label = abi::MakeLabel(DeviceInterface::kMmioAccess),
                          .words = MmioRequest(static_cast<const Vcpu&>(caller)).Pack()}};
    case BlockedOn::kHypercall:
    case BlockedOn::kSecureCall:
      return {.badge = static_cast<const Vcpu&>(caller).index,
              .message = {.label = abi::MakeLabel(HypercallInterface::kSmccc),
                          .words = SmcccRequest{.x0 = x[0],
                                                .x1 = x[1],
                                                .x2 = x[2],
                                                .x3 = x[3],
                                                .smc = caller.blocked_on == BlockedOn::kSecureCall}
                                       .Pack()}};
  }
  return {};
}

namespace {

void WriteMessage(Thread& receiver, Status status, uint64_t label, const abi::Words& words) {
  uint64_t* const x = receiver.frame.x;
  x[0] = static_cast<uint64_t>(status);
  x[1] = label;
  std::copy(words.begin(), words.end(), x + 2);
}

void CopyBuffer(const Thread& from, Thread& to, uint64_t label) {
  const size_t bytes = std::min<size_t>(abi::LabelBytes(label), abi::kIpcBytes);
  if (bytes == 0 || from.vcpu || to.vcpu) return;
  const std::byte* const source = static_cast<const Task&>(from).ipc_page;
  std::byte* const destination = static_cast<Task&>(to).ipc_page;
  if (source != nullptr && destination != nullptr) std::memcpy(destination, source, bytes);
}

void HandOver(Thread& caller, Thread& server) ATOLL_KERNEL_LOCKED {
  const Request request = BuildRequest(caller);
  WriteMessage(server, Status::kOk, request.message.label, request.message.words);
  CopyBuffer(caller, server, request.message.label);
  server.frame.x[8] = request.badge;
  server.frame.x[9] = caller.token;
  server.frame.x[10] = 1 + (caller.died_token == caller.token ? caller.deaths : 0);
  caller.server = &server;
  caller.queued_at = nullptr;
  server.serving = &caller;
  NoteServed(caller, Cpu::This());
}

void WriteSignals(Task& receiver, uint64_t bits) {
  ++receiver.jobs;
  receiver.payers = receiver.next_payers;
  WriteMessage(receiver, Status::kOk, 0, {bits});
  receiver.frame.x[8] = 0;
  receiver.frame.x[9] = 0;  // token 0: signals, not a call
  receiver.frame.x[10] = 0;
}

Thread* FindServed(Task& server, uint64_t token) {
  if (server.serving != nullptr && server.serving->token == token) return server.serving;
  for (Thread* caller = server.owed.head(); caller != nullptr;
       caller = List<Thread, &Thread::queue_node>::Next(*caller)) {
    if (caller->token == token) return caller;
  }
  return nullptr;
}

}  // namespace

void CompleteCall(Thread& caller, uint64_t label, const abi::Words& words, Place place) {
  caller.server = nullptr;
  caller.work &= ~kWorkElsewhere;
  switch (caller.blocked_on) {
    case BlockedOn::kCall: WriteMessage(caller, Status::kOk, label, words); break;
    case BlockedOn::kMmio:
      CompleteMmio(static_cast<Vcpu&>(caller), abi::LabelCode(label) == 0, words[0]);
      break;
    case BlockedOn::kHypercall:
    case BlockedOn::kSecureCall:
      CompleteHypercall(static_cast<Vcpu&>(caller), abi::LabelCode(label) == 0, words);
      break;
  }
  MakeReady(caller, place);
}

void BeginCall(Thread& caller, Endpoint& endpoint, BlockedOn blocked_on) {
  ++caller.token;
  caller.blocked_on = blocked_on;
  Cpu& cpu = Cpu::This();
  if (cpu.current == &caller) BlockCurrent(cpu);
  Thread* const server = endpoint.receiver;
  if (server == nullptr) {
    caller.queued_at = &endpoint;
    endpoint.queue.PushBack(caller);
    Reprioritize(*endpoint.owner);
    return;
  }
  endpoint.receiver = nullptr;
  HandOver(caller, *server);
  MakeReady(*server);
}

void Receive(Task& server) {
  Endpoint& port = *server.port;
  Cpu& cpu = Cpu::This();
  if (server.serving != nullptr) {  // kept for a later Reply
    server.serving->owed_since = CntpctEl0::Read();
    server.owed.PushBack(*server.serving);
    server.serving = nullptr;
  }
  if (server.stepping.steps != 0) StopAtReception(server);
  // Signals first, but not twice in a row while somebody calls: a server that keeps signalling itself (more
  // work by timer) must not starve its callers, nor they its interrupts.
  const bool callers_turn = server.took_signals && !port.queue.empty();
  const uint64_t bits = callers_turn ? 0 : server.signals.exchange(0, std::memory_order_acquire);
  server.took_signals = bits != 0;
  if (bits != 0) {
    server.ready_on = &cpu;
    WriteSignals(server, bits);
  } else if (Thread* const caller = port.queue.PopFront(); caller != nullptr) {
    HandOver(*caller, server);
  } else {
    port.receiver = &server;
    BlockCurrent(cpu);
    return;
  }
  NoteWork(cpu, server);
}

Status Reply(Task& server, uint64_t token, uint64_t label, const abi::Words& words) {
  if (abi::LabelBytes(label) > abi::kIpcBytes) return Status::kInvalidArgument;
  Thread* const caller = FindServed(server, token);
  if (caller == nullptr) return Status::kCancelled;
  // The server ran on the time of the caller whose call it took last, which goes on with its turn as on the fast path.
  const Place place = server.serving == caller ? Place::kFirst : Place::kLast;
  UnlinkServed(server, *caller);
  CopyBuffer(server, *caller, label);
  CompleteCall(*caller, label, words, place);
  return Status::kOk;
}

void RaiseSignalFor(Account payer, Task& owner, uint64_t bits, bool patient) {
  const Account account = owner.schedule.account;
  const Payers payers = {.charged = payer != 0 ? payer : account,
                         .favoured = account != 0 ? account : payer};
  RaiseSignal(owner, bits, payers, patient);
}

void RaiseSignal(Task& owner, uint64_t bits) {
  RaiseSignal(owner, bits, {owner.payers.charged, 0}, false);
}

[[gnu::noinline]] void RaiseSignal(Task& owner, uint64_t bits, Payers payers, bool patient) {
  if (bits == 0) return;  // nothing to wake for
  if (owner.signals.fetch_or(bits, std::memory_order_release) == 0) {
    owner.next_payers = payers;
  } else {
    AddPayers(owner, payers);
  }
  Endpoint& port = *owner.port;
  if (port.receiver != &owner) {  // it sees them when it receives next
    // Its patience ends. One that was only preempted keeps its place before its equals.
    if (!patient && owner.ready && owner.run_priority < EffectivePriority(owner))
      Reprioritize(owner);
    return;
  }
  port.receiver = nullptr;
  WriteSignals(owner, owner.signals.exchange(0, std::memory_order_acquire));
  MakeReady(owner, patient ? Place::kAfterCurrent : Place::kLast);
}

}  // namespace atoll
