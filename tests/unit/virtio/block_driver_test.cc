// virtio-blk over the driver of the machine's disk: requests in flight, their order, what they become
// on the ring, and disks that change or fail.
#include <gtest/gtest.h>

#include "tests/unit/virtio/driver_machine.h"

namespace atoll::virtio_blk {
namespace {

using block::DiskState;
using block::Operation;
using enum block::RequestStatus;

TEST(VirtioBlkDriver, BLK_27_BLK_28_BLK_37_data_goes_straight_to_guest_memory) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(4096);
  EXPECT_EQ(m.Request(queue, kIn, 16, {{buffer, 4096, true}}), Done(kStatusOk, 4097));
  EXPECT_TRUE(m.Holds(buffer, 16, 4096));
  m.Fill(buffer, 4096, 0x5a);
  EXPECT_EQ(m.Request(queue, kOut, 100, {{buffer, 1024, false}, {buffer, 512, false}}),
            Done(kStatusOk, 1));
  EXPECT_TRUE(m.Holds(buffer, 100, 1536));
  ASSERT_EQ(m.driver.served.size(), 2u);
  const FakeDriver::Served& write = m.driver.served[1];
  EXPECT_EQ(write.request.sector, 100u);
  EXPECT_EQ(write.request.sectors, 3u);
  ASSERT_EQ(write.segments.size(), 2u);
  EXPECT_EQ(write.segments[0].guest_physical, buffer);
  EXPECT_EQ(write.segments[1].bytes, 512u);
}

TEST(VirtioBlkDriver, BLK_39_SPLIT_12_requests_end_in_any_order) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  std::vector<uint64_t> status;
  std::vector<uint64_t> buffers;
  std::vector<uint16_t> heads;
  for (uint32_t i = 0; i < 8; ++i) {
    heads.push_back(static_cast<uint16_t>(3 * i));
    buffers.push_back(m.Allocate(512));
    status.push_back(m.Add(queue, kIn, i, {{buffers[i], 512, true}}));
  }
  queue.Notify();
  ASSERT_EQ(m.driver.Submitted().size(), 8u);
  EXPECT_FALSE(m.more_work.pending);  // nothing to be done meanwhile
  for (const uint32_t i : {5u, 0u, 7u, 1u, 2u, 6u, 4u, 3u}) {
    m.driver.Serve(i, m.memory());
    m.Signal();
    const auto element = queue.PopUsed();
    ASSERT_TRUE(element) << i;
    EXPECT_EQ(element->id, heads[i]);
    EXPECT_EQ(m.At1(status[i]), kStatusOk);
    EXPECT_TRUE(m.Holds(buffers[i], i, 512));
    EXPECT_FALSE(queue.PopUsed());
  }
}

TEST(VirtioBlkDriver, SPLIT_22_SPLIT_23_one_interrupt_for_all_that_ended_together) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  for (uint32_t i = 0; i < 32; ++i) m.Add(queue, kIn, i, {{buffer, 512, true}});
  const int before = m.driver_signal.count;
  ASSERT_TRUE(m.driver.Sleep());
  queue.Notify();
  EXPECT_EQ(m.driver_signal.count, before + 1);  // one signal for 32 requests
  queue.SetUsedEvent(31);
  const auto submitted = m.driver.Submitted();
  ASSERT_EQ(submitted.size(), 32u);
  for (uint32_t i = 0; i < 31; ++i) m.driver.Serve(submitted[i], m.memory());
  m.Signal();
  EXPECT_EQ(queue.UsedIndex(), 31);
  EXPECT_EQ(m.line.rises, 0);  // used_event was not passed
  EXPECT_TRUE(m.driver.ClientWaits());
  m.driver.Serve(submitted[31], m.memory());
  m.Signal();
  EXPECT_EQ(queue.UsedIndex(), 32);
  EXPECT_EQ(m.line.rises, 1);
}

TEST(VirtioBlkDriver, SPLIT_27_SPLIT_29_notifications_while_requests_are_in_flight) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  m.Add(queue, kIn, 0, {{buffer, 512, true}});
  queue.Notify();
  EXPECT_EQ(queue.AvailEvent(), 1);  // asks to be told of the next one
  m.Add(queue, kIn, 1, {{buffer, 512, true}});
  queue.Notify();
  EXPECT_EQ(m.driver.Submitted().size(), 2u);
  m.Settle();
  EXPECT_EQ(queue.UsedIndex(), 2);
}

