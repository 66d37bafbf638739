#include "ipc/status.h"

#include <gtest/gtest.h>

#include "ipc/message.h"

namespace atoll {
namespace {

TEST(Status, numbers_that_are_no_code_become_unknown) {
  EXPECT_EQ(StatusFromNumber(15), Status::kDataLoss);
  EXPECT_EQ(StatusFromNumber(16), Status::kUnknown);
  EXPECT_EQ(StatusFromNumber(~uint64_t{0}), Status::kUnknown);
  EXPECT_EQ(StatusFromNumber(uint64_t{1} << 32), Status::kUnknown);
}

TEST(Status, names_are_those_of_the_codes) {
  EXPECT_STREQ(StatusName(Status::kOk), "OK");
  EXPECT_STREQ(StatusName(Status::kFailedPrecondition), "FAILED_PRECONDITION");
  EXPECT_STREQ(StatusName(static_cast<Status>(99)), "UNKNOWN");
}

TEST(Label, keeps_code_and_size_apart) {
  const uint64_t label = abi::MakeLabel(0x12345, 0xfffffff0);
  EXPECT_EQ(abi::LabelCode(label), 0x2345u);
  EXPECT_EQ(abi::LabelBytes(label), 0xfffffff0u);
}

TEST(Label, reply_with_a_code_that_is_no_status_is_unknown) {
  EXPECT_EQ(ReplyStatus({.label = 0xffff, .words = {}}), Status::kUnknown);
  EXPECT_EQ(ReplyStatus({.label = abi::MakeLabel(3, 17), .words = {}}), Status::kInvalidArgument);
}

TEST(CallInfo, splits_the_token) {
  const CallInfo call{.badge = 1, .token = 0xabcd'1234'5678'9abc, .attempt = 1};
  EXPECT_EQ(call.caller(), 0xabcdu);
  EXPECT_EQ(call.call_id(), 0x1234'5678'9abcu);
}

TEST(Message, no_reply_is_not_a_status_that_travels) {
  EXPECT_EQ(StatusMessage(kNoReply).label, kNoReplyLabel);
  EXPECT_NE(StatusMessage(Status::kDataLoss).label, kNoReplyLabel);
}

}  // namespace
}  // namespace atoll
