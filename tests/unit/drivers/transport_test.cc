// The driver's side of virtio-mmio against devices that refuse, lie or vanish.
#include "services/virtio_driver/transport.h"

#include <gtest/gtest.h>

#include "tests/unit/drivers/fake_device.h"

namespace atoll::virtio_driver {
namespace {

constexpr uint64_t kSome = virtio::kFeatureVersion1 | virtio::kFeatureEventIdx | 0x20;

class TransportTest : public testing::Test {
 protected:
  PhysicalMemory memory_{1 << 16};
  FakeDevice device_{memory_, 2, kSome};
  Transport transport_{device_};
};

TEST_F(TransportTest, probe_tells_what_is_there) {
  EXPECT_EQ(transport_.Probe(2), Status::kOk);
  EXPECT_EQ(transport_.Probe(1), Status::kNotFound);
  device_.device_id = 0;  // a slot without a device
  EXPECT_EQ(transport_.Probe(2), Status::kNotFound);
  device_.device_id = 2;
  device_.version = 1;
  EXPECT_EQ(transport_.Probe(2), Status::kUnimplemented);
  device_.gone = true;
  EXPECT_EQ(transport_.Probe(2), Status::kNotFound);
}

TEST_F(TransportTest, a_reset_waits_for_the_device_but_not_for_ever) {
  device_.status = 15;
  EXPECT_EQ(transport_.Reset(), Status::kOk);
  EXPECT_EQ(device_.status, 0u);
  device_.never_resets = true;
  device_.status = 15;
  EXPECT_EQ(transport_.Reset(), Status::kDeadlineExceeded);
}

TEST_F(TransportTest, features_are_those_wanted_and_offered) {
  ASSERT_EQ(transport_.Reset(), Status::kOk);
  const auto features = transport_.Negotiate(virtio::kFeatureEventIdx | 0x40);
  ASSERT_TRUE(features.has_value());
  EXPECT_EQ(*features, virtio::kFeatureEventIdx | virtio::kFeatureVersion1);
  EXPECT_EQ(device_.accepted, *features);
  EXPECT_FALSE(transport_.IsLive());
  transport_.Start();
  EXPECT_TRUE(transport_.IsLive());
}

TEST_F(TransportTest, a_device_without_VERSION_1_or_that_refuses_is_not_used) {
  device_.offered = 0x20;
  EXPECT_EQ(transport_.Negotiate(0x20).error(), Status::kFailedPrecondition);
  EXPECT_EQ(device_.accepted, 0u);
  device_.offered = kSome;
  device_.refuse_features = true;
  EXPECT_EQ(transport_.Negotiate(0x20).error(), Status::kFailedPrecondition);
}

TEST_F(TransportTest, a_queue_is_refused_when_in_use_too_large_or_not_taken) {
  const QueueAddresses queue = {.descriptors = PhysAddr(kPhysicalBase),
                                .avail = PhysAddr(kPhysicalBase + 256),
                                .used = PhysAddr(kPhysicalBase + 512),
                                .size = 16};
  device_.queue_max = 8;
  EXPECT_EQ(transport_.SetUpQueue(0, queue), Status::kFailedPrecondition);
  device_.queue_max = 16;
  EXPECT_EQ(transport_.SetUpQueue(0, queue), Status::kOk);
  EXPECT_EQ(transport_.SetUpQueue(0, queue), Status::kFailedPrecondition);
  device_.refuse_queue = true;
  EXPECT_EQ(transport_.SetUpQueue(1, queue), Status::kFailedPrecondition);
}

TEST_F(TransportTest, all_causes_of_an_interrupt_are_taken_back) {
  device_.interrupt_status = 1;
  device_.late_causes = {0, 2, 0, 1};  // each after an earlier one was read
  EXPECT_EQ(transport_.AcknowledgeInterrupts(), Status::kOk);
  EXPECT_EQ(device_.interrupt_status, 0u);  // the line is low: the next cause is an edge
  device_.stuck_interrupt = true;
  EXPECT_EQ(transport_.AcknowledgeInterrupts(), Status::kDataLoss);
}

TEST_F(TransportTest, halves_of_a_configuration_field_belong_together) {
  device_.config.resize(16);
  const uint64_t value = 0x1122'3344'5566'7788;
  std::memcpy(device_.config.data() + 8, &value, 8);
  EXPECT_EQ(transport_.ConfigDoubleWord(8), value);
  EXPECT_EQ(transport_.ConfigByte(9), 0x77);
  device_.flutter = true;
  EXPECT_EQ(transport_.ConfigDoubleWord(8).error(), Status::kUnavailable);
}

TEST_F(TransportTest, a_device_that_wants_a_reset_or_vanished_is_not_live) {
  ASSERT_TRUE(transport_.Negotiate(0).has_value());
  transport_.Start();
  ASSERT_TRUE(transport_.IsLive());
  device_.status |= virtio::kStatusNeedsReset;
  EXPECT_FALSE(transport_.IsLive());
  device_.status &= ~virtio::kStatusNeedsReset;
  device_.gone = true;
  EXPECT_FALSE(transport_.IsLive());
}

}  // namespace
}  // namespace atoll::virtio_driver
