// From the switch to the driver.
#include <gtest/gtest.h>

#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

constexpr uint64_t kNoMerge = kAllFeatures & ~kFeatureMrgRxbuf;
constexpr uint64_t kGuestTso = kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn;
constexpr uint64_t kNoGuestCsum = kAllFeatures & ~(kGuestTso | kFeatureGuestCsum);

// What is on a device's page when nothing of the frame's meaning is left to the driver.
void ExpectPlain(const NetHeader& header) {
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.gso_type, 0);
  EXPECT_EQ(header.gso_size, 0);
  EXPECT_EQ(header.hdr_len, 0);
  EXPECT_EQ(header.csum_start, 0);
  EXPECT_EQ(header.csum_offset, 0);
}

TEST(NetReceive, NET_20_NET_37_NET_42_NET_55_one_buffer_for_one_frame) {
  for (const uint64_t features : {kAllFeatures, kNoMerge}) {
    Wire wire;
    NetMachine m(wire);
    ASSERT_TRUE(m.Live(features));
    m.GiveBuffers(8, 2048);
    for (const size_t bytes : {14u, 60u, 61u, 1000u, 1514u}) {
      const auto packet = m.GiveAndReceive(MakeFrame(kMac, bytes));
      ASSERT_TRUE(packet);
      EXPECT_EQ(packet->frame, MakeFrame(kMac, bytes));
      EXPECT_EQ(packet->lengths, std::vector<uint32_t>{static_cast<uint32_t>(bytes + 12)});
      EXPECT_EQ(packet->header.num_buffers, 1);
      ExpectPlain(packet->header);
    }
    EXPECT_TRUE(m.line.high);
  }
}

TEST(NetReceive, NET_21_header_and_frame_over_any_descriptors) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(kNoMerge));
  const Bytes frame = MakeFrame(kMac, 300);
  for (const std::vector<uint32_t>& pieces :
       {std::vector<uint32_t>{5, 7, 2000}, {12, 2000}, {1, 1, 1, 1, 2000}, {20, 2000}}) {
    std::vector<Buffer> chain;
    for (const uint32_t bytes : pieces) chain.push_back({m.Allocate(bytes, 1), bytes, true});
    m.rx().Add(chain);
    ASSERT_TRUE(wire.Give(frame));
    m.SignalOfSwitch();
    const auto used = m.rx().PopUsed();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->length, 312u);
    Bytes all;
    for (const Buffer& buffer : chain) net::Append(all, m.Fetch(buffer.address, buffer.length));
    EXPECT_EQ(Bytes(all.begin() + 12, all.begin() + 312), frame);
    EXPECT_EQ(all[10] + 256 * all[11], 1);
  }
}

TEST(NetReceive, NET_38_without_merging_a_frame_that_does_not_fit_is_dropped_whole) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(kNoMerge));
  m.GiveBuffers(1, 512);
  EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac, 501)));
  EXPECT_EQ(m.model().counters().received_too_long, 1u);
  const auto packet = m.GiveAndReceive(MakeFrame(kMac, 500));
  ASSERT_TRUE(packet);  // in the buffer that was not used
  EXPECT_EQ(packet->frame, MakeFrame(kMac, 500));
}

TEST(NetReceive, NET_37_NET_39_NET_40_NET_42_merged_buffers_are_full_and_shown_at_once) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  const net::TcpFrame tcp{.payload = 20000};
  const Bytes frame = tcp.Make();
  m.GiveBuffers(3, 1500);
  m.GiveBuffers(40, 700);
  ASSERT_TRUE(wire.Give(frame, tcp.Header(1448)));
  uint16_t shown_at_once = 0;
  m.line.on_set = [&](bool high) {
    if (high) shown_at_once = m.rx().UsedIndex();
  };
  m.SignalOfSwitch();
  const auto packet = m.Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->frame, frame);
  const size_t count = 3 + (12 + frame.size() - 4500 + 699) / 700;
  EXPECT_EQ(packet->header.num_buffers, count);
  EXPECT_EQ(shown_at_once, count);
  for (size_t i = 0; i + 1 < count; ++i) EXPECT_EQ(packet->lengths[i], i < 3 ? 1500u : 700u);
  EXPECT_FALSE(m.Receive());
}

