// virtio-blk drivers that break the rules, and restarts of the service.
#include <gtest/gtest.h>

#include "tests/unit/virtio/block_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio_blk {
namespace {

constexpr uint64_t kDiskBytes = 64 * 1024;
constexpr uint64_t kSectors = kDiskBytes / kSectorBytes;

struct Bench {
  TestDisk disk{kDiskBytes};
  BlockMachine m{disk};
  BlockQueue queue = m.Live();

  bool Works() { return virtio_blk::Works(m, queue, disk); }
  bool NeedsReset() { return (m.DeviceStatus() & virtio::kStatusNeedsReset) != 0; }
  bool Untouched() { return disk.operations == 0; }
  // Submits a chain as it is.
  Outcome Chain(const std::vector<Buffer>& chain, uint64_t status) {
    if (status != 0) m.Put(status, kNoStatus);
    queue.Add(chain);
    queue.Notify();
    EXPECT_TRUE(m.Pump());
    const auto element = queue.PopUsed();
    return {element.has_value(), status != 0 ? m.Get<uint8_t>(status) : kNoStatus,
            element ? element->length : 0};
  }
};

TEST(VirtioBlkHostile, BLK_63_beyond_capacity_or_overflowing) {
  Bench b;
  const uint64_t buffer = b.m.Allocate(4096);
  b.m.Fill(buffer, 4096, 0xaa);
  for (const uint64_t sector : {kSectors, kSectors - 7, kSectors + 1, uint64_t{1} << 32,
                                uint64_t{1} << 54, (uint64_t{1} << 55) - 1, uint64_t{1} << 55,
                                uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    EXPECT_EQ(Read(b.m, b.queue, sector, buffer, 4096), Done(kStatusIoErr, 0)) << sector;
    EXPECT_EQ(Write(b.m, b.queue, sector, buffer, 4096), Done(kStatusIoErr, 1)) << sector;
    for (const uint32_t type : {kDiscard, kWriteZeroes}) {
      EXPECT_EQ(Ranges(b.m, b.queue, type, {{sector, 8, 0}}), Done(kStatusIoErr, 1)) << sector;
      EXPECT_EQ(Ranges(b.m, b.queue, type, {{0, 1, 0}, {sector, 8, 0}}), Done(kStatusIoErr, 1))
          << sector;
    }
  }
  EXPECT_TRUE(b.Untouched());
  EXPECT_EQ(b.m.Get<uint8_t>(buffer), 0xaa);
  EXPECT_TRUE(b.Works());
}

TEST(VirtioBlkHostile, HOSTILE_04_more_than_4_gib_of_reachable_buffers) {
  constexpr uint32_t kSegment = 18 << 20;  // 254 of them, all the same memory
  NullBackend disk(uint64_t{1} << 40, false);
  BlockMachine m(disk, 1, "huge", virtio::kRamBase, 20 << 20);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(kSegment);
  const std::vector<Buffer> data(254, Buffer{buffer, kSegment, true});
  EXPECT_FALSE(
      Submit(m, queue, kIn, 0, data, true).used);  // its used length would not fit in 32 bits
  EXPECT_NE(m.DeviceStatus() & virtio::kStatusNeedsReset, 0u);
}

TEST(VirtioBlkHostile, BLK_64_length_no_multiple_of_512) {
  Bench b;
  const uint64_t buffer = b.m.Allocate(4096);
  for (const uint32_t bytes : {1u, 2u, 511u, 513u, 1023u, 4095u}) {
    EXPECT_EQ(Read(b.m, b.queue, 0, buffer, bytes), Done(kStatusIoErr, 0)) << bytes;
    EXPECT_EQ(Write(b.m, b.queue, 0, buffer, bytes), Done(kStatusIoErr, 1)) << bytes;
  }
  EXPECT_EQ(Submit(b.m, b.queue, kOut, 0, {}), Done(kStatusOk, 1));
  EXPECT_TRUE(b.Untouched());
  EXPECT_TRUE(b.Works());
}

TEST(VirtioBlkHostile, BLK_65_BLK_66_range_arrays) {
  Bench b;
  for (const uint32_t type : {kDiscard, kWriteZeroes}) {
    EXPECT_EQ(Submit(b.m, b.queue, type, 0, {}), Done(kStatusIoErr, 1));
    for (const uint32_t bytes : {1u, 8u, 15u, 17u, 31u}) {
      EXPECT_EQ(Submit(b.m, b.queue, type, 0, {{b.m.Allocate(32), bytes, false}}),
                Done(kStatusIoErr, 1));
    }
    const std::vector<RangeSegment> many(kMaxRanges + 1, RangeSegment{0, 1, 0});
    EXPECT_EQ(Ranges(b.m, b.queue, type, many), Done(kStatusIoErr, 1));
    EXPECT_EQ(Submit(b.m, b.queue, type, 0, {{b.m.Allocate(1 << 20), 1 << 20, false}}),
              Done(kStatusIoErr, 1));
    for (const uint32_t count : {kMaxRangeSectors + 1, 0x8000'0000u, ~0u}) {
      EXPECT_EQ(Ranges(b.m, b.queue, type, {{0, count, 0}}), Done(kStatusIoErr, 1));
    }
    // The array in a device-writable buffer.
    EXPECT_EQ(Submit(b.m, b.queue, type, 0, {{b.m.Allocate(16), 16, true}}), Done(kStatusIoErr, 0));
  }
  EXPECT_TRUE(b.Untouched());
  NullBackend huge(uint64_t{kMaxRangeSectors} * 1024, false);
  BlockMachine m(huge);
  BlockQueue queue = m.Live();
  EXPECT_EQ(Ranges(m, queue, kDiscard, {{0, kMaxRangeSectors + 1, 0}}), Done(kStatusIoErr, 1));
  EXPECT_TRUE(b.Works());
}

TEST(VirtioBlkHostile, BLK_67_short_or_writable_header) {
  Bench b;
  const uint64_t header = b.m.Header(kFlush, 0);
  const uint64_t status = b.m.Allocate(1);
  for (const uint32_t bytes : {1u, 8u, 15u}) {
    EXPECT_EQ(b.Chain({{header, bytes, false}, {status, 1, true}}, status), Done(kStatusIoErr, 1))
        << bytes;
  }
  EXPECT_EQ(b.Chain({{status, 1, true}}, status), Done(kStatusIoErr, 1));
  EXPECT_EQ(b.Chain({{header, 8, false}, {header + 8, 8, true}, {status, 1, true}}, status),
            Done(kStatusIoErr, 0));
  EXPECT_EQ(b.disk.flushes, 0);
  EXPECT_TRUE(b.Works());
  EXPECT_FALSE(b.Chain({{header, 8, false}}, 0).used);
  EXPECT_TRUE(b.NeedsReset());
}

TEST(VirtioBlkHostile, BLK_68_no_writable_byte) {
  Bench b;
  EXPECT_FALSE(
      b.Chain({{b.m.Header(kOut, 0), 16, false}, {b.m.Allocate(512), 512, false}}, 0).used);
  EXPECT_TRUE(b.NeedsReset());
  EXPECT_TRUE(b.Untouched());
  BlockQueue again = b.m.Live();
  EXPECT_TRUE(Works(b.m, again, b.disk));
}

TEST(VirtioBlkHostile, BLK_69_in_with_one_writable_byte) {
  Bench b;
  EXPECT_EQ(Submit(b.m, b.queue, kIn, 0, {}), Done(kStatusOk, 1));
  EXPECT_TRUE(b.Untouched());
}

TEST(VirtioBlkHostile, BLK_70_data_in_the_wrong_direction) {
  Bench b;
  const uint64_t buffer = b.m.Allocate(1024);
  b.m.Fill(buffer, 1024, 0xaa);
  EXPECT_EQ(Submit(b.m, b.queue, kIn, 0, {{buffer, 512, false}}), Done(kStatusIoErr, 1));
  EXPECT_EQ(Submit(b.m, b.queue, kIn, 0, {{buffer, 512, false}, {buffer + 512, 512, true}}),
            Done(kStatusIoErr, 0));
  EXPECT_EQ(Submit(b.m, b.queue, kOut, 0, {{buffer, 512, true}}), Done(kStatusIoErr, 0));
  EXPECT_EQ(Submit(b.m, b.queue, kOut, 0, {{buffer, 512, false}, {buffer + 512, 512, true}}),
            Done(kStatusIoErr, 0));
  EXPECT_TRUE(b.Untouched());
  for (int i = 0; i < 1024; ++i) ASSERT_EQ(b.m.Get<uint8_t>(buffer + i), 0xaa);
}

TEST(VirtioBlkHostile, BLK_72_HOSTILE_06_HOSTILE_05_unmapped_guest_memory) {
  const uint64_t end = virtio::kRamBase + virtio::kRamBytes;
  for (const uint64_t bad :
       {uint64_t{0}, virtio::kRamBase - 1, end - 1, end, ~uint64_t{0} - 100, uint64_t{1} << 40}) {
    {
      Bench b;  // data: an error can be reported
      EXPECT_EQ(Read(b.m, b.queue, 0, bad, 512), Done(kStatusIoErr, 0)) << std::hex << bad;
      EXPECT_EQ(Write(b.m, b.queue, 0, bad, 512), Done(kStatusIoErr, 1)) << std::hex << bad;
      const uint64_t good = b.m.Allocate(512);
      b.m.Fill(good, 512, 0xaa);
      EXPECT_EQ(Submit(b.m, b.queue, kIn, 0, {{good, 512, true}, {bad, 512, true}}),
                Done(kStatusIoErr, 0));
      EXPECT_EQ(b.m.Get<uint8_t>(good), 0xaa);  // nothing is accessed
      const uint64_t status = b.m.Allocate(1);
      EXPECT_EQ(b.Chain({{bad, 16, false}, {status, 1, true}}, status), Done(kStatusIoErr, 1));
      EXPECT_TRUE(b.Untouched());
      EXPECT_TRUE(b.Works());
    }
    Bench b;  // the status itself, the last byte of the buffer: nothing can be reported
    const bool reachable = bad == virtio::kRamBase - 1;
    EXPECT_EQ(b.Chain({{b.m.Header(kFlush, 0), 16, false}, {bad, 2, true}}, 0).used, reachable);
    EXPECT_EQ(b.NeedsReset(), !reachable);
    if (reachable) {
      EXPECT_EQ(b.m.Get<uint8_t>(virtio::kRamBase), kStatusIoErr);
    }
    EXPECT_EQ(b.disk.flushes, 0);
  }
}

TEST(VirtioBlkHostile, BLK_73_HOSTILE_18_request_changes_after_it_was_checked) {
  // The disk stops in the middle of a read of several slices; then everything in guest memory
  // changes.
  TestDisk disk(4 << 20);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t header = m.Header(kIn, 0);
  const uint64_t buffer = m.Allocate(3 << 20);
  const uint64_t status = m.Allocate(1);
  m.Put(status, kNoStatus);
  queue.Add({{header, 16, false}, {buffer, 3 << 20, true}, {status, 1, true}});
  queue.Notify();
  ASSERT_TRUE(m.more_work.pending);
  m.Put(header, RequestHeader{kOut, 0, ~uint64_t{0}});
  m.Fill(queue.descriptors, virtio::DescriptorBytes(256), 0xff);
  ASSERT_TRUE(m.Pump());
  const auto element = queue.PopUsed();
  ASSERT_TRUE(element);
  EXPECT_EQ(element->length, (3u << 20) + 1);
  EXPECT_EQ(m.Get<uint8_t>(status), kStatusOk);
  EXPECT_TRUE(Equal(m, buffer, std::span(disk.content).first(3 << 20)));
}

TEST(VirtioBlkHostile, BLK_74_HOSTILE_27_all_slots_with_maximal_requests) {
  TestDisk disk(1 << 20);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  // Each slot is an indirect read of 254 segments that all go to the same memory.
  const uint64_t buffer = m.Allocate(4096);
  const uint64_t status = m.Allocate(256);
  const uint64_t header = m.Header(kIn, 0);
  std::vector<Buffer> chain = {{header, 16, false}};
  chain.insert(chain.end(), 254, Buffer{buffer, 4096, true});
  for (uint32_t i = 0; i < 256; ++i) {
    chain.push_back({status + i, 1, true});
    m.Put(status + i, kNoStatus);
    queue.AddIndirect(chain);
    chain.pop_back();
  }
  queue.Notify();
  EXPECT_LE(queue.UsedIndex(), 2);  // bounded work for one notification: 1 MiB
  EXPECT_TRUE(m.Pump());
  for (uint32_t i = 0; i < 256; ++i) {
    ASSERT_TRUE(queue.PopUsed());
    ASSERT_EQ(m.Get<uint8_t>(status + i), kStatusOk);
  }
}

TEST(VirtioBlkHostile, BLK_18_HOSTILE_38_configuration_is_not_writable) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  std::vector<uint64_t> before;
  for (uint32_t i = 0; i < 80; ++i) before.push_back(m.Load(virtio::kConfig + i, 1));
  const auto scribble = [&] {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      for (uint32_t i = 0; i < 80; ++i) {
        m.Store(virtio::kConfig + i, size, 0);
        m.Store(virtio::kConfig + i, size, ~uint64_t{0});
      }
    }
    for (uint32_t i = 0; i < 80; ++i) ASSERT_EQ(m.Load(virtio::kConfig + i, 1), before[i]) << i;
  };
  scribble();
  BlockQueue queue = m.Live();
  scribble();  // writeback, at offset 32, among them: CONFIG_WCE is not offered
  EXPECT_TRUE(Works(m, queue, disk));
  m.Write(virtio::kStatus, 0);
  scribble();
}

TEST(VirtioBlkHostile, BLK_76_image_is_never_left) {
  // TestDisk throws when asked for anything beyond its end; the header says any sector.
  Bench b;
  const uint64_t buffer = b.m.Allocate(2048);
  uint64_t sector = 1;
  for (int i = 0; i < 20000; ++i) {
    sector = sector * 6364136223846793005u + 1442695040888963407u;
    const uint64_t asked = sector >> (i % 64);
    const auto outcome = Read(b.m, b.queue, asked, buffer, 2048);
    ASSERT_EQ(outcome.status == kStatusOk, asked <= kSectors - 4) << asked;
  }
}

TEST(VirtioBlkRestart, BLK_62_CORE_20_CORE_21_HOSTILE_35_reset_with_requests_in_flight) {
  for (int slices = 0; slices < 3; ++slices) {
    TestDisk disk(4 << 20);
    BlockMachine m(disk);
    BlockQueue queue = m.Live();
    const uint64_t buffer = m.Allocate(3 << 20);
    const uint64_t status = m.Allocate(1);
    m.Fill(buffer, 3 << 20, 0xbb);
    m.Put(status, kNoStatus);
    queue.Add({{m.Header(kOut, 1), 16, false}, {buffer, 3 << 20, false}, {status, 1, true}});
    queue.Notify();
    for (int i = 0; i < slices; ++i) m.device().OnSignals(virtio::kMoreWorkSignal);
    const bool finished = queue.UsedIndex() == 1;
    m.Write(virtio::kStatus, 0);
    const std::vector<std::byte> content = disk.content;
    EXPECT_TRUE(m.Pump());
    m.Doorbell(0);
    EXPECT_EQ(m.DeviceStatus(), 0u);
    EXPECT_EQ(m.Get<uint8_t>(status), finished ? uint8_t{kStatusOk} : kNoStatus);
    EXPECT_EQ(disk.content, content);
    EXPECT_EQ(disk.content[0], TestDisk::PatternAt(0));  // only in its own range
    BlockQueue again = m.Live();
    EXPECT_TRUE(Works(m, again, disk));
  }
}

// Small, as MemoryStates keeps a copy of everything for each store.
constexpr uint64_t kSmallRam = 1 << 14;
constexpr uint64_t kSmallDisk = 8 * 512;

TEST(VirtioBlkRestart, BLK_55_BLK_56_BLK_59_BLK_60_death_anywhere_in_overlapping_writes) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  virtio::AlignedBytes content(kSmallDisk);
  MemoryBackend disk(content.span(), false);
  BlockMachine m(disk, 1, "disk0", virtio::kRamBase, kSmallRam);
  BlockQueue queue = m.Live(kBlockFeatures, 16);
  const uint64_t a = m.Allocate(1024);
  const uint64_t b = m.Allocate(1024);
  const uint64_t back = m.Allocate(2048);
  const uint64_t status = m.Allocate(4);
  m.Fill(a, 1024, 0xa1);
  m.Fill(b, 1024, 0xb2);
  m.Fill(status, 4, kNoStatus);
  queue.Add({{m.Header(kOut, 1), 16, false}, {a, 1024, false}, {status, 1, true}});  // sectors 1, 2
  queue.Add(
      {{m.Header(kOut, 2), 16, false}, {b, 1024, false}, {status + 1, 1, true}});  // sectors 2, 3
  queue.Add({{m.Header(kIn, 1), 16, false}, {back, 2048, true}, {status + 2, 1, true}});
  std::vector<std::span<std::byte>> watched = JournalInUse(m, 4);
  watched.push_back(m.ram());
  watched.push_back(content.span());
  MemoryStates states(watched);
  ASSERT_TRUE(states.Run([&m] { m.Doorbell(0); }));
  ASSERT_GT(states.size(), 100u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    queue.last_used = 0;
    const uint16_t seen = queue.UsedIndex();
    if (seen >= 1) m.Fill(a, 1024, 0xee);  // the driver's again: no replay may read it
    if (seen >= 2) m.Fill(b, 1024, 0xee);
    if (seen >= 3) m.Fill(back, 2048, 0xee);
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
    ASSERT_TRUE(m.Pump());
    EXPECT_EQ(m.Load(virtio::kConfig, 8), kSmallDisk / 512);
    EXPECT_EQ(m.DeviceStatus(), virtio::kLive);
    ASSERT_EQ(queue.UsedIndex(), 3);
    for (const uint32_t length : {1u, 1u, 2049u}) {
      const auto element = queue.PopUsed();
      ASSERT_TRUE(element);
      ASSERT_EQ(element->length, length);
    }
    for (int i = 0; i < 3; ++i) ASSERT_EQ(m.Get<uint8_t>(status + i), kStatusOk);
    const auto sector = [&content](uint64_t index) { return content.span()[index * 512 + 100]; };
    ASSERT_EQ(sector(0), std::byte{0});
    ASSERT_EQ(sector(1), std::byte{0xa1});
    ASSERT_EQ(sector(2), std::byte{0xb2});  // never the earlier write's again
    ASSERT_EQ(sector(3), std::byte{0xb2});
    ASSERT_EQ(sector(4), std::byte{0});
    ASSERT_EQ(m.Get<uint8_t>(back), seen >= 3 ? 0xee : 0xa1);
    ASSERT_EQ(m.Get<uint8_t>(back + 1023), seen >= 3 ? 0xee : 0xb2);
    ASSERT_TRUE(m.line.high);
  }
}

