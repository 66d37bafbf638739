#include "services/net/packet.h"

#include "services/net/bytes.h"

namespace atoll::net {
namespace {

constexpr size_t kEtherType = 12;
constexpr size_t kTagBytes = 4;
constexpr uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypeVlan = 0x8100, kTypeServiceVlan = 0x88a8;  // IEEE 802.1Q

// Extension headers that stand the same in each segment.
constexpr uint8_t kHopByHop = 0, kDestinationOptions = 60;
constexpr int kMaxExtensions = 4;

bool ParseIpv4(std::span<const std::byte> head, size_t frame_bytes, TcpPacket& packet) {
  const size_t at = packet.network;
  constexpr size_t kLeast = 20;
  if (at + kLeast > head.size()) return false;
  const uint8_t version = Load8(head, at);
  const size_t header_bytes = size_t{version & 0xfu} * 4;
  if (version >> 4 != 4 || header_bytes < kLeast) return false;
  if (Load8(head, at + kIpv4Protocol) != kProtocolTcp) return false;
  constexpr uint16_t kMoreFragmentsOrOffset = 0x3fff;
  if ((Load16(head, at + kIpv4Fragment) & kMoreFragmentsOrOffset) != 0) return false;
  if (Load16(head, at + kIpv4TotalLength) != frame_bytes - at) return false;
  packet.transport = static_cast<uint16_t>(at + header_bytes);
  return true;
}

bool ParseIpv6(std::span<const std::byte> head, size_t frame_bytes, TcpPacket& packet) {
  size_t at = packet.network;
  if (at + kIpv6HeaderBytes > head.size()) return false;
  if (Load8(head, at) >> 4 != 6) return false;
  if (Load16(head, at + kIpv6PayloadLength) != frame_bytes - at - kIpv6HeaderBytes) return false;
  uint8_t next = Load8(head, at + kIpv6NextHeader);
  at += kIpv6HeaderBytes;
  for (int i = 0; i < kMaxExtensions && (next == kHopByHop || next == kDestinationOptions); ++i) {
    if (at + 8 > head.size()) return false;
    next = Load8(head, at);
    at += (size_t{Load8(head, at + 1)} + 1) * 8;
  }
  packet.ipv6 = true;
  packet.transport = static_cast<uint16_t>(at);
  return next == kProtocolTcp;
}

}  // namespace

size_t EtherTypeOffset(std::span<const std::byte> head) {
  size_t at = kEtherType;
  for (int tags = 0; tags < 2; ++tags) {
    const uint16_t type = Load16(head, at);
    if (type != kTypeVlan && type != kTypeServiceVlan) break;
    if (at + kTagBytes + 2 > head.size()) break;
    at += kTagBytes;
  }
  return at;
}

std::optional<TcpPacket> ParseTcpPacket(std::span<const std::byte> head, size_t frame_bytes) {
  if (head.size() < kEtherType + 2 || head.size() > frame_bytes) return std::nullopt;
  const size_t type_at = EtherTypeOffset(head);
  const uint16_t type = Load16(head, type_at);
  TcpPacket packet{.network = static_cast<uint16_t>(type_at + 2)};
  const bool ip = type == kTypeIpv4   ? ParseIpv4(head, frame_bytes, packet)
                  : type == kTypeIpv6 ? ParseIpv6(head, frame_bytes, packet)
                                      : false;
  if (!ip || packet.transport + kTcpHeaderBytes > head.size()) return std::nullopt;
  const size_t tcp_bytes = size_t{Load8(head, packet.transport + kTcpDataOffset)} / 16 * 4;
  packet.payload = static_cast<uint16_t>(packet.transport + tcp_bytes);
  if (tcp_bytes < kTcpHeaderBytes || packet.payload > head.size()) return std::nullopt;
  if (packet.payload >= frame_bytes) return std::nullopt;
  return packet;
}

}  // namespace atoll::net
