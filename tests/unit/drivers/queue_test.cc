// The driver's side of a split queue against a device that gives back what it does not have.
#include "services/virtio_driver/queue.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/unit/drivers/fake_device.h"

namespace atoll::virtio_driver {
namespace {

using virtio::kFeatureEventIdx;
using virtio::kFeatureIndirectDesc;
using virtio::kFeatureVersion1;

constexpr uint32_t kSize = 8;
constexpr uint64_t kData = kPhysicalBase + 0x8000;

// A queue of kSize with the features of the parameter, its device live.
class QueueTest : public testing::TestWithParam<uint64_t> {
 protected:
  QueueTest() {
    device_.offered = GetParam() | kFeatureVersion1;
    Start();
  }
  void Start() {
    ASSERT_EQ(transport_.Reset(), Status::kOk);
    const auto features = transport_.Negotiate(~uint64_t{0});
    ASSERT_TRUE(features.has_value());
    queue_.Start(memory_.Dma(0, Queue::RingBytes(kSize)),
                 memory_.Dma(0x10000, Queue::TableBytes(kSize)), kSize, *features);
    ASSERT_EQ(transport_.SetUpQueue(0, queue_.addresses()), Status::kOk);
    transport_.Start();
  }
  Status Add(uint32_t token, uint32_t readable, uint32_t writable) {
    std::vector<Buffer> in;
    std::vector<Buffer> out;
    for (uint32_t i = 0; i < readable; ++i) in.push_back({PhysAddr(kData + 64 * i), 64});
    for (uint32_t i = 0; i < writable; ++i) out.push_back({PhysAddr(kData + 0x1000 + 64 * i), 64});
    return queue_.Add(in, out, token);
  }
  bool indirect() const { return (GetParam() & kFeatureIndirectDesc) != 0; }