TEST(VirtioBlkRestart, BLK_55_large_request_goes_on_where_it_stopped) {
  TestDisk disk(4 << 20);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(4 << 20);
  const uint64_t status = m.Allocate(1);
  queue.Add({{m.Header(kIn, 0), 16, false}, {buffer, 4 << 20, true}, {status, 1, true}});
  queue.Notify();
  m.Fill(queue.descriptors, virtio::DescriptorBytes(256), 0xff);  // parsed once
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(queue.PopUsed()) << i;
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  }
  EXPECT_TRUE(m.Pump());
  ASSERT_TRUE(queue.PopUsed());
  EXPECT_EQ(disk.operations, 4);  // one for each slice: none was done twice
  EXPECT_TRUE(Equal(m, buffer, disk.content));
}

TEST(VirtioBlkRestart, BLK_57_flush_in_flight_is_executed_again) {
  TestDisk disk(kDiskBytes);
  BlockMachine m(disk);
  BlockQueue queue = m.Live();
  ASSERT_EQ(Write(m, queue, 1, m.Allocate(512), 512), Done(kStatusOk, 1));
  const uint64_t status = m.Allocate(1);
  // An instance that died between accepting the flush and executing it.
  queue.Add({{m.Header(kFlush, 0), 16, false}, {status, 1, true}});
  auto& record = m.journal().device.requests[0];
  virtio::SplitQueue other;
  other.Initialize(m.journal().queues[0], m.memory(), kQueueSize);
  ASSERT_EQ(other.Attach(), virtio::SplitQueue::Attached::kGood);
  ASSERT_EQ(other.Fetch(record.held.chain), virtio::SplitQueue::Fetched::kChain);
  ASSERT_TRUE(ParseRequest(other.chain(record.held.chain), {kDiskBytes / 512, false},
                           kBlockFeatures, record));
  other.Hold(record.held, 0, record.extra());
  ASSERT_NE(disk.durable, disk.content);
  ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
  EXPECT_TRUE(queue.PopUsed());
  EXPECT_EQ(disk.durable, disk.content);
  EXPECT_EQ(disk.flushes, 1);
}

