#include "services/net/offload.h"

#include <gtest/gtest.h>

#include "tests/unit/net/packets.h"

namespace atoll::net {
namespace {

std::expected<FrameHeader, OffloadFault> Validate(const FrameHeader& header, const Bytes& frame) {
  // A copy of just the head: what is beyond must not be looked at (ASan).
  const Bytes head(frame.begin(),
                   frame.begin() + static_cast<long>(std::min(frame.size(), kHeadBytes)));
  return ValidateOffload(header, View(head));
}

void ExpectFault(const FrameHeader& header, const Bytes& frame, OffloadFault fault) {
  const auto result = Validate(header, frame);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), fault);
}

TEST(ValidateOffload, NET_25_NET_55_a_plain_frame_keeps_its_size_and_flow_only) {
  const Bytes frame(60);
  const auto header = Validate({.bytes = 60,
                                .flags = 0xfe,  // DATA_VALID and unknown ones: a sender has no say
                                .header_bytes = 999,
                                .gso_size = 999,
                                .checksum_start = 999,
                                .checksum_offset = 999,
                                .flow = 5},
                               frame);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->bytes, 60u);
  EXPECT_EQ(header->flags, 0);
  EXPECT_EQ(header->gso_type, 0);
  EXPECT_EQ(header->header_bytes, 0);
  EXPECT_EQ(header->gso_size, 0);
  EXPECT_EQ(header->checksum_start, 0);
  EXPECT_EQ(header->checksum_offset, 0);
  EXPECT_EQ(header->flow, 5);
}

TEST(ValidateOffload, NET_79_frame_sizes) {
  for (const uint32_t bytes : {0u, 13u, 65551u, 0xffffffffu}) {
    ExpectFault({.bytes = bytes}, Bytes(60), OffloadFault::kFrameSize);
  }
  EXPECT_TRUE(Validate({.bytes = 14}, Bytes(14)).has_value());
  EXPECT_TRUE(Validate({.bytes = 65550}, Bytes(65550)).has_value());
}

TEST(ValidateOffload, NET_80_checksum_field_outside_the_packet) {
  const Bytes frame(100);
  const auto with = [](uint16_t start, uint16_t offset) {
    return FrameHeader{
        .bytes = 100, .flags = 1, .checksum_start = start, .checksum_offset = offset};
  };
  for (const auto& [start, offset] :
       std::initializer_list<std::pair<uint16_t, uint16_t>>{{99, 0},
                                                            {98, 1},
                                                            {34, 65},
                                                            {0xffff, 0},
                                                            {0, 0xffff},
                                                            {0xffff, 0xffff},
                                                            {0xffff, 0x65},
                                                            {0, 6},
                                                            {13, 6}}) {
    ExpectFault(with(start, offset), frame, OffloadFault::kChecksumRange);
  }
  for (const auto& [start, offset] :
       std::initializer_list<std::pair<uint16_t, uint16_t>>{{98, 0}, {34, 64}, {34, 16}, {14, 0}}) {
    const auto header = Validate(with(start, offset), frame);
    ASSERT_TRUE(header.has_value()) << start << " " << offset;
    EXPECT_EQ(header->flags, 1);
    EXPECT_EQ(header->checksum_start, start);
    EXPECT_EQ(header->checksum_offset, offset);
  }
}

TEST(ValidateOffload, NET_26_fields_are_not_used_without_the_flag) {
  const auto header =
      Validate({.bytes = 100, .checksum_start = 0xffff, .checksum_offset = 0xffff}, Bytes(100));
  ASSERT_TRUE(header.has_value());
}

TEST(ValidateOffload, NET_53_good_packets_pass_with_a_true_header_length) {
  for (const bool ipv6 : {false, true}) {
    for (const size_t tags : {0, 1, 2}) {
      for (const size_t options : {0, 8, 40}) {
        const TcpFrame packet{.ipv6 = ipv6, .tags = tags, .ip_options = options};
        FrameHeader given = packet.Header(1448);
        given.gso_type |= FrameHeader::kGsoEcn;
        given.header_bytes = 0xffff;  // NET_29, NET_82: a hint that lies
        const auto header = Validate(given, packet.Make());
        ASSERT_TRUE(header.has_value()) << ipv6 << tags << options;
        EXPECT_EQ(header->header_bytes, packet.header_bytes());
        EXPECT_EQ(header->gso_type, given.gso_type);
        EXPECT_EQ(header->gso_size, 1448);
        EXPECT_EQ(header->checksum_start, packet.transport());
        EXPECT_EQ(header->checksum_offset, 16);
      }
    }
  }
}

