// The entropy device: hostile drivers, buffers of every shape, deaths.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "services/virtio-rng/device.h"
#include "tests/unit/device/virtio_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {
namespace {

using virtio::Buffer;
using Bytes = std::vector<std::byte>;
using Base = virtio::DeviceMachineBase<VirtioRng>;
using Queue = virtio::DriverQueue<Base>;
constexpr uint64_t kBufferBytes = VirtioRng::kBufferBytes;
constexpr uint64_t kFeatures =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;
constexpr uint32_t kSize = 64;

// The machine has nothing to offer but a seed: not even its counter moves.
class RngMachine : public virtio::DeviceMachine<VirtioRng> {
 public:
  explicit RngMachine(uint8_t seed = 1) { ports.start.seed[0] = seed; }

  Bytes Copy(uint64_t address, size_t bytes) {
    return {At(address, bytes), At(address, bytes) + bytes};
  }
  // What a buffer of so many bytes is filled with; empty if it is not used as it should be.
  Bytes Ask(Queue& queue, uint32_t bytes = 64) {
    const uint64_t address = Allocate(bytes);
    queue.Add({{address, bytes, true}});
    Doorbell(0);
    const auto used = queue.PopUsed();
    if (!used.has_value() || used->length != std::min<uint64_t>(bytes, kBufferBytes)) return {};
    return Copy(address, used->length);
  }
};

bool Broken(RngMachine& m) { return (m.DeviceStatus() & virtio::kStatusNeedsReset) != 0; }
bool IsZero(const Bytes& bytes) { return bytes == Bytes(bytes.size()); }

// ---- bad input

TEST(VirtioRng, RNG_07_readable_buffers_are_used_empty) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  const uint64_t address = m.Allocate(128);
  m.Fill(address, 128, 0xa5);
  const std::vector<std::vector<Buffer>> chains = {
      {{address, 64, false}}, {{address, 64, false}, {address + 64, 64, true}}};
  for (const auto& chain : chains) {
    queue.Add(chain);
    m.Doorbell(0);
    const auto used = queue.PopUsed();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->length, 0u);
    EXPECT_EQ(m.Copy(address, 128), Bytes(128, std::byte{0xa5}));
  }
  EXPECT_FALSE(IsZero(m.Ask(queue)));
}

TEST(VirtioRng, RNG_09_a_chain_without_bytes_is_a_bad_queue) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  queue.Add({{m.Allocate(64), 0, true}});
  m.Doorbell(0);
  EXPECT_TRUE(Broken(m));
  EXPECT_FALSE(queue.PopUsed().has_value());
  Queue again = virtio::BringUp<Base>(m, kFeatures, kSize);
  EXPECT_FALSE(IsZero(m.Ask(again)));
}

TEST(VirtioRng, buffers_outside_of_memory_are_a_bad_queue) {
  RngMachine m;
  const uint64_t inside = m.Allocate(64);
  for (const Buffer outside : {Buffer{0, 64, true}, Buffer{m.ram_end() - 8, 64, true},
                               Buffer{~uint64_t{0} - 7, 64, true}}) {
    Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
    queue.Add({{inside, 64, true}, outside});
    m.Doorbell(0);
    EXPECT_FALSE(queue.PopUsed().has_value());
    EXPECT_TRUE(Broken(m));
    EXPECT_TRUE(IsZero(m.Copy(inside, 64)));
  }
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  EXPECT_FALSE(IsZero(m.Ask(queue)));
}

TEST(VirtioRng, RNG_08_a_buffer_gets_so_much_and_no_more) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  const uint64_t address = m.Allocate(1 << 20);
  // Every slot, of as many bytes as a descriptor can say; the same memory again and again.
  for (uint32_t i = 0; i < kSize; ++i) queue.Add({{address, 1 << 20, true}});
  m.Doorbell(0);
  EXPECT_TRUE(m.Pump());
  EXPECT_EQ(queue.UsedIndex(), kSize);
  for (uint32_t i = 0; i < kSize; ++i) EXPECT_EQ(queue.PopUsed()->length, kBufferBytes);
  EXPECT_TRUE(IsZero(m.Copy(address + kBufferBytes, (1 << 20) - kBufferBytes)));
}

TEST(VirtioRng, RNG_01_configuration_and_further_queues_are_not_there) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  EXPECT_EQ(m.Read(virtio::kDeviceId), 4u);
  m.Write(virtio::kDeviceFeaturesSel, 0);
  EXPECT_EQ(m.Read(virtio::kDeviceFeatures) & 0xff'ffff, 0u);
  for (uint32_t offset = 0; offset < 64; offset += 4) {
    m.Store(virtio::kConfig + offset, 4, ~0u);
    EXPECT_EQ(m.Load(virtio::kConfig + offset, 4), 0u);
  }
  m.Write(virtio::kQueueSel, 1);
  EXPECT_EQ(m.Read(virtio::kQueueNumMax), 0u);
  EXPECT_FALSE(IsZero(m.Ask(queue)));
}

