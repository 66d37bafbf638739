// Kernel calls as tasks make them.
#include <gtest/gtest.h>

#include <type_traits>

#include "proto/kernel_calls.atoll.h"
#include "tests/unit/ipc/fake_kernel.h"

namespace atoll {
namespace {

TEST(KernelCalls, number_handle_and_words_are_those_of_the_schema) {
  FakeKernel kernel;
  EXPECT_EQ(kernel::SetIrqLine(abi::Handle{5}, {.level = true}), Status::kOk);
  ASSERT_EQ(kernel.system_calls.size(), 1u);
  EXPECT_EQ(kernel.system_calls[0].number, 9u);
  EXPECT_EQ(kernel.system_calls[0].handle, abi::Handle{5});
  EXPECT_EQ(kernel.system_calls[0].words, (abi::Words{1}));
}

TEST(KernelCalls, reply_words_become_the_reply) {
  FakeKernel kernel;
  kernel.on_system_call = [](const FakeKernel::KernelCallMade& call) -> abi::KernelReply {
    EXPECT_EQ(call.words, (abi::Words{5, 32, 8, 3}));
    return {.status = Status::kOk, .words = {0x1234}};
  };
  const Result<GetInterruptsReply> reply = kernel::GetInterrupts(
      abi::Handle{2}, {.field = InterruptField::kPriority, .first = 32, .count = 8, .vcpu = 3});
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->value, 0x1234u);
}

TEST(KernelCalls, error_of_the_kernel_is_returned) {
  FakeKernel kernel;
  kernel.on_system_call = [](const FakeKernel::KernelCallMade&) -> abi::KernelReply {
    return {.status = Status::kPermissionDenied, .words = {9}};
  };
  EXPECT_EQ(kernel::GetVmState(abi::Handle{1}).error(), Status::kPermissionDenied);
  EXPECT_EQ(kernel::SetSignal(abi::Handle{1}), Status::kPermissionDenied);
}

TEST(KernelCalls, traits_name_types_and_right) {
  using Traits = KernelCallTraits<KernelCall::kSetInterrupts>;
  static_assert(std::is_same_v<Traits::Request, SetInterruptsRequest>);
  static_assert(Traits::kRight == Right::kInterrupts);
  static_assert(KernelCallTraits<KernelCall::kExit>::kRight == Right::kNone);
  static_assert(static_cast<uint32_t>(KernelCall::kSetSignal) == 8);
  EXPECT_GT(kKernelCallLimit, static_cast<uint32_t>(KernelCall::kGetResource));
}

}  // namespace
}  // namespace atoll
