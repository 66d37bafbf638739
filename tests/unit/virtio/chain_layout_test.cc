// Chains in tables of any layout, good and bad, are parsed as by a driver's reader that follows one descriptor after the
// other (VIRTIO 1.2, 2.7.5): a queue takes runs of neighbours at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "services/virtio/split_queue.h"

namespace atoll::virtio {
namespace {

constexpr uint32_t kQueueSize = 256;
constexpr uint64_t kBase = 0x4000'0000;
constexpr uint64_t kRamBytes = 1 << 20;
constexpr uint64_t kTableAt = 0x8000;  // an indirect table, up to kTableEntries
constexpr uint32_t kTableEntries = 512;
constexpr uint64_t kAvailAt = 0x4000, kUsedAt = 0x6000;

// A queue over its own memory, of which the first chain is the descriptors from 0 on.
class Layout {
 public:
  Layout() : ram_(kRamBytes) {
    queue_.Initialize(state_, memory_, kQueueSize);
    queue_.ChangeSetup({.descriptor_area = kBase,
                        .driver_area = kBase + kAvailAt,
                        .device_area = kBase + kUsedAt,
                        .size = kQueueSize});
    queue_.SetFeatures(kFeatureIndirectDesc);
    EXPECT_TRUE(queue_.Enable());
    const uint16_t one = 1;
    std::memcpy(&ram_[kAvailAt + kRingIndex], &one, sizeof(one));
  }

  // In an indirect table, or as the ring's own descriptors.
  void Put(const std::vector<Descriptor>& table, bool indirect) {
    const uint64_t at = indirect ? kTableAt : 0;
    std::memcpy(&ram_[at], table.data(), table.size() * sizeof(Descriptor));
    if (!indirect) return;
    const Descriptor first{kBase + kTableAt,
                           static_cast<uint32_t>(table.size() * sizeof(Descriptor)),
                           kDescriptorIndirect, 0};
    std::memcpy(ram_.data(), &first, sizeof(first));
  }
  std::optional<ChainRecord> Fetch() {
    auto record = std::make_unique<ChainRecord>();
    const auto fetched = queue_.Fetch(*record);
    EXPECT_NE(fetched, SplitQueue::Fetched::kNone);
    if (fetched != SplitQueue::Fetched::kChain) return std::nullopt;
    return *record;
  }

