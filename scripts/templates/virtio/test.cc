#include <gtest/gtest.h>

#include "services/@NAME@/device.h"
#include "tests/unit/device/virtio_machine.h"

namespace atoll::virtio {
namespace {

using TestMachine = DeviceMachine<@CLASS@>;
@MAKE@
TEST(@CLASS@, Identity) {
  TestMachine m@MADE@;
  EXPECT_EQ(m.Read(kDeviceId), @ID@u);
  EXPECT_TRUE(Negotiate(m, m.Offered()));
  EXPECT_FALSE(Negotiate(m, m.Offered() | uint64_t{1} << 50)) << "a feature that is not offered";
}

TEST(@CLASS@, AnswersARequest) {
  TestMachine m@MADE@;
  auto queue = BringUp<TestMachine::Base>(m, m.Offered());
  const uint64_t answer = m.Allocate(8);
  queue.Add({{answer, 8, true}});
  queue.Notify();
  EXPECT_EQ(queue.PopUsed()->length, 8u);
  EXPECT_EQ(m.Get<uint64_t>(answer), 1u);
  EXPECT_TRUE(m.line.high);
}

TEST(@CLASS@, ANewInstanceGoesOn) {
  TestMachine m@MADE@;
  auto queue = BringUp<TestMachine::Base>(m, m.Offered());
  const uint64_t answer = m.Allocate(8);
  for (uint64_t number = 1; number <= 3; ++number) {
    queue.Add({{answer, 8, true}});
    EXPECT_EQ(m.Restart(), JournalFound::kGood);  // looks at its queues
    EXPECT_EQ(queue.PopUsed()->length, 8u);
    EXPECT_EQ(m.Get<uint64_t>(answer), number);
  }
}

TEST(@CLASS@, BadRequests) {
  TestMachine m@MADE@;
  auto queue = BringUp<TestMachine::Base>(m, m.Offered());
  const uint64_t out = m.Allocate(8);
  queue.Add({{out, 8, false}});
  queue.Notify();
  EXPECT_EQ(queue.PopUsed()->length, 0u) << "no room for an answer";
  queue.Add({{m.ram_end(), 8, true}});
  queue.Notify();
  EXPECT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u) << "not in guest RAM";
}

}  // namespace
}  // namespace atoll::virtio
