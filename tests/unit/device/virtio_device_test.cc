// The library of virtio devices, by a small one: queue 0 adds numbers up, queue 1 waits for a peer.
#include <gtest/gtest.h>

#include "services/virtio/device.h"
#include "tests/unit/device/virtio_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio {
namespace {

struct AdderSpace {
  uint32_t version = 3;
};
struct AdderState {
  uint64_t sum = 0;
};
constexpr Declaration kAdder{.device_id = 60, .features = 1, .queues = {16, 8}};
constexpr uint64_t kBad = 0xbad;

class Adder final : public Device<kAdder, AdderSpace, AdderState> {
 public:
  using Device::Device;

  Handled OnRequest(uint32_t queue, Request& request) override {
    if (queue == 1) {
      if (!ready) return Handled::kLater;
      EXPECT_TRUE(request.WriteValue(uint8_t{7}));
      return Handled::kDone;
    }
    uint64_t number = 0;
    if (request.Read(0, number)) {
      if (number == kBad) return Handled::kBroken;
      ChangeState().sum += number;
    }
    (void)request.WriteValue(state().sum);
    return Handled::kDone;
  }
  PeerWork OnPeerSignals(uint64_t bits) override {
    ready = true;
    return Device::OnPeerSignals(bits);
  }

  bool ready = false;
};

using AdderMachine = DeviceMachine<Adder>;
using AdderQueue = AdderMachine::Queue;

struct Sum {
  uint64_t out, in;
};
Sum Ask(AdderMachine& m, AdderQueue& queue, uint64_t number) {
  const Sum sum{m.Allocate(8), m.Allocate(8)};
  m.Put(sum.out, number);
  queue.Add({{sum.out, 8, false}, {sum.in, 8, true}});
  return sum;
}

TEST(VirtioDevice, DeclarationIsWhatTheDriverSees) {
  AdderMachine m;
  EXPECT_EQ(m.Read(kDeviceId), 60u);
  EXPECT_EQ(m.Read(kDeviceFeatures) & 1, 1u);
  EXPECT_EQ(m.Load(kConfig, 4), 3u);
  EXPECT_EQ(m.Load(kConfig + 4, 4), 0u);
  m.Write(kQueueSel, 1);
  EXPECT_EQ(m.Read(kQueueNumMax), 8u);
  m.Write(kQueueSel, 2);
  EXPECT_EQ(m.Read(kQueueNumMax), 0u);
}

TEST(VirtioDevice, RequestsAreServedAndCounted) {
  AdderMachine m;
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  const auto before = OwnStatistics().counters[0];
  const Sum first = Ask(m, queue, 5), second = Ask(m, queue, 6);
  queue.Notify();
  EXPECT_EQ(m.Get<uint64_t>(first.in), 5u);
  EXPECT_EQ(m.Get<uint64_t>(second.in), 11u);
  EXPECT_EQ(queue.PopUsed()->length, 8u);
  EXPECT_EQ(queue.PopUsed()->length, 8u);
  EXPECT_FALSE(queue.PopUsed());
  EXPECT_TRUE(m.line.high);
  EXPECT_EQ(OwnStatistics().counters[0] - before, 2u);
  EXPECT_STREQ(OwnStatistics().names[0].data(), "requests");
}

TEST(VirtioDevice, RequestThatHasToWaitComesAgainAfterASignal) {
  AdderMachine m;
  (void)Negotiate(m, m.Offered());
  AdderQueue queue(m, 1, 8);
  queue.SetUp();
  m.Write(kStatus, kLive);
  const uint64_t in = m.Allocate(4);
  queue.Add({{in, 4, true}});
  queue.Notify();
  EXPECT_FALSE(queue.PopUsed());
  m.device().OnSignals(uint64_t{1} << 62);
  EXPECT_EQ(queue.PopUsed()->length, 1u);
  EXPECT_EQ(m.Get<uint8_t>(in), 7u);
}

TEST(VirtioDevice, BrokenAndUnreachableRequestsNeedAReset) {
  AdderMachine m;
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  (void)Ask(m, queue, kBad);
  queue.Notify();
  EXPECT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u);
  EXPECT_FALSE(queue.PopUsed());

  AdderQueue again = BringUp<AdderMachine::Base>(m, m.Offered());
  again.Add({{0xffff'ffff'0000, 8, false}});
  again.Notify();
  EXPECT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u);

  AdderQueue last = BringUp<AdderMachine::Base>(m, m.Offered());
  const Sum sum = Ask(m, last, 4);
  last.Notify();
  EXPECT_EQ(m.Get<uint64_t>(sum.in), 4u) << "a reset makes a good device, and a new state";
}