TEST(VirtioBlkRestart, corrupt_request_in_the_journal_is_taken_from_the_ring_again) {
  for (const auto& corrupt : std::initializer_list<void (*)(RequestRecord&)>{
           [](RequestRecord& r) { r.range_count = kMaxRanges + 1; },
           [](RequestRecord& r) { r.Fail(static_cast<RequestStatus>(3)); },
           [](RequestRecord& r) { r.type = kOut; },
           [](RequestRecord& r) { r.held.chain.segments[1].address += 4096; },
           [](RequestRecord& r) { r.held.state = 0; },
           [](RequestRecord& r) { r.ranges[0].offset = ~uint64_t{0}; },
           [](RequestRecord& r) { r.ranges[0].bytes = ~uint64_t{0}; },
           [](RequestRecord& r) { r.progress = ~uint64_t{0}; }}) {
    TestDisk disk(4 << 20);
    BlockMachine m(disk);
    BlockQueue queue = m.Live();
    const uint64_t status = m.Allocate(1);
    queue.Add(
        {{m.Header(kIn, 0), 16, false}, {m.Allocate(2 << 20), 2 << 20, true}, {status, 1, true}});
    queue.Notify();
    ASSERT_TRUE(m.more_work.pending);
    corrupt(m.journal().device.requests[0]);
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kRepaired);
    EXPECT_TRUE(m.Pump());
    EXPECT_EQ(m.DeviceStatus(), virtio::kLive);
    EXPECT_TRUE(queue.PopUsed());
    EXPECT_FALSE(queue.PopUsed());
    EXPECT_EQ(m.Get<uint8_t>(status), kStatusOk);
    BlockQueue again = m.Live();
    EXPECT_TRUE(Works(m, again, disk));
  }
}

}  // namespace
}  // namespace atoll::virtio_blk