TEST(ValidateOffload, NET_82_a_header_length_that_lies_changes_nothing) {
  const TcpFrame packet;
  for (const uint16_t hint : std::initializer_list<uint16_t>{0, 1, 54, 4000, 0xffff}) {
    FrameHeader given = packet.Header(1448);
    given.header_bytes = hint;
    const auto header = Validate(given, packet.Make());
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(header->header_bytes, packet.header_bytes());
  }
}

TEST(ValidateOffload, NET_81_segmentation_types_and_sizes) {
  const TcpFrame packet;
  const Bytes frame = packet.Make();
  for (const int type : {2, 3, 5, 6, 7, 0x40, 0x41, 0x80, 0x83, 0x85, 0xff}) {
    FrameHeader header = packet.Header(1448);
    header.gso_type = static_cast<uint8_t>(type);
    ExpectFault(header, frame, OffloadFault::kGsoType);
  }
  FrameHeader header = packet.Header(1448);
  header.flags = 0;
  ExpectFault(header, frame, OffloadFault::kGsoChecksum);
  for (const uint16_t size : std::initializer_list<uint16_t>{0, 1, 8, 127}) {
    ExpectFault(packet.Header(size), frame, OffloadFault::kGsoSize);
  }
  EXPECT_TRUE(Validate(packet.Header(128), frame).has_value());
  EXPECT_TRUE(Validate(packet.Header(0xffff), frame).has_value());
}

TEST(ValidateOffload, NET_81_segmentation_with_another_checksum_than_tcps) {
  const TcpFrame packet;
  for (const int delta : {-1, 1, 14}) {
    FrameHeader header = packet.Header(1448);
    header.checksum_start = static_cast<uint16_t>(header.checksum_start + delta);
    ExpectFault(header, packet.Make(), OffloadFault::kGsoChecksum);
    header = packet.Header(1448);
    header.checksum_offset = static_cast<uint16_t>(header.checksum_offset + delta);
    ExpectFault(header, packet.Make(), OffloadFault::kGsoChecksum);
  }
}

struct Lie {
  const char* what;
  bool ipv6;
  size_t at;  // from the IP header
  size_t size;
  uint32_t value;
};

TEST(ValidateOffload, NET_83_headers_that_are_not_what_the_type_says) {
  const Lie lies[] = {
      {"EtherType is ARP", false, static_cast<size_t>(-2), 2, 0x0806},
      {"EtherType is IPv6", false, static_cast<size_t>(-2), 2, 0x86dd},
      {"version 6 in IPv4", false, 0, 1, 0x65},
      {"version 0", false, 0, 1, 0x05},
      {"IHL 4", false, 0, 1, 0x44},
      {"IHL 0", false, 0, 1, 0x40},
      {"IHL 15: TCP elsewhere", false, 0, 1, 0x4f},
      {"total length 0", false, 2, 2, 0},
      {"total length too long", false, 2, 2, 0xffff},
      {"total length too short", false, 2, 2, 100},
      {"UDP", false, 9, 1, 17},
      {"more fragments", false, 6, 2, 0x2000},
      {"a fragment's offset", false, 6, 2, 0x0001},
      {"TCP data offset 4", false, 32, 1, 0x40},
      {"TCP data offset 0", false, 32, 1, 0},
      {"EtherType is IPv4", true, static_cast<size_t>(-2), 2, 0x0800},
      {"version 4 in IPv6", true, 0, 1, 0x40},
      {"payload length 0", true, 4, 2, 0},
      {"payload length too long", true, 4, 2, 0xffff},
      {"UDP over IPv6", true, 6, 1, 17},
      {"fragment header", true, 6, 1, 44},
      {"routing header", true, 6, 1, 43},
      {"hop-by-hop header where TCP is", true, 6, 1, 0},
      {"data offset 4 over IPv6", true, 52, 1, 0x40},
  };
  for (const Lie& lie : lies) {
    const TcpFrame packet{.ipv6 = lie.ipv6};
    Bytes frame = packet.Make();
    Put(frame, packet.network() + lie.at, lie.size, lie.value);
    const auto result = Validate(packet.Header(1448), frame);
    EXPECT_FALSE(result.has_value()) << lie.what;
    // The next good one passes.
    EXPECT_TRUE(Validate(packet.Header(1448), packet.Make()).has_value());
  }
}

