// Packets for the tests, made and checked byte by byte with nothing of the code under test.
#ifndef ATOLL_TESTS_UNIT_NET_PACKETS_H_
#define ATOLL_TESTS_UNIT_NET_PACKETS_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "services/net/frame_ring.h"

namespace atoll::net {

using Random = std::independent_bits_engine<std::mt19937, 32, uint32_t>;
using Bytes = std::vector<uint8_t>;

inline std::span<const std::byte> View(const Bytes& bytes) {
  return std::as_bytes(std::span(bytes));
}
inline std::span<std::byte> Writable(Bytes& bytes) {
  return std::as_writable_bytes(std::span(bytes));
}
inline Bytes Copy(std::span<const std::byte> bytes) {
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

inline void Append(Bytes& bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

inline uint32_t Get(const Bytes& bytes, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | bytes.at(at + i);
  return value;
}
inline void Put(Bytes& bytes, size_t at, size_t size, uint32_t value) {
  for (size_t i = size; i > 0; --i, value >>= 8) bytes.at(at + i - 1) = static_cast<uint8_t>(value);
}

// RFC 1071 word by word: the folded sum of [from, to).
inline uint32_t SlowSum(const Bytes& bytes, size_t from, size_t to, uint32_t sum = 0) {
  for (size_t i = from; i < to; ++i) {
    sum += (i - from) % 2 == 0 ? uint32_t{bytes.at(i)} << 8 : bytes.at(i);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

// A TCP packet in an Ethernet frame.
struct TcpFrame {
  bool ipv6 = false;
  size_t tags = 0;        // VLAN tags
  size_t ip_options = 0;  // IPv4: bytes of options; IPv6: bytes of a hop-by-hop header
  size_t tcp_options = 12;
  size_t payload = 3000;
  uint8_t flags = 0x10;  // ACK
  uint32_t sequence = 0xfffffc00;
  uint16_t id = 0xfffe;

  size_t network() const { return 14 + 4 * tags; }
  size_t transport() const { return network() + (ipv6 ? 40 : 20) + ip_options; }
  size_t header_bytes() const { return transport() + 20 + tcp_options; }
  size_t size() const { return header_bytes() + payload; }

  // The folded sum of the pseudo header for a segment of `bytes` from TCP's header on.
  static uint32_t PseudoSum(const Bytes& frame, size_t network, bool ipv6, size_t bytes) {
    const uint32_t addresses = ipv6 ? SlowSum(frame, network + 8, network + 40)
                                    : SlowSum(frame, network + 12, network + 20);
    uint32_t sum = addresses + 6 + static_cast<uint32_t>(bytes);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
  }

  // The whole packet, as a sender leaves it that leaves checksum and segmentation to the device.
  Bytes Make() const {
    Bytes frame(size());
    for (size_t i = 0; i < 12; ++i) frame[i] = static_cast<uint8_t>(2 + 16 * i);
    for (size_t i = 0; i < tags; ++i)
      Put(frame, 12 + 4 * i, 4, (i + 1 < tags ? 0x88a80000u : 0x81000000u) + 7);
    Put(frame, network() - 2, 2, ipv6 ? 0x86dd : 0x0800);
    const size_t at = network();
    if (ipv6) {
      Put(frame, at, 4, 0x60000000);
      Put(frame, at + 4, 2, static_cast<uint32_t>(size() - at - 40));
      Put(frame, at + 6, 2, ip_options != 0 ? 0x0040 : 0x0640);
      for (size_t i = 8; i < 40; ++i) frame[at + i] = static_cast<uint8_t>(i * 7);
      if (ip_options != 0) {
        frame[at + 40] = 6;
        frame[at + 41] = static_cast<uint8_t>(ip_options / 8 - 1);
      }
    } else {
      frame[at] = static_cast<uint8_t>(0x45 + ip_options / 4);
      Put(frame, at + 2, 2, static_cast<uint32_t>(size() - at));
      Put(frame, at + 4, 4, uint32_t{id} << 16 | 0x4000);  // do not fragment
      Put(frame, at + 8, 2, 0x4006);
      for (size_t i = 12; i < 20 + ip_options; ++i) frame[at + i] = static_cast<uint8_t>(i * 5);
      Put(frame, at + 10, 2, 0xffff & ~SlowSum(frame, at, at + 20 + ip_options));
    }
    const size_t tcp = transport();
    Put(frame, tcp, 4, 0x01bb8001);
    Put(frame, tcp + 4, 4, sequence);
    Put(frame, tcp + 8, 4, 0x12345678);
    frame[tcp + 12] = static_cast<uint8_t>((20 + tcp_options) / 4 << 4);
    frame[tcp + 13] = flags;
    Put(frame, tcp + 14, 2, 502);
    Put(frame, tcp + 16, 2, PseudoSum(frame, at, ipv6, size() - tcp));
    for (size_t i = 0; i < tcp_options; ++i) frame[tcp + 20 + i] = static_cast<uint8_t>(1 + i);
    for (size_t i = 0; i < payload; ++i)
      frame[header_bytes() + i] = static_cast<uint8_t>(i * 31 + i / 251);
    return frame;
  }

  FrameHeader Header(uint16_t gso_size) const {
    return {.bytes = static_cast<uint32_t>(size()),
            .flags = FrameHeader::kNeedsChecksum,
            .gso_type = ipv6 ? FrameHeader::kGsoTcp6 : FrameHeader::kGsoTcp4,
            .header_bytes = static_cast<uint16_t>(header_bytes()),
            .gso_size = gso_size,
            .checksum_start = static_cast<uint16_t>(transport()),
            .checksum_offset = 16};
  }

  // Whether a receiver would take the checksums of this packet, whose layout is that of Make.
  bool ChecksumsHold(const Bytes& frame) const {
    const size_t at = network(), tcp = transport();
    if (!ipv6 && SlowSum(frame, at, at + 20 + ip_options) != 0xffff) return false;
    return SlowSum(frame, tcp, frame.size(), PseudoSum(frame, at, ipv6, frame.size() - tcp)) ==
           0xffff;
  }
};

}  // namespace atoll::net

#endif  // ATOLL_TESTS_UNIT_NET_PACKETS_H_
