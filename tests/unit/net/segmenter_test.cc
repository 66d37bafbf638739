#include "services/net/segmenter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/fuzz/offload_fuzz.h"
#include "tests/unit/net/packets.h"

namespace atoll::net {
namespace {

std::vector<std::pair<FrameHeader, Bytes>> Cut(const FrameHeader& header, const Bytes& frame,
                                               Segmenter::Checksum checksum) {
  std::vector<std::pair<FrameHeader, Bytes>> segments;
  auto segmenter = Segmenter::Make(header, View(frame), checksum);
  EXPECT_TRUE(segmenter.has_value());
  if (!segmenter.has_value()) return segments;
  const uint32_t count = segmenter->count();
  for (uint32_t next = segmenter->NextBytes(); next != 0; next = segmenter->NextBytes()) {
    const std::optional<Segmenter::Segment> segment = segmenter->Next();
    EXPECT_TRUE(segment.has_value());
    Bytes bytes = Copy(segment->head);
    Append(bytes, Copy(segment->payload));
    EXPECT_EQ(bytes.size(), next);
    EXPECT_EQ(segment->header.bytes, next);
    segments.emplace_back(segment->header, bytes);
  }
  EXPECT_FALSE(segmenter->Next().has_value());
  EXPECT_EQ(segments.size(), count);
  return segments;
}

void CheckSegments(const TcpFrame& packet, uint16_t gso_size, Segmenter::Checksum checksum) {
  const Bytes whole = packet.Make();
  const auto segments = Cut(packet.Header(gso_size), whole, checksum);
  ASSERT_EQ(segments.size(), (packet.payload + gso_size - 1) / gso_size);
  const size_t ip = packet.network(), tcp = packet.transport(), head = packet.header_bytes();
  Bytes payload;
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto& [header, frame] = segments[i];
    const bool first = i == 0, last = i + 1 == segments.size();
    ASSERT_LE(frame.size() - head, gso_size);
    ASSERT_TRUE(last || frame.size() - head == gso_size);
    EXPECT_EQ(header.gso_type, 0);
    EXPECT_EQ(header.gso_size, 0);

    // Fields that differ from segment to segment.
    EXPECT_EQ(Get(frame, tcp + 4, 4), static_cast<uint32_t>(packet.sequence + payload.size()));
    uint8_t flags = packet.flags;
    if (!last) flags &= 0xf6;
    if (!first) flags &= 0x7f;
    EXPECT_EQ(frame[tcp + 13], flags);
    if (packet.ipv6) {
      EXPECT_EQ(Get(frame, ip + 4, 2), frame.size() - ip - 40);
    } else {
      EXPECT_EQ(Get(frame, ip + 2, 2), frame.size() - ip);
      EXPECT_EQ(Get(frame, ip + 4, 2), static_cast<uint16_t>(packet.id + i));
    }
    // Checksums.
    if (checksum == Segmenter::Checksum::kComplete) {
      EXPECT_EQ(header.flags, 0);
      EXPECT_TRUE(packet.ChecksumsHold(frame));
    } else {
      EXPECT_EQ(header.flags, 1);
      EXPECT_EQ(header.checksum_start, tcp);
      EXPECT_EQ(header.checksum_offset, 16);
      EXPECT_EQ(Get(frame, tcp + 16, 2),
                TcpFrame::PseudoSum(frame, ip, packet.ipv6, frame.size() - tcp));
      Bytes completed = frame;
      FrameHeader copy = header;
      CompleteChecksum(Writable(completed), copy);
      EXPECT_TRUE(packet.ChecksumsHold(completed));
    }
    // Everything else in the headers is the sender's.
    Bytes rest = frame;
    for (const auto& [at, size] :
         std::initializer_list<std::pair<size_t, size_t>>{{tcp + 4, 4},
                                                          {tcp + 13, 1},
                                                          {tcp + 16, 2},
                                                          {ip + 4, 2},
                                                          {packet.ipv6 ? ip + 4 : ip + 2, 2},
                                                          {packet.ipv6 ? ip + 4 : ip + 10, 2}}) {
      Put(rest, at, size, Get(whole, at, size));
    }
    EXPECT_TRUE(std::equal(rest.begin(), rest.begin() + static_cast<long>(head), whole.begin()));
    payload.insert(payload.end(), frame.begin() + static_cast<long>(head), frame.end());
  }
  EXPECT_TRUE(std::equal(payload.begin(), payload.end(), whole.begin() + static_cast<long>(head),
                         whole.end()));
}

TEST(Segmenter, NET_30_segments_of_any_packet) {
  for (const auto checksum :
       {Segmenter::Checksum::kComplete, Segmenter::Checksum::kLeftToReceiver}) {
    for (const bool ipv6 : {false, true}) {
      for (const size_t tags : {0, 1, 2}) {
        for (const size_t options : {0, 8}) {
          for (const size_t payload : {1, 1447, 1448, 1449, 2896, 5001}) {
            ASSERT_NO_FATAL_FAILURE(CheckSegments({.ipv6 = ipv6,
                                                   .tags = tags,
                                                   .ip_options = options,
                                                   .tcp_options = options + payload % 3 * 4,
                                                   .payload = payload,
                                                   .flags = 0x10},
                                                  1448, checksum));
          }
        }
      }
    }
  }
}

TEST(Segmenter, NET_30_largest_packet_in_smallest_and_odd_segments) {
  for (const uint16_t gso_size : std::initializer_list<uint16_t>{128, 537, 1461, 65535}) {
    CheckSegments({.tcp_options = 0, .payload = 65535 - 40}, gso_size,
                  Segmenter::Checksum::kComplete);
    CheckSegments({.ipv6 = true, .tcp_options = 0, .payload = 65550 - 74}, gso_size,
                  Segmenter::Checksum::kComplete);
  }
}

TEST(Segmenter, NET_32_flags_of_first_and_last_segment) {
  // CWR, ECE, URG, ACK, PSH, RST, SYN and FIN in all combinations.
  for (int flags = 0; flags < 256; ++flags) {
    CheckSegments({.payload = 700, .flags = static_cast<uint8_t>(flags)}, 256,
                  Segmenter::Checksum::kComplete);
  }
  TcpFrame packet{.payload = 600, .flags = 0xd9};  // CWR, ECE, ACK, PSH, FIN
  FrameHeader header = packet.Header(256);
  header.gso_type |= FrameHeader::kGsoEcn;
  const auto segments = Cut(header, packet.Make(), Segmenter::Checksum::kComplete);
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].second[packet.transport() + 13], 0xd0);
  EXPECT_EQ(segments[1].second[packet.transport() + 13], 0x50);
  EXPECT_EQ(segments[2].second[packet.transport() + 13], 0x59);
}

