// virtio-blk over a driver: deaths of the service at every store, deaths of the driver, and a driver
// that lies.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/virtio/driver_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio_blk {
namespace {

// Small, as MemoryStates compares everything after each instruction.
constexpr uint64_t kSmallRam = 1 << 13;
constexpr uint64_t kSectors = 8;
constexpr size_t kSlotsInUse = 4;

class VirtioBlkDriverRestart : public testing::Test {
 protected:
  VirtioBlkDriverRestart() : m_(kSectors, 1, kAllFlags, false, kSmallRam) {}

  void SetUp() override {
    if (!MemoryStates::kSupported) GTEST_SKIP();
  }

  // Everything that outlives the service, the disk included.
  std::vector<std::span<std::byte>> Watched() {
    constexpr size_t kHead = 256;  // of the header, and of a slot: a few segments
    std::vector<std::span<std::byte>> parts = JournalInUse(m_, kSlotsInUse);
    for (size_t page = 0; page <= kSlotsInUse; ++page) {
      parts.push_back(m_.ring.span().subspan(page * kPageSize, kHead));
    }
    parts.push_back(m_.ram());
    parts.push_back(m_.driver.content);
    return parts;
  }

  // A driver that slept until now hears of everything submitted, and then finds its bits. It hears of it from this
  // instance: nothing says whether the one before came to signal it, even if it took back that the driver waits.
  bool DriverLearns() {
    if (m_.driver.Submitted().empty()) return true;
    return m_.driver_signal.count != 0 && !m_.driver.Sleep();
  }

