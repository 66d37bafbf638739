// From the driver to the switch, wrong headers and buffers above all.
#include <gtest/gtest.h>

#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

// The header that a driver writes for a frame that it leaves the rest of to the device.
NetHeader HeaderOf(const FrameHeader& frame) {
  return {.flags = frame.flags,
          .gso_type = frame.gso_type,
          .hdr_len = frame.header_bytes,
          .gso_size = frame.gso_size,
          .csum_start = frame.checksum_start,
          .csum_offset = frame.checksum_offset};
}

TEST(NetTransmit, NET_20_NET_21_NET_22_NET_23_NET_24_header_and_frame_in_any_pieces) {
  const Bytes frame = MakeFrame(kBroadcast, 1000);
  for (const bool indirect : {false, true}) {
    Wire wire;
    NetMachine m(wire);
    ASSERT_TRUE(m.Live(indirect ? kAllFeatures : kAllFeatures & ~virtio::kFeatureIndirectDesc));
    const std::vector<std::vector<size_t>> splits = {
        {70000},
        {12, 70000},
        {1, 70000},
        {11, 2, 70000},
        {5, 5, 5, 70000},
        {13, 1, 70000},
        {12, 1, 1, 1, 70000},
        {100},
        {12, 14, 70000},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 70000}};
    for (const auto& pieces : splits) {
      m.Send(frame, {}, pieces);
      const auto used = m.tx().PopUsed();
      ASSERT_TRUE(used);
      EXPECT_EQ(used->length, 0u);
      const auto sent = wire.Take();
      ASSERT_TRUE(sent);
      EXPECT_EQ(sent->second, frame);
      EXPECT_EQ(sent->first.bytes, frame.size());
    }
    if (indirect) {
      m.tx().AddIndirect({{m.Store(Bytes(7)), 7, false},
                          {m.Store(Bytes(5)), 5, false},
                          {m.Store(frame), 1000, false}});
      m.tx().Notify();
      EXPECT_TRUE(m.tx().PopUsed());
      EXPECT_EQ(wire.Take()->second, frame);
    }
    EXPECT_FALSE(wire.Take());
  }
}

TEST(NetTransmit, NET_25_NET_26_NET_28_fields_without_meaning_are_not_passed_on) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  const Bytes frame = MakeFrame(kBroadcast);
  // Every flag but NEEDS_CSUM; fields that would be wrong if they counted.
  const auto sent = m.SendAndTake(frame, {.flags = 0xfe,
                                          .hdr_len = 0xffff,
                                          .gso_size = 7,
                                          .csum_start = 0xffff,
                                          .csum_offset = 0xffff,
                                          .num_buffers = 0xffff});
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->second, frame);
  EXPECT_EQ(sent->first.flags, 0);
  EXPECT_EQ(sent->first.gso_type, 0);
  EXPECT_EQ(sent->first.gso_size, 0);
  EXPECT_EQ(sent->first.header_bytes, 0);
  EXPECT_EQ(sent->first.checksum_start, 0);
  EXPECT_EQ(sent->first.checksum_offset, 0);
}

TEST(NetTransmit, NET_29_NET_30_NET_32_unsegmented_packets_pass_whole) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  for (const bool ipv6 : {false, true}) {
    for (const uint8_t ecn : Bytes{0, 0x80}) {
      for (const uint16_t hdr_len : std::vector<uint16_t>{0, 66, 65535}) {
        const net::TcpFrame tcp{.ipv6 = ipv6, .payload = 60000};
        NetHeader header = HeaderOf(tcp.Header(1448));
        header.gso_type |= ecn;
        header.hdr_len = hdr_len;
        const auto sent = m.SendAndTake(tcp.Make(), header);
        ASSERT_TRUE(sent);
        EXPECT_EQ(sent->second, tcp.Make());
        EXPECT_EQ(sent->first.flags, FrameHeader::kNeedsChecksum);
        EXPECT_EQ(sent->first.gso_type, header.gso_type);
        EXPECT_EQ(sent->first.gso_size, 1448);
        EXPECT_EQ(sent->first.checksum_start, header.csum_start);
        EXPECT_EQ(sent->first.checksum_offset, 16);
      }
    }
  }
  const net::TcpFrame longest{.tcp_options = 0, .payload = 65550 - 54};
  EXPECT_EQ(m.SendAndTake(longest.Make(), HeaderOf(longest.Header(1448)))->second, longest.Make());
}

