// Where the headers of a TCP packet lie in its Ethernet frame.
#ifndef ATOLL_SERVICES_NET_PACKET_H_
#define ATOLL_SERVICES_NET_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace atoll::net {

// More than the headers of any packet that ParseTcpPacket takes.
inline constexpr size_t kHeadBytes = 256;

struct TcpPacket {
  bool ipv6 = false;
  uint16_t network = 0;    // offset of the IP header
  uint16_t transport = 0;  // of the TCP header
  uint16_t payload = 0;
};

// Offsets in IP and TCP headers (RFC 791, 8200, 9293).
inline constexpr size_t kIpv4TotalLength = 2, kIpv4Id = 4, kIpv4Fragment = 6, kIpv4Protocol = 9,
                        kIpv4Checksum = 10, kIpv4Addresses = 12;
inline constexpr size_t kIpv6PayloadLength = 4, kIpv6NextHeader = 6, kIpv6Addresses = 8,
                        kIpv6HeaderBytes = 40;
inline constexpr size_t kTcpSequence = 4, kTcpDataOffset = 12, kTcpFlags = 13, kTcpChecksum = 16,
                        kTcpHeaderBytes = 20;
inline constexpr uint8_t kTcpFin = 0x01, kTcpPsh = 0x08, kTcpCwr = 0x80;
inline constexpr uint8_t kProtocolTcp = 6;

// head: the first bytes of a frame of frame_bytes, kHeadBytes of them or the whole frame, in private memory.
// None: it is not a whole TCP packet over IPv4 or IPv6 that can be cut into segments: headers that lie or go beyond
// head, a length in the IP header that is not the frame's, a fragment, a routing header, no payload.
// Up to two VLAN tags and some IPv6 extension headers are passed over.
std::optional<TcpPacket> ParseTcpPacket(std::span<const std::byte> head, size_t frame_bytes);

// Offset of the first EtherType that is no VLAN tag's: 12, 16 or 20. head has at least an Ethernet header.
size_t EtherTypeOffset(std::span<const std::byte> head);

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_PACKET_H_
