// How a task enters the kernel: the register contracts of ipc/abi.h as functions.
//
// In hosted builds (unit tests) there is no kernel: the functions are declared only, and a test that uses
// code which calls them defines them.
#ifndef ATOLL_IPC_SYSTEM_CALL_H_
#define ATOLL_IPC_SYSTEM_CALL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/message.h"
#include "ipc/status.h"

namespace atoll::abi {

// What a kernel call gives back.
struct KernelReply {
  Status status = Status::kUnknown;
  Words words{};
};

// What reply_wait gives back. token 0: no call but signals, of which words[0] holds the bits.
struct Received {
  Status status = Status::kUnknown;
  CallInfo call;
  Message message;
};

#if __STDC_HOSTED__

KernelReply SystemCall(uint32_t number, Handle handle, const Words& words);
Result<Message> Call(Handle endpoint, const Message& request);
Received ReplyWait(uint64_t token, const Message& reply);
Status Reply(uint64_t token, const Message& reply);
std::span<std::byte> IpcPage();

#else

// Any kernel call that is declared in proto/kernel.proto.
inline KernelReply SystemCall(uint32_t number, Handle handle, const Words& words) {
  register uint64_t x0 asm("x0") = handle.slot;
  register uint64_t x1 asm("x1") = words[0];
  register uint64_t x2 asm("x2") = words[1];
  register uint64_t x3 asm("x3") = words[2];
  register uint64_t x4 asm("x4") = words[3];
  register uint64_t x5 asm("x5") = words[4];
  register uint64_t x6 asm("x6") = words[5];
  register uint64_t x8 asm("x8") = number;
  asm volatile("svc #0"
               : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x8)
               :
               : "x7", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18",
                 "memory", "cc");
  return {.status = StatusFromNumber(x0), .words = {x1, x2, x3, x4, x5, x6}};
}

// Calls a server and waits for its reply. The error is that of the call itself, not the server's.
inline Result<Message> Call(Handle endpoint, const Message& request) {
  register uint64_t x0 asm("x0") = endpoint.slot;
  register uint64_t x1 asm("x1") = request.label;
  register uint64_t x2 asm("x2") = request.words[0];
  register uint64_t x3 asm("x3") = request.words[1];
  register uint64_t x4 asm("x4") = request.words[2];
  register uint64_t x5 asm("x5") = request.words[3];
  register uint64_t x6 asm("x6") = request.words[4];
  register uint64_t x7 asm("x7") = request.words[5];
  register uint64_t x8 asm("x8") = kCall;
  asm volatile(
      "svc #0"
      : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7), "+r"(x8)
      :
      : "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "memory", "cc");
  if (x0 != 0) return std::unexpected(StatusFromNumber(x0));
  return Message{.label = x1, .words = {x2, x3, x4, x5, x6, x7}};
}

// Answers the call `token` (0: nobody) and waits for the next call or for signals.
inline Received ReplyWait(uint64_t token, const Message& reply) {
  register uint64_t x0 asm("x0") = token;
  register uint64_t x1 asm("x1") = reply.label;
  register uint64_t x2 asm("x2") = reply.words[0];
  register uint64_t x3 asm("x3") = reply.words[1];
  register uint64_t x4 asm("x4") = reply.words[2];
  register uint64_t x5 asm("x5") = reply.words[3];
  register uint64_t x6 asm("x6") = reply.words[4];
  register uint64_t x7 asm("x7") = reply.words[5];
  register uint64_t x8 asm("x8") = kReplyWait;
  register uint64_t x9 asm("x9");
  register uint64_t x10 asm("x10");
  asm volatile("svc #0"
               : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7),
                 "+r"(x8), "=r"(x9), "=r"(x10)
               :
               : "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "memory", "cc");
  return {.status = static_cast<Status>(x0),  // from the kernel, which sends codes only
          .call = {.badge = x8, .token = x9, .attempt = x10},
          .message = {.label = x1, .words = {x2, x3, x4, x5, x6, x7}}};
}

// Answers the call `token` and goes on.
inline Status Reply(uint64_t token, const Message& reply) {
  register uint64_t x0 asm("x0") = token;
  register uint64_t x1 asm("x1") = reply.label;
  register uint64_t x2 asm("x2") = reply.words[0];
  register uint64_t x3 asm("x3") = reply.words[1];
  register uint64_t x4 asm("x4") = reply.words[2];
  register uint64_t x5 asm("x5") = reply.words[3];
  register uint64_t x6 asm("x6") = reply.words[4];
  register uint64_t x7 asm("x7") = reply.words[5];
  register uint64_t x8 asm("x8") = kReply;
  asm volatile(
      "svc #0"
      : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7), "+r"(x8)
      :
      : "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "memory", "cc");
  return StatusFromNumber(x0);
}

// The page through which buffer messages and log lines pass. A call overwrites it.
inline std::span<std::byte> IpcPage() {
  return {reinterpret_cast<std::byte*>(kIpcPage.value), kIpcBytes};
}

#endif  // __STDC_HOSTED__

}  // namespace atoll::abi

#endif  // ATOLL_IPC_SYSTEM_CALL_H_