TEST(NetReceive, NET_41_NET_52_buffers_that_run_out_are_kept_and_the_frame_waits) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  const net::TcpFrame tcp{.payload = 5000};
  m.GiveBuffers(3, 1500);
  EXPECT_FALSE(m.GiveAndReceive(tcp.Make(), tcp.Header(1448)));
  EXPECT_EQ(m.rx().UsedIndex(), 0);
  EXPECT_EQ(m.rx().AvailEvent(), 3);  // the driver is to notify of the next
  m.GiveBuffers(1, 1500);
  m.rx().Notify();
  const auto packet = m.Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->frame, tcp.Make());
  EXPECT_EQ(packet->header.num_buffers, 4);
  // The same without any buffer, and several frames.
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(wire.Give(MakeFrame(kMac, 100 + i)));
  m.SignalOfSwitch();
  EXPECT_FALSE(m.Receive());
  m.GiveBuffers(3, 1500);
  m.rx().Notify();
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(m.Receive()->frame, MakeFrame(kMac, 100 + i));
}

TEST(NetReceive, NET_41_a_packet_larger_than_all_buffers_there_can_be_is_dropped) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(kAllFeatures, 8));
  m.GiveBuffers(8, 100);
  const net::TcpFrame tcp{.payload = 5000};
  EXPECT_FALSE(m.GiveAndReceive(tcp.Make(), tcp.Header(1448)));
  EXPECT_EQ(m.model().counters().received_too_long, 1u);
  EXPECT_EQ(m.GiveAndReceive(MakeFrame(kMac, 700))->header.num_buffers, 8);
}

TEST(NetReceive, NET_27_NET_43_without_guest_csum_checksums_are_complete) {
  Wire wire;
  NetMachine m(wire);
  // Over buffers that cut the checksum field in every way.
  for (const uint32_t buffer : {2048u, 61u, 62u, 63u, 64u}) {
    for (const bool ipv6 : {false, true}) {
      ASSERT_TRUE(m.Live(kNoGuestCsum));
      m.GiveBuffers(60, buffer);
      const net::TcpFrame tcp{.ipv6 = ipv6, .payload = 1000};
      FrameHeader header = tcp.Header(0);
      header.gso_type = 0;
      const auto packet = m.GiveAndReceive(tcp.Make(), header);
      ASSERT_TRUE(packet);
      ExpectPlain(packet->header);
      EXPECT_TRUE(tcp.ChecksumsHold(packet->frame));
    }
  }
}

TEST(NetReceive, NET_46_NET_47_NET_48_unsegmented_packets_for_those_who_take_them) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  for (const bool ipv6 : {false, true}) {
    for (const uint8_t ecn : Bytes{0, 0x80}) {
      m.GiveBuffers(20, 4096);
      const net::TcpFrame tcp{.ipv6 = ipv6, .payload = 50000};
      FrameHeader header = tcp.Header(1448);
      header.gso_type |= ecn;
      const auto packet = m.GiveAndReceive(tcp.Make(), header);
      ASSERT_TRUE(packet);
      EXPECT_EQ(packet->frame, tcp.Make());
      EXPECT_EQ(packet->header.flags, FrameHeader::kNeedsChecksum);
      EXPECT_EQ(packet->header.gso_type, header.gso_type);
      EXPECT_EQ(packet->header.gso_size, 1448);
      EXPECT_EQ(packet->header.hdr_len, tcp.header_bytes());
      EXPECT_EQ(packet->header.csum_start, tcp.transport());
      EXPECT_EQ(packet->header.csum_offset, 16);
      while (m.rx().PopUsed()) {
      }
    }
  }
}

