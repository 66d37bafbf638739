// Requests of virtual disks on the machine's disk: what clients ask for, well or badly.
#include "services/blk-driver/block_driver.h"

#include <gtest/gtest.h>

#include "tests/unit/drivers/block_machine.h"

namespace atoll::blk_driver {
namespace {

constexpr auto kOk = RequestStatus::kOk;
constexpr auto kIoError = RequestStatus::kIoError;
constexpr auto kUnsupported = RequestStatus::kUnsupported;

TEST(BlockDriver, a_client_learns_what_its_disk_is) {
  BlockMachine m({{.first_sector = 0, .sectors = 100},
                  {.first_sector = 100, .sectors = 0},
                  {.first_sector = 0, .sectors = 50, .flags = block::kReadOnly}});
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kNotReady);
  m.Boot(3);
  const auto disk = m.clients[0]->ring.disk();
  EXPECT_EQ(disk.state, DiskState::kReady);
  EXPECT_EQ(disk.sectors, 100u);
  EXPECT_EQ(disk.flags, block::kFlush | block::kDiscard | block::kWriteZeroes);
  EXPECT_EQ(disk.generation, 3u);
  EXPECT_EQ(m.clients[1]->ring.disk().sectors, kDiskSectors - 100);
  EXPECT_NE(m.clients[2]->ring.disk().flags & block::kReadOnly, 0u);
  EXPECT_EQ(m.clients[0]->signalled.count, 1);
  EXPECT_TRUE(m.log.lines.empty());
}

TEST(BlockDriver, data_goes_between_the_disk_and_the_memory_of_the_right_guest) {
  BlockMachine m;
  m.Boot();
  EXPECT_TRUE(m.Works(0));
  EXPECT_TRUE(m.Works(1));
  std::memset(m.Guest(1, 0), 0x5a, 1024);
  EXPECT_EQ(m.Do(1, Operation::kOut, 7, 2, {{kGuestBase, 1024}}), kOk);
  EXPECT_EQ(m.device.content[(1024 + 7) * 512], std::byte{0x5a});
  EXPECT_EQ(m.device.content[(1024 + 9) * 512 - 1], std::byte{0x5a});
  EXPECT_EQ(m.device.content[(1024 + 9) * 512], FakeDisk::PatternAt((1024 + 9) * 512));
  EXPECT_EQ(m.device.content[7 * 512], FakeDisk::PatternAt(7 * 512));
  EXPECT_EQ(m.device.malformed, 0);
  EXPECT_EQ(m.device.bad_addresses, 0);
}

TEST(BlockDriver, neighbouring_segments_become_one_buffer) {
  BlockMachine m;
  m.Boot();
  m.device.longest = 0;
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 8,
                 {{kGuestBase, 100}, {kGuestBase + 100, 1948}, {kGuestBase + 2048, 2048}}),
            kOk);
  EXPECT_EQ(m.device.longest, 1u);
  EXPECT_EQ(std::memcmp(m.Guest(0, 0), m.device.content.data(), 4096), 0);
}

TEST(BlockDriver, segments_of_any_size_in_any_order) {
  BlockMachine m;
  m.Boot();
  std::vector<Data> data;
  for (uint32_t i = 0; i < 253; ++i) data.push_back({kGuestBase + 0x40000 - 64 * i, 16});
  data.push_back({kGuestBase, 8 * 512 - 253 * 16});
  EXPECT_EQ(m.Do(0, Operation::kIn, 5, 8, data), kOk);
  EXPECT_EQ(m.device.longest, 254u);
  uint64_t at = 5 * 512;
  for (const Data& part : data) {
    EXPECT_EQ(std::memcmp(m.Guest(0, part.guest_physical - kGuestBase), &m.device.content[at],
                          part.bytes),
              0);
    at += part.bytes;
  }
}

TEST(BlockDriver, what_the_device_does_not_take_at_once_becomes_several_requests) {
  for (const uint32_t seg_max : {1u, 2u, 3u, 100u}) {
    BlockMachine m;
    m.device.properties.seg_max = seg_max;
    m.device.SetProperties();
    m.Boot();
    std::vector<Data> data;
    for (uint32_t i = 0; i < 8; ++i) data.push_back({kGuestBase + 0x1000 * (8 - i), 1000});
    data.push_back({kGuestBase + 0x20000, 16 * 512 - 8000});
    const RequestStatus status = m.Do(0, Operation::kIn, 9, 16, data);
    // One buffer of the 488 bytes that are left of the first segment is no whole sector.
    EXPECT_EQ(status, seg_max == 1 ? kIoError : kOk) << seg_max;
    if (status == kOk) {
      uint64_t at = 9 * 512;
      for (const Data& part : data) {
        EXPECT_EQ(std::memcmp(m.Guest(0, part.guest_physical - kGuestBase), &m.device.content[at],
                              part.bytes),
                  0)
            << seg_max;
        at += part.bytes;
      }
    }
    EXPECT_LE(m.device.longest, seg_max);
    EXPECT_TRUE(m.Works(0));
  }
}