TEST(NetTransmit, NET_33_NET_34_a_full_ring_holds_frames_back_in_order) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live(kAllFeatures, 256));
  const uint64_t header = m.Allocate(12);
  const uint64_t space = m.Allocate(1600);
  uint32_t sent = 0;
  uint32_t taken = 0;
  const auto send = [&] {
    const uint64_t frame = m.Store(MakeFrame(sent, 1500));
    m.tx().Add({{header, 12, false}, {frame, 1500, false}});
    ++sent;
  };
  for (int i = 0; i < 128; ++i) send();
  m.Doorbell(1);
  ASSERT_TRUE(m.Pump());
  while (m.tx().PopUsed()) {
  }
  // The ring has room for 344 of these.
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 110; ++i) send();
    m.Doorbell(1);
    ASSERT_TRUE(m.Pump());
    while (m.tx().PopUsed()) {
    }
  }
  EXPECT_LT(m.tx().last_used, sent);
  const uint16_t before = m.tx().last_used;
  m.Doorbell(1);
  EXPECT_EQ(m.tx().UsedIndex(), before);
  EXPECT_FALSE(m.broken());
  // The switch goes on, and so does the device, once for each signal.
  while (taken < sent) {
    const auto frame = wire.Take();
    if (!frame.has_value()) {
      ASSERT_TRUE(m.tx().UsedIndex() != before);
      ADD_FAILURE() << "a frame is lost";
      break;
    }
    EXPECT_EQ(frame->second, MakeFrame(taken, 1500));
    ++taken;
    if (taken % 50 == 0 && wire.from_device().WriterWaits()) m.SignalOfSwitch();
  }
  EXPECT_EQ(m.tx().UsedIndex(), static_cast<uint16_t>(sent));
  EXPECT_FALSE(wire.Take());
  (void)space;
}

TEST(NetTransmit, one_signal_for_a_batch_and_only_if_the_switch_waits) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  wire.signals.count = 0;
  const auto add = [&] {
    m.tx().Add({{m.Allocate(12), 12, false}, {m.Store(MakeFrame(kBroadcast)), 60, false}});
  };
  for (int i = 0; i < 5; ++i) add();
  m.Doorbell(1);
  EXPECT_EQ(wire.signals.count, 0);  // it is at work
  while (wire.Take()) {
  }
  ASSERT_FALSE(wire.from_device().Wait());
  for (int i = 0; i < 5; ++i) add();
  m.Doorbell(1);
  EXPECT_EQ(wire.signals.count, 1);
  EXPECT_EQ(m.tx().UsedIndex(), 10u);
}

// ---- hostile drivers: what is wrong is dropped, its buffer used, and the next frame passes

class BadFrames : public testing::Test {
 protected:
  void ExpectDropped(const Bytes& frame, const NetHeader& header, const char* what) {
    SCOPED_TRACE(what);
    const uint64_t before = m_.model().counters().sent_bad;
    EXPECT_FALSE(m_.SendAndTake(frame, header));
    EXPECT_EQ(m_.model().counters().sent_bad, before + 1);
    EXPECT_FALSE(m_.broken());
    EXPECT_TRUE(Works(m_));
  }
  Wire wire_;
  NetMachine m_{wire_};
};

TEST_F(BadFrames, NET_78_NET_79_lengths) {
  ASSERT_TRUE(m_.Live());
  for (size_t bytes = 0; bytes < 14; ++bytes) {
    ExpectDropped(Bytes(bytes), {}, "shorter than an Ethernet header");
  }
  for (uint32_t bytes = 1; bytes < 12; ++bytes) {
    SCOPED_TRACE(bytes);
    m_.tx().Add({{m_.Allocate(bytes), bytes, false}});
    m_.tx().Notify();
    EXPECT_TRUE(m_.tx().PopUsed());
    EXPECT_FALSE(wire_.Take());
  }
  const net::TcpFrame tcp{.tcp_options = 0, .payload = 65551 - 54};
  ExpectDropped(tcp.Make(), HeaderOf(tcp.Header(1448)), "longer than any frame");
  const uint64_t large = m_.Allocate(1 << 20);
  for (const uint32_t bytes : {65563u, 131072u, 1u << 20}) {
    m_.tx().Add({{large, bytes, false}});
    m_.tx().Notify();
    EXPECT_TRUE(m_.tx().PopUsed());
    EXPECT_FALSE(wire_.Take());
  }
  EXPECT_TRUE(Works(m_));
}

TEST_F(BadFrames, NET_80_checksum_beyond_the_packet) {
  ASSERT_TRUE(m_.Live());
  const Bytes frame = MakeFrame(kBroadcast, 60);
  const auto header = [](uint16_t start, uint16_t offset) {
    return NetHeader{
        .flags = FrameHeader::kNeedsChecksum, .csum_start = start, .csum_offset = offset};
  };
  ExpectDropped(frame, header(43, 16), "one byte beyond");
  ExpectDropped(frame, header(59, 0), "one byte beyond by start");
  ExpectDropped(frame, header(0xffff, 0), "start");
  ExpectDropped(frame, header(14, 0xffff), "offset");
  ExpectDropped(frame, header(0xffff, 0xffff), "a sum that does not fit 16 bits");
  EXPECT_TRUE(m_.SendAndTake(frame, header(42, 16)));
}

