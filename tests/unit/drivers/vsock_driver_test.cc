// The serial line to the host: devices that are missing, lie or hang, programs that come and go.
#include "services/vsock-driver/vsock_driver.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/drivers/serial_machine.h"

namespace atoll::vsock_driver {
namespace {

TEST(VsockDriver, packets_pass_in_both_directions) {
  SerialMachine m;
  m.Boot();
  EXPECT_GE(m.vsock_switch.Taken(), 1);  // in case an earlier instance did not
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(m.Works()) << i;
  EXPECT_EQ(m.rings.host.sessions, 1u);
  EXPECT_EQ(m.device.malformed, 0);
  EXPECT_EQ(m.device.bad_addresses, 0);
  EXPECT_TRUE(m.log.lines.empty());
  EXPECT_FALSE(m.down());
  EXPECT_TRUE(m.settled);
}

TEST(VsockDriver, more_than_the_line_takes_at_once) {
  SerialMachine m;
  m.Boot();
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(m.rings.Put(Packet(i, 65536)));
  for (uint32_t i = 0; i < 9; ++i) m.rings.host.Send(Packet(i, 65536));
  m.driver->OnSignals(kSwitchSignal);
  m.Settle();
  ASSERT_EQ(m.rings.host.received.size(), 3u);
  for (uint32_t i = 0; i < 9; ++i) {
    ASSERT_EQ(m.rings.Take(), Packet(i, 65536));
    if (m.rings.from_link->WriterWaits()) m.driver->OnSignals(kSwitchSignal);
    m.Settle();
  }
  EXPECT_TRUE(m.Works());
  EXPECT_EQ(m.rings.host.sessions, 1u);
}

// What the deadline of a job is about (services/vsock-driver/vsock_driver.cc, kRounds).
TEST(VsockDriver, a_job_is_bounded_however_much_there_is_to_do) {
  constexpr size_t kMostBytes = 2 * 32 * 1024;  // each way
  constexpr int kMostAccesses = 16;
  SerialMachine m;
  m.Boot();
  uint32_t put = 0, took = 0;
  for (uint32_t i = 0; i < 20; ++i) m.rings.host.Send(Packet(i, 65536));
  for (int job = 0; job < 70; ++job) {
    while (m.rings.Put(Packet(put, 60'000))) ++put;
    while (m.rings.Take()) ++took;
    m.rings.host.Hear(m.device.out);
    m.device.out.clear();
    for (const std::byte byte : m.rings.host.Speak()) m.device.in.push_back(byte);
    const size_t waiting = m.device.in.size();
    (void)m.device.Serve();  // now all buffers have bytes, and what was sent is out
    if (job > 0) EXPECT_LE(waiting - m.device.in.size(), kMostBytes);
    EXPECT_LE(m.device.out.size(), kMostBytes);
    const int accesses = m.device.reads + m.device.notified;
    m.driver->OnSignals(kIrqSignal | kTimerSignal | kSwitchSignal);
    EXPECT_LE(m.device.reads + m.device.notified - accesses, kMostAccesses);
  }
  EXPECT_GE(put, 20u);
  EXPECT_EQ(took, 20u);
}

TEST(VsockDriver, a_device_that_cannot_be_used) {
  const std::vector<std::pair<const char*, std::function<void(SerialMachine&)>>> cases = {
      {"none", [](SerialMachine& m) { m.has_device = false; }},
      {"another", [](SerialMachine& m) { m.device.device_id = 2; }},
      {"legacy", [](SerialMachine& m) { m.device.version = 1; }},
      {"one port",
       [](SerialMachine& m) { m.device.offered &= ~virtio_console::kFeatureMultiport; }},
      {"no VERSION_1", [](SerialMachine& m) { m.device.offered &= ~virtio::kFeatureVersion1; }},
      {"no features", [](SerialMachine& m) { m.device.refuse_features = true; }},
      {"no queues", [](SerialMachine& m) { m.device.queue_max = 0; }},
      {"refused queues", [](SerialMachine& m) { m.device.refuse_queue = true; }},
      {"no reset",
       [](SerialMachine& m) {
         m.device.never_resets = true;
         m.device.status = 15;
       }},
  };
  for (const auto& [name, make] : cases) {
    SCOPED_TRACE(name);
    SerialMachine m;
    make(m);
    m.Boot();
    EXPECT_TRUE(m.down());
    EXPECT_GE(m.vsock_switch.Taken(), 1);
    EXPECT_TRUE(m.rings.Put(Packet(1)));
    m.driver->OnSignals(~uint64_t{0});
    m.Settle();
    EXPECT_TRUE(m.rings.host.received.empty());
  }
}

TEST(VsockDriver, a_device_without_event_idx_and_with_small_queues) {
  SerialMachine m;
  m.device.offered &= ~virtio::kFeatureEventIdx;
  m.device.queue_max = 4;
  m.Boot();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(m.Works()) << i;
}

TEST(VsockDriver, nobody_at_the_line) {
  SerialMachine m;
  m.device.connected = false;
  m.Boot();
  EXPECT_FALSE(m.down());  // not known yet
  m.Pass(kSilentSeconds);
  EXPECT_TRUE(m.down());
  m.device.Connect(true);
  m.Settle();
  EXPECT_FALSE(m.down());
  EXPECT_TRUE(m.Works());
  const uint32_t epoch = m.rings.from_link->writer_epoch();
  m.device.Connect(false);
  m.Settle();
  EXPECT_TRUE(m.down());
  m.device.Connect(true);
  m.Settle();
  EXPECT_FALSE(m.down());
  EXPECT_NE(m.rings.from_link->writer_epoch(), epoch);  // connections of before are over
  EXPECT_TRUE(m.Works());
}

TEST(VsockDriver, VSOCK_19_a_new_instance_goes_on) {
  SerialMachine m;
  m.Boot();
  for (uint32_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(m.rings.Put(Packet(i, 5000 + i)));
    m.rings.host.Send(Packet(100 + i, 4000 + i));
    m.driver->OnSignals(kSwitchSignal);
    if (i % 3 != 0) (void)m.device.Serve();
    if (i % 2 != 0) m.device.out.clear();  // under way when it died
    m.Boot();
    ASSERT_EQ(m.rings.host.received.size(), i + 1);
    ASSERT_EQ(m.rings.host.received.back(), Packet(i, 5000 + i));
    ASSERT_EQ(m.rings.Take(), Packet(100 + i, 4000 + i));
    ASSERT_FALSE(m.rings.Take());
  }
  EXPECT_EQ(m.rings.host.sessions, 1u);
}

TEST(VsockDriver, a_line_that_takes_nothing) {
  SerialMachine m;
  m.Boot();
  m.device.stuck = true;
  uint32_t count = 0;
  while (count < 100 && m.rings.Put(Packet(count, 9000))) {
    ++count;
    m.driver->OnSignals(kSwitchSignal);
    m.Settle();
  }
  EXPECT_LT(count, 100u);
  for (int i = 0; i < 5; ++i) m.Pass(kPatienceSeconds);
  EXPECT_TRUE(m.settled);
  m.device.stuck = false;
  m.Settle();
  m.Pass(1);
  ASSERT_EQ(m.rings.host.received.size(), count);
  EXPECT_EQ(m.rings.host.sessions, 1u);
  EXPECT_TRUE(m.Works());
}

TEST(VsockDriver, a_device_that_asks_for_a_reset_is_reset) {
  SerialMachine m;
  m.Boot();
  ASSERT_TRUE(m.Works());
  m.device.status |= virtio::kStatusNeedsReset;
  m.device.interrupt_status |= virtio::kInterruptConfig;
  m.Settle();
  EXPECT_EQ(m.device.resets, 2);
  EXPECT_EQ(m.log.lines.size(), 1u);
  EXPECT_TRUE(m.Works());
  EXPECT_EQ(m.rings.host.sessions, 1u);
  EXPECT_FALSE(m.down());
}

TEST(VsockDriver, a_device_that_breaks_the_rules_has_failed_in_the_end) {
  SerialMachine m;
  m.Boot();
  for (int i = 0; i < 6 && !m.down(); ++i) {
    m.device.SetUsedIndex(4, 1000);
    m.device.interrupt_status |= virtio::kInterruptUsedBuffer;
    m.driver->OnSignals(kIrqSignal);
  }
  EXPECT_TRUE(m.down());
  EXPECT_LE(m.log.lines.size(), 4u);
}

TEST(VsockDriver, what_the_device_says_of_ports_is_checked) {
  const ControlMessage bad[] = {
      {.id = 0, .event = Event::kPortOpen, .value = 0},
      {.id = 2, .event = Event::kPortOpen, .value = 0},
      {.id = ~0u, .event = Event::kDeviceRemove},
      {.id = 1, .event = Event::kResize},
      {.id = 1, .event = Event{77}, .value = 5},
      {.id = 1, .event = Event::kPortName},
      {.id = 1, .event = Event::kPortOpen, .value = 1},  // it is open
      {.id = 1, .event = Event::kDeviceAdd, .value = 1},
  };
  SerialMachine m;
  m.Boot();
  for (const ControlMessage& message : bad) {
    for (int i = 0; i < 50; ++i) {
      (void)m.device.Tell(message);
      m.Settle();
    }
    EXPECT_FALSE(m.down());
    EXPECT_TRUE(m.Works());
  }
  EXPECT_EQ(m.rings.host.sessions, 1u);
  (void)m.device.Tell({.id = 1, .event = Event::kDeviceRemove});
  m.Settle();
  EXPECT_TRUE(m.down());
}

TEST(VsockDriver, given_up) {
  SerialMachine m;
  m.Boot();
  ASSERT_TRUE(m.Works());
  m.driver->Fail();
  EXPECT_TRUE(m.down());
  EXPECT_EQ(m.device.status, 0u);
  m.driver->OnSignals(~uint64_t{0});
  EXPECT_TRUE(m.down());
  m.Boot();  // an upgrade, or the next run
  EXPECT_FALSE(m.down());
  EXPECT_TRUE(m.Works());
}

}  // namespace
}  // namespace atoll::vsock_driver