 private:
  std::vector<std::byte> ram_;
  GuestMemory memory_{GuestPhys(kBase), ram_};
  QueueState state_ = {};
  SplitQueue queue_;
};

// What 2.7 says of the chain from descriptor 0 on; nothing: no driver may make it.
std::optional<ChainRecord> Expected(const std::vector<Descriptor>& table) {
  ChainRecord record;
  uint64_t at = 0;
  for (size_t steps = 0; steps < table.size(); ++steps) {
    const Descriptor& descriptor = table[at];
    const uint32_t count = uint32_t{record.readable_segments} + record.writable_segments;
    const bool writable = (descriptor.flags & kDescriptorWrite) != 0;
    if (descriptor.length == 0 || count == kMaxSegments) return std::nullopt;
    if ((descriptor.flags & kDescriptorIndirect) != 0) return std::nullopt;  // of what Broken puts
    if (!writable && record.writable_segments != 0) return std::nullopt;
    record.segments[count] = {.address = descriptor.address, .length = descriptor.length};
    ++(writable ? record.writable_segments : record.readable_segments);
    (writable ? record.writable_bytes : record.readable_bytes) += descriptor.length;
    const bool inside = descriptor.address >= kBase && descriptor.address <= kBase + kRamBytes &&
                        descriptor.length <= kBase + kRamBytes - descriptor.address;
    if (!inside) record.unreachable = 1;
    if ((descriptor.flags & kDescriptorNext) == 0) {
      const bool fits = record.readable_bytes + record.writable_bytes <= uint64_t{1} << 32;
      return fits ? std::optional(record) : std::nullopt;
    }
    at = descriptor.next;
    if (at >= table.size()) return std::nullopt;
  }
  return std::nullopt;  // a loop
}

void ExpectSame(const std::optional<ChainRecord>& found,
                const std::optional<ChainRecord>& expected) {
  ASSERT_EQ(found.has_value(), expected.has_value());
  if (!found) return;
  EXPECT_EQ(found->readable_segments, expected->readable_segments);
  EXPECT_EQ(found->writable_segments, expected->writable_segments);
  EXPECT_EQ(found->readable_bytes, expected->readable_bytes);
  EXPECT_EQ(found->writable_bytes, expected->writable_bytes);
  EXPECT_EQ(found->unreachable, expected->unreachable);
  CheckWord check;
  for (uint32_t i = 0; i < uint32_t{found->readable_segments} + found->writable_segments; ++i) {
    ASSERT_EQ(found->segments[i].address, expected->segments[i].address) << i;
    ASSERT_EQ(found->segments[i].length, expected->segments[i].length) << i;
    check.Add(found->segments[i].address);
  }
  EXPECT_EQ(found->check, check.value());
}

// `entries` in the table's order, the last `writable` of which may be written.
std::vector<Descriptor> InOrder(uint32_t entries, uint32_t writable) {
  std::vector<Descriptor> table(entries);
  for (uint32_t i = 0; i < entries; ++i) {
    const int flags =
        (i + 1 < entries ? kDescriptorNext : 0) | (i + writable >= entries ? kDescriptorWrite : 0);
    table[i] = {kBase + 0x1'0000 + 64 * i, 64, static_cast<uint16_t>(flags),
                static_cast<uint16_t>(i + 1)};
  }
  return table;
}

class ChainLayout : public testing::TestWithParam<bool> {
 protected:
  void Check(const std::vector<Descriptor>& table) {
    Layout layout;
    layout.Put(table, GetParam());
    ExpectSame(layout.Fetch(), Expected(table));
  }
};

TEST_P(ChainLayout, in_order_of_every_length) {
  for (const uint32_t entries : {1u, 2u, 3u, 4u, 5u, 17u, 255u, 256u, 257u, 300u, kTableEntries}) {
    if (!GetParam() && entries != kQueueSize) continue;  // the ring's table has its own size
    for (const uint32_t writable : {0u, 1u, 2u, entries - 1, entries}) {
      SCOPED_TRACE(testing::Message() << entries << " entries, writable " << writable);
      Check(InOrder(entries, std::min(writable, entries)));
    }
  }
}

TEST_P(ChainLayout, one_descriptor_that_is_different_anywhere) {
  constexpr uint32_t kEntries = kQueueSize;
  const Descriptor plain = InOrder(kEntries, 0)[0];
  for (const uint32_t at : {0u, 1u, 2u, 3u, 4u, 100u, kEntries - 2, kEntries - 1}) {
    const auto with = [&](auto change) {
      auto table = InOrder(kEntries, 8);
      change(table[at]);
      SCOPED_TRACE(testing::Message() << "descriptor " << at);
      Check(table);
    };
    with([](Descriptor& d) { d.length = 0; });
    with([](Descriptor& d) { d.length = ~uint32_t{0}; });
    with([](Descriptor& d) { d.address = kBase - 1; });
    with([](Descriptor& d) { d.address = kBase + kRamBytes - 63; });
    with([](Descriptor& d) { d.address = ~uint64_t{0} - 10; });
    with([](Descriptor& d) { d.flags ^= kDescriptorWrite; });
    with([](Descriptor& d) { d.flags ^= kDescriptorNext; });
    with([](Descriptor& d) { d.flags |= 0x8000; });  // unknown: ignored
    with([](Descriptor& d) { d.flags |= kDescriptorNext, d.next = kEntries; });
    with([](Descriptor& d) { d.flags |= kDescriptorNext, d.next = 0; });
    with([](Descriptor& d) { d.flags |= kDescriptorNext, d.next = 0xffff; });
    with([&](Descriptor& d) { d.next = static_cast<uint16_t>(at); });
    with([&](Descriptor& d) { d.next = static_cast<uint16_t>(at + 2); });
    with([&](Descriptor& d) { d = plain; });
    if (GetParam()) with([](Descriptor& d) { d.flags |= kDescriptorIndirect; });
  }
}

TEST_P(ChainLayout, a_chain_of_more_than_4_gib) {
  auto table = InOrder(kQueueSize, 0);
  for (Descriptor& descriptor : table) descriptor.length = 1 << 24;  // 4 GiB together
  Check(table);
  table[5].length += 1;
  Check(table);
}

TEST_P(ChainLayout, at_random) {
  std::mt19937 random(1);
  const auto below = [&random](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
  for (int round = 0; round < 500; ++round) {
    const uint32_t entries = GetParam() ? 1 + below(300) : kQueueSize;
    auto table = InOrder(entries, below(entries + 1));
    for (uint32_t changes = below(4); changes != 0; --changes) {
      Descriptor& descriptor = table[below(entries)];
      switch (below(5)) {
        case 0: descriptor.next = static_cast<uint16_t>(below(entries + 1)); break;
        case 1: descriptor.flags ^= kDescriptorWrite; break;
        case 2: descriptor.flags ^= kDescriptorNext; break;
        case 3: descriptor.length = below(1 << 22); break;
        default: descriptor.address = kBase + below(2 * kRamBytes); break;
      }
    }
    SCOPED_TRACE(testing::Message() << "round " << round);
    Check(table);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, ChainLayout, testing::Values(false, true),
                         [](const auto& of) { return of.param ? "indirect" : "ring"; });

}  // namespace
}  // namespace atoll::virtio