TEST(BlockDriver, one_request_to_the_device_is_never_longer_than_4_MiB) {
  BlockMachine m({{.first_sector = 0, .sectors = 0}});
  m.device.content.resize(40'000 * 512);
  m.device.properties.capacity = 40'000;
  m.device.SetProperties();
  m.Boot();
  const std::vector<Data> data(19, Data{kGuestBase, 1 << 20});  // the same memory again and again
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 38'913, data), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 38'911, data), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 38'912, data), kOk);
  EXPECT_EQ(m.device.largest, kMaxTransferBytes);
  EXPECT_EQ(std::memcmp(m.Guest(0, 0), &m.device.content[18 << 20], 1 << 20), 0);
}

TEST(BlockDriver, BLK_50_a_flush_reaches_the_device) {
  BlockMachine m;
  m.Boot();
  EXPECT_EQ(m.Do(0, Operation::kFlush, ~uint64_t{0}, 77), kOk);
  EXPECT_EQ(m.device.types, std::vector<uint32_t>{virtio_blk::kFlush});
  m.device.fail_next = 1;
  EXPECT_EQ(m.Do(0, Operation::kFlush, 0, 0), kIoError);
}

TEST(BlockDriver, a_flush_of_a_disk_without_cache_has_nothing_to_do) {
  BlockMachine m;
  m.device.offered &= ~virtio_blk::kFeatureFlush;
  m.Boot();
  EXPECT_NE(m.clients[0]->ring.disk().flags & block::kFlush, 0u);
  EXPECT_EQ(m.Do(0, Operation::kFlush, 0, 0), kOk);
  EXPECT_TRUE(m.device.types.empty());
}

TEST(BlockDriver, BLK_44_discards_and_zeroes_stay_inside_their_range) {
  BlockMachine m;
  m.Boot();
  EXPECT_EQ(m.Do(1, Operation::kDiscard, 10, 5), kOk);
  EXPECT_EQ(m.Do(1, Operation::kWriteZeroes, 20, 1), kOk);
  for (uint64_t sector = 0; sector < kDiskSectors; ++sector) {
    const bool zero = (sector >= 1034 && sector < 1039) || sector == 1044;
    EXPECT_EQ(m.device.content[sector * 512] == std::byte{0},
              zero || FakeDisk::PatternAt(sector * 512) == std::byte{0})
        << sector;
  }
  m.device.types.clear();
  m.device.properties.max_discard_sectors = 100;
  m.device.SetProperties();
  m.Boot();
  EXPECT_EQ(m.Do(0, Operation::kDiscard, 0, 1024), kOk);
  EXPECT_EQ(m.device.types.size(), 11u);
}

TEST(BlockDriver, what_the_device_does_not_offer_is_unsupported) {
  BlockMachine m;
  m.device.offered &= ~(virtio_blk::kFeatureDiscard | virtio_blk::kFeatureWriteZeroes);
  m.Boot();
  EXPECT_EQ(m.clients[0]->ring.disk().flags, block::kFlush);
  EXPECT_EQ(m.Do(0, Operation::kDiscard, 0, 1), kUnsupported);
  EXPECT_EQ(m.Do(0, Operation::kWriteZeroes, 0, 1), kUnsupported);
  EXPECT_TRUE(m.device.types.empty());
}

TEST(BlockDriver, a_read_only_disk_is_not_written) {
  BlockMachine m({{.first_sector = 0, .sectors = 64, .flags = block::kReadOnly},
                  {.first_sector = 64, .sectors = 64}});
  m.Boot();
  const std::vector<Data> data = {{kGuestBase, 512}};
  EXPECT_EQ(m.Do(0, Operation::kOut, 0, 1, data), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kDiscard, 0, 1), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kWriteZeroes, 0, 1), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kFlush, 0, 0), kOk);
  EXPECT_EQ(m.Do(1, Operation::kOut, 0, 1, data), kOk);
  m.device.offered |= virtio_blk::kFeatureRo;  // the whole disk
  m.Boot();
  EXPECT_NE(m.clients[1]->ring.disk().flags & block::kReadOnly, 0u);
  EXPECT_EQ(m.Do(1, Operation::kOut, 0, 1, data), kIoError);
  EXPECT_TRUE(m.Works(0));
}

// ---- clients that ask for what they must not have

