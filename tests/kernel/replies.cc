// Replies and their tokens: one per call, to the task that took it, whenever it likes.
#include <array>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint64_t kNobody = 0xdead'0000'0000'0001;

void OneCall(uint32_t argument, uint64_t) {
  const auto reply = abi::Call({kCallSlot}, {.words = {argument}});
  Shared()[100 + argument] = reply.has_value() ? reply->words[0] : 0xbad0 + AsNumber(reply.error());
}

Child MakeCaller(const Child& server, uint32_t argument, uint32_t priority = 24) {
  Child caller = MakeChild(OneCall, argument, {.rank = 3, .priority = priority});
  Grant(server.endpoint, caller.task, kCallSlot, kSend, argument);
  return caller;
}

Child StartCaller(const Child& server, uint32_t argument, uint32_t priority = 24) {
  Child caller = MakeCaller(server, argument, priority);
  Start(caller);
  return caller;
}

uint64_t TryReply(uint64_t token, uint64_t label = 0) {
  return AsNumber(abi::Reply(token, {.label = label, .words = {77}}));
}

uint64_t TryReplyWait(uint64_t token, uint64_t label = 0) {
  return AsNumber(abi::ReplyWait(token, {.label = label, .words = {77}}).status);
}

void MisbehavingServer(uint32_t, uint64_t) {
  const abi::Received call = abi::ReplyWait(0, {});
  const uint64_t token = call.call.token;
  size_t next = 0;
  const auto record = [&](uint64_t status) { Shared()[next++] = status; };
  record(TryReply(0));
  record(TryReply(kNobody));
  record(TryReply(token - 1));
  record(TryReply(token + 1));
  record(TryReply(token ^ 1ull << 48));
  record(TryReplyWait(kNobody));
  record(TryReplyWait(token + 1));
  Shared()[50] = next;
  record(TryReply(token, abi::MakeLabel(0, 4097)));
  record(TryReplyWait(token, abi::MakeLabel(0, ~0u)));
  Shared()[51] = Shared()[101];  // nobody has answered so far
  record(TryReply(token));
  Shared()[52] = next;
  record(TryReply(token));
  record(TryReplyWait(token));
  Shared()[53] = next;
  Exit(3);
}

TEST(a_call_is_answered_once_and_by_its_token_only) {
  Child server = StartServer(MisbehavingServer);
  static_cast<void>(StartCaller(server, 1));
  Sleep(100);
  EXPECT_TRUE(IsDead(server));
  const uint64_t wrong = Shared()[50], answered = Shared()[52], end = Shared()[53];
  EXPECT_EQ(wrong, 7ull);
  EXPECT_EQ(end, 12ull);
  for (uint64_t i = 0; i < wrong; ++i)
    EXPECT_EQ(static_cast<Status>(Shared()[i]), Status::kCancelled);
  EXPECT_EQ(static_cast<Status>(Shared()[wrong]), Status::kInvalidArgument);
  EXPECT_EQ(static_cast<Status>(Shared()[wrong + 1]), Status::kInvalidArgument);
  EXPECT_EQ(Shared()[51], 0ull);
  EXPECT_EQ(static_cast<Status>(Shared()[answered - 1]), Status::kOk);
  for (uint64_t i = answered; i < end; ++i)
    EXPECT_EQ(static_cast<Status>(Shared()[i]), Status::kCancelled);
  EXPECT_EQ(Shared()[101], 77ull);
}

// Tells its token and keeps the call; a signal makes it reply to the token in the shared page.
void Keeper(uint32_t argument, uint64_t) {
  for (;;) {
    const abi::Received received = abi::ReplyWait(0, {});
    if (received.call.token != 0) {
      Shared()[argument] = received.call.token;
    } else {
      Shared()[argument + 1] =
          0x100 + AsNumber(abi::Reply(Shared()[argument + 2], {.words = {argument}}));
    }
  }
}