TEST(VirtioBlkDriver, BLK_74_more_requests_than_slots) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  std::vector<uint64_t> status;
  for (uint32_t i = 0; i < 80; ++i) status.push_back(m.Add(queue, kIn, i, {{buffer, 512, true}}));
  queue.Notify();
  EXPECT_EQ(m.driver.Submitted().size(), kRequests);
  EXPECT_FALSE(m.more_work.pending);  // does not spin while all are in flight
  m.driver.Serve(17, m.memory());
  m.Signal();
  EXPECT_EQ(queue.UsedIndex(), 1);
  EXPECT_EQ(m.driver.Submitted().size(), kRequests);  // the next one took its place
  m.Settle();
  EXPECT_EQ(queue.UsedIndex(), 80);
  for (const uint64_t each : status) EXPECT_EQ(m.At1(each), kStatusOk);
}

TEST(VirtioBlkDriver, BLK_19_BLK_74_a_flood_on_one_queue_leaves_room_for_the_others) {
  constexpr uint64_t kMqFeatures = kBlockFeatures | kFeatureMq;
  DriverMachine m(4096, 4);
  ASSERT_TRUE(virtio::Negotiate(m, kMqFeatures));
  std::vector<BlockQueue> queues;
  for (uint32_t i = 0; i < 4; ++i) queues.emplace_back(m, i, 256).SetUp();
  m.Write(virtio::kStatus, virtio::kLive);
  const uint64_t buffer = m.Allocate(512);
  for (uint32_t i = 0; i < 80; ++i) m.Add(queues[1], kIn, i, {{buffer, 512, true}});
  m.Doorbell(1);
  EXPECT_EQ(m.driver.Submitted().size(), kRequests);
  for (const uint32_t other : {0u, 2u, 3u}) {
    m.Add(queues[other], kIn, 0, {{buffer, 512, true}});
    m.Doorbell(other);
  }
  // Ever more of the first; each of the others gets the next slots that are free.
  for (int i = 0; i < 3; ++i) {
    m.driver.Serve(m.driver.Submitted().front(), m.memory());
    m.Signal();
    ASSERT_TRUE(m.Pump());
    m.Add(queues[1], kIn, 0, {{buffer, 512, true}});
    m.Doorbell(1);
  }
  m.Settle();
  for (const uint32_t other : {0u, 2u, 3u}) EXPECT_EQ(queues[other].UsedIndex(), 1) << other;
  EXPECT_EQ(queues[1].UsedIndex(), 83);
}

TEST(VirtioBlkDriver, BLK_74_a_starved_queue_is_served_though_nothing_is_in_flight_any_more) {
  DriverMachine m(4096, 2);
  ASSERT_TRUE(virtio::Negotiate(m, kBlockFeatures | kFeatureMq));
  BlockQueue first(m, 0, 256);
  BlockQueue second(m, 1, 256);
  first.SetUp();
  second.SetUp();
  m.Write(virtio::kStatus, virtio::kLive);
  const uint64_t buffer = m.Allocate(512);
  for (uint32_t i = 0; i < 64; ++i) m.Add(second, kIn, i, {{buffer, 512, true}});
  second.Notify();
  m.Add(first, kIn, 0, {{buffer, 512, true}});
  first.Notify();
  m.driver.ServeAll(m.memory());
  m.Signal();  // the first queue is looked at before the second gives its records back
  ASSERT_TRUE(m.Pump());
  EXPECT_EQ(m.driver.Submitted().size(), 1u);
  m.Settle();
  EXPECT_EQ(first.UsedIndex(), 1);
}

TEST(VirtioBlkDriver, BLK_50_BLK_51_BLK_57_flush_reaches_the_disk) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  m.Fill(buffer, 512, 0x77);
  ASSERT_EQ(m.Request(queue, kOut, 3, {{buffer, 512, false}}), Done(kStatusOk, 1));
  EXPECT_TRUE(m.driver.durable.empty());
  const uint64_t status = m.Add(queue, kFlush, 99, {});
  queue.Notify();
  ASSERT_EQ(m.driver.Submitted().size(), 1u);
  m.Signal();
  EXPECT_EQ(m.At1(status), kNoStatus);  // not before the disk says so
  m.Settle();
  EXPECT_EQ(m.At1(status), kStatusOk);
  EXPECT_EQ(m.driver.durable, m.driver.content);
  EXPECT_EQ(m.driver.served.back().request.operation, Operation::kFlush);
}