TEST(BlockDriverHostile, BLK_63_requests_beyond_the_range_never_reach_the_device) {
  BlockMachine m;
  m.Boot();
  struct {
    uint64_t sector;
    uint32_t sectors;
  } const bad[] = {{1024, 1},
                   {1023, 2},
                   {0, 1025},
                   {~uint64_t{0}, 1},
                   {1, ~0u},
                   {5, 0},
                   {uint64_t{1} << 55, 1},
                   {~uint64_t{0} - 1023, 1024}};
  for (const auto& request : bad) {
    for (const auto operation :
         {Operation::kIn, Operation::kOut, Operation::kDiscard, Operation::kWriteZeroes}) {
      EXPECT_EQ(m.Do(0, operation, request.sector, request.sectors,
                     {{kGuestBase, request.sectors * 512}}),
                kIoError)
          << request.sector << " + " << request.sectors;
    }
  }
  EXPECT_TRUE(m.device.types.empty());
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockDriverHostile, memory_outside_the_window_is_never_given_to_the_device) {
  BlockMachine m;
  m.Boot();
  const std::vector<Data> bad[] = {
      {{0, 512}},
      {{kGuestBase - 1, 512}},
      {{kGuestBase - 512, 512}},
      {{kGuestBase + kGuestBytes, 512}},
      {{kGuestBase + kGuestBytes - 511, 512}},
      {{~uint64_t{0}, 512}},
      {{~uint64_t{0} - 255, 512}},
      {{virtio_driver::kPhysicalBase, 512}},
      {{kGuestBase, 256}, {kGuestBase + kGuestBytes, 256}},
      {{kGuestBase, ~0u}},
  };
  for (const auto& data : bad) {
    EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, data), kIoError);
    EXPECT_EQ(m.Do(0, Operation::kOut, 0, 1, data), kIoError);
  }
  EXPECT_TRUE(m.device.types.empty());
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockDriverHostile, segments_that_are_not_the_sum_are_refused) {
  BlockMachine m;
  m.Boot();
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {{kGuestBase, 1023}}), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {{kGuestBase, 1025}}), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {{kGuestBase, 1024}, {kGuestBase, 1}}), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {{kGuestBase, 1024}, {kGuestBase, 0}}), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {{kGuestBase, 0}, {kGuestBase, 1024}}), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 2, {}), kIoError);
  auto& ring = m.clients[0]->ring;
  for (const uint32_t count : {255u, 256u, 0x8000'0000u, ~0u}) {
    ring.Submit(0,
                {.operation = Operation::kIn, .sector = 0, .sectors = 2, .segment_count = count});
    m.Signal(1);
    EXPECT_EQ(m.Take(0, 0), kIoError);
  }
  EXPECT_TRUE(m.device.types.empty());
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockDriverHostile, operations_that_do_not_exist_are_unsupported) {
  BlockMachine m;
  m.Boot();
  for (const uint32_t operation : {2u, 3u, 5u, 8u, 10u, 12u, 14u, 255u, 0x8000'0000u, ~0u}) {
    EXPECT_EQ(m.Do(0, static_cast<Operation>(operation), 0, 1, {{kGuestBase, 512}}), kUnsupported);
  }
  EXPECT_TRUE(m.device.types.empty());
}

TEST(BlockDriverHostile,
     bits_without_a_submitted_slot_and_states_that_do_not_exist_are_passed_over) {
  BlockMachine m;
  m.Boot();
  auto& memory = *reinterpret_cast<block::RingMemory*>(m.RingBytes(0).data());
  for (uint32_t i = 0; i < block::kSlots; ++i) memory.slots[i].state = i == 5 ? 2 : i + 3;
  memory.header.submitted = ~uint64_t{0};
  m.Signal(1);
  EXPECT_TRUE(m.settled);
  EXPECT_TRUE(m.device.types.empty());
  for (uint32_t i = 0; i < block::kSlots; ++i) EXPECT_EQ(memory.slots[i].state, i == 5 ? 2 : i + 3);
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockDriverHostile, a_slot_that_changes_while_it_is_served_harms_nobody) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 9, Operation::kOut, 1, 1, {{kGuestBase, 512}});
  m.Signal(1);
  ASSERT_EQ(m.device.held.size(), 1u);
  // Another request in the slot that the device has; submitted again.
  m.Submit(0, 9, Operation::kIn, 5000, 9, {{0, 4608}});
  m.Signal(1);
  EXPECT_EQ(m.device.held.size(), 1u);
  m.device.hold = false;
  m.Settle();
  EXPECT_EQ(m.Take(0, 9), kOk);
  EXPECT_EQ(m.device.bad_addresses, 0);
  EXPECT_TRUE(m.Works(0));
  EXPECT_TRUE(m.Works(1));
}

