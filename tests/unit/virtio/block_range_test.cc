// virtio-blk: discard, write zeroes, durability, backends (VIRTIO 1.2, 5.2.6).
#include <gtest/gtest.h>

#include "tests/unit/virtio/block_machine.h"

namespace atoll::virtio_blk {
namespace {

constexpr uint64_t kDiskBytes = 64 * 1024;

TEST(VirtioBlk, BLK_40_discard_flags) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  for (const uint32_t flags : {1u, 2u, 3u, 0x8000'0000u, ~0u}) {
    EXPECT_EQ(Ranges(m, queue, kDiscard, {{0, 1, flags}}), Done(kStatusUnsupp, 1));
    EXPECT_EQ(Ranges(m, queue, kDiscard, {{0, 1, 0}, {1, 1, flags}}), Done(kStatusUnsupp, 1));
  }
  EXPECT_EQ(disk.operations, 0);
}

TEST(VirtioBlk, BLK_41_BLK_42_write_zeroes_flags) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  for (const uint32_t flags : {2u, 3u, 0x8000'0000u, ~0u}) {
    EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{0, 1, flags}}), Done(kStatusUnsupp, 1));
  }
  EXPECT_EQ(Ranges(m, queue, kSecureErase, {{0, 1, 2}}), Done(kStatusUnsupp, 1));
  EXPECT_EQ(disk.operations, 0);
}

TEST(VirtioBlk, BLK_43_BLK_44_BLK_45_BLK_46_ranges_take_effect_and_nothing_else) {
  for (const uint32_t type : {kDiscard, kWriteZeroes}) {
    for (const uint32_t flags : {0u, kFlagUnmap}) {
      if (type == kDiscard && flags != 0) continue;
      TestDisk disk(kDiskBytes);
      BlockMachine m(disk);
      BlockQueue queue = m.Live();
      std::vector<RangeSegment> segments;  // as many as allowed, one of them empty
      for (uint32_t i = 0; i < kMaxRanges; ++i)
        segments.push_back({4 * i, i == 3 ? 0 : 1 + i % 3, flags});
      EXPECT_EQ(Ranges(m, queue, type, segments), Done(kStatusOk, 1));
      for (uint64_t i = 0; i < kDiskBytes; ++i) {
        bool zeroed = false;
        for (const RangeSegment& s : segments) {
          zeroed |= i / 512 >= s.sector && i / 512 < s.sector + s.num_sectors;
        }
        ASSERT_EQ(disk.content[i], zeroed ? std::byte{0} : TestDisk::PatternAt(i)) << i;
      }
    }
  }
}

TEST(VirtioBlk, BLK_46_largest_range) {
  NullBackend disk(uint64_t{kMaxRangeSectors} * 512 * 2, false);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const std::vector<RangeSegment> all(kMaxRanges,
                                      RangeSegment{kMaxRangeSectors, kMaxRangeSectors, 0});
  EXPECT_EQ(Ranges(m, queue, kDiscard, all), Done(kStatusOk, 1));
  EXPECT_EQ(Ranges(m, queue, kWriteZeroes, all), Done(kStatusOk, 1));
}

TEST(VirtioBlk, BLK_48_BLK_52_write_through_when_flush_was_not_accepted) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live(kBlockFeatures & ~kFeatureFlush);
  const uint64_t buffer = m.Allocate(512);
  EXPECT_EQ(Write(m, queue, 1, buffer, 512), Done(kStatusOk, 1));
  EXPECT_EQ(disk.durable, disk.content);
  EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{4, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_EQ(disk.durable, disk.content);
  EXPECT_EQ(Ranges(m, queue, kDiscard, {{8, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_EQ(disk.durable, disk.content);
  disk.fail_flush = true;
  EXPECT_EQ(Write(m, queue, 1, buffer, 512), Done(kStatusIoErr, 1));
}

TEST(VirtioBlk, BLK_50_BLK_52_BLK_15_flush_makes_what_completed_durable) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk, 2);
  ASSERT_TRUE(virtio::Negotiate(m, kBlockFeatures | kFeatureMq));
  BlockQueue first(m, 0, 16);
  BlockQueue second(m, 1, 16);
  first.SetUp();
  second.SetUp();
  m.Write(virtio::kStatus, virtio::kLive);
  EXPECT_EQ(Write(m, first, 1, m.Allocate(512), 512), Done(kStatusOk, 1));
  EXPECT_EQ(Ranges(m, first, kWriteZeroes, {{4, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_EQ(Ranges(m, first, kDiscard, {{9, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_NE(disk.durable, disk.content);  // write-back, as negotiated
  EXPECT_EQ(Flush(m, second), Done(kStatusOk, 1));
  EXPECT_EQ(disk.durable, disk.content);
}

TEST(VirtioBlk, BLK_53_failed_flush_is_not_forgotten) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  EXPECT_EQ(Write(m, queue, 1, m.Allocate(512), 512), Done(kStatusOk, 1));
  disk.fail_flush = true;
  EXPECT_EQ(Flush(m, queue), Done(kStatusIoErr, 1));
  disk.fail_flush = false;  // the disk may have dropped what it could not write
  EXPECT_EQ(Flush(m, queue), Done(kStatusIoErr, 1));
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  EXPECT_EQ(Flush(m, queue), Done(kStatusIoErr, 1));
  EXPECT_TRUE(Works(m, queue, disk));
}

TEST(VirtioBlk, memory_backend_reads_and_writes_its_memory) {
  virtio::AlignedBytes memory(kDiskBytes);
  MemoryBackend disk(memory.span(), false);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(1024);
  m.Fill(buffer, 1024, 0x42);
  EXPECT_EQ(Write(m, queue, 2, buffer, 1024), Done(kStatusOk, 1));
  EXPECT_EQ(memory.span()[1023], std::byte{0});
  EXPECT_EQ(memory.span()[1024], std::byte{0x42});
  EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{2, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_EQ(Read(m, queue, 2, buffer, 1024), Done(kStatusOk, 1025));
  EXPECT_EQ(m.Get<uint8_t>(buffer), 0u);
  EXPECT_EQ(m.Get<uint8_t>(buffer + 512), 0x42);
  EXPECT_EQ(Ranges(m, queue, kDiscard, {{3, 1, 0}}), Done(kStatusOk, 1));
  EXPECT_EQ(memory.span()[3 * 512], std::byte{0});
  EXPECT_EQ(Flush(m, queue), Done(kStatusOk, 1));
}

TEST(VirtioBlk, null_backend_touches_no_data) {
  NullBackend disk(kDiskBytes, false);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  m.Fill(buffer, 512, 0x42);
  EXPECT_EQ(Write(m, queue, 2, buffer, 512), Done(kStatusOk, 1));
  EXPECT_EQ(Flush(m, queue), Done(kStatusOk, 1));
  EXPECT_EQ(Read(m, queue, 2, buffer, 512), Done(kStatusOk, 513));
  EXPECT_EQ(m.Get<uint8_t>(buffer), 0x42);
  EXPECT_EQ(m.Get<uint8_t>(buffer + 511), 0x42);
}

}  // namespace
}  // namespace atoll::virtio_blk
