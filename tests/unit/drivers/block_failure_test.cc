// The machine's disk breaks, hangs, lies, is missing or too short; windows close; the driver dies.
#include <gtest/gtest.h>

#include "tests/unit/drivers/block_machine.h"

namespace atoll::blk_driver {
namespace {

constexpr auto kOk = RequestStatus::kOk;
constexpr auto kIoError = RequestStatus::kIoError;
const std::vector<Data> kSector = {{kGuestBase, 512}};

TEST(BlockFailure, a_machine_without_a_disk_gives_errors) {
  BlockMachine m;
  m.has_disk = false;
  m.Submit(0, 3, Operation::kIn, 0, 1, kSector);
  m.Boot();
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.clients[0]->ring.disk().sectors, 1024u);  // as described
  EXPECT_EQ(m.Take(0, 3), kIoError);
  EXPECT_EQ(m.Do(1, Operation::kFlush, 0, 0), kIoError);
  m.CloseWindow(0, 2);
  EXPECT_TRUE(m.IsClosed(0, 2));  // nobody uses it
  EXPECT_EQ(m.log.lines.size(), 1u);
}

TEST(BlockFailure, a_device_that_cannot_be_started_gives_errors) {
  const auto break_it = std::to_array<void (*)(FakeDisk&)>({
      [](FakeDisk& d) { d.device_id = 1; },
      [](FakeDisk& d) { d.version = 1; },
      [](FakeDisk& d) { d.gone = true; },
      [](FakeDisk& d) { d.offered &= ~virtio::kFeatureVersion1; },
      [](FakeDisk& d) { d.refuse_features = true; },
      [](FakeDisk& d) { d.refuse_queue = true; },
      [](FakeDisk& d) { d.queue_max = 0; },
      [](FakeDisk& d) { d.queue_max = 2; },
      [](FakeDisk& d) { d.flutter = true; },
  });
  for (const auto& how : break_it) {
    BlockMachine m;
    how(m.device);
    m.Submit(0, 0, Operation::kIn, 0, 1, kSector);
    m.Boot();
    EXPECT_EQ(m.Take(0, 0), kIoError);
    EXPECT_EQ(m.Do(0, Operation::kOut, 0, 1, kSector), kIoError);
    EXPECT_EQ(m.log.lines.size(), 1u);
    EXPECT_TRUE(m.device.types.empty());
    m.CloseWindow(0, 2);
    EXPECT_TRUE(m.IsClosed(0, 2));
  }
}

TEST(BlockFailure, memory_is_kept_from_others_while_a_device_does_not_come_back_from_its_reset) {
  BlockMachine m;
  m.device.status = 15;  // an earlier instance's
  m.device.never_resets = true;
  m.Boot();
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, kSector), kIoError);
  m.CloseWindow(0, 2);
  EXPECT_FALSE(m.IsClosed(0, 2));
  m.device.never_resets = false;
  m.Boot(1);
  EXPECT_TRUE(m.IsClosed(0, 2));
  EXPECT_TRUE(m.Works(1));
}

TEST(BlockFailure, a_disk_that_is_too_short_fails_beyond_its_end) {
  BlockMachine m({{.first_sector = kDiskSectors - 8, .sectors = 16},
                  {.first_sector = kDiskSectors + 1, .sectors = 16},
                  {.first_sector = kDiskSectors, .sectors = 0}});
  m.Boot();
  EXPECT_EQ(m.log.lines.size(), 3u);
  EXPECT_EQ(m.clients[0]->ring.disk().sectors, 16u);
  EXPECT_EQ(m.Do(0, Operation::kIn, 7, 1, kSector), kOk);
  EXPECT_EQ(m.Do(0, Operation::kIn, 8, 1, kSector), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 7, 2, {{kGuestBase, 1024}}), kIoError);
  EXPECT_EQ(m.Do(1, Operation::kIn, 0, 1, kSector), kIoError);
  EXPECT_EQ(m.Do(2, Operation::kIn, 0, 1, kSector), kIoError);
  EXPECT_EQ(m.log.lines.size(), 3u);
}

TEST(BlockFailure, an_error_of_the_device_is_the_request_s_alone) {
  BlockMachine m;
  m.Boot();
  m.device.fail_next = 1;
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, kSector), kIoError);
  m.device.forced_status = virtio_blk::kStatusUnsupp;
  EXPECT_EQ(m.Do(0, Operation::kOut, 0, 1, kSector), RequestStatus::kUnsupported);
  m.device.forced_status.reset();
  EXPECT_TRUE(m.Works(0));
  EXPECT_TRUE(m.log.lines.empty());
}

// Whatever the device does wrong: both clients hear of it, nothing hangs, one line is logged.
void ExpectFailed(BlockMachine& m) {
  EXPECT_TRUE(m.settled);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.clients[1]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, kSector), kIoError);
  EXPECT_EQ(m.Do(1, Operation::kFlush, 0, 0), kIoError);
  m.device.interrupt_status = 1;
  m.Signal(kIrqSignal | kTimerSignal | kDmaSignal | kClientSignals);
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_EQ(m.device.status, 0u);  // it was stopped
  m.CloseWindow(0, 2);
  EXPECT_TRUE(m.IsClosed(0, 2));
}