  PhysicalMemory memory_{0x20000};
  FakeDevice device_{memory_, 2, 0};
  Transport transport_{device_};
  Queue queue_;
};

INSTANTIATE_TEST_SUITE_P(Features, QueueTest,
                         testing::Values(0, kFeatureIndirectDesc, kFeatureEventIdx,
                                         kFeatureIndirectDesc | kFeatureEventIdx));

TEST_P(QueueTest, a_chain_goes_to_the_device_and_comes_back) {
  ASSERT_EQ(Add(77, 2, 1), Status::kOk);
  EXPECT_FALSE(device_.Take(0).has_value());  // not before it is published
  EXPECT_TRUE(queue_.Publish());
  const auto chain = device_.Take(0);
  ASSERT_TRUE(chain.has_value());
  ASSERT_EQ(chain->parts.size(), 3u);
  EXPECT_EQ(chain->parts[1].physical, kData + 64);
  EXPECT_FALSE(chain->parts[1].writable);
  EXPECT_EQ(chain->parts[2].physical, kData + 0x1000);
  EXPECT_TRUE(chain->parts[2].writable);
  EXPECT_FALSE(queue_.Pop().has_value());
  device_.Give(0, chain->head, 64);
  const auto completion = queue_.Pop();
  ASSERT_TRUE(completion.has_value());
  EXPECT_EQ(completion->token, 77u);
  EXPECT_EQ(completion->written, 64u);
  EXPECT_FALSE(queue_.Pop().has_value());
  EXPECT_FALSE(queue_.broken());
  EXPECT_EQ(device_.bad_addresses, 0);
}

TEST_P(QueueTest, it_takes_no_more_than_fits_and_no_empty_chain) {
  EXPECT_EQ(Add(0, 0, 0), Status::kInvalidArgument);
  EXPECT_EQ(Add(0, 200, 57), Status::kInvalidArgument);
  const uint32_t buffers = indirect() ? 256 : 3;
  const uint32_t chains = indirect() ? kSize : kSize / 3;
  for (uint32_t i = 0; i < chains; ++i) ASSERT_EQ(Add(i, 1, buffers - 1), Status::kOk);
  EXPECT_EQ(Add(99, 1, buffers - 1), Status::kResourceExhausted);
  (void)queue_.Publish();
  const auto chain = device_.Take(0);
  ASSERT_TRUE(chain.has_value());
  EXPECT_EQ(chain->parts.size(), buffers);
  device_.Give(0, chain->head, 0);
  ASSERT_TRUE(queue_.Pop().has_value());
  EXPECT_EQ(Add(99, 1, buffers - 1), Status::kOk);
}

TEST_P(QueueTest, chains_come_back_in_any_order_for_ever) {
  std::mt19937 random(1);
  std::set<uint32_t> out;
  std::vector<std::pair<uint16_t, uint32_t>> held;
  uint32_t token = 0;
  for (int step = 0; step < 150'000; ++step) {  // positions wrap at 65536
    if (random() % 2 == 0) {
      if (IsOk(Add(token, random() % 3, 1))) out.insert(token++);
      (void)queue_.Publish();
    }
    if (const auto chain = device_.Take(0)) held.emplace_back(chain->head, chain->parts.size());
    if (!held.empty() && random() % 2 == 0) {
      std::swap(held[random() % held.size()], held.back());
      device_.Give(0, held.back().first, 1);
      held.pop_back();
    }
    if (const auto completion = queue_.Pop()) ASSERT_EQ(out.erase(completion->token), 1u);
    ASSERT_FALSE(queue_.broken());
  }
  EXPECT_GT(token, 65'536u);
  EXPECT_EQ(device_.bad_addresses, 0);
}

TEST_P(QueueTest, a_used_id_that_is_not_out_breaks_the_queue) {
  for (const uint32_t id : {1u, kSize - 1, kSize, 0xffffu, 0x10000u, ~0u}) {
    Start();
    ASSERT_EQ(Add(1, 1, 1), Status::kOk);  // its head is 0
    (void)queue_.Publish();
    device_.Give(0, id, 0);
    EXPECT_FALSE(queue_.Pop().has_value()) << id;
    EXPECT_TRUE(queue_.broken()) << id;
  }
}

TEST_P(QueueTest, a_chain_that_comes_back_twice_breaks_the_queue) {
  ASSERT_EQ(Add(1, 1, 1), Status::kOk);
  ASSERT_EQ(Add(2, 1, 1), Status::kOk);
  (void)queue_.Publish();
  const uint16_t head = device_.Take(0)->head;
  device_.Give(0, head, 0);
  device_.Give(0, head, 0);
  EXPECT_TRUE(queue_.Pop().has_value());
  EXPECT_FALSE(queue_.Pop().has_value());
  EXPECT_TRUE(queue_.broken());
  // A good one afterwards does not mend it, a reset does.
  device_.Give(0, device_.Take(0)->head, 0);
  EXPECT_FALSE(queue_.Pop().has_value());
  Start();
  ASSERT_EQ(Add(3, 1, 1), Status::kOk);
  (void)queue_.Publish();
  device_.Give(0, device_.Take(0)->head, 64);
  EXPECT_EQ(queue_.Pop()->token, 3u);
}

TEST_P(QueueTest, a_chain_that_the_device_has_not_been_given_breaks_the_queue) {
  ASSERT_EQ(Add(1, 1, 0), Status::kOk);
  (void)queue_.Publish();
  ASSERT_EQ(Add(2, 1, 0), Status::kOk);  // its head is 1; not published
  device_.Give(0, 1, 0);
  EXPECT_FALSE(queue_.Pop().has_value());
  EXPECT_TRUE(queue_.broken());
}

TEST_P(QueueTest, more_written_than_there_was_room_for_breaks_the_queue) {
  for (const uint32_t written : {129u, 0x8000'0000u, ~0u}) {
    Start();
    ASSERT_EQ(Add(1, 1, 2), Status::kOk);
    (void)queue_.Publish();
    device_.Give(0, device_.Take(0)->head, written);
    EXPECT_FALSE(queue_.Pop().has_value()) << written;
    EXPECT_TRUE(queue_.broken()) << written;
  }
}

TEST_P(QueueTest, a_used_index_that_jumps_or_goes_back_breaks_the_queue) {
  for (const uint16_t index : std::to_array<uint16_t>({2, 0x100, 0x8000, 0xffff})) {
    Start();
    ASSERT_EQ(Add(1, 1, 1), Status::kOk);
    (void)queue_.Publish();
    device_.SetUsedIndex(0, index);
    EXPECT_FALSE(queue_.Pop().has_value()) << index;
    EXPECT_TRUE(queue_.broken()) << index;
  }
}

TEST_P(QueueTest, what_the_device_writes_into_the_rings_is_not_believed) {
  ASSERT_EQ(Add(1, 1, 1), Status::kOk);
  (void)queue_.Publish();
  const uint16_t head = device_.Take(0)->head;
  device_.Scribble(0, 0xff);
  device_.SetUsedIndex(0, 0);
  device_.Give(0, head, 64);
  const auto completion = queue_.Pop();
  ASSERT_TRUE(completion.has_value());
  EXPECT_EQ(completion->token, 1u);
  EXPECT_EQ(queue_.free_descriptors(), kSize);  // all of the private list, as before
  for (uint32_t i = 0; i < kSize / 2; ++i) EXPECT_EQ(Add(i, 1, 1), Status::kOk);
}

TEST_P(QueueTest, it_asks_for_interrupts_when_told_to) {
  ASSERT_EQ(Add(1, 1, 1), Status::kOk);
  ASSERT_EQ(Add(2, 1, 1), Status::kOk);
  (void)queue_.Publish();
  queue_.DisableInterrupts();
  if (device_.event_idx()) {  // the position that was named is behind
    device_.Give(0, device_.Take(0)->head, 0);
    device_.interrupt_status = 0;
    (void)queue_.Pop();
  }
  EXPECT_FALSE(queue_.EnableInterrupts());
  device_.Give(0, device_.Take(0)->head, 0);
  EXPECT_EQ(device_.interrupt_status, virtio::kInterruptUsedBuffer);
  EXPECT_TRUE(queue_.EnableInterrupts());  // came before it was asked for
}

TEST_P(QueueTest, notifications_are_left_out_when_the_device_looks_anyway) {
  ASSERT_EQ(Add(1, 1, 1), Status::kOk);
  EXPECT_TRUE(queue_.Publish());
  EXPECT_FALSE(queue_.Publish());  // nothing was added
  ASSERT_EQ(Add(2, 1, 1), Status::kOk);
  const uint64_t used = queue_.addresses().used.value;
  if (device_.event_idx()) {
    device_.Put<uint16_t>(used + 4 + 8 * kSize, 0);  // still at the first one
  } else {
    device_.Put<uint16_t>(used, virtio::kUsedNoNotify);
  }
  EXPECT_FALSE(queue_.Publish());
  ASSERT_EQ(Add(3, 1, 1), Status::kOk);
  if (device_.event_idx()) {
    device_.Put<uint16_t>(used + 4 + 8 * kSize, 2);
  } else {
    device_.Put<uint16_t>(used, 0);
  }
  EXPECT_TRUE(queue_.Publish());
}

}  // namespace
}  // namespace atoll::virtio_driver
