// Calls: what arrives, and what is refused.
#include <algorithm>
#include <array>
#include <cstring>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

Message Words(uint64_t first, uint64_t label = 0) {
  return {.label = label, .words = {first, first + 1, first + 2, first + 3, first + 4, first + 5}};
}

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

TEST(all_words_and_the_label_travel_both_ways) {
  const Child server = StartServer(RecordingServer);
  const uint32_t handle = Restricted(server.endpoint, kSend, 0x1234'5678'9abc'def0);
  const uint64_t label = abi::MakeLabel(0xabcd);
  const auto reply = abi::Call({handle}, Words(0xfedc'0000'0000'0001, label));
  EXPECT_TRUE(reply.has_value());
  EXPECT_EQ(Shared()[0], AsNumber(Status::kOk));
  EXPECT_EQ(Shared()[1], label);
  for (size_t i = 0; i < abi::kMessageWords; ++i) {
    EXPECT_EQ(Shared()[2 + i], 0xfedc'0000'0000'0001 + i);
    EXPECT_EQ(reply->words[i], 0xfedc'0000'0000'0002 + i);
  }
  EXPECT_EQ(reply->label, label + 1);
  EXPECT_EQ(Shared()[8], 0x1234'5678'9abc'def0ull);
  EXPECT_EQ(Shared()[10], 1ull);
}

TEST(each_call_has_a_new_token_of_its_caller) {
  const Child server = StartServer(RecordingServer);
  const uint32_t handle = Restricted(server.endpoint, kSend);
  static_cast<void>(abi::Call({handle}, {}));
  const uint64_t first = Shared()[9];
  EXPECT_TRUE(first != 0);
  for (uint64_t i = 1; i <= 5; ++i) {
    static_cast<void>(abi::Call({handle}, {}));
    EXPECT_EQ(Shared()[9], first + i);
    EXPECT_EQ(Shared()[10], 1ull);
  }
}

Status CallStatus(uint64_t handle, uint64_t label = 0) {
  uint64_t x[31] = {handle, label, 1, 2, 3, 4, 5, 6, abi::kCall};
  CallWithRegisters(x);
  return static_cast<Status>(x[0]);
}

TEST(calls_through_bad_handles_are_refused) {
  const Child server = StartServer(RecordingServer);
  EXPECT_EQ(CallStatus(0), Status::kNotFound);
  EXPECT_EQ(CallStatus(NextSlot()), Status::kNotFound);
  EXPECT_EQ(CallStatus(kRootHandles), Status::kNotFound);
  EXPECT_EQ(CallStatus(kRootHandles - 1), Status::kNotFound);
  EXPECT_EQ(CallStatus(~0ull), Status::kNotFound);
  // The handle is all of x0.
  EXPECT_EQ(CallStatus(server.endpoint | 1ull << 32), Status::kNotFound);
  EXPECT_EQ(CallStatus(kSelf.slot), Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(kOwnSignal.slot), Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(server.data), Status::kInvalidArgument);
  const uint32_t vm = CreateVm();
  EXPECT_EQ(CallStatus(vm), Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(CreateVcpu(vm, 0)), Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(Create({.type = ObjectType::kIrqLine, .owner = vm, .a = 40})),
            Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(Restricted(server.endpoint, kAllRights & ~kSend)),
            Status::kPermissionDenied);
  EXPECT_EQ(Shared()[11], 0ull);
  EXPECT_EQ(CallStatus(server.endpoint), Status::kOk);
  EXPECT_EQ(Shared()[11], 1ull);
}

TEST(a_handle_that_was_taken_away_is_empty) {
  const Child server = StartServer(RecordingServer);
  const uint32_t handle = Restricted(server.endpoint, kSend);
  EXPECT_EQ(CallStatus(handle), Status::kOk);
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = kSelf.slot, .slot = handle}));
  EXPECT_EQ(CallStatus(handle), Status::kNotFound);
}

TEST(a_buffer_beyond_the_page_is_refused) {
  const Child server = StartServer(RecordingServer);
  EXPECT_EQ(CallStatus(server.endpoint, abi::MakeLabel(0, 4097)), Status::kInvalidArgument);
  EXPECT_EQ(CallStatus(server.endpoint, abi::MakeLabel(0, ~0u)), Status::kInvalidArgument);
  EXPECT_EQ(Shared()[11], 0ull);
}

std::byte Pattern(size_t i, uint32_t seed) {
  return static_cast<std::byte>(i * 31 + i / 256 * 7 + seed);
}

// Counts what is wrong in its page, and answers with a buffer as large. Sizes only grow, so what an earlier message
// left is overwritten.
void BufferServer(uint32_t, uint64_t) {
  const std::span<std::byte> page = abi::IpcPage();
  std::memset(page.data(), 0x55, page.size());
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) {
    const uint32_t bytes = abi::LabelBytes(call.message.label);
    uint64_t wrong = 0, beyond = 0;
    for (size_t i = 0; i < page.size(); ++i) {
      if (i < bytes) {
        wrong += page[i] != Pattern(i, 1);
      } else {
        beyond += page[i] != std::byte{0x55};
      }
      page[i] = i < bytes ? Pattern(i, 2) : std::byte{0x55};
    }
    Shared()[0] = wrong;
    Shared()[1] = beyond;
    Shared()[2] = Shared()[2] + 1;
    if (call.message.words[0] == 0) {
      call = abi::ReplyWait(call.call.token, {.label = abi::MakeLabel(0, bytes)});
    } else {  // the reply is a register message: the caller's page stays as it is
      call = abi::ReplyWait(call.call.token, {});
    }
  }
}

void CallWithBuffer(const Child& server, uint32_t bytes, bool buffer_back) {
  const std::span<std::byte> page = abi::IpcPage();
  for (size_t i = 0; i < page.size(); ++i) page[i] = i < bytes ? Pattern(i, 1) : std::byte{0x33};
  const auto reply =
      abi::Call({server.endpoint}, {.label = abi::MakeLabel(7, bytes), .words = {!buffer_back}});
  EXPECT_TRUE(reply.has_value());
  uint64_t wrong = 0;
  for (size_t i = 0; i < page.size(); ++i) {
    const std::byte sent = i < bytes ? Pattern(i, 1) : std::byte{0x33};
    wrong += page[i] != (buffer_back && i < bytes ? Pattern(i, 2) : sent);
  }
  EXPECT_EQ(wrong, 0ull);
}

TEST(buffers_travel_and_no_byte_more) {
  const Child server = StartServer(BufferServer);
  uint64_t calls = 0;
  for (const uint32_t bytes : {0u, 1u, 7u, 8u, 255u, 2048u, 4095u, 4096u}) {
    for (const bool buffer_back : {true, false}) {
      CallWithBuffer(server, bytes, buffer_back);
      EXPECT_EQ(Shared()[0], 0ull);
      EXPECT_EQ(Shared()[1], 0ull);
      EXPECT_EQ(Shared()[2], ++calls);
    }
  }
}

inline constexpr uint64_t kCallerPattern = 0xc0de'0000'0000'0000;
inline constexpr uint64_t kServerPattern = 0x5e12'0000'0000'0000;

void FillPattern(uint64_t* x, uint64_t pattern) {
  for (uint64_t i = 0; i < 31; ++i) x[i] = pattern | i;
}

// Not the other side's, and not an address of the kernel's.
bool IsForeign(uint64_t value, uint64_t other_pattern) {
  return value >> 48 == other_pattern >> 48 || value >> 38 == ~uint64_t{0} >> 38;
}

uint64_t CountForeign(const uint64_t* x, uint64_t other_pattern) {
  uint64_t foreign = 0;
  for (size_t i = 11; i < 31; ++i) foreign += IsForeign(x[i], other_pattern);
  return foreign;
}

// x19-x30 are kept, whatever happens meanwhile.
uint64_t CountChanged(const uint64_t* x, uint64_t pattern) {
  uint64_t changed = 0;
  for (size_t i = 19; i < 31; ++i) changed += i != 29 && x[i] != (pattern | i);
  return changed;
}

void PatternServer(uint32_t, uint64_t) {
  uint64_t x[31];
  FillPattern(x, kServerPattern);
  x[0] = 0;
  x[8] = abi::kReplyWait;
  for (;;) {
    CallWithRegisters(x);
    Shared()[0] = Shared()[0] + CountForeign(x, kCallerPattern);
    Shared()[1] = Shared()[1] + CountChanged(x, kServerPattern);
    Shared()[2] = Shared()[2] + 1;
    Shared()[3] = x[8];
    Shared()[4] = x[10];
    const uint64_t token = x[9];
    FillPattern(x, kServerPattern);
    x[0] = token;
    x[1] = 0;
    x[8] = abi::kReplyWait;
  }
}

TEST(no_register_beyond_the_message_is_seen_by_the_other_side) {
  const Child server = StartServer(PatternServer);
  const uint32_t handle = Restricted(server.endpoint, kSend, 99);
  for (uint64_t round = 1; round <= 3; ++round) {
    uint64_t x[31];
    FillPattern(x, kCallerPattern);
    x[0] = handle;
    x[1] = round == 3 ? abi::MakeLabel(0, 8) : 0;  // with a buffer: the long way
    x[8] = abi::kCall;
    CallWithRegisters(x);
    EXPECT_EQ(x[0], 0ull);
    uint64_t foreign = 0;
    for (size_t i = 8; i < 31; ++i) foreign += IsForeign(x[i], kServerPattern);
    EXPECT_EQ(foreign, 0ull);
    EXPECT_EQ(CountChanged(x, kCallerPattern), 0ull);
    EXPECT_EQ(Shared()[2], round);
    EXPECT_EQ(Shared()[3], 99ull);
    EXPECT_EQ(Shared()[4], 1ull);
  }
  EXPECT_EQ(Shared()[0], 0ull);
  EXPECT_EQ(Shared()[1], 0ull);
}

}  // namespace
}  // namespace atoll::test
