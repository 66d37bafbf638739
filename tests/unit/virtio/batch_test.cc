// Several chains in hand: models that accept, push and publish in batches, and those that hold chains
// in their journal.
#include <gtest/gtest.h>

#include "tests/unit/virtio/echo_device.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio {
namespace {

constexpr uint32_t kSize = 16;

// A queue alone, without a device: the test is the model.
class VirtioBatch : public testing::Test {
 protected:
  VirtioBatch() {
    EXPECT_TRUE(Negotiate(m_, kAllFeatures));
    guest_.SetUp();
    Attach();
  }
  // What a new instance does.
  void Attach() {
    queue_ = SplitQueue();
    queue_.Initialize(m_.journal().queues[0], m_.memory(), kEchoQueueMax);
    queue_.SetFeatures(kAllFeatures);
    ASSERT_EQ(queue_.Attach(), SplitQueue::Attached::kGood);
    queue_.Republish();
  }
  void AddBuffers(int count) {
    for (int i = 0; i < count; ++i) guest_.Add({{m_.Allocate(8), 8, true}});
  }
  uint16_t Take() {
    EXPECT_EQ(queue_.Fetch(record_), SplitQueue::Fetched::kChain);
    queue_.Accept();
    return record_.head;
  }

  EchoMachine m_{kRamBase, 1 << 15};
  EchoQueue guest_{m_, 0, kSize};
  SplitQueue queue_;
  ChainRecord record_;
};

TEST_F(VirtioBatch, SPLIT_06_NET_40_pushed_chains_appear_together) {
  AddBuffers(3);
  const uint16_t a = Take();
  const uint16_t b = Take();
  EXPECT_NE(a, b);
  queue_.Push(b, 2);  // in any order
  queue_.Push(a, 1);
  EXPECT_EQ(guest_.UsedIndex(), 0);
  EXPECT_FALSE(queue_.unsignalled());
  queue_.Publish();
  EXPECT_EQ(guest_.UsedIndex(), 2);
  EXPECT_TRUE(queue_.unsignalled());
  EXPECT_EQ(guest_.PopUsed()->id, b);
  const auto second = guest_.PopUsed();
  EXPECT_EQ(second->id, a);
  EXPECT_EQ(second->length, 1u);
  queue_.Publish();  // nothing new
  EXPECT_EQ(guest_.UsedIndex(), 2);
}

TEST_F(VirtioBatch, NET_40_rewind_gives_chains_back_to_the_avail_ring) {
  AddBuffers(3);
  queue_.Push(Take(), 1);  // of a packet before, which stays
  const SplitQueue::Position before = queue_.position();
  const uint16_t second = Take();
  queue_.Push(second, 2);
  const uint16_t third = Take();
  EXPECT_EQ(queue_.Fetch(record_), SplitQueue::Fetched::kNone);  // one too few
  queue_.Rewind(before);
  queue_.Publish();
  EXPECT_EQ(guest_.UsedIndex(), 1);
  EXPECT_EQ(Take(), second);
  EXPECT_EQ(Take(), third);
  queue_.Push(second, 5);
  queue_.Push(third, 6);
  queue_.Publish();
  ASSERT_TRUE(guest_.PopUsed());
  EXPECT_EQ(guest_.PopUsed()->length, 5u);
  EXPECT_EQ(guest_.PopUsed()->length, 6u);
}

TEST_F(VirtioBatch, SPLIT_35_what_was_not_published_is_fetched_again) {
  AddBuffers(4);
  queue_.Push(Take(), 1);
  queue_.Publish();
  const uint16_t lost = Take();
  queue_.Push(lost, 2);
  Attach();
  EXPECT_EQ(guest_.UsedIndex(), 1);
  EXPECT_EQ(Take(), lost);
}

TEST_F(VirtioBatch, SPLIT_15_SPLIT_35_death_anywhere_in_a_batch) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  AddBuffers(4);
  MemoryStates states({m_.ram(), m_.journal_bytes()});
  ASSERT_TRUE(states.Run([this] {
    for (int batch = 0; batch < 2; ++batch) {
      for (int i = 0; i < 2; ++i) {
        if (queue_.Fetch(record_) != SplitQueue::Fetched::kChain) return;
        queue_.Accept();
        queue_.Push(record_.head, 7);
      }
      queue_.Publish();
    }
  }));
  ASSERT_EQ(guest_.UsedIndex(), 4);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    guest_.last_used = 0;
    ASSERT_EQ(guest_.UsedIndex() % 2, 0);  // a batch is there or not
    Attach();
    while (queue_.Fetch(record_) == SplitQueue::Fetched::kChain) {
      queue_.Accept();
      queue_.Push(record_.head, 7);
    }
    queue_.Publish();
    std::vector<uint32_t> heads;
    while (const auto element = guest_.PopUsed()) {
      EXPECT_EQ(element->length, 7u);
      heads.push_back(element->id);
    }
    ASSERT_EQ(heads, (std::vector<uint32_t>{0, 1, 2, 3}));
  }
}

TEST_F(VirtioBatch, SPLIT_15_SPLIT_35_held_chains_are_given_back_in_any_order) {
  auto& held = m_.journal().device.held;
  AddBuffers(2);
  for (HeldChain& each : held) {
    ASSERT_EQ(queue_.Fetch(each.chain), SplitQueue::Fetched::kChain);
    queue_.Hold(each, 0);
  }
  Attach();
  EXPECT_EQ(queue_.Fetch(record_), SplitQueue::Fetched::kNone);
  for (HeldChain& each : held) {
    EXPECT_EQ(queue_.Recover(each), SplitQueue::Recovered::kInHand);
  }
  queue_.Push(held[1], 9);
  Attach();  // pushed, not published
  EXPECT_EQ(guest_.UsedIndex(), 0);
  EXPECT_EQ(queue_.Recover(held[0]), SplitQueue::Recovered::kInHand);
  EXPECT_EQ(queue_.Recover(held[1]), SplitQueue::Recovered::kPushed);
  queue_.Publish();
  Attach();  // published, not released
  EXPECT_EQ(queue_.Recover(held[1]), SplitQueue::Recovered::kNone);
  EXPECT_TRUE(IsFree(held[1]));
  queue_.Push(held[0], 8);
  queue_.Publish();
  SplitQueue::Release(held[0]);
  EXPECT_EQ(guest_.PopUsed()->id, 1u);
  EXPECT_EQ(guest_.PopUsed()->id, 0u);
  EXPECT_FALSE(guest_.PopUsed());
}

TEST_F(VirtioBatch, corrupt_held_chains_are_refused) {
  HeldChain& held = m_.journal().device.held[0];
  AddBuffers(1);
  ASSERT_EQ(queue_.Fetch(held.chain), SplitQueue::Fetched::kChain);
  queue_.Hold(held, 0);
  const HeldChain good = held;
  held.chain.readable_segments = kMaxSegments;
  EXPECT_EQ(queue_.Recover(held), SplitQueue::Recovered::kBroken);
  held = good;
  held.chain.unreachable = 2;
  EXPECT_EQ(queue_.Recover(held), SplitQueue::Recovered::kBroken);
  held = good;
  SetState(held, {.phase = static_cast<Phase>(9)}, 0);
  EXPECT_EQ(queue_.Recover(held), SplitQueue::Recovered::kBroken);
}

}  // namespace
}  // namespace atoll::virtio
