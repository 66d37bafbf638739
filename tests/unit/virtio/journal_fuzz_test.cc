// Journals with wrong bits in them: whatever they say, a request is done once and right, or the device fails visibly;
// nothing else of the guest's memory and of the disk is touched, and a reset makes a good device.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/virtio/driver_machine.h"

namespace atoll::virtio_blk {
namespace {

using virtio::JournalFound;

constexpr uint64_t kSectors = 64;
constexpr uint64_t kRam = 1 << 16;
constexpr uint32_t kRequestsInFlight = 3;

class BlockJournalFuzz : public testing::Test {
 protected:
  BlockJournalFuzz() : m_(kSectors, 1, kAllFlags, false, kRam) {
    queue_.emplace(m_.Live(kBlockFeatures, 16));
    canary_ = m_.Allocate(2048);
    m_.Fill(canary_, 2048, 0xc5);
    for (uint32_t i = 0; i < kRequestsInFlight; ++i) {
      buffer_[i] = m_.Allocate(512);
      m_.Fill(buffer_[i], 512, static_cast<uint8_t>(0xa0 + i));
      status_[i] = m_.Add(*queue_, i == 1 ? kIn : kOut, 10 + i, {{buffer_[i], 512, i == 1}});
    }
    m_.Doorbell(0);
    // One is done at the driver, and nobody has heard of it; one is in its hands; one comes back.
    m_.driver.Serve(0, m_.memory());
    for (const auto& range : {m_.ram(), m_.journal_bytes(), m_.ring.span()}) {
      saved_.emplace_back(range.begin(), range.end());
    }
    content_ = m_.driver.content;
  }

  void Restore() {
    size_t i = 0;
    for (const auto& range : {m_.ram(), m_.journal_bytes(), m_.ring.span()}) {
      std::ranges::copy(saved_[i++], range.begin());
    }
    m_.driver.content = content_;
    m_.driver.served.clear();
    queue_->last_used = 0;
  }