TEST(VirtioBlkDriver, BLK_48_BLK_51_write_through_by_negotiation) {
  DriverMachine m;
  BlockQueue queue = m.Live(kBlockFeatures & ~kFeatureFlush);
  const uint64_t buffer = m.Allocate(512);
  m.Fill(buffer, 512, 0x77);
  const uint64_t status = m.Add(queue, kOut, 3, {{buffer, 512, false}});
  queue.Notify();
  m.driver.ServeAll(m.memory());
  m.Signal();
  EXPECT_EQ(m.At1(status), kNoStatus);  // written, not flushed
  m.Settle();
  EXPECT_EQ(m.At1(status), kStatusOk);
  EXPECT_EQ(m.driver.durable, m.driver.content);
}

TEST(VirtioBlkDriver, BLK_53_a_failed_flush_is_not_forgotten) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  for (int i = 0; i < 3; ++i) {
    const uint64_t status = m.Add(queue, kFlush, 0, {});
    queue.Notify();
    if (i == 0) m.driver.Serve(m.driver.Submitted().at(0), m.memory(), kIoError);
    m.Signal();
    m.Settle();
    EXPECT_EQ(m.At1(status), kStatusIoErr) << i;
    if (i == 1) ASSERT_EQ(m.RestartService(), virtio::JournalFound::kGood);
  }
}

TEST(VirtioBlkDriver, BLK_14_BLK_15_BLK_32_what_the_disk_cannot_do_is_not_offered) {
  for (uint32_t flags = 0; flags < 16; ++flags) {
    DriverMachine m(64, 1, flags);
    m.Write(virtio::kDeviceFeaturesSel, 0);
    const uint64_t offered = m.Read(virtio::kDeviceFeatures);
    EXPECT_EQ((offered & kFeatureRo) != 0, (flags & block::kReadOnly) != 0);
    EXPECT_EQ((offered & kFeatureFlush) != 0, (flags & block::kFlush) != 0);
    EXPECT_EQ((offered & kFeatureDiscard) != 0, (flags & block::kDiscard) != 0);
    EXPECT_EQ((offered & kFeatureWriteZeroes) != 0, (flags & block::kWriteZeroes) != 0);
    EXPECT_FALSE(virtio::Negotiate(m, kBlockFeatures) && (flags & 14) != 14);
    BlockQueue queue = m.Live(virtio::kFeatureVersion1);
    for (const uint32_t type : {kFlush, kDiscard, kWriteZeroes}) {
      EXPECT_EQ(m.Request(queue, type, 0, {}).status, kStatusUnsupp);
    }
    EXPECT_TRUE(m.driver.served.empty());
  }
}

TEST(VirtioBlkDriver, BLK_13_BLK_34_BLK_35_read_only_by_description) {
  DriverMachine m(64, 1, kAllFlags, true);
  BlockQueue queue = m.Live();
  EXPECT_NE(m.Read(virtio::kDeviceFeatures) & kFeatureRo, 0u);
  const uint64_t buffer = m.Allocate(512);
  EXPECT_EQ(m.Request(queue, kOut, 0, {{buffer, 512, false}}), Done(kStatusIoErr, 1));
  EXPECT_TRUE(m.driver.served.empty());
}

