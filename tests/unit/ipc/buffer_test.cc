// Buffer messages: a client and a server with the IPC page between them, and pages that no client wrote.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "ipc/buffer_message.h"
#include "tests/unit/ipc/fake_kernel.h"
#include "tests/unit/ipc/sample.atoll.h"

namespace atoll {
namespace {

class Memory : public SampleServer {
 public:
  Result<FillReply> Fill(const CallInfo&, const FillRequest&) override {
    return std::unexpected(Status::kUnimplemented);
  }
  Status Limit(const CallInfo&, const LimitRequest&) override { return Status::kUnimplemented; }
  Status Ping(const CallInfo&) override { return Status::kUnimplemented; }
  Status Store(const CallInfo&, const StoreRequest& request, StoreReply& reply) override {
    ++calls;
    stored = request;
    reply.stored = request.data.size;
    return answer;
  }
  Status Forget(const CallInfo&, const ForgetRequest& request) override {
    ++calls;
    forgotten = request.name;
    return answer;
  }
  Status Recall(const CallInfo&, RecallReply& reply) override {
    ++calls;
    std::memcpy(reply.name, stored.name, sizeof reply.name);
    return answer;
  }

  int calls = 0;
  StoreRequest stored = atoll_StoreRequest_init_zero;
  std::string forgotten;
  Status answer = Status::kOk;
};

class Buffer : public testing::Test {
 protected:
  Buffer() {
    kernel_.on_call = [this](abi::Handle, const Message& request) -> Result<Message> {
      return server_.Dispatch({}, request);
    };
  }

  // A request of `bytes` as they stand in the IPC page.
  Message Send(uint32_t code, const std::string& bytes) {
    std::memcpy(kernel_.ipc_page.data(), bytes.data(), bytes.size());
    return server_.Dispatch(
        {}, {.label = abi::MakeLabel(code, static_cast<uint32_t>(bytes.size())), .words = {}});
  }

  FakeKernel kernel_;
  Memory server_;
  SampleClient client_{abi::Handle{1}};
};

StoreRequest SomeStore() {
  StoreRequest request = atoll_StoreRequest_init_zero;
  std::strcpy(request.name, "fifteen letters");
  request.data.size = 3500;
  std::memset(request.data.bytes, 0x5a, request.data.size);
  request.items_count = 4;
  for (auto& item : request.items) {
    item.number = ~uint64_t{0};
    std::strcpy(item.note, "seven77");
  }
  return request;
}

TEST_F(Buffer, largest_message_goes_through_whole) {
  StoreReply reply = atoll_StoreReply_init_zero;
  ASSERT_EQ(client_.Store(SomeStore(), reply), Status::kOk);
  EXPECT_EQ(reply.stored, 3500u);
  EXPECT_STREQ(server_.stored.name, "fifteen letters");
  EXPECT_EQ(server_.stored.items_count, 4u);
  EXPECT_EQ(server_.stored.items[3].number, ~uint64_t{0});
  EXPECT_EQ(server_.stored.data.bytes[3499], 0x5a);
}

TEST_F(Buffer, empty_request_or_reply_has_no_argument) {
  ForgetRequest forget = atoll_ForgetRequest_init_zero;
  std::strcpy(forget.name, "me");
  EXPECT_EQ(client_.Forget(forget), Status::kOk);
  EXPECT_EQ(server_.forgotten, "me");
  std::strcpy(server_.stored.name, "stored");
  RecallReply reply = atoll_RecallReply_init_zero;
  EXPECT_EQ(client_.Recall(reply), Status::kOk);
  EXPECT_STREQ(reply.name, "stored");
}

TEST_F(Buffer, error_of_the_server_leaves_the_reply_alone) {
  server_.answer = Status::kResourceExhausted;
  StoreReply reply = {.stored = 77};
  EXPECT_EQ(client_.Store(SomeStore(), reply), Status::kResourceExhausted);
  EXPECT_EQ(reply.stored, 77u);
}

TEST_F(Buffer, string_that_is_not_utf8_is_refused_by_both_sides) {
  ForgetRequest forget = atoll_ForgetRequest_init_zero;
  std::strcpy(forget.name, "\xff\xfe");
  EXPECT_EQ(client_.Forget(forget), Status::kInvalidArgument);
  EXPECT_EQ(ReplyStatus(Send(SampleInterface::kForget, "\x0a\x02\xff\xfe")),
            Status::kInvalidArgument);
  EXPECT_EQ(server_.calls, 0);
}

TEST_F(Buffer, pages_that_are_no_message_are_refused) {
  const std::string cases[] = {
      std::string("\x0a\x10", 2) + std::string(16, 'x'),  // a string one byte beyond its bound
      std::string("\x0a\x7f"
                  "ab",
                  4),          // a length beyond the end
      std::string("\x0a", 1),  // a tag without a value
      std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),  // a varint too long
      std::string("\xff\xff\xff\xff\xff\xff", 6),                           // a tag too long
      std::string("\x0f", 1),      // a wire type that does not exist
      std::string("\x00\x00", 2),  // field number 0
  };
  for (const std::string& page : cases) {
    EXPECT_EQ(ReplyStatus(Send(SampleInterface::kForget, page)), Status::kInvalidArgument)
        << testing::PrintToString(page);
  }
  EXPECT_EQ(server_.calls, 0);
}

TEST_F(Buffer, too_many_repeated_elements_are_refused) {
  std::string page;
  for (int i = 0; i < 5; ++i) page += std::string("\x1a\x02\x08\x01", 4);
  EXPECT_EQ(ReplyStatus(Send(SampleInterface::kStore, page)), Status::kInvalidArgument);
  EXPECT_EQ(server_.calls, 0);
}

TEST_F(Buffer, size_beyond_the_page_is_refused) {
  for (const uint32_t bytes : {4097u, 0x10000u, 0xffffffffu}) {
    const Message request{.label = abi::MakeLabel(SampleInterface::kForget, bytes), .words = {}};
    EXPECT_EQ(ReplyStatus(server_.Dispatch({}, request)), Status::kInvalidArgument) << bytes;
  }
  EXPECT_EQ(server_.calls, 0);
}

TEST_F(Buffer, reply_that_is_no_message_is_data_loss) {
  StoreReply reply = atoll_StoreReply_init_zero;
  kernel_.on_call = [this](abi::Handle, const Message&) -> Result<Message> {
    kernel_.ipc_page[0] = std::byte{0x0f};
    return Message{.label = abi::MakeLabel(0, 1), .words = {}};
  };
  EXPECT_EQ(client_.Store(SomeStore(), reply), Status::kDataLoss);
  kernel_.on_call = [](abi::Handle, const Message&) -> Result<Message> {
    return Message{.label = abi::MakeLabel(0, 0xffffffff), .words = {}};
  };
  EXPECT_EQ(client_.Store(SomeStore(), reply), Status::kDataLoss);
}

TEST_F(Buffer, encoding_into_too_small_a_buffer_fails) {
  std::byte bytes[16];
  const StoreRequest request = SomeStore();
  EXPECT_EQ(EncodeMessage(&atoll_StoreRequest_msg, &request, bytes).error(), Status::kOutOfRange);
}

}  // namespace
}  // namespace atoll
