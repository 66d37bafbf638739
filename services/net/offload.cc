#include "services/net/offload.h"

#include "services/net/bytes.h"
#include "services/net/checksum.h"

namespace atoll::net {
namespace {

// The whole checksum field is in the frame, behind the Ethernet header.
bool ChecksumInFrame(const FrameHeader& header, size_t frame_bytes) {
  return header.checksum_start >= kMinFrameBytes &&
         size_t{header.checksum_start} + header.checksum_offset + 2 <= frame_bytes;
}

}  // namespace

std::expected<FrameHeader, OffloadFault> ValidateOffload(const FrameHeader& header,
                                                         std::span<const std::byte> head) {
  if (header.bytes < kMinFrameBytes || header.bytes > kMaxFrameBytes) {
    return std::unexpected(OffloadFault::kFrameSize);
  }
  FrameHeader canonical{.bytes = header.bytes, .flow = header.flow};
  const bool needs_checksum = (header.flags & FrameHeader::kNeedsChecksum) != 0;
  if (needs_checksum) {
    if (!ChecksumInFrame(header, header.bytes)) {
      return std::unexpected(OffloadFault::kChecksumRange);
    }
    canonical.flags = FrameHeader::kNeedsChecksum;
    canonical.checksum_start = header.checksum_start;
    canonical.checksum_offset = header.checksum_offset;
  }
  if (header.gso_type == FrameHeader::kGsoNone) return canonical;

  const uint8_t type = header.gso_type & static_cast<uint8_t>(~FrameHeader::kGsoEcn);
  if (type != FrameHeader::kGsoTcp4 && type != FrameHeader::kGsoTcp6) {
    return std::unexpected(OffloadFault::kGsoType);
  }
  if (!needs_checksum) return std::unexpected(OffloadFault::kGsoChecksum);
  if (header.gso_size < kMinGsoSize) return std::unexpected(OffloadFault::kGsoSize);
  const std::optional<TcpPacket> packet = ParseTcpPacket(head, header.bytes);
  if (!packet.has_value() || packet->ipv6 != (type == FrameHeader::kGsoTcp6)) {
    return std::unexpected(OffloadFault::kGsoHeaders);
  }
  if (header.checksum_start != packet->transport || header.checksum_offset != kTcpChecksum) {
    return std::unexpected(OffloadFault::kGsoChecksum);
  }
  canonical.gso_type = header.gso_type;
  canonical.gso_size = header.gso_size;
  canonical.header_bytes = packet->payload;
  return canonical;
}

std::array<std::byte, 2> FinalChecksum(const FrameHeader& header,
                                       std::span<const std::byte> frame) {
  std::array<std::byte, 2> bytes{};
  if (!ChecksumInFrame(header, frame.size())) return bytes;
  ChecksumSum sum;
  sum.Add(frame.subspan(header.checksum_start));
  Store16(bytes, 0, sum.NonZeroChecksum());
  return bytes;
}

void CompleteChecksum(std::span<std::byte> frame, FrameHeader& header) {
  if ((header.flags & FrameHeader::kNeedsChecksum) == 0) return;
  if (ChecksumInFrame(header, frame.size())) {
    const std::array<std::byte, 2> checksum = FinalChecksum(header, frame);
    StoreRaw(frame.subspan(size_t{header.checksum_start} + header.checksum_offset, 2).data(),
             checksum);
  }
  header.flags = 0;
  header.checksum_start = header.checksum_offset = 0;
}

}  // namespace atoll::net
