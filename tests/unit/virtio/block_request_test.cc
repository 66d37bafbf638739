// virtio-blk: identity, configuration, requests (VIRTIO 1.2, 5.2).
#include <gtest/gtest.h>

#include "tests/unit/virtio/block_machine.h"

namespace atoll::virtio_blk {
namespace {

using virtio::kConfig;
using virtio::kFeatureEventIdx;
using virtio::kFeatureIndirectDesc;
using virtio::kFeatureVersion1;

constexpr uint64_t kDiskBytes = 64 * 1024;
constexpr uint64_t kSectors = kDiskBytes / kSectorBytes;

uint64_t Offered(BlockMachine& m) {
  m.Write(virtio::kDeviceFeaturesSel, 1);
  const uint64_t high = m.Read(virtio::kDeviceFeatures);
  m.Write(virtio::kDeviceFeaturesSel, 0);
  return high << 32 | m.Read(virtio::kDeviceFeatures);
}

TEST(VirtioBlk, BLK_01_device_id_and_queues) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  EXPECT_EQ(m.Read(virtio::kDeviceId), 2u);
  EXPECT_EQ(m.Read(virtio::kQueueNumMax), kQueueSize);
  m.Write(virtio::kQueueSel, 1);
  EXPECT_EQ(m.Read(virtio::kQueueNumMax), 0u);
}

TEST(VirtioBlk, BLK_02_BLK_25_capacity_in_whole_sectors) {
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{511}, uint64_t{512}, uint64_t{1025}, uint64_t{1} << 41}) {
    NullBackend disk(bytes, false);
    BlockMachine m(disk);
    EXPECT_EQ(m.Load(kConfig, 4) | m.Load(kConfig + 4, 4) << 32, bytes / 512);
    EXPECT_EQ(m.Load(kConfig, 8), bytes / 512);
    m.Live(kFeatureVersion1);
    EXPECT_EQ(m.Load(kConfig, 8), bytes / 512);
  }
  TestDisk odd(1025);
  BlockMachine m(odd);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(1024);
  EXPECT_EQ(Read(m, queue, 1, buffer, 512), Done(kStatusOk, 513));
  EXPECT_EQ(Read(m, queue, 2, buffer, 512), Done(kStatusIoErr, 0));
}

TEST(VirtioBlk, BLK_03_BLK_04_BLK_05_BLK_06_BLK_07_BLK_08_BLK_20_BLK_21_config_layout) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  struct Field {
    uint32_t offset, size, value;
  };
  for (const auto& [offset, size, value] : std::initializer_list<Field>{{8, 4, 0},
                                                                        {12, 4, 254},
                                                                        {16, 2, 0},
                                                                        {18, 1, 0},
                                                                        {19, 1, 0},
                                                                        {20, 4, 512},
                                                                        {24, 1, 0},
                                                                        {25, 1, 0},
                                                                        {26, 2, 0},
                                                                        {28, 4, 0},
                                                                        {32, 1, 1},
                                                                        {33, 1, 0},
                                                                        {34, 2, 1},
                                                                        {36, 4, kMaxRangeSectors},
                                                                        {40, 4, kMaxRanges},
                                                                        {44, 4, 1},
                                                                        {48, 4, kMaxRangeSectors},
                                                                        {52, 4, kMaxRanges},
                                                                        {56, 1, 0},
                                                                        {57, 1, 0},
                                                                        {58, 1, 0},
                                                                        {59, 1, 0},
                                                                        {60, 4, 0},
                                                                        {64, 4, 0},
                                                                        {68, 4, 0}}) {
    EXPECT_EQ(m.Load(kConfig + offset, size), value) << offset;
  }
  static_assert(kMaxRangeSectors > 0 && kMaxRanges > 0);
}

TEST(VirtioBlk, BLK_13_BLK_14_BLK_22_BLK_23_CORE_12_CORE_13_features_offered) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  EXPECT_EQ(Offered(m), kBlockFeatures);  // so none of BARRIER, SCSI, LIFETIME, ZONED, CONFIG_WCE
  disk.is_read_only = true;
  BlockMachine read_only(disk);
  EXPECT_EQ(Offered(read_only), kBlockFeatures | kFeatureRo);
}

TEST(VirtioBlk, CORE_14_CORE_17_each_feature_alone_off) {
  for (uint64_t off = 1; off != 0; off <<= 1) {
    if ((kBlockFeatures & off) == 0 || off == kFeatureVersion1) continue;
    for (const uint64_t features : {kBlockFeatures & ~off, kFeatureVersion1 | off}) {
      TestDisk disk(kDiskBytes);
      BlockMachine m(disk);
      BlockQueue queue = m.Live(features);
      ASSERT_EQ(m.DeviceStatus(), virtio::kLive);
      ASSERT_TRUE(Works(m, queue, disk)) << std::hex << features;
    }
  }
}