// Each number counts once, whatever instruction the instance dies at.
TEST(VirtioDevice, ChangeOfTheStateCountsOnceWhereverTheServiceDies) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  AdderMachine m;
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  (void)Ask(m, queue, 100);
  queue.Notify();
  (void)queue.PopUsed();
  const Sum first = Ask(m, queue, 5), second = Ask(m, queue, 6);
  // Only memory that somebody else sees: the journal and what the guest has allocated.
  MemoryStates states({m.journal_bytes(), m.ram().first(16384)}, 400);
  ASSERT_TRUE(states.Run([&] { m.Doorbell(0); }));
  EXPECT_GT(states.size(), 30u);
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    ASSERT_EQ(m.Restart(), JournalFound::kGood) << i;
    ASSERT_TRUE(m.Pump());
    AdderQueue seen = queue;
    ASSERT_EQ(seen.UsedIndex(), 3u) << i;
    ASSERT_EQ(m.Get<uint64_t>(first.in), 105u) << i;
    ASSERT_EQ(m.Get<uint64_t>(second.in), 111u) << i;
    ASSERT_EQ(seen.PopUsed()->length, 8u);
    ASSERT_EQ(seen.PopUsed()->length, 8u);
    ASSERT_TRUE(m.line.high);
  }
}

// The same where nobody knows any more how far each queue was, and what the driver had set up only the keeper.
TEST(VirtioDevice, ChangeOfTheStateCountsOnceThoughRegistersAndQueuesAreLost) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  AdderMachine m;
  m.has_keeper = true;
  ASSERT_EQ(m.Restart(), JournalFound::kGood);
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  (void)Ask(m, queue, 100);
  queue.Notify();
  (void)queue.PopUsed();
  const Sum first = Ask(m, queue, 5), second = Ask(m, queue, 6);
  MemoryStates states({m.journal_bytes(), m.ram().first(16384)}, 400);
  ASSERT_TRUE(states.Run([&] { m.Doorbell(0); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    auto& journal = m.journal();
    std::memset(&journal.queues[0].cursor, 0x77, 2 * sizeof(uint64_t));
    if (i % 2 == 0) std::memset(&journal.queues, 0x77, sizeof(journal.queues));
    if (i % 3 == 0) std::memset(&journal.transport, 0x77, sizeof(journal.transport));
    ASSERT_EQ(m.Restart(), JournalFound::kRepaired) << i;
    ASSERT_TRUE(m.Pump());
    AdderQueue seen = queue;
    ASSERT_EQ(seen.UsedIndex(), 3u) << i;
    ASSERT_EQ(m.Get<uint64_t>(first.in), 105u) << i;
    ASSERT_EQ(m.Get<uint64_t>(second.in), 111u) << i;
    ASSERT_EQ(seen.PopUsed()->length, 8u);
    ASSERT_EQ(seen.PopUsed()->length, 8u);
    ASSERT_TRUE(m.line.high);
    ASSERT_EQ(m.DeviceStatus(), kLive);
  }
}

TEST(VirtioDevice, StateThatIsLostMakesADeviceThatFails) {
  AdderMachine m;
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  (void)Ask(m, queue, 100);
  queue.Notify();
  auto* copies = reinterpret_cast<std::byte*>(&m.journal().device.copies);
  for (size_t i = 0; i < sizeof(m.journal().device.copies); i += 3) copies[i] ^= std::byte{0x11};
  EXPECT_EQ(m.Restart(), JournalFound::kDamaged);
  EXPECT_NE(m.DeviceStatus() & kStatusNeedsReset, 0u);
  const Sum sum = Ask(m, queue, 5);
  m.Doorbell(0);
  EXPECT_EQ(m.Get<uint64_t>(sum.in), 0u);
  (void)queue.PopUsed();
  EXPECT_EQ(queue.PopUsed()->length, 0u) << "given back with nothing in it";
  AdderQueue again = BringUp<AdderMachine::Base>(m, m.Offered());
  const Sum good = Ask(m, again, 9);
  again.Notify();
  EXPECT_EQ(m.Get<uint64_t>(good.in), 9u);
}

TEST(VirtioDevice, FailedModeStays) {
  AdderMachine m;
  (void)m.Restart({.failed = true});
  AdderQueue queue = BringUp<AdderMachine::Base>(m, m.Offered());
  const Sum sum = Ask(m, queue, 5);
  queue.Notify();
  EXPECT_EQ(queue.PopUsed()->length, 0u);
  EXPECT_EQ(m.Get<uint64_t>(sum.in), 0u);
}

}  // namespace
}  // namespace atoll::virtio