// With `features` the packet comes in segments of at most 1000 bytes of payload.
void ExpectSegments(uint64_t features, const net::TcpFrame& tcp, uint8_t gso_type, bool complete) {
  SCOPED_TRACE(features);
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(features));
  m.GiveBuffers(4, 2048);
  FrameHeader header = tcp.Header(1000);
  header.gso_type = gso_type;
  ASSERT_TRUE(wire.Give(tcp.Make(), header));
  ASSERT_TRUE(wire.Give(MakeFrame(kMac)));
  m.SignalOfSwitch();
  Bytes payload;
  const Bytes whole = tcp.Make();
  const size_t count = (tcp.payload + 999) / 1000;
  for (size_t i = 0; i < count; ++i) {
    auto packet = m.Receive();
    if (!packet) {  // buffers ran out in the middle
      m.GiveBuffers(4, 2048);
      m.rx().Notify();
      packet = m.Receive();
    }
    ASSERT_TRUE(packet) << i;
    EXPECT_EQ(packet->header.num_buffers, 1);
    EXPECT_EQ(packet->header.gso_type, 0);
    net::TcpFrame segment = tcp;
    segment.payload = packet->frame.size() - tcp.header_bytes();
    EXPECT_LE(segment.payload, 1000u);
    if (complete) {
      ExpectPlain(packet->header);
      EXPECT_TRUE(segment.ChecksumsHold(packet->frame));
    } else {
      EXPECT_EQ(packet->header.flags, FrameHeader::kNeedsChecksum);
      EXPECT_EQ(packet->header.csum_start, tcp.transport());
    }
    EXPECT_EQ(net::Get(packet->frame, tcp.transport() + 4, 4),
              static_cast<uint32_t>(tcp.sequence + payload.size()));
    payload.insert(payload.end(),
                   packet->frame.begin() + static_cast<ptrdiff_t>(tcp.header_bytes()),
                   packet->frame.end());
  }
  EXPECT_EQ(payload,
            Bytes(whole.begin() + static_cast<ptrdiff_t>(tcp.header_bytes()), whole.end()));
  m.GiveBuffers(1, 2048);
  m.rx().Notify();
  EXPECT_EQ(m.Receive()->frame, MakeFrame(kMac));
}

TEST(NetReceive,
     NET_30_NET_32_NET_44_NET_45_NET_51_segments_for_those_who_do_not_take_packets_whole) {
  const net::TcpFrame v4{.payload = 9500};
  const net::TcpFrame v6{.ipv6 = true, .payload = 9500};
  ExpectSegments(kAllFeatures & ~kFeatureGuestTso4, v4, FrameHeader::kGsoTcp4, false);
  ExpectSegments(kAllFeatures & ~kFeatureGuestTso6, v6, FrameHeader::kGsoTcp6, false);
  ExpectSegments(kAllFeatures & ~kFeatureGuestEcn, v4, FrameHeader::kGsoTcp4 | FrameHeader::kGsoEcn,
                 false);
  for (const auto& tcp : {v4, v6}) {
    const uint8_t type = tcp.ipv6 ? FrameHeader::kGsoTcp6 : FrameHeader::kGsoTcp4;
    ExpectSegments(kNoGuestCsum, tcp, type, true);
    ExpectSegments(kNoGuestCsum & ~kFeatureMrgRxbuf, tcp, type, true);
    ExpectSegments(kAllFeatures & ~kGuestTso, tcp, type, false);
    ExpectSegments(kBase, tcp, type, true);
  }
}

TEST(NetReceive, NET_43_NET_49_NET_50_flags_that_the_driver_gets) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(8, 2048);
  // DATA_VALID is the switch's word; every other flag is nobody's.
  for (const uint8_t flags : Bytes{FrameHeader::kDataValid, 4, 0xf8, 0xfe}) {
    const auto packet = m.GiveAndReceive(MakeFrame(kMac), {.flags = flags, .flow = 77});
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->header.flags, flags & FrameHeader::kDataValid);
  }
  ASSERT_TRUE(m.Live(kNoGuestCsum));
  m.GiveBuffers(1, 2048);
  const auto packet = m.GiveAndReceive(MakeFrame(kMac), {.flags = FrameHeader::kDataValid});
  ASSERT_TRUE(packet);
  ExpectPlain(packet->header);
}

TEST(NetReceive, NET_54_nothing_but_the_frame_is_written) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  const uint64_t buffer = m.Allocate(2048);
  m.Fill(buffer, 2048, 0xa5);
  m.rx().Add({{buffer, 2048, true}});
  ASSERT_TRUE(m.GiveAndReceive(MakeFrame(kMac, 20)));
  EXPECT_EQ(m.Fetch(buffer + 32, 2048 - 32), Bytes(2048 - 32, 0xa5));
}