TEST(VirtioBlk, BLK_09_BLK_10_request_of_seg_max_segments) {
  TestDisk disk(254 * 512);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const auto seg_max = static_cast<uint32_t>(m.Load(kConfig + 12, 4));
  ASSERT_LE(seg_max, kQueueSize - 2);
  const uint64_t buffer = m.Allocate(seg_max * 512);
  std::vector<Buffer> data;
  for (uint32_t i = 0; i < seg_max; ++i) data.push_back({buffer + 512 * i, 512, true});
  for (const bool indirect : {false, true}) {
    m.Fill(buffer, seg_max * 512, 0);
    EXPECT_EQ(Submit(m, queue, kIn, 0, data, indirect), Done(kStatusOk, seg_max * 512 + 1));
    EXPECT_TRUE(Equal(m, buffer, disk.content));
  }
}

TEST(VirtioBlk, BLK_10_one_segment_of_many_mib) {
  TestDisk disk(5 << 20);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(5 << 20);
  EXPECT_EQ(Read(m, queue, 0, buffer, 5 << 20), Done(kStatusOk, (5 << 20) + 1));
  EXPECT_TRUE(Equal(m, buffer, disk.content));
  m.Fill(buffer, 5 << 20, 0x5a);
  EXPECT_EQ(Write(m, queue, 0, buffer, 5 << 20), Done(kStatusOk, 1));
  EXPECT_EQ(std::ranges::count(disk.content, std::byte{0x5a}), 5 << 20);
}

TEST(VirtioBlk, BLK_12_512_byte_requests) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  for (uint64_t sector = 0; sector < kSectors; ++sector) {
    ASSERT_EQ(Read(m, queue, sector, buffer, 512), Done(kStatusOk, 513));
    ASSERT_TRUE(Equal(m, buffer, std::span(disk.content).subspan(sector * 512, 512)));
  }
}

TEST(VirtioBlk, BLK_26_SPLIT_10_framing_at_any_byte) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t out = m.Allocate(16 + 512);  // header and data of a write, in one piece
  const uint64_t in = m.Allocate(512 + 1);    // data and status of a read
  const std::vector<std::byte> original = disk.content;
  for (const uint32_t piece : {1u, 3u, 5u, 15u, 16u, 17u, 100u, 511u, 512u, 513u, 528u}) {
    const auto cut = [piece](uint64_t start, uint32_t bytes, bool writable) {
      std::vector<Buffer> buffers;
      for (uint32_t at = 0; at < bytes; at += piece) {
        buffers.push_back({start + at, std::min(piece, bytes - at), writable});
      }
      return buffers;
    };
    const auto run = [&](std::vector<Buffer> a, const std::vector<Buffer>& b) {
      a.insert(a.end(), b.begin(), b.end());
      if (a.size() > kQueueSize) return std::optional<virtio::UsedElement>(virtio::UsedElement{});
      queue.Add(a);
      queue.Notify();
      return queue.PopUsed();
    };
    m.Put(out, RequestHeader{kIn, 0, 7});
    m.Fill(in, 513, 0xaa);
    if (513 / piece + 16 / piece < 250) {
      const auto element = run(cut(out, 16, false), cut(in, 513, true));
      ASSERT_TRUE(element) << piece;
      EXPECT_EQ(element->length, 513u);
      EXPECT_TRUE(Equal(m, in, std::span(original).subspan(7 * 512, 512))) << piece;
      EXPECT_EQ(m.Get<uint8_t>(in + 512), kStatusOk);
    }
    m.Put(out, RequestHeader{kOut, 0, 9});
    m.Fill(out + 16, 512, static_cast<uint8_t>(piece));
    m.Put(in, kNoStatus);
    if (528 / piece < 250) {
      const auto element = run(cut(out, 528, false), cut(in, 1, true));
      ASSERT_TRUE(element) << piece;
      EXPECT_EQ(element->length, 1u);
      EXPECT_EQ(m.Get<uint8_t>(in), kStatusOk);
      EXPECT_EQ(disk.content[9 * 512], static_cast<std::byte>(piece));
      EXPECT_EQ(disk.content[9 * 512 + 511], static_cast<std::byte>(piece));
    }
  }
  EXPECT_EQ(disk.content[10 * 512], original[10 * 512]);
}