TEST(VirtioBlkDriver, BLK_40_BLK_44_BLK_45_ranges_go_one_after_the_other) {
  DriverMachine m(4096);
  BlockQueue queue = m.Live();
  const uint64_t array = m.Allocate(3 * sizeof(DiscardWriteZeroes));
  m.Put(array, DiscardWriteZeroes{10, 2, 0});
  m.Put(array + 16, DiscardWriteZeroes{20, 0, 0});
  m.Put(array + 32, DiscardWriteZeroes{30, 1, 0});
  for (const uint32_t type : {kDiscard, kWriteZeroes}) {
    m.driver.served.clear();
    EXPECT_EQ(m.Request(queue, type, 0, {{array, 48, false}}), Done(kStatusOk, 1));
    ASSERT_EQ(m.driver.served.size(), 2u);
    EXPECT_EQ(m.driver.served[0].request.sector, 10u);
    EXPECT_EQ(m.driver.served[0].request.sectors, 2u);
    EXPECT_EQ(m.driver.served[1].request.sector, 30u);
    EXPECT_EQ(m.driver.served[1].request.segment_count, 0u);
  }
  EXPECT_EQ(m.driver.content[10 * 512], std::byte{0});
  EXPECT_EQ(m.driver.content[12 * 512], TestDisk::PatternAt(12 * 512));
}

TEST(VirtioBlkDriver, BLK_10_SPLIT_10_more_segments_than_a_slot_has) {
  // 256 descriptors with data in each of them: the first holds the header, too, the last the status.
  DriverMachine m;
  BlockQueue queue = m.Live();
  constexpr uint32_t kPiece = 500;
  const uint64_t memory = m.Allocate(16 + 255 * kPiece + 512, 16);
  m.Put(memory, RequestHeader{kOut, 0, 7});
  m.Fill(memory + 16, 255 * kPiece + 512, 0);
  constexpr uint64_t kData = 254 * kPiece + 488;
  static_assert(kData % 512 == 0);
  for (uint64_t i = 0; i < kData; ++i)
    m.Put(memory + 16 + i, static_cast<uint8_t>(i * 7 + i / 251));
  std::vector<Buffer> chain = {{memory, 16 + kPiece, false}};
  for (uint32_t i = 1; i < 254; ++i) {
    chain.push_back({memory + 16 + i * kPiece, kPiece, false});
  }
  chain.push_back({memory + 16 + 254 * kPiece, 488, false});
  const uint64_t status = m.Allocate(1);
  chain.push_back({status, 1, true});
  queue.AddIndirect(chain);
  queue.Notify();
  m.Settle();
  EXPECT_EQ(m.At1(status), kStatusOk);
  EXPECT_TRUE(m.Holds(memory + 16, 7, kData));
  ASSERT_EQ(m.driver.served.size(), 2u);
  EXPECT_EQ(m.driver.served[1].request.sector, 7 + m.driver.served[0].request.sectors);
}

TEST(VirtioBlkDriver, SPLIT_10_a_sector_in_more_pieces_than_a_slot_has) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t memory = m.Allocate(16 + 512 + 1);
  m.Put(memory, RequestHeader{kOut, 0, 7});
  std::vector<Buffer> chain = {{memory, 17, false}};
  for (uint32_t i = 1; i < 254; ++i) chain.push_back({memory + 16 + i, 1, false});
  chain.push_back({memory + 16 + 254, 258, false});
  const uint64_t status = m.Allocate(1);
  chain.push_back({status, 1, true});
  queue.AddIndirect(chain);
  queue.Notify();
  m.Settle();
  EXPECT_EQ(m.At1(status), kStatusIoErr);  // refused, nothing done
  EXPECT_TRUE(m.driver.served.empty());
}

TEST(VirtioBlkDriver, BLK_36_errors_of_the_disk_reach_the_guest) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  const auto request = [&](uint32_t type, block::RequestStatus outcome) {
    const uint64_t status = m.Add(queue, type, 0, {{buffer, 512, type == kIn}});
    queue.Notify();
    m.driver.Serve(m.driver.Submitted().at(0), m.memory(), outcome);
    m.Signal();
    return Outcome{true, m.At1(status), queue.PopUsed()->length};
  };
  EXPECT_EQ(request(kIn, kIoError), Done(kStatusIoErr, 0));
  EXPECT_EQ(request(kOut, kIoError), Done(kStatusIoErr, 1));
  EXPECT_EQ(request(kOut, kUnsupported), Done(kStatusUnsupp, 1));
  EXPECT_EQ(request(kIn, static_cast<block::RequestStatus>(77)), Done(kStatusIoErr, 0));
  EXPECT_EQ(m.failures.count, 1);  // the log has one line
  EXPECT_EQ(request(kIn, kOk), Done(kStatusOk, 513));
}