  DriverMachine m_;
};

TEST_F(VirtioBlkDriverRestart, BLK_55_BLK_60_SPLIT_15_death_anywhere_while_submitting) {
  BlockQueue queue = m_.Live(kBlockFeatures, 16);
  uint64_t buffers[3];
  uint64_t status[3];
  for (uint32_t i = 0; i < 3; ++i) {
    buffers[i] = m_.Allocate(512);
    m_.Fill(buffers[i], 512, static_cast<uint8_t>(0xa0 + i));
    status[i] = m_.Add(queue, kOut, i, {{buffers[i], 512, false}});
  }
  ASSERT_TRUE(m_.driver.Sleep());
  MemoryStates states(Watched());
  ASSERT_TRUE(states.Run([this] { m_.Doorbell(0); }));
  ASSERT_GT(states.size(), 50u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    queue.last_used = 0;
    m_.driver.served.clear();
    m_.driver_signal.count = 0;
    ASSERT_EQ(m_.RestartService(), virtio::JournalFound::kGood);
    ASSERT_TRUE(DriverLearns());
    ASSERT_EQ(m_.driver.Submitted().size(), 3u);  // all of them, each in one slot
    m_.Settle();
    ASSERT_EQ(m_.driver.served.size(), 3u);
    for (uint32_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(queue.PopUsed());
      ASSERT_EQ(m_.At1(status[i]), kStatusOk);
      ASSERT_TRUE(m_.Holds(buffers[i], i, 512));
    }
    ASSERT_FALSE(queue.PopUsed());
    ASSERT_TRUE(m_.line.high);
  }
}

TEST_F(VirtioBlkDriverRestart, BLK_55_BLK_56_SPLIT_35_death_anywhere_while_completing) {
  BlockQueue queue = m_.Live(kBlockFeatures, 16);
  uint64_t buffers[3];
  uint64_t status[3];
  for (uint32_t i = 0; i < 3; ++i) {
    buffers[i] = m_.Allocate(512);
    status[i] = m_.Add(queue, kIn, i, {{buffers[i], 512, true}});
  }
  m_.Doorbell(0);
  for (const uint32_t slot : {2u, 0u, 1u}) m_.driver.Serve(slot, m_.memory());
  MemoryStates states(Watched());
  ASSERT_TRUE(states.Run([this] { m_.Signal(); }));
  ASSERT_GT(states.size(), 20u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    queue.last_used = 0;
    m_.driver.served.clear();
    const uint16_t seen = queue.UsedIndex();
    std::vector<uint32_t> heads;
    while (const auto element = queue.PopUsed()) heads.push_back(element->id);
    if (seen != 0) {  // the driver's again: whatever is written there now is an error
      for (const uint64_t buffer : buffers) m_.Fill(buffer, 512, 0xee);
      m_.Fill(status[0], 1, 0xee);
    }
    ASSERT_EQ(m_.RestartService(), virtio::JournalFound::kGood);
    m_.Settle();
    ASSERT_TRUE(m_.driver.served.empty());  // nothing is read twice
    while (const auto element = queue.PopUsed()) heads.push_back(element->id);
    std::ranges::sort(heads);
    ASSERT_EQ(heads, (std::vector<uint32_t>{0, 3, 6}));
    ASSERT_EQ(m_.At1(status[0]), seen != 0 ? 0xee : kStatusOk);
    for (uint32_t i = 0; i < 3; ++i) {
      if (seen == 0) {
        ASSERT_TRUE(m_.Holds(buffers[i], i, 512));
      } else {
        ASSERT_EQ(m_.At1(buffers[i]), 0xee);
      }
    }
    ASSERT_TRUE(m_.line.high);
    ASSERT_TRUE(m_.driver.Submitted().empty());
  }
}

TEST_F(VirtioBlkDriverRestart, BLK_54_BLK_55_BLK_57_death_of_both_anywhere_in_a_request_of_parts) {
  // Without FLUSH: two ranges, then a flush; three parts through one slot.
  BlockQueue queue = m_.Live(kBlockFeatures & ~kFeatureFlush, 16);
  const uint64_t array = m_.Allocate(32);
  m_.Put(array, DiscardWriteZeroes{2, 1, 0});
  m_.Put(array + 16, DiscardWriteZeroes{5, 1, 0});
  const uint64_t status = m_.Add(queue, kWriteZeroes, 0, {{array, 32, false}});
  m_.driver.served.reserve(16);
  MemoryStates states(Watched());
  ASSERT_TRUE(states.Run([this] {
    m_.Doorbell(0);
    for (int part = 0; part < 3; ++part) {
      m_.driver.Serve(0, m_.memory());
      m_.Signal();
    }
  }));
  ASSERT_EQ(m_.At1(status), kStatusOk);
  ASSERT_EQ(m_.driver.served.size(), 3u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    queue.last_used = 0;
    m_.driver.served.clear();
    ++m_.driver.generation;  // it died, too: possibly between a slot's state and its bit
    m_.driver.Announce(block::DiskState::kReady);
    const bool seen = queue.UsedIndex() == 1;
    ASSERT_EQ(m_.RestartService(), virtio::JournalFound::kGood);
    m_.Settle();
    ASSERT_LE(m_.driver.served.size(), seen ? 0u : 3u);
    if (!m_.driver.served.empty()) {
      ASSERT_EQ(m_.driver.served.back().request.operation, block::Operation::kFlush);
      ASSERT_EQ(m_.driver.durable, m_.driver.content);
    }
    ASSERT_TRUE(queue.PopUsed());
    ASSERT_FALSE(queue.PopUsed());
    ASSERT_EQ(m_.At1(status), kStatusOk);
    for (uint64_t sector = 0; sector < 8; ++sector) {
      const bool zero = sector == 2 || sector == 5;
      ASSERT_EQ(m_.driver.content[sector * 512 + 1],
                zero ? std::byte{0} : TestDisk::PatternAt(sector * 512 + 1));
    }
  }
}

TEST_F(VirtioBlkDriverRestart, BLK_62_CORE_31_death_anywhere_in_a_reset_with_requests_in_flight) {
  BlockQueue queue = m_.Live(kBlockFeatures, 16);
  const uint64_t buffer = m_.Allocate(512);
  const uint64_t status = m_.Add(queue, kIn, 1, {{buffer, 512, true}});
  m_.Doorbell(0);
  const auto reset = [this] {
    return m_.device()
        .Access({.offset = virtio::kStatus, .size = 4, .write = true, .value = 0})
        .has_value();
  };
  MemoryStates states(Watched());
  ASSERT_TRUE(states.Run([&] {
    (void)reset();
    m_.driver.Serve(0, m_.memory());
    m_.Signal();
    (void)reset();
  }));
  ASSERT_EQ(m_.DeviceStatus(), 0u);
  for (size_t state = 1; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    ASSERT_EQ(m_.RestartService(), virtio::JournalFound::kGood);
    while (!reset()) {  // the kernel redelivers the store
      ASSERT_FALSE(m_.driver.Submitted().empty());
      m_.driver.ServeAll(m_.memory());
      m_.Signal();
    }
    ASSERT_EQ(m_.DeviceStatus(), 0u);
    ASSERT_TRUE(m_.driver.Submitted().empty());
    ASSERT_EQ(m_.At1(status), kNoStatus);
    ASSERT_FALSE(m_.line.high);
  }
}

TEST(VirtioBlkDriverHostile, BLK_76_HOSTILE_18_ring_of_random_bytes) {
  // A driver that was taken over can spoil this disk's data. It cannot make the service touch memory
  // that is not the request's, nor bring it down.
  std::mt19937 random(1);
  for (int round = 0; round < 30; ++round) {
    DriverMachine m(64);
    BlockQueue queue = m.Live();
    const uint64_t buffer = m.Allocate(512);
    const uint64_t canary = m.Allocate(4096);
    m.Fill(canary, 4096, 0xc5);
    for (int step = 0; step < 40; ++step) {
      if (random() % 2 == 0) {
        m.Add(queue, random() % 2 == 0 ? kIn : kOut, random() % 64,
              {{buffer, 512, random() % 2 == 0}});
        queue.Notify();
      }
      auto& ring = *reinterpret_cast<block::RingMemory*>(m.ring.span().data());
      for (block::Slot& slot : ring.slots) {
        if (random() % 3 == 0) slot.state = random() % 4;
        if (random() % 3 == 0) slot.status = random() % 4;
        slot.sector = random();
        slot.segment_count = static_cast<uint32_t>(random());
      }
      ring.header.completed = (uint64_t{random()} << 32) | random();
      ring.header.submitted = random();
      ring.header.driver = {.state = static_cast<uint32_t>(random() % 4),
                            .flags = static_cast<uint32_t>(random()),
                            .sectors = uint64_t{random()} << (random() % 33),
                            .generation = static_cast<uint32_t>(random()),
                            .driver_waits = static_cast<uint32_t>(random())};
      m.Signal();
      if (random() % 8 == 0) (void)m.RestartService();
      ASSERT_TRUE(m.Pump());
      for (uint64_t i = 0; i < 4096; ++i) ASSERT_EQ(m.At1(canary + i), 0xc5);
    }
    // A driver that behaves again, and a guest that starts over, find a device that works.
    for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
      m.driver.Complete(slot, block::RequestStatus::kIoError);
    }
    m.driver.Announce(block::DiskState::kReady);
    m.Signal();
    BlockQueue again = m.Live();
    ASSERT_EQ(m.Request(again, kIn, 3, {{buffer, 512, true}}), Done(kStatusOk, 513));
  }
}

}  // namespace
}  // namespace atoll::virtio_blk
