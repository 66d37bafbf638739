// Callers of a busy or missing server, chains of calls, and the order of ranks that keeps them free of cycles.
#include <array>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;

// Records each call in the shared page and answers with each word one larger, the label's code too.
void RecordingServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    volatile uint64_t* const shared = Shared();
    shared[0] = AsNumber(call.status);
    shared[1] = call.message.label;
    for (size_t i = 0; i < abi::kMessageWords; ++i) shared[2 + i] = call.message.words[i];
    shared[8] = call.call.badge;
    shared[9] = call.call.token;
    shared[10] = call.call.attempt;
    shared[11] = shared[11] + 1;
    Message reply = {.label = call.message.label + 1};
    for (size_t i = 0; i < abi::kMessageWords; ++i) reply.words[i] = call.message.words[i] + 1;
    call = abi::ReplyWait(call.call.token, reply);
  }
}

// Words 0..: order of arrival. Its first caller waits until the gate opens.
void GatedServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    if (Shared()[0] == 0) static_cast<void>(abi::Call({kCallSlot}, {}));
    Shared()[0] = Shared()[0] + 1;
    Shared()[Shared()[0]] = call.message.words[0];
    call = abi::ReplyWait(call.call.token, {.words = {call.message.words[0] * 10}});
  }
}

// Keeps its caller until a signal comes.
void Gate(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(0, {});
    if (received.call.token != 0) {
      token = received.call.token;
    } else {
      EXPECT_OK(abi::Reply(token, {}));
    }
  }
}

void OneCall(uint32_t argument, uint64_t) {
  const auto reply = abi::Call({kCallSlot}, {.words = {argument}});
  Shared()[100 + argument] = reply.has_value() ? reply->words[0] : 0xbad0 + AsNumber(reply.error());
}

struct Gated {
  Child gate, server;
  uint32_t opener = 0;
};

Gated MakeGated() {
  Gated gated;
  gated.gate = StartServer(Gate, 0, {.rank = 0});
  gated.opener = CreateSignal(gated.gate.task);
  gated.opener = Restricted(gated.opener, kSend, 1);
  gated.server = MakeChild(GatedServer, 0, {.rank = 1, .endpoint = true});
  Grant(gated.gate.endpoint, gated.server.task, kCallSlot, kSend);
  Start(gated.server);
  return gated;
}

Child StartCaller(const Child& server, uint32_t argument, Entry entry = OneCall) {
  Child caller = MakeChild(entry, argument);
  Grant(server.endpoint, caller.task, kCallSlot, kSend, argument);
  Start(caller);
  return caller;
}

TEST(callers_of_a_busy_server_queue_in_order) {
  const Gated gated = MakeGated();
  for (uint32_t i = 1; i <= 6; ++i) static_cast<void>(StartCaller(gated.server, i));
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_OK(kernel::SetSignal({gated.opener}));
  Sleep(100);
  EXPECT_EQ(Shared()[0], 6ull);
  for (uint64_t i = 1; i <= 6; ++i) {
    EXPECT_EQ(Shared()[i], i);
    EXPECT_EQ(Shared()[100 + i], i * 10);
  }
}

TEST(a_queued_caller_that_is_killed_leaves_the_queue) {
  const Gated gated = MakeGated();
  std::array<Child, 4> callers;
  for (uint32_t i = 0; i < 4; ++i) callers[i] = StartCaller(gated.server, i + 1);
  EXPECT_OK(Kill(callers[2]));
  EXPECT_OK(kernel::SetSignal({gated.opener}));
  Sleep(100);
  EXPECT_EQ(Shared()[0], 3ull);
  EXPECT_EQ(Shared()[1], 1ull);
  EXPECT_EQ(Shared()[2], 2ull);
  EXPECT_EQ(Shared()[3], 4ull);
  EXPECT_EQ(Shared()[103], 0ull);
}

TEST(an_endpoint_with_callers_is_not_destroyed) {
  const Gated gated = MakeGated();
  const Child caller = StartCaller(gated.server, 1);
  const Child queued = StartCaller(gated.server, 2);
  EXPECT_EQ(kernel::DestroyObject({gated.server.endpoint}), Status::kFailedPrecondition);
  EXPECT_OK(Kill(gated.server));
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = caller.task, .slot = kCallSlot}));
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = queued.task, .slot = kCallSlot}));
  EXPECT_EQ(kernel::DestroyObject({gated.server.endpoint}), Status::kFailedPrecondition);
  EXPECT_OK(Kill(caller));
  EXPECT_EQ(kernel::DestroyObject({gated.server.endpoint}), Status::kFailedPrecondition);
  EXPECT_OK(Kill(queued));
  EXPECT_OK(Destroy(gated.server.endpoint));
}