// ---- sharing

TEST(BlockDriver, each_client_has_its_share_of_the_device) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  const std::vector<Data> data = {{kGuestBase, 512}};
  for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
    m.Submit(0, slot, Operation::kIn, slot, 1, data);
  }
  m.Signal(1);
  EXPECT_EQ(m.device.held.size(), kDepth);  // alone: all of it
  m.Submit(1, 0, Operation::kIn, 0, 1, data);
  m.Signal(2);
  // As soon as one comes back the other client is next, however much the first one submits.
  const auto first = m.device.held.front();
  m.device.held.erase(m.device.held.begin());
  m.device.Execute(first);
  m.Submit(0, 0, Operation::kIn, 0, 1, data);
  m.Signal(kIrqSignal | 3);
  EXPECT_EQ(m.device.held.size(), kDepth);
  m.device.hold = false;
  m.Settle();
  EXPECT_EQ(m.Take(1, 0), kOk);

  // From the start, both have half.
  m.device.hold = true;
  for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
    (void)m.Take(0, slot);
    m.Submit(0, slot, Operation::kIn, slot, 1, data);
    m.Submit(1, slot, Operation::kFlush, 0, 0);
  }
  m.Signal(3);
  EXPECT_EQ(m.device.held.size(), kDepth);
  const auto reads = std::ranges::count_if(
      m.device.held, [](const FakeDisk::Chain& chain) { return chain.parts.size() == 3; });
  EXPECT_EQ(reads, kDepth / 2);
}

TEST(BlockDriver, 64_requests_of_each_of_16_clients_are_all_served) {
  std::vector<DiskRange> ranges;
  for (uint64_t i = 0; i < kMaxClients; ++i)
    ranges.push_back({.first_sector = 64 * i, .sectors = 64});
  BlockMachine m(ranges);
  m.device.hold = true;
  m.Boot();
  for (uint32_t client = 0; client < kMaxClients; ++client) {
    for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
      m.Submit(client, slot, Operation::kIn, slot, 1, {{kGuestBase + 512 * slot, 512}});
    }
  }
  m.Signal(kClientSignals);
  EXPECT_EQ(m.device.most_held, kDepth);
  m.device.hold = false;
  m.Settle();
  for (uint32_t client = 0; client < kMaxClients; ++client) {
    for (uint32_t slot = 0; slot < block::kSlots; ++slot) ASSERT_EQ(m.Take(client, slot), kOk);
    EXPECT_EQ(std::memcmp(m.Guest(client, 0), &m.device.content[client * 64 * 512], 64 * 512), 0);
  }
}

TEST(BlockDriver, a_client_is_signalled_once_for_a_batch_and_only_when_it_waits) {
  BlockMachine m;
  m.Boot();
  m.clients[0]->signalled.count = 0;
  (void)m.Do(0, Operation::kFlush, 0, 0);
  EXPECT_EQ(m.clients[0]->signalled.Taken(), 0);
  (void)m.clients[0]->ring.TakeCompleted();
  EXPECT_FALSE(m.clients[0]->ring.Wait());
  for (uint32_t slot = 0; slot < 10; ++slot) m.Submit(0, slot, Operation::kFlush, 0, 0);
  EXPECT_TRUE(m.clients[0]->ring.DriverWaits());
  EXPECT_FALSE(m.clients[0]->ring.DriverWaits());
  m.Signal(1);
  EXPECT_EQ(m.clients[0]->signalled.Taken(), 1);
  EXPECT_EQ(m.clients[0]->ring.TakeCompleted(), 0x3ffu);
}

TEST(BlockDriver, a_device_without_indirect_descriptors_serves_as_well) {
  BlockMachine m;
  m.device.offered &= ~(virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx);
  m.device.queue_max = 16;  // 4 buffers a request, 2 of them data
  m.Boot();
  for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
    m.Submit(0, slot, Operation::kIn, slot * 8, 8,
             {{kGuestBase + 0x2000 * slot, 1024},
              {kGuestBase + 0x2000 * slot + 0x1000, 1024},
              {kGuestBase + 0x2000 * slot + 0x800, 2048}});
  }
  m.Signal(1);
  EXPECT_TRUE(m.settled);
  for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
    ASSERT_EQ(m.Take(0, slot), kOk);
    EXPECT_EQ(std::memcmp(m.Guest(0, 0x2000 * slot + 0x800),
                          &m.device.content[(slot * 8 + 4) * 512], 2048),
              0);
  }
  EXPECT_EQ(m.device.longest, 2u);
  EXPECT_EQ(m.device.malformed, 0);
}

}  // namespace
}  // namespace atoll::blk_driver