TEST_F(BadFrames, NET_81_segmentation_that_was_not_negotiated_or_makes_no_sense) {
  const net::TcpFrame v4{.payload = 3000};
  const net::TcpFrame v6{.ipv6 = true, .payload = 3000};
  const NetHeader good4 = HeaderOf(v4.Header(1000));
  const NetHeader good6 = HeaderOf(v6.Header(1000));
  ASSERT_TRUE(m_.Live());
  for (const int type : {2, 3, 5, 6, 7, 0x80, 0x83, 0x40, 0x41, 0xff}) {
    NetHeader header = good4;
    header.gso_type = static_cast<uint8_t>(type);
    ExpectDropped(v4.Make(), header, "type");
  }
  NetHeader header = good4;
  header.flags = 0;
  ExpectDropped(v4.Make(), header, "without NEEDS_CSUM");
  header = good4;
  header.gso_size = 0;
  ExpectDropped(v4.Make(), header, "gso_size 0");
  ASSERT_TRUE(m_.Live(kAllFeatures & ~kFeatureHostTso4));
  ExpectDropped(v4.Make(), good4, "no HOST_TSO4");
  EXPECT_TRUE(m_.SendAndTake(v6.Make(), good6));
  ASSERT_TRUE(m_.Live(kAllFeatures & ~kFeatureHostTso6));
  ExpectDropped(v6.Make(), good6, "no HOST_TSO6");
  EXPECT_TRUE(m_.SendAndTake(v4.Make(), good4));
  ASSERT_TRUE(m_.Live(kAllFeatures & ~kFeatureHostEcn));
  header = good4;
  header.gso_type |= FrameHeader::kGsoEcn;
  ExpectDropped(v4.Make(), header, "no HOST_ECN");
  ASSERT_TRUE(m_.Live(kAllFeatures &
                      ~(kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn | kFeatureCsum)));
  ExpectDropped(MakeFrame(kBroadcast),
                {.flags = FrameHeader::kNeedsChecksum, .csum_start = 14, .csum_offset = 2},
                "no CSUM");
}

TEST_F(BadFrames, NET_82_header_length_that_lies) {
  ASSERT_TRUE(m_.Live());
  const net::TcpFrame tcp{.payload = 3000};
  for (const uint16_t length : std::vector<uint16_t>{0, 1, 13, 3066, 3067, 65535}) {
    NetHeader header = HeaderOf(tcp.Header(1000));
    header.hdr_len = length;
    EXPECT_EQ(m_.SendAndTake(tcp.Make(), header)->second, tcp.Make());
  }
}

TEST_F(BadFrames, NET_84_buffers_that_are_not_there_or_writable) {
  ASSERT_TRUE(m_.Live());
  m_.tx().Add({{m_.ram_end() - 30, 100, false}});
  m_.tx().Notify();
  EXPECT_TRUE(m_.tx().PopUsed());
  m_.tx().Add({{m_.Allocate(12), 12, false}, {0x1000, 100, false}});
  m_.tx().Notify();
  EXPECT_TRUE(m_.tx().PopUsed());
  EXPECT_FALSE(wire_.Take());
  EXPECT_TRUE(Works(m_));
  m_.tx().Add({{m_.Allocate(100), 100, false}, {m_.Allocate(4), 4, true}});
  m_.tx().Notify();
  EXPECT_FALSE(m_.tx().PopUsed());
  EXPECT_TRUE(m_.broken());
  EXPECT_FALSE(wire_.Take());
  EXPECT_TRUE(m_.Live() && Works(m_));
}

TEST_F(BadFrames, NET_92_what_is_checked_is_what_is_sent) {
  ASSERT_TRUE(m_.Live());
  // Header and frame change between any two passes; the device's copy is the one that it checked.
  const uint64_t header = m_.Allocate(12);
  const uint64_t frame = m_.Store(MakeFrame(kBroadcast, 60));
  m_.tx().Add({{header, 12, false}, {frame, 60, false}});
  m_.tx().Notify();
  m_.Fill(header, 12, 0xff);
  m_.Fill(frame, 60, 0xff);
  const auto sent = wire_.Take();
  EXPECT_EQ(sent->second, MakeFrame(kBroadcast, 60));
  EXPECT_EQ(sent->first.flags, 0);
}

}  // namespace
}  // namespace atoll::virtio_net