TEST(calls_before_the_server_starts_wait_for_it) {
  Child server = MakeChild(RecordingServer, 0, {.endpoint = true});
  Child caller = MakeChild(OneCall, 5, {.rank = 3});
  Grant(server.endpoint, caller.task, kCallSlot, kSend);
  Start(caller);
  EXPECT_EQ(Shared()[11], 0ull);
  Start(server);
  Sleep(100);
  EXPECT_EQ(Shared()[11], 1ull);
  EXPECT_EQ(Shared()[105], 6ull);
  EXPECT_TRUE(IsDead(caller));
}

// Adds one on the way down and one on the way up.
void Relay(uint32_t rank, uint64_t) {
  uint64_t token = 0;
  uint64_t word = 0;
  for (;;) {
    const abi::Received call = abi::ReplyWait(token, {.words = {word}});
    token = call.call.token;
    word = call.message.words[0] + 1;
    if (rank > 0) {
      const auto reply = abi::Call({kCallSlot}, {.words = {word}});
      word = reply.has_value() ? reply->words[0] + 1 : 0xbad;
    }
  }
}

TEST(calls_nest_four_deep) {
  Child below = StartServer(Relay, 0, {.rank = 0});
  for (uint32_t rank = 1; rank <= 3; ++rank) {
    Child relay = MakeChild(Relay, rank, {.rank = rank, .endpoint = true});
    Grant(below.endpoint, relay.task, kCallSlot, kSend);
    Start(relay);
    below = relay;
  }
  for (uint64_t i = 0; i < 10; ++i) {
    const auto reply = abi::Call({below.endpoint}, {.words = {i * 100}});
    EXPECT_EQ(reply.has_value() ? reply->words[0] : 0, i * 100 + 7);
  }
}

TEST(the_rank_order_is_kept_at_the_grant) {
  const Child low = MakeChild(RecordingServer, 0, {.rank = 1, .endpoint = true});
  const Child equal = MakeChild(OneCall, 0, {.rank = 1});
  const Child below = MakeChild(OneCall, 0, {.rank = 0});
  const Child above = MakeChild(OneCall, 0, {.rank = 2});
  const auto grant = [&](const Child& child, uint32_t rights) {
    return kernel::GrantHandle({low.endpoint}, {.task = child.task, .slot = 1, .rights = rights});
  };
  EXPECT_EQ(grant(equal, kSend), Status::kFailedPrecondition);
  EXPECT_EQ(grant(below, kSend), Status::kFailedPrecondition);
  EXPECT_EQ(grant(low, kSend), Status::kFailedPrecondition);
  EXPECT_EQ(grant(below, kAllRights), Status::kFailedPrecondition);
  EXPECT_OK(grant(above, kSend));
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = above.task, .slot = 1}));
}

TEST(an_endpoint_ranks_no_lower_than_its_owner) {
  const Child high = MakeChild(RecordingServer, 0, {.rank = 3});
  const NewObject endpoint = {.type = ObjectType::kEndpoint, .owner = high.task};
  for (const uint64_t rank : {0, 1, 2}) {
    NewObject lower = endpoint;
    lower.a = rank;
    const auto refused = TryCreate(lower);
    EXPECT_EQ(StatusOf(refused), Status::kFailedPrecondition);
    if (refused.has_value()) EXPECT_OK(Destroy(*refused));
  }
  NewObject too_high = endpoint;
  too_high.a = abi::kMaxRank + 1;
  EXPECT_EQ(StatusOf(TryCreate(too_high)), Status::kInvalidArgument);
  NewObject same = endpoint;
  same.a = 3;
  EXPECT_TRUE(TryCreate(same).has_value());
  EXPECT_EQ(StatusOf(TryCreate(same)), Status::kAlreadyExists);
}

TEST(a_running_task_gets_no_endpoint) {
  const Child child = StartChild(Gate);
  EXPECT_EQ(StatusOf(TryCreate({.type = ObjectType::kEndpoint, .owner = child.task, .a = 2})),
            Status::kFailedPrecondition);
}

}  // namespace
}  // namespace atoll::test
