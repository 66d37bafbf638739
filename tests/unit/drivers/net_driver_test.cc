// The uplink: frames between the switch's ring and an interface that lies, hangs or is missing.
#include "services/net-driver/net_driver.h"

#include <gtest/gtest.h>

#include "tests/unit/drivers/net_machine.h"

namespace atoll::net_driver {
namespace {

using net::TcpFrame;

TEST(NetDriver, frames_pass_in_both_directions) {
  NetMachine m;
  m.Boot();
  EXPECT_GE(m.vswitch.Taken(), 1);  // in case an earlier instance did not
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(m.Works()) << i;
  EXPECT_EQ(m.driver().counters().sent, 1000u);
  EXPECT_EQ(m.driver().counters().received, 1000u);
  EXPECT_EQ(m.device.malformed, 0);
  EXPECT_EQ(m.device.bad_addresses, 0);
  EXPECT_TRUE(m.log.lines.empty());
  EXPECT_EQ(m.last_header.flags, 0);
  EXPECT_EQ(m.last_header.gso_type, 0);
}

TEST(NetDriver, frames_of_all_sizes_keep_their_order) {
  NetMachine m;
  m.Boot();
  uint32_t got = 0;
  for (uint32_t bytes = net::kMinFrameBytes; bytes <= kMaxWireBytes; ++bytes) {
    ASSERT_TRUE(m.Put(NetMachine::Pattern(bytes, 3)));
    if (bytes % 50 == 0) m.Tell();
  }
  m.Signal(kSwitchSignal);
  ASSERT_EQ(m.device.sent.size(), kMaxWireBytes - net::kMinFrameBytes + 1);
  for (const auto& sent : m.device.sent) {
    EXPECT_EQ(sent.frame, NetMachine::Pattern(net::kMinFrameBytes + got++, 3));
  }
}

TEST(NetDriver, what_is_too_long_for_a_wire_is_dropped) {
  NetMachine m;
  m.Boot();
  ASSERT_TRUE(m.Put(NetMachine::Pattern(kMaxWireBytes + 1, 0)));
  ASSERT_TRUE(m.Put(NetMachine::Pattern(net::kMaxFrameBytes, 0)));
  m.Tell();
  EXPECT_TRUE(m.device.sent.empty());
  EXPECT_EQ(m.driver().counters().refused, 2u);
  EXPECT_TRUE(m.Works());
}

TEST(NetDriver, NET_30_segments_and_checksums_are_made_for_a_wire_without_offloads) {
  for (const bool ipv6 : {false, true}) {
    const TcpFrame tcp = {.ipv6 = ipv6, .payload = 60'000};
    NetMachine m;
    m.Boot();
    const Bytes whole = tcp.Make();
    ASSERT_TRUE(m.Put(tcp.Header(1400), whole));
    ASSERT_TRUE(m.Put(NetMachine::Pattern(60, 0)));
    m.Tell();
    ASSERT_EQ(m.device.sent.size(), 60'000 / 1400 + 1 + 1);
    size_t at = tcp.header_bytes();
    for (size_t i = 0; i + 1 < m.device.sent.size(); ++i) {
      const Bytes& frame = m.device.sent[i].frame;
      ASSERT_LE(frame.size(), kMaxWireBytes);
      EXPECT_TRUE(tcp.ChecksumsHold(frame)) << i;
      EXPECT_TRUE(std::equal(frame.begin() + static_cast<long>(tcp.header_bytes()), frame.end(),
                             whole.begin() + static_cast<long>(at)));
      at += frame.size() - tcp.header_bytes();
      EXPECT_EQ(m.device.sent[i].header.gso_type, 0);
      EXPECT_EQ(m.device.sent[i].header.flags, 0);
    }
    EXPECT_EQ(at, whole.size());
  }
}

TEST(NetDriver, a_packet_is_cut_over_several_turns_when_room_is_short) {
  NetMachine m;
  m.Boot();
  m.device.hold = true;
  const TcpFrame tcp = {.payload = 64'000};
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(m.Put(tcp.Header(536), tcp.Make()));
  m.Tell();
  EXPECT_EQ(m.device.sent.size(), NetworkInterface::kQueueSize);
  for (int i = 0; i < 100 && !m.device.held.empty(); ++i) {
    m.device.hold = false;
    (void)m.device.Serve();
    m.device.hold = true;
    m.Settle();
  }
  ASSERT_EQ(m.device.sent.size(), 4 * (64'000 / 536 + 1));
  uint64_t payload = 0;
  for (const auto& sent : m.device.sent) {
    EXPECT_TRUE(tcp.ChecksumsHold(sent.frame));
    payload += sent.frame.size() - tcp.header_bytes();
  }
  EXPECT_EQ(payload, 4 * 64'000u);
}

TEST(NetDriver, a_checksum_is_completed_or_left_to_a_device_that_does_it) {
  const TcpFrame tcp = {.payload = 1000};
  FrameHeader header = tcp.Header(0);
  header.gso_type = FrameHeader::kGsoNone;
  NetMachine m;
  m.Boot();
  ASSERT_TRUE(m.Put(header, tcp.Make()));
  m.Tell();
  EXPECT_TRUE(tcp.ChecksumsHold(m.device.sent.at(0).frame));
  EXPECT_EQ(m.device.sent[0].header.flags, 0);

  m.device.offered |= virtio_net::kFeatureCsum;
  m.Boot();
  ASSERT_TRUE(m.Put(header, tcp.Make()));
  m.Signal(kSwitchSignal);
  const auto& sent = m.device.sent.at(1);
  EXPECT_EQ(sent.frame, tcp.Make());
  EXPECT_EQ(sent.header.flags, FrameHeader::kNeedsChecksum);
  EXPECT_EQ(sent.header.csum_start, header.checksum_start);
  EXPECT_EQ(sent.header.csum_offset, header.checksum_offset);
}

TEST(NetDriver, a_device_that_segments_gets_the_packet_whole) {
  for (const bool ipv6 : {false, true}) {
    const TcpFrame tcp = {.ipv6 = ipv6, .payload = 60'000};
    NetMachine m;
    m.device.offered |= virtio_net::kFeatureCsum |
                        (ipv6 ? virtio_net::kFeatureHostTso6 : virtio_net::kFeatureHostTso4);
    m.Boot();
    ASSERT_TRUE(m.Put(tcp.Header(1400), tcp.Make()));
    FrameHeader ecn = tcp.Header(1400);
    ecn.gso_type |= FrameHeader::kGsoEcn;
    ASSERT_TRUE(m.Put(ecn, tcp.Make()));  // HOST_ECN is not there: cut here
    m.Tell();
    ASSERT_EQ(m.device.sent.size(), 1 + 60'000 / 1400 + 1);
    EXPECT_EQ(m.device.sent[0].frame, tcp.Make());
    EXPECT_EQ(m.device.sent[0].header.gso_size, 1400);
    EXPECT_EQ(m.device.sent[0].header.gso_type, tcp.Header(1400).gso_type);
    EXPECT_EQ(m.device.sent[0].header.hdr_len, tcp.header_bytes());
  }
}

TEST(NetDriver, segmentation_without_checksums_is_not_used) {
  NetMachine m;
  m.device.offered |= virtio_net::kFeatureHostTso4;
  m.Boot();
  const TcpFrame tcp = {.payload = 3000};
  ASSERT_TRUE(m.Put(tcp.Header(1400), tcp.Make()));
  m.Tell();
  EXPECT_EQ(m.device.sent.size(), 3u);
}

TEST(NetDriverHostile, offloads_that_lie_are_dropped) {
  for (const uint64_t features :
       {uint64_t{0}, virtio_net::kFeatureCsum | virtio_net::kFeatureHostTso4}) {
    NetMachine m;
    m.device.offered |= features;
    m.Boot();
    const TcpFrame tcp = {.payload = 3000};
    std::vector<FrameHeader> bad(8, tcp.Header(1400));
    bad[0].checksum_start = 0xffff;
    bad[1].checksum_offset = 0xffff;
    bad[2].flags = 0;
    bad[3].gso_size = 0;
    bad[4].gso_type = FrameHeader::kGsoTcp6;
    bad[5].gso_type = 0x7f;
    bad[6].checksum_start = 3;
    bad[7].gso_size = 9000;  // segments that are too long for the wire
    const size_t good = features == 0 ? 0 : 1;
    for (const FrameHeader& header : bad) {
      ASSERT_TRUE(m.Put(header, tcp.Make()));
      m.Tell();
    }
    EXPECT_LE(m.device.sent.size(), good);
    EXPECT_GE(m.driver().counters().refused, bad.size() - good);
    EXPECT_TRUE(m.Works());
  }
}

TEST(NetDriverHostile, a_ring_of_nonsense_is_passed_over) {
  NetMachine m;
  m.Boot();
  net::Random random(5);
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 64; ++i) {
      const size_t header_words = 40;  // the indices and flags of both rings
      const size_t at = random() % 3 == 0
                            ? (random() % 2) * net::kRingBytes + random() % header_words * 4
                            : random() % (net::kPortBytes / 4) * 4;
      const uint32_t value = random();
      std::memcpy(m.ring().data() + at, &value, 4);
    }
    m.Signal(kSwitchSignal);
    ASSERT_TRUE(m.settled);
  }
  EXPECT_EQ(m.device.bad_addresses, 0);
  std::memset(m.ring().data(), 0, m.ring().size());
  m.from_driver = net::FrameReader::Attach(m.ring().first(net::kRingBytes)).value();
  m.to_driver = net::FrameWriter::Attach(m.ring().subspan(net::kRingBytes)).value();
  m.Boot();
  EXPECT_TRUE(m.Works());
}

TEST(NetDriver, a_full_ring_costs_frames_of_the_wire_and_is_counted) {
  NetMachine m;
  m.Boot();
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(m.device.Receive(NetMachine::Pattern(1000, i)));
    m.Settle();
  }
  const auto& counters = m.driver().counters();
  EXPECT_GT(counters.full, 0u);
  EXPECT_EQ(counters.full + counters.received, 2000u);
  for (uint64_t i = 0; i < counters.received; ++i) {
    EXPECT_EQ(m.Take(), NetMachine::Pattern(1000, static_cast<int>(i)));
  }
  EXPECT_TRUE(m.Works());
}

TEST(NetDriver, frames_wait_in_the_ring_while_the_interface_has_no_room) {
  NetMachine m;
  m.Boot();
  m.device.hold = true;
  int put = 0;
  while (m.Put(NetMachine::Pattern(1514, put))) {
    ++put;
    m.Tell();
  }
  EXPECT_GT(put, 300);  // the ring and the interface are full
  m.vswitch.Taken();
  m.device.hold = false;
  m.Settle();
  EXPECT_GT(m.vswitch.Taken(), 0);  // it waits for room
  ASSERT_EQ(m.device.sent.size(), static_cast<size_t>(put));
  for (int i = 0; i < put; ++i) EXPECT_EQ(m.device.sent[i].frame, NetMachine::Pattern(1514, i));
  EXPECT_EQ(m.driver().counters().refused, 0u);
}

TEST(NetDriver, the_switch_is_signalled_once_for_a_batch_and_only_when_it_waits) {
  NetMachine m;
  m.Boot();
  m.vswitch.count = 0;
  (void)m.device.Serve();
  for (int i = 0; i < 10; ++i) (void)m.device.Receive(NetMachine::Pattern(100, i));
  m.Settle();
  EXPECT_EQ(m.vswitch.Taken(), 0);
  while (m.Take()) {
  }
  EXPECT_FALSE(m.from_driver.Wait());
  for (int i = 0; i < 10; ++i) (void)m.device.Receive(NetMachine::Pattern(100, i));
  m.Settle();
  EXPECT_EQ(m.vswitch.Taken(), 1);
}

// ---- the interface

TEST(NetFailure, a_machine_without_an_interface_leaves_the_switch_alone) {
  NetMachine m;
  m.has_interface = false;
  m.Boot();
  EXPECT_EQ(m.log.lines.size(), 1u);
  ASSERT_TRUE(m.Put(NetMachine::Pattern(60, 0)));
  EXPECT_FALSE(m.to_driver.ReaderWaits());
  m.Signal(kSwitchSignal | kTimerSignal);
  EXPECT_EQ(m.log.lines.size(), 1u);
}

TEST(NetFailure, an_interface_that_cannot_be_started) {
  const auto break_it = std::to_array<void (*)(FakeInterface&)>({
      [](FakeInterface& d) { d.device_id = 2; },
      [](FakeInterface& d) { d.version = 1; },
      [](FakeInterface& d) {
        d.never_resets = true;
        d.status = 15;
      },
      [](FakeInterface& d) { d.offered = 0; },
      [](FakeInterface& d) { d.refuse_features = true; },
      [](FakeInterface& d) { d.refuse_queue = true; },
      [](FakeInterface& d) { d.queue_max = 0; },
  });
  for (const auto& how : break_it) {
    NetMachine m;
    how(m.device);
    m.Boot();
    ASSERT_TRUE(m.Put(NetMachine::Pattern(60, 0)));
    m.Signal(kSwitchSignal | kIrqSignal);
    EXPECT_TRUE(m.device.sent.empty());
    EXPECT_EQ(m.log.lines.size(), 1u);
  }
}

TEST(NetFailure, an_interface_that_lies_is_reset_and_works_again) {
  const auto lies = std::to_array<void (*)(FakeInterface&)>({
      [](FakeInterface& d) { d.Give(0, 128, 100); },
      [](FakeInterface& d) { d.Give(1, 5, 0); },
      [](FakeInterface& d) { d.Give(0, 3, NetworkInterface::kReceiveBytes + 1); },
      [](FakeInterface& d) { d.SetUsedIndex(0, 300); },
      [](FakeInterface& d) { d.SetUsedIndex(1, 9); },
      [](FakeInterface& d) {
        d.Give(0, 3, 100);
        d.Give(0, 3, 100);
      },
      [](FakeInterface& d) {
        d.status |= virtio::kStatusNeedsReset;
        d.interrupt_status = virtio::kInterruptConfig;
      },
  });
  for (const auto& lie : lies) {
    NetMachine m;
    m.Boot();
    ASSERT_TRUE(m.Works());
    const int resets = m.device.resets;
    lie(m.device);
    m.Signal(kIrqSignal | kSwitchSignal);
    while (m.Take()) {
    }
    EXPECT_EQ(m.device.resets, resets + 1);
    EXPECT_EQ(m.log.lines.size(), 1u);
    EXPECT_TRUE(m.Works());
  }
}

TEST(NetFailure, one_that_only_lies_has_failed) {
  NetMachine m;
  m.Boot();
  for (int i = 0; i < 10; ++i) {
    m.device.Give(0, 500, 100);
    m.Signal(kIrqSignal);
  }
  EXPECT_EQ(m.log.lines.size(), 3u);  // two resets were granted
  EXPECT_EQ(m.device.status, 0u);
}

TEST(NetFailure, frames_that_are_too_short_are_dropped) {
  NetMachine m;
  m.Boot();
  for (const uint32_t written : {0u, 1u, 11u, 12u, 25u}) {
    ASSERT_TRUE(m.device.Receive(NetMachine::Pattern(60, 0), written));
    m.Settle();
    EXPECT_FALSE(m.Take().has_value());
  }
  EXPECT_TRUE(m.Works());
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(m.Works());  // no buffer was lost
}

TEST(NetFailure, an_interface_that_takes_nothing_is_reset) {
  NetMachine m;
  m.Boot();
  m.device.hold = true;
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(m.Put(NetMachine::Pattern(1000, i)));
  m.Signal(kSwitchSignal);
  m.Pass(kStuckSeconds - 1);
  EXPECT_TRUE(m.log.lines.empty());
  m.Pass(2);
  EXPECT_EQ(m.log.lines.size(), 1u);
  m.device.hold = false;
  m.Settle();
  EXPECT_TRUE(m.Works());
  m.Pass(60);
  EXPECT_EQ(m.log.lines.size(), 1u);
}

TEST(NetRestart, a_new_instance_takes_up_the_rings) {
  NetMachine m;
  m.Boot();
  ASSERT_TRUE(m.Works());
  ASSERT_TRUE(m.Put(NetMachine::Pattern(100, 7)));  // while nobody is there
  const int resets = m.device.resets;
  m.Boot();
  EXPECT_EQ(m.device.resets, resets + 1);
  EXPECT_EQ(m.device.sent.back().frame, NetMachine::Pattern(100, 7));
  EXPECT_TRUE(m.Works());
}

TEST(TransmitBuffer, places_never_overlap_and_all_room_comes_back) {
  TransmitBuffer buffer;
  net::Random random(9);
  struct Held {
    TransmitBuffer::Place place;
    uint32_t bytes;
  };
  std::vector<Held> held;
  uint32_t refused = 0;
  for (int step = 0; step < 100'000; ++step) {
    const uint32_t bytes = 26 + random() % (random() % 8 == 0 ? 65'536u : 1500u);
    if (const auto place = buffer.Find(bytes)) {
      ASSERT_LE(place->offset + bytes, TransmitBuffer::kCapacity);
      for (const Held& other : held) {
        ASSERT_TRUE(place->offset + bytes <= other.place.offset ||
                    other.place.offset + other.bytes <= place->offset);
      }
      buffer.Take();
      held.push_back({*place, bytes});
    } else {
      ++refused;
      ASSERT_FALSE(held.empty());
      while (!held.empty()) {
        std::swap(held[random() % held.size()], held.back());
        buffer.GiveBack(held.back().place.entry);
        held.pop_back();
        if (random() % 16 == 0) break;
      }
    }
  }
  EXPECT_GT(refused, 100u);
  for (const Held& one : held) buffer.GiveBack(one.place.entry);
  EXPECT_TRUE(buffer.empty());
  EXPECT_TRUE(buffer.Find(TransmitBuffer::kCapacity / 2).has_value());
}

}  // namespace
}  // namespace atoll::net_driver