TEST(Segmenter, sequence_and_id_wrap) {
  CheckSegments({.payload = 4000, .sequence = 0xffffffff, .id = 0xffff}, 512,
                Segmenter::Checksum::kComplete);
}

TEST(Segmenter, NET_29_header_length_of_the_sender_is_not_used) {
  const TcpFrame packet;
  FrameHeader header = packet.Header(1000);
  for (const uint16_t hint : std::initializer_list<uint16_t>{0, 20, 65535}) {
    header.header_bytes = hint;
    const auto segments = Cut(header, packet.Make(), Segmenter::Checksum::kComplete);
    ASSERT_EQ(segments.size(), 3u);
    EXPECT_TRUE(packet.ChecksumsHold(segments[1].second));
  }
}

TEST(Segmenter, NET_81_NET_83_refuses_what_validation_refuses) {
  const TcpFrame packet;
  const Bytes frame = packet.Make();
  const auto fault = [](const FrameHeader& header, const Bytes& bytes) {
    return Segmenter::Make(header, View(bytes), Segmenter::Checksum::kComplete).error();
  };
  EXPECT_EQ(fault(packet.Header(127), frame), OffloadFault::kGsoSize);
  FrameHeader header = packet.Header(1448);
  header.gso_type = 0;
  EXPECT_EQ(fault(header, frame), OffloadFault::kGsoType);
  header = packet.Header(1448);
  header.bytes -= 1;
  EXPECT_EQ(fault(header, frame), OffloadFault::kFrameSize);
  Bytes lie = frame;
  lie[packet.network() + 2] ^= 1;  // the total length
  EXPECT_EQ(fault(packet.Header(1448), lie), OffloadFault::kGsoHeaders);
}

TEST(Segmenter, NET_92_headers_that_change_meanwhile_do_not_matter) {
  const TcpFrame packet;
  Bytes frame = packet.Make();
  auto segmenter =
      Segmenter::Make(packet.Header(1000), View(frame), Segmenter::Checksum::kComplete);
  ASSERT_TRUE(segmenter.has_value());
  std::fill(frame.begin(), frame.begin() + static_cast<long>(packet.header_bytes()), uint8_t{0xff});
  while (const auto segment = segmenter->Next()) {
    Bytes bytes = Copy(segment->head);
    Append(bytes, Copy(segment->payload));
    EXPECT_TRUE(packet.ChecksumsHold(bytes));
  }
}

// The fuzz target, bounded and always with the same inputs: real packets with some bytes changed.
TEST(OffloadFuzz, NET_80_NET_81_NET_82_NET_83_random_headers) {
  Random random(1);
  for (int round = 0; round < 20000; ++round) {
    const TcpFrame packet{.ipv6 = random() % 2 == 0,
                          .tags = random() % 3,
                          .ip_options = random() % 3 * 8,
                          .payload = random() % 2000};
    const FrameHeader header = packet.Header(static_cast<uint16_t>(128 + random() % 2000));
    Bytes input(sizeof header);
    std::memcpy(input.data(), &header, sizeof header);
    Append(input, packet.Make());
    for (auto changes = random() % 4; changes != 0; --changes) {
      input[random() % std::min<size_t>(input.size(), 120)] = static_cast<uint8_t>(random());
    }
    FuzzOffload(View(input));
  }
}

}  // namespace
}  // namespace atoll::net
