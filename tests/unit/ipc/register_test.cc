// Register messages: packing, ranges, dispatch.
#include <gtest/gtest.h>

#include <limits>

#include "proto/device.atoll.h"
#include "tests/unit/ipc/fake_kernel.h"
#include "tests/unit/ipc/sample.atoll.h"

namespace atoll {
namespace {

constexpr uint64_t kAllOnes = ~uint64_t{0};

class FakeSample : public SampleServer {
 public:
  Result<FillReply> Fill(const CallInfo& call, const FillRequest& request) override {
    last_call = call;
    last_fill = request;
    ++calls;
    if (!IsOk(answer)) return std::unexpected(answer);
    return FillReply{.sparse = Sparse::kHigh, .bits = Bits::k8};
  }
  Status Limit(const CallInfo&, const LimitRequest& request) override {
    last_limit = request;
    ++calls;
    return answer;
  }
  Status Ping(const CallInfo&) override {
    ++calls;
    return answer;
  }
  Status Store(const CallInfo&, const StoreRequest&, StoreReply&) override {
    return Status::kUnimplemented;
  }
  Status Forget(const CallInfo&, const ForgetRequest&) override { return Status::kUnimplemented; }
  Status Recall(const CallInfo&, RecallReply&) override { return Status::kUnimplemented; }

