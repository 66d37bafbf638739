// Log lines and interrupt lines as kernel calls.
#include "services/runtime/log.h"

#include <gtest/gtest.h>

#include <string>

#include "proto/kernel.atoll.h"
#include "tests/unit/ipc/fake_kernel.h"

namespace atoll {
namespace {

constexpr auto kLog = static_cast<uint32_t>(KernelCall::kLog);

TEST(Log, line_goes_through_the_ipc_page) {
  FakeKernel kernel;
  Log("queue ", 3, " at ", Hex{0x40}, ": ", Status::kOutOfRange);
  ASSERT_EQ(kernel.system_calls.size(), 1u);
  EXPECT_EQ(kernel.system_calls[0].number, kLog);
  EXPECT_EQ(kernel.system_calls[0].page, "queue 3 at 0x40: OUT_OF_RANGE");
}

TEST(Log, long_line_is_cut_to_what_the_kernel_takes) {
  FakeKernel kernel;
  Log(std::string_view(std::string(1000, 'x')));
  ASSERT_EQ(kernel.system_calls.size(), 1u);
  EXPECT_TRUE(LogRequest::InRange(kernel.system_calls[0].words));
  EXPECT_EQ(kernel.system_calls[0].page, std::string(253, 'x') + "...");
}

TEST(Log, empty_line_is_not_sent) {
  FakeKernel kernel;
  Log("");
  EXPECT_TRUE(kernel.system_calls.empty());
}

}  // namespace
}  // namespace atoll