  // A new instance on what is there, and all that follows from it.
  JournalFound Run() {
    const JournalFound found = m_.RestartService();
    if (found == JournalFound::kRefused) return found;
    m_.Settle();
    EXPECT_TRUE(m_.Pump());
    uint32_t used = 0;
    uint32_t heads = 0;
    while (const auto element = queue_->PopUsed()) {
      EXPECT_LE(++used, kRequestsInFlight);
      EXPECT_EQ(heads >> element->id & 1, 0u);  // each once
      heads |= 1u << (element->id & 31);
      if (used > kRequestsInFlight) break;
    }
    const bool failed = (m_.DeviceStatus() & virtio::kStatusNeedsReset) != 0;
    EXPECT_EQ(failed, found == JournalFound::kDamaged);
    for (uint32_t i = 0; i < kRequestsInFlight; ++i) {
      const uint8_t status = m_.At1(status_[i]);
      if (!failed) {
        EXPECT_EQ(status, kStatusOk) << i;
      }
      // What the guest takes for done is done.
      if (status == kStatusOk) {
        EXPECT_TRUE(m_.Holds(buffer_[i], 10 + i, 512)) << i;
      }
    }
    if (!failed) {
      EXPECT_EQ(used, kRequestsInFlight);
    }
    // Nothing but what was asked for.
    for (uint64_t sector = 0; sector < kSectors; ++sector) {
      if (sector == 10 || sector == 12) continue;
      EXPECT_EQ(m_.driver.content[sector * 512 + 1], TestDisk::PatternAt(sector * 512 + 1));
    }
    for (uint64_t i = 0; i < 2048; i += 8) {
      EXPECT_EQ(m_.Get<uint64_t>(canary_ + i), 0xc5c5'c5c5'c5c5'c5c5);
    }
    EXPECT_EQ(m_.line.high, m_.Read(virtio::kInterruptStatus) != 0);
    return found;
  }

  bool WorksAfterReset() {
    m_.Settle();
    const uint64_t here = m_.Allocate(0);
    BlockQueue again = m_.Live(kBlockFeatures, 16);
    const bool works =
        m_.Request(again, kIn, 3, {{m_.Allocate(512), 512, true}}) == Done(kStatusOk, 513);
    m_.Rewind(here);
    return works;
  }

  DriverMachine m_;
  std::optional<BlockQueue> queue_;
  uint64_t canary_ = 0;
  uint64_t buffer_[kRequestsInFlight] = {};
  uint64_t status_[kRequestsInFlight] = {};
  std::vector<std::vector<std::byte>> saved_;
  std::vector<std::byte> content_;
};

TEST_F(BlockJournalFuzz, BLK_55_BLK_76_any_bit_may_be_wrong) {
  std::mt19937 random(7);
  int damaged = 0;
  int repaired = 0;
  const size_t head =
      reinterpret_cast<std::byte*>(&m_.journal().device.requests[0].held.chain.segments[4]) -
      m_.journal_bytes().data();
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE(round);
    Restore();
    // Mostly where something is.
    const size_t bytes = round % 8 == 0 ? m_.journal_bytes().size() : head;
    const size_t bit = random() % (8 * bytes);
    m_.journal_bytes()[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const JournalFound found = Run();
    ASSERT_NE(found, JournalFound::kRefused);
    damaged += found == JournalFound::kDamaged;
    repaired += found == JournalFound::kRepaired;
    if (round % 16 == 0) {
      ASSERT_TRUE(WorksAfterReset());
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(damaged, 5);
  EXPECT_GT(repaired, 50);
}

TEST_F(BlockJournalFuzz, BLK_76_a_few_random_words) {
  std::mt19937_64 random(8);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    Restore();
    auto* const words = reinterpret_cast<uint64_t*>(m_.journal_bytes().data());
    for (uint64_t left = 1 + random() % 16; left != 0; --left) {
      words[random() % (m_.journal_bytes().size() / 8)] = random();
    }
    ASSERT_NE(Run(), JournalFound::kRefused);
    if (round % 16 == 0) {
      ASSERT_TRUE(WorksAfterReset());
    }
    if (HasFailure()) return;
  }
}

TEST_F(BlockJournalFuzz, BLK_76_CORE_06_nothing_but_random_bytes) {
  std::mt19937_64 random(9);
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    Restore();
    auto* const words = reinterpret_cast<uint64_t*>(m_.journal_bytes().data());
    for (size_t i = 0; i < m_.journal_bytes().size() / 8; ++i) words[i] = random();
    ASSERT_EQ(Run(), JournalFound::kDamaged);
    ASSERT_TRUE(m_.line.high);
    ASSERT_TRUE(WorksAfterReset());
    if (HasFailure()) return;
  }
}

TEST(BlockPoison, a_request_at_which_two_instances_died_ends_with_an_error) {
  for (const bool blamed : {true, false}) {
    DriverMachine m(kSectors, 1, kAllFlags, false, kRam);
    BlockQueue queue = m.Live(kBlockFeatures, 16);
    const uint64_t buffer = m.Allocate(512);
    const uint64_t first = m.Add(queue, kOut, 1, {{buffer, 512, false}});
    const uint64_t second = m.Add(queue, kOut, 2, {{buffer, 512, false}});
    m.Doorbell(0);
    for (int death = 0; death < 2; ++death) {
      m.journal().device.executing = 1;  // the instance dies at the first request
      ASSERT_EQ(m.RestartService({.blamed = blamed}), virtio::JournalFound::kGood);
    }
    EXPECT_EQ(m.model().given_up(), blamed ? 1u : 0u);
    m.Settle();
    EXPECT_EQ(m.At1(first), blamed ? kStatusIoErr : kStatusOk);
    EXPECT_EQ(m.At1(second), kStatusOk);
    EXPECT_TRUE(queue.PopUsed() && queue.PopUsed());
    EXPECT_FALSE(queue.PopUsed());
    // The record serves another request, which is blamed for nothing.
    EXPECT_EQ(m.Request(queue, kOut, 1, {{buffer, 512, false}}).status, kStatusOk);
  }
}

TEST(BlockFailed, everything_ends_with_errors_once_nobody_touches_its_buffers) {
  DriverMachine m(kSectors, 1, kAllFlags, false, kRam);
  BlockQueue queue = m.Live(kBlockFeatures, 16);
  const uint64_t buffer = m.Allocate(512);
  const uint64_t status = m.Add(queue, kIn, 1, {{buffer, 512, true}});
  m.Doorbell(0);
  m.Write(virtio::kInterruptAck, 3);
  const uint64_t capacity = m.Load(virtio::kConfig, 8);
  ASSERT_EQ(m.RestartService({.blamed = true, .failed = true}), virtio::JournalFound::kGood);
  EXPECT_EQ(m.Read(virtio::kInterruptStatus), virtio::kInterruptConfig);
  EXPECT_EQ(m.Load(virtio::kConfig, 8), capacity);
  EXPECT_FALSE(queue.PopUsed());  // the disk may still write there
  m.Settle();
  EXPECT_TRUE(queue.PopUsed());
  EXPECT_EQ(m.At1(status), kStatusIoErr);
  for (const uint32_t type : {kIn, kOut, kFlush}) {
    EXPECT_EQ(m.Request(queue, type, 1, {}).status, kStatusIoErr);
  }
  BlockQueue again = m.Live(kBlockFeatures, 16);
  EXPECT_EQ(m.Request(again, kFlush, 0, {}).status, kStatusIoErr);
  EXPECT_EQ(m.DeviceStatus(), virtio::kLive);
}

}  // namespace
}  // namespace atoll::virtio_blk
