#include "services/net/segmenter.h"

#include <algorithm>
#include <cstring>

#include "services/net/bytes.h"

namespace atoll::net {

std::expected<Segmenter, OffloadFault> Segmenter::Make(const FrameHeader& header,
                                                       std::span<const std::byte> frame,
                                                       Checksum checksum) {
  if (frame.size() != header.bytes || frame.size() < kMinFrameBytes) {
    return std::unexpected(OffloadFault::kFrameSize);
  }
  if (header.gso_type == FrameHeader::kGsoNone) return std::unexpected(OffloadFault::kGsoType);
  std::array<std::byte, kHeadBytes> bytes;
  const std::span head = std::span(bytes).first(std::min(frame.size(), kHeadBytes));
  std::memcpy(head.data(), frame.data(), head.size());
  const std::expected<FrameHeader, OffloadFault> valid = ValidateOffload(header, head);
  if (!valid.has_value()) return std::unexpected(valid.error());
  const std::optional<TcpPacket> packet = ParseTcpPacket(head, frame.size());
  if (!packet.has_value()) return std::unexpected(OffloadFault::kGsoHeaders);
  return Segmenter(*valid, *packet, head, frame, checksum);
}

Segmenter::Segmenter(const FrameHeader& header, const TcpPacket& packet,
                     std::span<const std::byte> head, std::span<const std::byte> frame,
                     Checksum checksum)
    : packet_(packet),
      checksum_(checksum),
      gso_size_(header.gso_size),
      flow_(header.flow),
      flags_(Load8(head, packet.transport + kTcpFlags)),
      left_(header.bytes - packet.payload),
      payload_(frame.subspan(packet.payload)) {
  std::memcpy(head_.data(), head.data(), packet.payload);
}

uint32_t Segmenter::count() const {
  return (static_cast<uint32_t>(payload_.size()) + gso_size_ - 1) / gso_size_;
}

// Each segment is made from the one before: the head keeps what they have in common.
std::optional<Segmenter::Segment> Segmenter::Next() {
  if (left_ == 0) return std::nullopt;
  const std::span<std::byte> head = Head();
  const std::span<std::byte> tcp = head.subspan(packet_.transport);
  const uint32_t done = static_cast<uint32_t>(payload_.size()) - left_;
  const uint32_t bytes = NextPayload();
  const std::span<const std::byte> payload = payload_.subspan(done, bytes);

  if (done != 0) {
    Store32(tcp, kTcpSequence, Load32(tcp, kTcpSequence) + gso_size_);
    if (!packet_.ipv6) {
      const std::span<std::byte> ip = head.subspan(packet_.network);
      Store16(ip, kIpv4Id, static_cast<uint16_t>(Load16(ip, kIpv4Id) + 1));
    }
  }
  MakeNetworkHeader(bytes);
  // What ends the packet is for its last segment, the answer to a congestion mark for its first.
  uint8_t flags = flags_;
  if (bytes != left_) flags &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
  if (done != 0) flags &= static_cast<uint8_t>(~kTcpCwr);
  Store8(tcp, kTcpFlags, flags);

  FrameHeader header{.bytes = packet_.payload + bytes, .flow = flow_};
  Store16(tcp, kTcpChecksum, PseudoHeaderSum(bytes));
  if (checksum_ == Checksum::kComplete) {
    ChecksumSum sum;
    sum.Add(tcp);  // a multiple of 4 bytes
    sum.Add(payload);
    Store16(tcp, kTcpChecksum, sum.Checksum());
  } else {
    header.flags = FrameHeader::kNeedsChecksum;
    header.checksum_start = packet_.transport;
    header.checksum_offset = kTcpChecksum;
  }
  left_ -= bytes;
  return Segment{header, head, payload};
}

void Segmenter::MakeNetworkHeader(uint32_t payload) {
  const std::span<std::byte> ip =
      Head().subspan(packet_.network, packet_.transport - packet_.network);
  const auto bytes = static_cast<uint16_t>(ip.size() + TransportBytes(payload));
  if (packet_.ipv6) {
    Store16(ip, kIpv6PayloadLength, static_cast<uint16_t>(bytes - kIpv6HeaderBytes));
    return;
  }
  Store16(ip, kIpv4TotalLength, bytes);
  Store16(ip, kIpv4Checksum, 0);
  ChecksumSum sum;
  sum.Add(ip);
  Store16(ip, kIpv4Checksum, sum.Checksum());
}

// RFC 9293 3.1, RFC 8200 8.1: addresses, protocol and length. Only packets without a routing header come here, so
// the destination is the one in the IP header.
uint16_t Segmenter::PseudoHeaderSum(uint32_t payload) const {
  const std::span<const std::byte> ip = std::span(head_).subspan(packet_.network);
  ChecksumSum sum;
  sum.Add(packet_.ipv6 ? ip.subspan(kIpv6Addresses, 32) : ip.subspan(kIpv4Addresses, 8));
  sum.AddWord(kProtocolTcp);
  sum.AddWord(static_cast<uint16_t>(TransportBytes(payload)));  // fits: the packet's did
  return sum.Folded();
}

}  // namespace atoll::net
