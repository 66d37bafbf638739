// Tasks that serve and tasks that call them, for tests of what becomes of both.
#ifndef ATOLL_TESTS_KERNEL_SERVERS_H_
#define ATOLL_TESTS_KERNEL_SERVERS_H_

#include "tests/kernel/harness.h"

namespace atoll::test {

inline constexpr uint32_t kCallSlot = 1;

// Answers each call with what it says.
inline void EchoServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) call = abi::ReplyWait(call.call.token, call.message);
}

// Takes calls and keeps them: their number in word 0; records what it took from word 10 on, 4 words each.
inline void KeepCalls(uint32_t, uint64_t generation) {
  for (;;) {
    const abi::Received call = abi::ReplyWait(0, {});
    if (call.call.token == 0) continue;
    const uint64_t n = Shared()[0];
    Shared()[10 + 4 * n] = call.message.words[0];
    Shared()[11 + 4 * n] = call.call.token;
    Shared()[12 + 4 * n] = call.call.attempt;
    Shared()[13 + 4 * n] = generation;
    Shared()[0] = n + 1;
  }
}

// Calls once; the first word of the answer is in word 100 + argument.
inline void OneCall(uint32_t argument, uint64_t) {
  const auto reply =
      abi::Call({kCallSlot}, {.label = argument, .words = {argument, 11, 12, 13, 14, 15}});
  Shared()[100 + argument] = reply.has_value() ? reply->words[0] : 0xbad0 + AsNumber(reply.error());
}

inline Child MakeCaller(const Child& server, uint32_t argument, uint32_t priority = 24) {
  Child caller = MakeChild(OneCall, argument, {.rank = 3, .priority = priority});
  Grant(server.endpoint, caller.task, kCallSlot, kSend, argument);
  return caller;
}

}  // namespace atoll::test

#endif  // ATOLL_TESTS_KERNEL_SERVERS_H_