TEST(a_token_of_another_servers_call_is_worth_nothing) {
  const Child first = StartServer(Keeper, 10);
  const Child second = StartServer(Keeper, 20);
  const uint32_t wake_first = Restricted(CreateSignal(first.task), kSend, 1);
  const uint32_t wake_second = Restricted(CreateSignal(second.task), kSend, 1);
  static_cast<void>(StartCaller(first, 1));
  EXPECT_TRUE(Shared()[10] != 0);
  Shared()[22] = Shared()[10];
  EXPECT_OK(kernel::SetSignal({wake_second}));
  EXPECT_EQ(Shared()[21], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Shared()[101], 0ull);
  Shared()[12] = Shared()[10];
  EXPECT_OK(kernel::SetSignal({wake_first}));
  EXPECT_EQ(Shared()[11], 0x100ull);
  EXPECT_EQ(Shared()[101], 10ull);
}

inline constexpr size_t kDeferred = 6;

// Takes all calls first, then answers in another order.
void DeferringServer(uint32_t, uint64_t) {
  std::array<uint64_t, kDeferred> tokens;
  for (uint64_t& token : tokens) token = abi::ReplyWait(0, {}).call.token;
  for (const size_t i : {3u, 0u, 5u, 4u, 1u, 2u}) {
    Shared()[0] = Shared()[0] + AsNumber(abi::Reply(tokens[i], {.words = {1000 + i}}));
    Shared()[50] = Shared()[50] + 1;
  }
  static_cast<void>(abi::ReplyWait(0, {}));
}

TEST(replies_may_come_late_and_in_any_order) {
  const Child server = StartServer(DeferringServer);
  for (uint32_t i = 0; i < kDeferred; ++i) static_cast<void>(StartCaller(server, i));
  Sleep(100);
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_EQ(Shared()[50], kDeferred);
  for (uint64_t i = 0; i < kDeferred; ++i) EXPECT_EQ(Shared()[100 + i], 1000 + i);
}

void KeepingServer(uint32_t, uint64_t) {
  uint64_t token = abi::ReplyWait(0, {}).call.token;
  Shared()[0] = token;
  for (;;) {
    const abi::Received received = abi::ReplyWait(0, {});
    if (received.call.token == 0) {  // a signal
      Shared()[1] = 0x100 + AsNumber(abi::Reply(token, {.words = {55}}));
    } else {
      Shared()[2] = received.call.token;
      token = received.call.token;
    }
  }
}

TEST(a_reply_to_a_dead_caller_is_cancelled) {
  const Child server = StartServer(KeepingServer);
  const uint32_t wake = Restricted(CreateSignal(server.task), kSend, 1);
  const Child caller = StartCaller(server, 1);
  EXPECT_TRUE(Shared()[0] != 0);
  EXPECT_OK(Kill(caller));
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[1], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Shared()[101], 0ull);
}

TEST(a_restarted_callers_new_call_is_not_answered_by_the_old_token) {
  const Child server = StartServer(Keeper, 10);
  const uint32_t wake = Restricted(CreateSignal(server.task), kSend, 1);
  Child caller = StartCaller(server, 1);
  const uint64_t old_token = Shared()[10];
  EXPECT_OK(Kill(caller));
  Start(caller);
  EXPECT_TRUE(Shared()[10] != old_token);
  Shared()[12] = old_token;
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[11], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Shared()[101], 0ull);
  Shared()[12] = Shared()[10];
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[101], 10ull);
}

TEST(a_label_of_a_reply_arrives_as_it_was_sent) {
  const Child server = StartServer([](uint32_t, uint64_t) {
    uint64_t token = abi::ReplyWait(0, {}).call.token;
    for (const uint64_t label : {0ull, 0xffffull, 0xffff'ffffull, 4096ull << 32 | 13}) {
      token = abi::ReplyWait(token, {.label = label}).call.token;
    }
  });
  for (const uint64_t label : {0ull, 0xffffull, 0xffff'ffffull, 4096ull << 32 | 13}) {
    const auto reply = abi::Call({server.endpoint}, {});
    EXPECT_EQ(reply.has_value() ? reply->label : 1, label);
  }
}

}  // namespace
}  // namespace atoll::test
