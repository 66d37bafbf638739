// A client that brings the driver down, and a disk that is given up.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/drivers/block_machine.h"

namespace atoll::blk_driver {
namespace {

constexpr auto kOk = RequestStatus::kOk;
constexpr auto kIoError = RequestStatus::kIoError;

// The next instance after one that died of client 0's slot 5.
void DieOf(BlockMachine& m, bool blamed = true) {
  m.quarantine.Begin(0, 5);
  m.Boot(1, blamed);
}

TEST(BlockQuarantine, a_client_that_two_instances_died_of_gets_errors_and_the_others_go_on) {
  BlockMachine m;
  m.device.hold = true;  // so that the slot is still there
  m.Boot();
  m.Submit(0, 5, Operation::kOut, 1, 1, {{kGuestBase, 512}});
  m.Signal(1);
  DieOf(m, false);
  DieOf(m, false);
  DieOf(m);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kReady);
  DieOf(m);
  m.device.hold = false;
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kFailed);
  EXPECT_EQ(m.Take(0, 5), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kFlush, 0, 0), kIoError);
  EXPECT_EQ(m.Do(0, Operation::kIn, 1, 1, {{kGuestBase, 512}}), kIoError);
  EXPECT_TRUE(m.Works(1));
  m.Boot(3);  // ended by somebody: the next instance knows it, too
  EXPECT_EQ(m.Do(0, Operation::kIn, 1, 1, {{kGuestBase, 512}}), kIoError);
  EXPECT_TRUE(m.Works(1));
  m.clients[0]->ring.StartEpoch();
  m.Signal(1);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kReady);
  EXPECT_TRUE(m.Works(0));
}

TEST(BlockQuarantine, a_slot_that_was_served_in_between_is_another_request) {
  BlockMachine m;
  m.device.hold = true;
  m.Boot();
  m.Submit(0, 5, Operation::kOut, 1, 1, {{kGuestBase, 512}});
  DieOf(m);
  m.device.hold = false;
  m.Boot(2);
  EXPECT_EQ(m.Take(0, 5), kOk);
  m.device.hold = true;
  m.Submit(0, 5, Operation::kOut, 1, 1, {{kGuestBase, 512}});
  DieOf(m);
  EXPECT_EQ(m.clients[0]->ring.disk().state, DiskState::kReady);
}

TEST(BlockQuarantine, a_disk_that_is_given_up_fails_every_request_after_its_dma_has_ended) {
  BlockMachine m;
  m.device.hold = true;
  m.Boot();
  m.Submit(0, 5, Operation::kIn, 1, 1, {{kGuestBase, 512}});
  m.Submit(1, 6, Operation::kFlush, 0, 0);
  m.Signal(3);
  m.Boot(1, true, /*failed=*/true);
  for (const uint32_t client : {0u, 1u}) {
    EXPECT_EQ(m.clients[client]->ring.disk().state, DiskState::kFailed);
  }
  EXPECT_EQ(m.Take(0, 5), kIoError);
  EXPECT_EQ(m.Take(1, 6), kIoError);
  m.device.hold = false;
  EXPECT_EQ(m.Do(1, Operation::kFlush, 0, 0), kIoError);
  EXPECT_EQ(m.device.bad_addresses, 0);
  m.CloseWindow(0, 2);
  EXPECT_TRUE(m.IsClosed(0, 2));
}

TEST(BlockQuarantine, a_journal_of_random_bytes_does_no_harm) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    BlockMachine m;
    auto* const bytes = reinterpret_cast<uint8_t*>(&m.quarantine);
    for (size_t i = 0; i < sizeof(m.quarantine); ++i) bytes[i] = static_cast<uint8_t>(random());
    m.Boot(1, true);
    ASSERT_TRUE(m.Works(0) && m.Works(1));
  }
}

}  // namespace
}  // namespace atoll::blk_driver