TEST(NetReceive, NET_53_a_switch_that_lies_harms_nobody) {
  Wire wire;
  NetMachine m(wire);
  const Bytes frame = MakeFrame(kMac, 60);
  for (const uint64_t features : {kAllFeatures, kNoGuestCsum, kBase}) {
    ASSERT_TRUE(m.Live(features));
    m.GiveBuffers(40, 2048);
    for (const uint8_t type : Bytes{1, 4, 0x81, 0x84, 3, 5, 0xff}) {
      for (const uint8_t flags : Bytes{0, 1}) {
        FrameHeader header{.flags = flags,
                           .gso_type = type,
                           .header_bytes = 0xffff,
                           .gso_size = 0,
                           .checksum_start = 0xfff0,
                           .checksum_offset = 0xfff0};
        ASSERT_TRUE(wire.Give(frame, header));
        header.gso_type = 0;
        ASSERT_TRUE(wire.Give(frame, header));
      }
    }
    m.SignalOfSwitch();
    EXPECT_FALSE(m.broken());
    while (m.Receive()) {
    }
    ASSERT_TRUE(Works(m));
  }
  // The ring itself is nonsense.
  std::ranges::fill(wire.port().subspan(net::kRingBytes, 128), std::byte{0x77});
  m.SignalOfSwitch();
  EXPECT_FALSE(m.broken());
}

TEST(NetReceive, NET_84_readable_receive_buffers_break_the_queue) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.rx().Add({{m.Allocate(100), 100, false}, {m.Allocate(2000), 2000, true}});
  EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac)));
  EXPECT_TRUE(m.broken());
  EXPECT_TRUE(m.Live() && Works(m));
  m.rx().Add({{m.ram_end() - 100, 2000, true}});
  EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac)));
  EXPECT_TRUE(m.broken());
  EXPECT_TRUE(m.Live() && Works(m));
}

TEST(NetReceive, NET_85_receive_buffers_shorter_than_the_header_break_the_queue) {
  for (const uint64_t features : {kAllFeatures, kNoMerge}) {
    Wire wire;
    NetMachine m(wire);
    ASSERT_TRUE(m.Live(features));
    const uint64_t buffer = m.Allocate(11);
    m.Fill(buffer, 11, 0xa5);
    m.rx().Add({{buffer, 11, true}});
    EXPECT_FALSE(m.GiveAndReceive(MakeFrame(kMac)));
    EXPECT_EQ(m.Fetch(buffer, 11), Bytes(11, 0xa5));
    EXPECT_TRUE(m.broken());
    EXPECT_TRUE(m.Live() && Works(m));
  }
}

TEST(NetReceive, frames_for_nobody_are_drained) {
  Wire wire;
  NetMachine m(wire);
  // Before the driver is there, far more than the ring holds; the switch always finds room.
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(wire.Give(MakeFrame(kMac, 1500)));
    if (wire.to_device().ReaderWaits()) m.SignalOfSwitch();
  }
  EXPECT_EQ(m.model().counters().received_not_live, 2000u);
  ASSERT_TRUE(m.Live());
  EXPECT_TRUE(Works(m));
  // What came for the driver before a reset is not for the one after it.
  ASSERT_TRUE(wire.Give(MakeFrame(kMac, 99)));
  m.SignalOfSwitch();
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(1, 2048);
  m.SignalOfSwitch();
  EXPECT_FALSE(m.Receive());
  EXPECT_EQ(m.GiveAndReceive(MakeFrame(kMac))->frame, MakeFrame(kMac));
}

TEST(NetReceive, one_interrupt_and_one_signal_for_a_batch) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(20, 2048);
  ASSERT_TRUE(wire.to_device().ReaderWaits());
  int sets = 0;
  m.line.on_set = [&](bool) { ++sets; };
  wire.signals.count = 0;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(wire.Give(MakeFrame(kMac, 100)));
  m.SignalOfSwitch();
  EXPECT_EQ(sets, 1);
  EXPECT_EQ(wire.signals.count, 0);
  EXPECT_TRUE(wire.to_device().ReaderWaits());
}

}  // namespace
}  // namespace atoll::virtio_net