  CallInfo last_call;
  FillRequest last_fill;
  LimitRequest last_limit;
  int calls = 0;
  Status answer = Status::kOk;
};

const FillRequest kFill{.flag = true,
                        .small = 0xffffffff,
                        .large = kAllOnes,
                        .signed_small = std::numeric_limits<int32_t>::min(),
                        .signed_large = -2,
                        .shade = Shade::kVeryDark};

Message Request(uint32_t code, const abi::Words& words) {
  return {.label = abi::MakeLabel(code), .words = words};
}

TEST(RegisterMessage, pack_and_unpack_are_inverse) {
  EXPECT_EQ(kFill.Pack(),
            (abi::Words{1, 0xffffffff, kAllOnes, 0xffffffff'80000000, kAllOnes - 1, 2}));
  EXPECT_TRUE(FillRequest::InRange(kFill.Pack()));
  EXPECT_EQ(FillRequest::Unpack(kFill.Pack()), kFill);
  EXPECT_EQ(FillRequest::kWords, 6u);
}

TEST(RegisterMessage, words_beyond_the_fields_are_zero) {
  EXPECT_EQ(MmioAccessReply{.value = 5}.Pack(), (abi::Words{5, 0, 0, 0, 0, 0}));
  EXPECT_EQ(Nothing{}.Pack(), abi::Words{});
}

struct WordCase {
  size_t word;
  uint64_t value;
  bool in_range;
};

TEST(RegisterMessage, each_word_must_be_a_value_of_its_type) {
  const WordCase cases[] = {
      {0, 0, true},
      {0, 1, true},
      {0, 2, false},
      {0, 0x100, false},
      {0, kAllOnes, false},
      {1, 0xffffffff, true},
      {1, 0x1'0000'0000, false},
      {1, kAllOnes, false},
      {2, kAllOnes, true},
      {3, 0x7fffffff, true},
      {3, 0x80000000, false},
      {3, 0xffffffff, false},
      {3, 0xffffffff'80000000, true},
      {3, 0xffffffff'7fffffff, false},
      {3, kAllOnes, true},
      {4, uint64_t{1} << 63, true},
      {5, 2, true},
      {5, 3, false},
      {5, 0x1'0000'0001, false},
      {5, kAllOnes, false},
  };
  for (const WordCase& c : cases) {
    abi::Words words = kFill.Pack();
    words[c.word] = c.value;
    EXPECT_EQ(FillRequest::InRange(words), c.in_range) << "word " << c.word << " = " << c.value;
  }
}

TEST(RegisterMessage, enum_with_gaps_accepts_its_values_only) {
  for (const uint64_t good : {0, 4, 5, 256}) EXPECT_TRUE(IsSparse(good)) << good;
  for (const uint64_t bad : {1, 3, 6, 255, 257}) EXPECT_FALSE(IsSparse(bad)) << bad;
  for (const uint64_t good : {0, 2, 4, 8, 16, 32}) EXPECT_TRUE(IsBits(good)) << good;
  for (const uint64_t bad : {1, 3, 31, 33, 63, 64, 66}) EXPECT_FALSE(IsBits(bad)) << bad;
  EXPECT_FALSE(IsBits(kAllOnes));
  EXPECT_FALSE(IsBits(uint64_t{1} << 32 | 2));
}

TEST(RegisterMessage, min_and_max_are_inclusive) {
  EXPECT_TRUE(LimitRequest::InRange({3, 9, 0x1'0000'0000}));
  EXPECT_TRUE(LimitRequest::InRange({0xffffffff, 0, 0x1'ffff'ffff}));
  EXPECT_FALSE(LimitRequest::InRange({2, 9, 0x1'0000'0000}));
  EXPECT_FALSE(LimitRequest::InRange({0x1'0000'0003, 9, 0x1'0000'0000}));
  EXPECT_FALSE(LimitRequest::InRange({3, 10, 0x1'0000'0000}));
  EXPECT_FALSE(LimitRequest::InRange({3, 9, 0xffff'ffff}));
  EXPECT_FALSE(LimitRequest::InRange({3, 9, 0x2'0000'0000}));
}

TEST(Dispatch, calls_the_method_and_encodes_its_reply) {
  FakeSample server;
  const CallInfo call{.badge = 7, .token = 8, .attempt = 2};
  const Message reply = server.Dispatch(call, Request(SampleInterface::kFill, kFill.Pack()));
  EXPECT_EQ(server.last_fill, kFill);
  EXPECT_EQ(server.last_call.badge, 7u);
  EXPECT_EQ(server.last_call.token, 8u);
  EXPECT_EQ(server.last_call.attempt, 2u);
  EXPECT_EQ(reply.label, 0u);
  EXPECT_EQ(reply.words, (abi::Words{256, 8}));
}

TEST(Dispatch, error_of_the_method_travels_without_words) {
  FakeSample server;
  server.answer = Status::kNotFound;
  const Message reply = server.Dispatch({}, Request(SampleInterface::kFill, kFill.Pack()));
  EXPECT_EQ(reply.label, 5u);
  EXPECT_EQ(reply.words, abi::Words{});
  EXPECT_EQ(ReplyStatus(server.Dispatch({}, Request(SampleInterface::kPing, {}))),
            Status::kNotFound);
}

TEST(Dispatch, request_out_of_range_never_reaches_the_method) {
  FakeSample server;
  abi::Words words = kFill.Pack();
  words[5] = 3;
  EXPECT_EQ(ReplyStatus(server.Dispatch({}, Request(SampleInterface::kFill, words))),
            Status::kInvalidArgument);
  EXPECT_EQ(ReplyStatus(server.Dispatch({}, Request(SampleInterface::kLimit, {}))),
            Status::kInvalidArgument);
  EXPECT_EQ(server.calls, 0);
}

TEST(Dispatch, unknown_method_and_foreign_interface_are_unimplemented) {
  FakeSample server;
  for (const uint32_t code :
       {0u, 0xc806u, 0xc8ffu, OtherInterface::kGet, DeviceInterface::kMmioAccess, 0xffffu}) {
    EXPECT_EQ(ReplyStatus(server.Dispatch({}, Request(code, kFill.Pack()))), Status::kUnimplemented)
        << code;
  }
  EXPECT_EQ(server.calls, 0);
}

TEST(Dispatch, method_may_decline_to_reply) {
  FakeSample server;
  server.answer = kNoReply;
  EXPECT_EQ(server.Dispatch({}, Request(SampleInterface::kFill, kFill.Pack())).label,
            kNoReplyLabel);
  EXPECT_EQ(server.Dispatch({}, Request(SampleInterface::kPing, {})).label, kNoReplyLabel);
}

TEST(Client, sends_code_and_words_and_takes_the_reply) {
  FakeKernel kernel;
  FakeSample server;
  kernel.on_call = [&](abi::Handle endpoint, const Message& request) -> Result<Message> {
    EXPECT_EQ(endpoint.slot, 12u);
    return server.Dispatch({}, request);
  };
  const SampleClient client(abi::Handle{12});
  const Result<FillReply> reply = client.Fill(kFill);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(*reply, (FillReply{.sparse = Sparse::kHigh, .bits = Bits::k8}));
  EXPECT_EQ(server.last_fill, kFill);
  EXPECT_EQ(client.Ping(), Status::kOk);
  server.answer = Status::kAborted;
  EXPECT_EQ(client.Fill(kFill).error(), Status::kAborted);
  EXPECT_EQ(client.Ping(), Status::kAborted);
}

TEST(Client, failure_of_the_call_itself_is_returned) {
  FakeKernel kernel;
  kernel.on_call = [](abi::Handle, const Message&) -> Result<Message> {
    return std::unexpected(Status::kUnavailable);
  };
  EXPECT_EQ(SampleClient(abi::Handle{1}).Fill(kFill).error(), Status::kUnavailable);
  EXPECT_EQ(SampleClient(abi::Handle{1}).Ping(), Status::kUnavailable);
}

TEST(Client, reply_that_no_honest_server_sends_is_data_loss) {
  FakeKernel kernel;
  Message forged;
  kernel.on_call = [&](abi::Handle, const Message&) -> Result<Message> { return forged; };
  forged.words = {1, 0};  // 1 is no value of Sparse
  EXPECT_EQ(SampleClient(abi::Handle{1}).Fill(kFill).error(), Status::kDataLoss);
  forged.words = {8};
  EXPECT_EQ(OtherClient(abi::Handle{1}).Get().error(), Status::kDataLoss);
  forged.label = 0xfff;  // no status code
  EXPECT_EQ(OtherClient(abi::Handle{1}).Get().error(), Status::kUnknown);
}

TEST(Interface, codes_are_interface_and_position) {
  EXPECT_EQ(DeviceInterface::kMmioAccess, 0x0100u);
  EXPECT_EQ(SampleInterface::kRecall, 0xc805u);
  EXPECT_EQ(SampleServer::kInterface, 200u);
}

}  // namespace
}  // namespace atoll