TEST(BlockFailure, a_device_that_lies_has_failed) {
  const auto lies = std::to_array<void (*)(FakeDisk&)>({
      [](FakeDisk& d) { d.Give(0, 63, 0); },
      [](FakeDisk& d) { d.Give(0, 0x10000, 0); },
      [](FakeDisk& d) { d.SetUsedIndex(0, 200); },
      [](FakeDisk& d) {
        d.Give(0, d.held[0].head, 1);
        d.Give(0, d.held[0].head, 1);
      },
      [](FakeDisk& d) { d.Give(0, d.held[0].head, 514); },
      [](FakeDisk& d) { d.Give(0, d.held[0].head, 1); },  // without a status
      [](FakeDisk& d) {
        d.forced_status = uint8_t{3};
        d.Execute(d.held[0]);
      },
  });
  for (const auto& lie : lies) {
    BlockMachine m;
    m.Boot();
    m.device.hold = true;
    m.Submit(0, 7, Operation::kIn, 0, 1, kSector);
    m.Submit(1, 8, Operation::kOut, 0, 1, kSector);
    m.Signal(3);
    ASSERT_EQ(m.device.held.size(), 2u);
    lie(m.device);
    m.Signal(kIrqSignal);
    EXPECT_EQ(m.Take(1, 8), kIoError);
    (void)m.Take(0, 7);
    ExpectFailed(m);
  }
}

TEST(BlockFailure, a_device_that_vanished_has_failed) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 0, Operation::kIn, 0, 1, kSector);
  m.Signal(1);
  m.device.gone = true;
  m.Pass(31);
  m.Pass(31);
  EXPECT_EQ(m.Take(0, 0), kIoError);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_EQ(m.Do(1, Operation::kIn, 0, 1, kSector), kIoError);
}

TEST(BlockFailure, an_interrupt_that_never_ends_is_a_failure) {
  BlockMachine m;
  m.Boot();
  m.device.stuck_interrupt = true;
  m.Signal(kIrqSignal);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kReady);  // one reset is granted
  m.Signal(kIrqSignal);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, kSector), kIoError);
}

TEST(BlockFailure, a_device_that_asks_for_a_reset_gets_it_and_its_requests_again) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
  m.Submit(1, 2, Operation::kOut, 3, 1, kSector);
  m.Signal(3);
  m.device.status |= virtio::kStatusNeedsReset;
  m.device.interrupt_status = virtio::kInterruptConfig;
  m.device.hold = false;
  const int resets = m.device.resets;
  m.device.held.clear();
  m.Settle();
  EXPECT_EQ(m.device.resets, resets + 1);
  EXPECT_EQ(m.Take(0, 1), kOk);
  EXPECT_EQ(m.Take(1, 2), kOk);
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockFailure, a_request_that_is_lost_is_repeated_once) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
  m.Signal(1);
  m.Pass(29);
  EXPECT_EQ(m.log.lines.size(), 0u);
  m.device.held.clear();
  m.device.hold = false;
  m.Pass(2);
  EXPECT_EQ(m.Take(0, 1), kOk);
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_TRUE(m.Works(1));

  // Lost twice: an error for it; the others go on.
  m.device.hold = true;
  m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
  m.Signal(1);
  m.device.held.clear();
  m.Pass(31);
  ASSERT_EQ(m.device.held.size(), 1u);
  m.device.held.clear();
  m.Submit(1, 1, Operation::kIn, 0, 1, kSector);
  m.Signal(2);
  m.device.hold = false;
  m.Settle();
  EXPECT_EQ(m.Take(1, 1), kOk);
  EXPECT_FALSE(m.IsDone(0, 1));
  m.Pass(31);
  EXPECT_EQ(m.Take(0, 1), kIoError);
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockFailure, a_device_that_answers_nothing_has_failed_after_one_reset) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
  m.Submit(0, 2, Operation::kFlush, 0, 0);
  m.Signal(1);
  m.Pass(31);
  EXPECT_FALSE(m.IsDone(0, 1));
  m.Pass(31);
  EXPECT_EQ(m.Take(0, 1), kIoError);
  EXPECT_EQ(m.Take(0, 2), kIoError);
  EXPECT_EQ(m.clients[1]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.log.lines.size(), 2u);
}

// ---- windows