TEST(VirtioBlkDriver, BLK_36_a_disk_that_has_failed) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  const uint64_t in_flight = m.Add(queue, kIn, 0, {{buffer, 512, true}});
  queue.Notify();
  m.driver.Announce(DiskState::kFailed);
  m.driver.Complete(m.driver.Submitted().at(0), kIoError);
  m.Signal();
  EXPECT_EQ(m.At1(in_flight), kStatusIoErr);
  for (const uint32_t type : {kIn, kOut}) {
    const uint64_t status = m.Add(queue, type, 0, {{buffer, 512, type == kIn}});
    queue.Notify();
    EXPECT_EQ(m.At1(status), kStatusIoErr);  // at once
  }
  EXPECT_EQ(m.Request(queue, kFlush, 0, {}).status, kStatusIoErr);
  EXPECT_EQ(m.failures.count, 1);
}

TEST(VirtioBlkDriver, BLK_02_BLK_24_CORE_25_CORE_27_capacity_comes_from_the_driver) {
  DriverMachine m(4096, 1, std::nullopt);
  EXPECT_EQ(m.Load(virtio::kConfig, 8), 0u);  // the driver has not looked yet
  m.driver.Announce(DiskState::kReady);
  m.Signal();
  EXPECT_EQ(m.Load(virtio::kConfig, 8), 4096u);
  BlockQueue queue = m.Live();  // with all that the disk can do
  const uint64_t buffer = m.Allocate(512);
  EXPECT_EQ(m.Request(queue, kIn, 4095, {{buffer, 512, true}}), Done(kStatusOk, 513));
  m.Write(virtio::kInterruptAck, 3);
  const uint32_t generation = m.Read(virtio::kConfigGeneration);
  m.Signal();
  EXPECT_EQ(m.Read(virtio::kConfigGeneration), generation);
  EXPECT_FALSE(m.line.high);
  m.driver.content.resize(8192 * 512);
  m.driver.Announce(DiskState::kReady);
  m.Signal();
  EXPECT_NE(m.Read(virtio::kConfigGeneration), generation);
  EXPECT_EQ(m.Read(virtio::kInterruptStatus), virtio::kInterruptConfig);
  EXPECT_EQ(m.Load(virtio::kConfig, 8), 8192u);
  EXPECT_EQ(m.Request(queue, kIn, 8191, {{buffer, 512, true}}), Done(kStatusOk, 513));
}

TEST(VirtioBlkDriver, BLK_36_missing_and_short_disks_give_errors) {
  for (const DiskState state : {DiskState::kFailed, DiskState::kReady}) {
    DriverMachine m(0, 1, std::nullopt);
    m.driver.Announce(state, 0);
    m.Signal();
    const uint64_t sectors = m.Load(virtio::kConfig, 8);
    EXPECT_EQ(sectors, 8u);  // not 0: a guest would see an empty disk and no error
    BlockQueue queue = m.Live(virtio::kFeatureVersion1);
    const uint64_t buffer = m.Allocate(512);
    EXPECT_EQ(m.Request(queue, kIn, 0, {{buffer, 512, true}}).status, kStatusIoErr);
    EXPECT_EQ(m.failures.count, 1);
    m.driver.content.resize(64 * 512);  // it is there after all
    m.driver.Announce(DiskState::kReady);
    m.Signal();
    EXPECT_EQ(m.Load(virtio::kConfig, 8), 64u);
    EXPECT_EQ(m.Request(queue, kIn, 63, {{buffer, 512, true}}), Done(kStatusOk, 513));
  }
}

TEST(VirtioBlkDriver, CORE_16_BLK_59_features_stay_acceptable_when_driver_and_service_die) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  m.driver.Announce(DiskState::kNotReady, 0);
  ASSERT_EQ(m.RestartService(), virtio::JournalFound::kGood);
  EXPECT_EQ(m.Load(virtio::kConfig, 8), 4096u);
  m.driver.Announce(DiskState::kReady, block::kFlush);  // less than before
  ASSERT_EQ(m.RestartService(), virtio::JournalFound::kGood);
  EXPECT_EQ(m.DeviceStatus(), virtio::kLive);
  const uint64_t buffer = m.Allocate(512);
  EXPECT_EQ(m.Request(queue, kIn, 1, {{buffer, 512, true}}), Done(kStatusOk, 513));
  m.Write(virtio::kStatus, 0);
  EXPECT_EQ(m.Read(virtio::kDeviceFeatures) & kFeatureDiscard, 0u);
}