TEST(VirtioBlk, BLK_27_reads_from_sector) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(8192);
  EXPECT_EQ(Read(m, queue, 5, buffer, 4096), Done(kStatusOk, 4097));
  EXPECT_TRUE(Equal(m, buffer, std::span(disk.content).subspan(5 * 512, 4096)));
  EXPECT_EQ(m.Get<uint8_t>(buffer + 4096), 0u);
  EXPECT_EQ(Read(m, queue, kSectors - 1, buffer, 512), Done(kStatusOk, 513));
}

TEST(VirtioBlk, BLK_28_writes_to_sector) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(1024);
  m.Fill(buffer, 1024, 0xc3);
  const std::vector<std::byte> before = disk.content;
  EXPECT_EQ(Write(m, queue, 11, buffer, 1024), Done(kStatusOk, 1));
  for (uint64_t i = 0; i < kDiskBytes; ++i) {
    const bool inside = i >= 11 * 512 && i < 13 * 512;
    ASSERT_EQ(disk.content[i], inside ? std::byte{0xc3} : before[i]) << i;
  }
}

TEST(VirtioBlk, BLK_29_flush_ignores_sector_and_data) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  EXPECT_EQ(Submit(m, queue, kFlush, ~uint64_t{0}, {}), Done(kStatusOk, 1));
  EXPECT_EQ(Submit(m, queue, kFlush, 0, {{m.Allocate(100), 100, false}}), Done(kStatusOk, 1));
  EXPECT_EQ(disk.flushes, 2);
}

TEST(VirtioBlk, BLK_30_BLK_71_get_id) {
  TestDisk disk(kDiskBytes);
  for (const std::string& id :
       {std::string(""), std::string("disk0"), std::string(20, 'x'), std::string(25, 'y')}) {
    BlockMachine m(disk, 1, id);
    BlockQueue queue = m.Live();
    std::string expected = id.substr(0, 20);
    expected.resize(20);
    for (const uint32_t room : {1u, 5u, 19u, 20u, 21u, 64u}) {
      const uint64_t buffer = m.Allocate(room);
      m.Fill(buffer, room, 0xaa);
      const uint32_t filled = std::min(room, 20u);
      // Counted from the first writable byte; the status byte lies beyond what is left untouched.
      EXPECT_EQ(Submit(m, queue, kGetId, 0, {{buffer, room, true}}),
                Done(kStatusOk, room <= 20 ? room + 1 : 20));
      EXPECT_EQ(std::memcmp(m.At(buffer, room), expected.data(), filled), 0) << room;
      if (room > 20) {
        EXPECT_EQ(m.Get<uint8_t>(buffer + 20), 0xaa);
      }
    }
  }
}

TEST(VirtioBlk, BLK_31_BLK_33_unknown_types) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  m.Fill(buffer, 512, 0xaa);
  // 2, 3: SCSI; 10 GET_LIFETIME, 14 SECURE_ERASE; 15..26: zones.
  for (const uint32_t type : {2u, 3u, 5u, 6u, 7u, 9u, 10u, 12u, 14u, 15u, 16u, 18u, 20u, 22u, 24u,
                              26u, 0x8000'0000u, ~0u}) {
    EXPECT_EQ(Submit(m, queue, type, 0, {{buffer, 512, true}}), Done(kStatusUnsupp, 0)) << type;
    EXPECT_EQ(m.Get<uint8_t>(buffer), 0xaa);
    EXPECT_EQ(Submit(m, queue, type, 0, {{buffer, 512, false}}), Done(kStatusUnsupp, 1)) << type;
  }
  EXPECT_EQ(disk.operations, 0);
}

TEST(VirtioBlk, BLK_32_CORE_17_types_that_were_not_negotiated) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live(kFeatureVersion1);
  EXPECT_EQ(Flush(m, queue), Done(kStatusUnsupp, 1));
  EXPECT_EQ(Ranges(m, queue, kDiscard, {{0, 1, 0}}), Done(kStatusUnsupp, 1));
  EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{0, 1, 0}}), Done(kStatusUnsupp, 1));
  EXPECT_EQ(disk.operations + disk.flushes, 0);
}

TEST(VirtioBlk, BLK_34_BLK_35_read_only_disk) {
  for (const uint64_t features : {kBlockFeatures, kBlockFeatures | kFeatureRo}) {
    TestDisk disk(kDiskBytes);
    disk.is_read_only = true;
    BlockMachine m(disk);
    BlockQueue queue = m.Live(features);
    EXPECT_EQ(Write(m, queue, 0, m.Allocate(512), 512), Done(kStatusIoErr, 1));
    EXPECT_EQ(Ranges(m, queue, kDiscard, {{0, 1, 0}}), Done(kStatusIoErr, 1));
    EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{0, 1, 0}}), Done(kStatusIoErr, 1));
    EXPECT_EQ(disk.operations, 0);
    EXPECT_TRUE(Works(m, queue, disk));
  }
}