TEST(ValidateOffload, NET_83_type_of_the_other_ip_version) {
  for (const bool ipv6 : {false, true}) {
    const TcpFrame packet{.ipv6 = ipv6};
    FrameHeader header = packet.Header(1448);
    header.gso_type = ipv6 ? FrameHeader::kGsoTcp4 : FrameHeader::kGsoTcp6;
    ExpectFault(header, packet.Make(), OffloadFault::kGsoHeaders);
  }
}

TEST(ValidateOffload, NET_83_truncated_headers) {
  for (const bool ipv6 : {false, true}) {
    for (const size_t tags : {0, 2}) {
      const TcpFrame packet{.ipv6 = ipv6, .tags = tags, .ip_options = 8};
      const Bytes whole = packet.Make();
      for (size_t bytes = 14; bytes <= packet.header_bytes(); ++bytes) {
        Bytes frame(whole.begin(), whole.begin() + static_cast<long>(bytes));
        FrameHeader header = packet.Header(1448);
        header.bytes = static_cast<uint32_t>(bytes);
        // Even where the length field agrees.
        if (const size_t at = packet.network() + (ipv6 ? 4 : 2); at + 2 <= bytes) {
          Put(frame, at, 2, static_cast<uint32_t>(bytes - packet.network() - (ipv6 ? 40 : 0)));
        }
        ASSERT_FALSE(Validate(header, frame).has_value()) << bytes;
      }
    }
  }
}

TEST(ValidateOffload, NET_83_more_headers_than_are_looked_at) {
  TcpFrame packet{.ipv6 = true, .ip_options = 1600};  // one extension header of 1600 bytes
  ExpectFault(packet.Header(1448), packet.Make(), OffloadFault::kGsoHeaders);
  // Extension headers one after the other, each naming the next.
  packet.ip_options = 8 * 20;
  Bytes frame = packet.Make();
  for (size_t i = 0; i < 20; ++i)
    Put(frame, packet.network() + 40 + 8 * i, 2, i < 19 ? 0x3c00 : 0x0600);
  ExpectFault(packet.Header(1448), frame, OffloadFault::kGsoHeaders);
}

TEST(CompleteChecksum, NET_27_tcp_and_udp_packets_get_their_checksum) {
  for (const bool ipv6 : {false, true}) {
    for (const size_t payload : {0, 1, 2, 99, 1448, 60000}) {
      const TcpFrame packet{.ipv6 = ipv6, .tags = payload % 2, .payload = payload};
      Bytes frame = packet.Make();
      FrameHeader header = packet.Header(0);
      header.gso_type = 0;
      const auto checksum = FinalChecksum(header, View(frame));
      CompleteChecksum(Writable(frame), header);
      EXPECT_TRUE(packet.ChecksumsHold(frame)) << payload;
      EXPECT_EQ(header.flags, 0);
      EXPECT_EQ(header.checksum_start, 0);
      EXPECT_EQ(frame[packet.transport() + 16], static_cast<uint8_t>(checksum[0]));
      EXPECT_EQ(frame[packet.transport() + 17], static_cast<uint8_t>(checksum[1]));
    }
  }
}

TEST(CompleteChecksum, NET_27_zero_is_stored_as_its_other_form) {
  Bytes frame(18);
  Put(frame, 14, 4, 0x0000ffff);
  FrameHeader header{.bytes = 18, .flags = 1, .checksum_start = 14, .checksum_offset = 0};
  CompleteChecksum(Writable(frame), header);
  EXPECT_EQ(Get(frame, 14, 2), 0xffffu);
}

TEST(CompleteChecksum, NET_26_leaves_a_frame_alone_that_needs_none) {
  const Bytes frame = TcpFrame().Make();
  Bytes copy = frame;
  FrameHeader header = TcpFrame().Header(0);
  header.flags = 0;
  CompleteChecksum(Writable(copy), header);
  EXPECT_EQ(copy, frame);
}

TEST(CompleteChecksum, NET_80_never_reads_or_writes_past_the_packet) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes frame(14 + random() % 100);
    const auto edge = [&] {
      return static_cast<uint16_t>(random() % 2 == 0 ? random() % 130 : random());
    };
    FrameHeader header{.bytes = static_cast<uint32_t>(frame.size()),
                       .flags = 1,
                       .checksum_start = edge(),
                       .checksum_offset = edge()};
    CompleteChecksum(Writable(frame), header);
    EXPECT_EQ(header.flags, 0);
  }
}

}  // namespace
}  // namespace atoll::net