// ---- resets and stopped queues

Result<uint64_t> WriteRegister(DriverMachine& m, uint32_t offset, uint64_t value) {
  return m.device().Access({.offset = offset, .size = 4, .write = true, .value = value});
}

TEST(VirtioBlkDriver, BLK_58_BLK_62_CORE_20_HOSTILE_35_reset_waits_for_the_disk) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  const uint64_t first = m.Add(queue, kIn, 0, {{buffer, 512, true}});
  const uint64_t second = m.Add(queue, kIn, 1, {{buffer, 512, true}});
  queue.Notify();
  EXPECT_EQ(WriteRegister(m, virtio::kStatus, 0).error(), Status::kUnavailable);
  EXPECT_NE(m.DeviceStatus(), 0u);  // not yet
  // What another vCPU does meanwhile has no effect.
  m.Write(virtio::kQueueReady, 1);
  m.Write(virtio::kStatus, virtio::kLive);
  m.driver.Serve(0, m.memory());
  m.Signal();
  EXPECT_EQ(WriteRegister(m, virtio::kStatus, 0).error(), Status::kUnavailable);
  // Nor does a death of the service change anything: the access is delivered again.
  ASSERT_EQ(m.RestartService(), virtio::JournalFound::kGood);
  EXPECT_EQ(WriteRegister(m, virtio::kStatus, 0).error(), Status::kUnavailable);
  m.driver.Serve(1, m.memory());
  m.Signal();
  ASSERT_TRUE(WriteRegister(m, virtio::kStatus, 0).has_value());
  EXPECT_EQ(m.DeviceStatus(), 0u);
  EXPECT_EQ(queue.UsedIndex(), 0);
  EXPECT_EQ(m.At1(first), kNoStatus);
  EXPECT_EQ(m.At1(second), kNoStatus);
  EXPECT_FALSE(m.line.high);
  BlockQueue again = m.Live();
  EXPECT_EQ(m.Request(again, kIn, 2, {{buffer, 512, true}}), Done(kStatusOk, 513));
  for (uint32_t i = 0; i < 64; ++i) m.Add(again, kIn, i, {{buffer, 512, true}});
  again.Notify();
  EXPECT_EQ(m.driver.Submitted().size(), 64u);  // no slot was lost
}

TEST(VirtioBlkDriver, MMIO_11_stopped_queue_waits_for_the_disk) {
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  m.Add(queue, kIn, 0, {{buffer, 512, true}});
  queue.Notify();
  EXPECT_EQ(WriteRegister(m, virtio::kQueueReady, 0).error(), Status::kUnavailable);
  m.driver.ServeAll(m.memory());
  m.Signal();
  ASSERT_TRUE(WriteRegister(m, virtio::kQueueReady, 0).has_value());
  EXPECT_EQ(queue.UsedIndex(), 0);
}

TEST(VirtioBlkDriver, BLK_62_requests_of_a_guest_before) {
  // A VM that was reset has a fresh journal; the ring still holds what the guest before asked for.
  DriverMachine m;
  BlockQueue queue = m.Live();
  const uint64_t buffer = m.Allocate(512);
  for (uint32_t i = 0; i < 3; ++i) m.Add(queue, kIn, i, {{buffer, 512, true}});
  queue.Notify();
  m.driver.Serve(1, m.memory());
  m.Fill(virtio::kRamBase, virtio::kRamBytes, 0);
  std::ranges::fill(m.journal_bytes(), std::byte{0});
  ASSERT_EQ(m.RestartService({.first = true}), virtio::JournalFound::kGood);
  EXPECT_EQ(WriteRegister(m, virtio::kStatus, 0).error(), Status::kUnavailable);
  m.driver.Complete(0, kIoError);  // its memory is gone
  m.driver.Complete(2, kIoError);
  m.Signal();
  BlockQueue again = m.Live();
  EXPECT_EQ(m.Request(again, kIn, 5, {{buffer, 512, true}}), Done(kStatusOk, 513));
  EXPECT_EQ(again.UsedIndex(), 1);
}

}  // namespace
}  // namespace atoll::virtio_blk