TEST(VirtioBlk, BLK_36_BLK_38_backend_errors) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  disk.bad_offset = 20 * 512;
  const uint64_t buffer = m.Allocate(4096);
  m.Fill(buffer, 4096, 0xaa);
  EXPECT_EQ(Read(m, queue, 20, buffer, 512), Done(kStatusIoErr, 0));
  EXPECT_EQ(m.Get<uint8_t>(buffer), 0xaa);  // nothing of the service's memory in it
  EXPECT_EQ(Write(m, queue, 19, buffer, 1024), Done(kStatusIoErr, 1));
  EXPECT_EQ(Ranges(m, queue, kDiscard, {{20, 1, 0}}), Done(kStatusIoErr, 1));
  EXPECT_EQ(Ranges(m, queue, kWriteZeroes, {{1, 1, 0}, {20, 1, 0}}), Done(kStatusIoErr, 1));
  disk.bad_offset.reset();
  EXPECT_EQ(Read(m, queue, 20, buffer, 512), Done(kStatusOk, 513));
  EXPECT_TRUE(Works(m, queue, disk));
}

TEST(VirtioBlk, BLK_37_status_after_data) {
  // Status and the last data byte at the same place: what was written last stands.
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  queue.Add({{m.Header(kIn, 1), 16, false}, {buffer, 512, true}, {buffer + 100, 1, true}});
  queue.Notify();
  ASSERT_TRUE(queue.PopUsed());
  EXPECT_EQ(m.Get<uint8_t>(buffer + 100), kStatusOk);
  EXPECT_NE(disk.content[512 + 100], std::byte{kStatusOk});
}

TEST(VirtioBlk, BLK_39_overlapping_requests_are_each_whole) {
  constexpr uint32_t kMiB = 1 << 20;
  static_assert(kPassBytes == kMiB);
  TestDisk disk(4 * kMiB);
  BlockMachine m(disk, 2);
  ASSERT_TRUE(virtio::Negotiate(m, kBlockFeatures | kFeatureMq));
  BlockQueue first(m, 0, 16);
  BlockQueue second(m, 1, 16);
  first.SetUp();
  second.SetUp();
  m.Write(virtio::kStatus, virtio::kLive);
  const uint64_t a = m.Allocate(3 * kMiB);
  const uint64_t b = m.Allocate(2 * kMiB);
  const uint64_t status = m.Allocate(2);
  m.Fill(a, 3 * kMiB, 1);
  m.Fill(b, 2 * kMiB, 2);
  first.Add({{m.Header(kOut, 0), 16, false}, {a, 3 * kMiB, false}, {status, 1, true}});
  second.Add(
      {{m.Header(kOut, kMiB / 2 / 512), 16, false}, {b, 2 * kMiB, false}, {status + 1, 1, true}});
  first.Notify();  // executed in slices ...
  EXPECT_FALSE(first.PopUsed());
  second.Notify();  // ... and the other one waits
  EXPECT_TRUE(m.Pump());
  EXPECT_TRUE(first.PopUsed());
  EXPECT_TRUE(second.PopUsed());
  const auto overlap = std::span(disk.content).subspan(kMiB / 2, 2 * kMiB);
  EXPECT_EQ(std::ranges::count(overlap, overlap[0]), 2 * kMiB);  // one of them as a whole
  EXPECT_EQ(disk.content[0], std::byte{1});
  EXPECT_EQ(disk.content[3 * kMiB - 1], std::byte{1});
}

TEST(VirtioBlk, BLK_19_BLK_01_multiqueue) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk, 3);
  EXPECT_EQ(Offered(m), kBlockFeatures | kFeatureMq);
  EXPECT_EQ(m.Load(kConfig + 34, 2), 3u);
  ASSERT_TRUE(virtio::Negotiate(m, kBlockFeatures | kFeatureMq));
  std::vector<std::unique_ptr<BlockQueue>> queues;
  for (uint32_t i = 0; i < 3; ++i) {
    queues.push_back(std::make_unique<BlockQueue>(m, i, 16));
    queues.back()->SetUp();
  }
  m.Write(virtio::kStatus, virtio::kLive);
  for (int round = 0; round < 20; ++round) {
    for (auto& queue : queues) ASSERT_TRUE(Works(m, *queue, disk));
  }
  // Not negotiated: queue 0 alone.
  ASSERT_TRUE(virtio::Negotiate(m, kBlockFeatures));
  BlockQueue other(m, 1, 16);
  other.SetUp();
  m.Write(virtio::kStatus, virtio::kLive);
  EXPECT_FALSE(Read(m, other, 0, m.Allocate(512), 512).used);
}

}  // namespace
}  // namespace atoll::virtio_blk