// ---- buffers

TEST(VirtioRng, RNG_02_RNG_03_buffers_of_every_shape_are_filled) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  for (uint32_t bytes = 1; bytes < 200; ++bytes) EXPECT_EQ(m.Ask(queue, bytes).size(), bytes);
  std::vector<Buffer> pieces;
  for (uint32_t i = 0; i < 40; ++i) pieces.push_back({m.Allocate(64), 1 + i % 64, true});
  for (const bool indirect : {false, true}) {
    indirect ? queue.AddIndirect(pieces) : queue.Add(pieces);
    m.Doorbell(0);
    const auto used = queue.PopUsed();
    ASSERT_TRUE(used.has_value());
    uint32_t wanted = 0;
    Bytes all;
    for (const Buffer& piece : pieces) {
      wanted += piece.length;
      const Bytes part = m.Copy(piece.address, piece.length);
      all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(used->length, wanted);
    // So many bytes have each value about three times; no eight in a row are zeros.
    EXPECT_EQ(std::ranges::search(all, Bytes(8)).size(), 0u);
  }
}

TEST(VirtioRng, RNG_05_entropy_never_runs_short) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  std::array<uint32_t, 256> counts = {};
  constexpr uint32_t kRounds = 1024;
  for (uint32_t i = 0; i < kRounds; ++i) {
    m.Rewind(virtio::kRamBase + (1 << 20));
    for (const std::byte byte : m.Ask(queue, uint32_t{kBufferBytes}))
      ++counts[static_cast<uint8_t>(byte)];
  }
  for (const uint32_t count : counts) {  // 4096 each, with a standard deviation of 64
    EXPECT_GT(count, 4096u - 6 * 64);
    EXPECT_LT(count, 4096u + 6 * 64);
  }
}

TEST(VirtioRng, the_driver_is_asked_to_notify_of_what_comes_next) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(m.Ask(queue).empty());
    EXPECT_EQ(queue.AvailEvent(), queue.avail_index);
  }
}

// ---- the same bytes never again

TEST(VirtioRng, RNG_04_bytes_never_come_twice) {
  std::set<Bytes> seen;
  for (uint8_t vm = 0; vm < 3; ++vm) {
    RngMachine m(vm);
    for (int start = 0; start < 4; ++start) {
      Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
      for (int i = 0; i < 8; ++i) EXPECT_TRUE(seen.insert(m.Ask(queue)).second);
      ASSERT_EQ(m.Restart({.blamed = start % 2 == 0}), virtio::JournalFound::kGood);
      for (int i = 0; i < 8; ++i) EXPECT_TRUE(seen.insert(m.Ask(queue)).second);
    }
  }
  EXPECT_FALSE(seen.contains(Bytes{}));
}

TEST(VirtioRng, RNG_04_RNG_06_deaths_at_every_store) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  const uint64_t address = m.Allocate(64);
  for (uint64_t i = 0; i < 2; ++i) queue.Add({{address + 32 * i, 32, true}});
  MemoryStates states(
      {std::span(m.At(queue.used, 32), 32), std::span(m.At(address, 64), 64), m.journal_bytes()});
  ASSERT_TRUE(states.Run([&] { m.Doorbell(0); }));
  const std::set<Bytes> before = {m.Copy(address, 32), m.Copy(address + 32, 32)};
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    queue.SetAvailIndex(2);
    queue.last_used = 0;
    const bool first = !IsZero(m.Copy(address, 32));  // the guest may have seen it
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood) << i;
    ASSERT_TRUE(m.Pump());
    EXPECT_EQ(queue.UsedIndex(), 2u) << "state " << i;
    queue.last_used = 2;
    const Bytes next = m.Ask(queue, 32);
    EXPECT_FALSE(first && before.contains(next)) << "state " << i;
    EXPECT_NE(m.Copy(address, 32), m.Copy(address + 32, 32)) << "state " << i;
  }
}

TEST(VirtioRng, damaged_journals_fail_until_a_reset) {
  RngMachine m;
  Queue queue = virtio::BringUp<Base>(m, kFeatures, kSize);
  const Bytes before = m.Ask(queue);
  ++m.ports.counter.ticks;
  std::ranges::fill(m.journal_bytes(), std::byte{0x3c});
  EXPECT_EQ(m.Restart(), virtio::JournalFound::kDamaged);
  EXPECT_TRUE(Broken(m));
  Queue again = virtio::BringUp<Base>(m, kFeatures, kSize);
  const Bytes after = m.Ask(again);
  EXPECT_FALSE(IsZero(after));
  EXPECT_NE(before, after);
}

}  // namespace
}  // namespace atoll
