// Any word that an instance of virtio-blk keeps for itself is written over: the next heartbeat notices it, or nothing
// comes of it but errors that the driver sees.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <span>

#include "tests/unit/virtio/block_machine.h"

namespace atoll::virtio_blk {
namespace {

constexpr uint64_t kDiskBytes = 64 * kSectorBytes;

class Damage : public testing::Test {
 protected:
  static std::span<uint64_t> Words(auto& object) {
    return {reinterpret_cast<uint64_t*>(&object), sizeof(object) / sizeof(uint64_t)};
  }
  // Of the host: what is there leads nowhere, and the task crashes.
  static bool IsAddress(uint64_t word) {
    return word >= 0x5000'0000'0000 && word < 0x8000'0000'0000;
  }
  // Good for numbers and for truth values.
  uint64_t Anything() { return random_() & 0x0101'0101'0101'0101; }

  std::mt19937_64 random_{370};
};

// What became of an instance with one word written over.
enum class Seen { kNothing, kNoticed, kFailed, kWrong };

Seen Observe(BlockMachine& m, BlockQueue& queue, TestDisk& disk) {
  if (!m.device().IsIntact()) return Seen::kNoticed;
  const uint64_t buffer = m.Allocate(1024);
  bool right = true;
  bool failed = false;
  for (uint32_t i = 0; i < 3; ++i) {
    const Outcome outcome = Read(m, queue, 3 + i, buffer, 1024);
    failed = failed || (outcome.used && outcome.status == kStatusIoErr);
    right = right && outcome == Done(kStatusOk, 1025) &&
            Equal(m, buffer, std::span(disk.content).subspan((3 + i) * kSectorBytes, 1024));
  }
  if (!m.device().IsIntact()) return Seen::kNoticed;
  failed = failed || (m.DeviceStatus() & virtio::kStatusNeedsReset) != 0;
  return right ? Seen::kNothing : failed ? Seen::kFailed : Seen::kWrong;
}

TEST_F(Damage, of_the_device_is_noticed_or_seen) {
  TestDisk disk(kDiskBytes);
  size_t noticed = 0;
  constexpr size_t kWords = sizeof(BlockDevice) / sizeof(uint64_t);
  for (size_t word = 0; word < kWords; ++word) {
    BlockMachine m(disk);
    BlockQueue queue = m.Live();
    ASSERT_TRUE(Works(m, queue, disk));
    uint64_t& place = Words(m.model())[word];
    if (IsAddress(place)) continue;
    place = Anything();
    const Seen seen = Observe(m, queue, disk);
    EXPECT_NE(seen, Seen::kWrong) << "word " << word;
    if (seen != Seen::kNoticed) continue;
    ++noticed;
    m.Restart({.blamed = true});
    EXPECT_TRUE(m.device().IsIntact());
    m.Pump();
    while (queue.PopUsed().has_value()) {
    }
    EXPECT_TRUE(Works(m, queue, disk)) << "word " << word;
  }
  EXPECT_GT(noticed, 15u);  // the sets of requests, above all
}

TEST_F(Damage, of_transport_and_queue_is_noticed_or_seen) {
  TestDisk disk(kDiskBytes);
  size_t noticed = 0;
  for (size_t word = 0; word < sizeof(virtio::MmioTransport) / sizeof(uint64_t); ++word) {
    BlockMachine m(disk);
    BlockQueue queue = m.Live();
    ASSERT_TRUE(Works(m, queue, disk));
    uint64_t& place = Words(m.device())[word];
    if (IsAddress(place)) continue;
    place = Anything();
    const Seen seen = Observe(m, queue, disk);
    EXPECT_NE(seen, Seen::kWrong) << "word " << word;
    noticed += seen == Seen::kNoticed ? 1 : 0;
  }
  EXPECT_GT(noticed, 20u);
}

// Where the guest's memory is: what the driver offers looks broken, and is not its fault. The driver is told of nothing, and
// the next instance does the work.
TEST_F(Damage, of_where_memory_is_is_not_told_the_driver) {
  TestDisk disk(kDiskBytes);
  constexpr uint64_t kOthers[] = {virtio::kRamBase << 8, kPageSize};  // base, size
  for (const uint64_t other : kOthers) {
    BlockMachine m(disk);
    BlockQueue queue = m.Live();
    ASSERT_TRUE(Works(m, queue, disk));
    const uint64_t status = m.Allocate(1, 1);
    const uint64_t buffer = m.Allocate(1024);
    const std::vector<Buffer> chain = {
        {m.Header(kIn, 4), sizeof(RequestHeader), false}, {buffer, 1024, true}, {status, 1, true}};
    queue.Add(chain);
    const std::span<uint64_t> words = Words(const_cast<GuestMemory&>(m.memory()));
    const uint64_t right = other == kPageSize ? virtio::kRamBytes : virtio::kRamBase;
    const auto place = std::ranges::find(words, right);
    ASSERT_NE(place, words.end());
    *place = other;
    m.Doorbell(0);
    m.Pump();
    EXPECT_FALSE(m.device().IsIntact());
    *place = right;
    EXPECT_EQ(m.DeviceStatus() & virtio::kStatusNeedsReset, 0u);
    EXPECT_FALSE(m.device().IsIntact());  // it does nothing more, and has to end
    m.Restart({.blamed = true});
    m.Pump();
    EXPECT_TRUE(queue.PopUsed().has_value());
    EXPECT_EQ(m.Get<uint8_t>(status), kStatusOk);
    EXPECT_TRUE(Works(m, queue, disk));
  }
}

// Requests are in hand, and the set that says so is lost: none of them would ever be completed.
TEST_F(Damage, of_a_set_of_requests_does_not_lose_them) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(2 << 20);
  const std::vector<Buffer> chain = {{m.Header(kIn, 0), sizeof(RequestHeader), false},
                                     {buffer, kDiskBytes, true},
                                     {m.Allocate(1, 1), 1, true}};
  queue.Add(chain);
  const std::span<uint64_t> words = Words(m.model());
  const std::vector<uint64_t> before(words.begin(), words.end());
  for (size_t word = 0; word < words.size(); ++word) {
    if (before[word] != ~uint64_t{0}) continue;  // all requests are free
    words[word] = ~uint64_t{1};
    EXPECT_FALSE(m.device().IsIntact()) << "word " << word;
    words[word] = before[word];
    EXPECT_TRUE(m.device().IsIntact());
  }
}

}  // namespace
}  // namespace atoll::virtio_blk