TEST(BlockWindows, a_window_without_requests_is_closed_at_once) {
  BlockMachine m;
  m.Boot();
  m.CloseWindow(0, 2);
  EXPECT_TRUE(m.IsClosed(0, 2));
  EXPECT_FALSE(m.IsClosed(1, 2));
  EXPECT_EQ(m.dma_closed.Taken(), 1);
  m.Signal(kDmaSignal);  // nothing new
  EXPECT_EQ(m.dma_closed.Taken(), 0);
  EXPECT_EQ(m.Do(0, Operation::kIn, 0, 1, kSector), kIoError);
  EXPECT_TRUE(m.device.types.empty());
  EXPECT_TRUE(m.Works(1));
  m.OpenWindow(0, 3);
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockWindows, a_window_in_use_is_closed_when_the_device_is_done) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
  m.Submit(1, 1, Operation::kIn, 0, 1, kSector);
  m.Signal(3);
  m.Submit(0, 2, Operation::kIn, 0, 1, kSector);  // not looked at yet
  m.CloseWindow(0, 2);
  EXPECT_FALSE(m.IsClosed(0, 2));
  EXPECT_EQ(m.Take(0, 2), kIoError);
  m.device.hold = false;
  m.Settle();
  EXPECT_TRUE(m.IsClosed(0, 2));
  EXPECT_EQ(m.dma_closed.Taken(), 1);
  EXPECT_EQ(m.Take(0, 1), kOk);
  EXPECT_EQ(m.Take(1, 1), kOk);
  m.Pass(1);
  EXPECT_TRUE(m.log.lines.empty());
}

TEST(BlockWindows, a_device_that_keeps_memory_is_reset_and_others_lose_nothing) {
  BlockMachine m;
  m.Boot();
  for (uint32_t generation = 2; generation < 20; generation += 2) {
    m.device.hold = true;
    m.Submit(0, 1, Operation::kIn, 0, 1, kSector);
    m.Submit(1, 1, Operation::kIn, 0, 1, kSector);
    m.Signal(3);
    m.CloseWindow(0, generation);
    m.Pass(0.1);
    EXPECT_FALSE(m.IsClosed(0, generation));
    m.Pass(0.3);  // before kDmaCloseSeconds
    EXPECT_TRUE(m.IsClosed(0, generation));
    EXPECT_EQ(m.Take(0, 1), kIoError);
    m.device.hold = false;
    m.Settle();
    EXPECT_EQ(m.Take(1, 1), kOk);
    m.OpenWindow(0, generation + 1);
    EXPECT_TRUE(m.Works(0));
  }
}

TEST(BlockWindows, a_long_request_stops_when_its_window_closes) {
  BlockMachine m({{.first_sector = 0, .sectors = 0}});
  m.device.content.resize(20'000 * 512);
  m.device.properties.capacity = 20'000;
  m.device.SetProperties();
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 0, Operation::kIn, 0, 18'432, std::vector(9, Data{kGuestBase, 1 << 20}));
  m.Signal(1);
  ASSERT_EQ(m.device.held.size(), 1u);  // the first of three pieces
  m.CloseWindow(0, 2);
  m.device.Execute(m.device.held[0]);
  m.device.held.clear();
  m.Settle();
  EXPECT_TRUE(m.device.held.empty());
  EXPECT_EQ(m.Take(0, 0), kIoError);
  EXPECT_TRUE(m.IsClosed(0, 2));
}

// ---- restart

TEST(BlockRestart, BLK_55_a_new_instance_resets_the_device_and_serves_all_submitted_slots) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  for (uint32_t slot = 0; slot < 30; ++slot) m.Submit(0, slot, Operation::kIn, slot, 1, kSector);
  m.Submit(1, 63, Operation::kFlush, 0, 0);
  m.Signal(3);
  ASSERT_EQ(m.device.held.size(), 31u);
  // One more arrives while nobody is there.
  m.Submit(1, 5, Operation::kIn, 0, 1, kSector);
  auto& memory = *reinterpret_cast<block::RingMemory*>(m.RingBytes(1).data());
  memory.header.submitted = 0;  // as if the dying instance had taken the bits
  m.clients[0]->signalled.count = m.clients[1]->signalled.count = 0;
  m.device.hold = false;
  const int resets = m.device.resets;
  m.Boot(1);
  EXPECT_EQ(m.device.resets, resets + 1);
  for (uint32_t slot = 0; slot < 30; ++slot) EXPECT_EQ(m.Take(0, slot), kOk);
  EXPECT_EQ(m.Take(1, 63), kOk);
  EXPECT_EQ(m.Take(1, 5), kOk);
  EXPECT_EQ(m.clients[0]->ring.disk().generation, 1u);
  EXPECT_GE(m.clients[0]->signalled.count, 1);  // in case the dying instance did not
  EXPECT_GE(m.clients[1]->signalled.count, 1);
  EXPECT_EQ(m.device.bad_addresses, 0);
}

TEST(BlockRestart, a_new_instance_acknowledges_windows_that_were_to_be_closed) {
  BlockMachine m;
  m.Boot();
  m.device.hold = true;
  m.Submit(0, 0, Operation::kIn, 0, 1, kSector);
  m.Signal(1);
  m.CloseWindow(0, 2);
  EXPECT_FALSE(m.IsClosed(0, 2));
  m.Boot(1);
  EXPECT_TRUE(m.IsClosed(0, 2));
  EXPECT_EQ(m.Take(0, 0), kIoError);
  EXPECT_TRUE(m.device.held.empty());
}

}  // namespace
}  // namespace atoll::blk_driver
