#include "services/blk-driver/transfer.h"

#include <algorithm>
#include <optional>

namespace atoll::blk_driver {

using block::kSectorBytes;
using block::Operation;
using block::Request;
using block::RequestStatus;

namespace {

constexpr bool IsAllowed(uint32_t flags, uint32_t needed) { return (flags & needed) != 0; }

// Takes the last `excess` bytes away again; less than a sector.
void Trim(std::span<virtio_driver::Buffer> buffers, uint32_t& count, uint64_t excess) {
  while (excess != 0) {
    virtio_driver::Buffer& last = buffers[count - 1];
    const auto cut = static_cast<uint32_t>(std::min<uint64_t>(excess, last.bytes));
    last.bytes -= cut;
    excess -= cut;
    if (last.bytes == 0) --count;
  }
}

}  // namespace

RequestStatus CheckRequest(const Request& request, const DiskRange& disk,
                           uint64_t physical_sectors) {
  switch (request.operation) {
    case Operation::kFlush: return RequestStatus::kOk;
    case Operation::kIn: break;
    case Operation::kOut:
      if (IsAllowed(disk.flags, block::kReadOnly)) return RequestStatus::kIoError;
      break;
    case Operation::kDiscard:
      if (!IsAllowed(disk.flags, block::kDiscard)) return RequestStatus::kUnsupported;
      if (IsAllowed(disk.flags, block::kReadOnly)) return RequestStatus::kIoError;
      break;
    case Operation::kWriteZeroes:
      if (!IsAllowed(disk.flags, block::kWriteZeroes)) return RequestStatus::kUnsupported;
      if (IsAllowed(disk.flags, block::kReadOnly)) return RequestStatus::kIoError;
      break;
    default: return RequestStatus::kUnsupported;
  }
  // Both disks have less than 2^55 sectors, so no sum wraps.
  const bool inside =
      request.sectors != 0 && InBounds(request.sector, request.sectors, disk.sectors) &&
      InBounds(disk.first_sector + request.sector, request.sectors, physical_sectors) &&
      request.segment_count <= block::kMaxSegments;
  return inside ? RequestStatus::kOk : RequestStatus::kIoError;
}

Result<Piece> MakePiece(const block::RequestRingDriver& ring, uint32_t slot, const Request& request,
                        uint32_t done, const OpenDma& window, uint32_t buffer_bytes,
                        std::span<virtio_driver::Buffer> buffers) {
  const uint64_t left = (uint64_t{request.sectors} - done) * kSectorBytes;
  const uint64_t wanted = std::min(left, kMaxTransferBytes);
  uint64_t skip = done * kSectorBytes;  // bytes of earlier pieces
  uint64_t bytes = 0;
  uint32_t count = 0;
  bool full = false;
  for (uint32_t i = 0; !full && (bytes < wanted || wanted == left); ++i) {
    if (i == request.segment_count) break;
    const block::Segment segment = ring.ReadSegment(slot, i);
    const auto physical = window.Translate(GuestPhys(segment.guest_physical), segment.bytes);
    if (segment.bytes == 0 || !physical.has_value()) return std::unexpected(Status::kOutOfRange);
    uint64_t offset = std::min<uint64_t>(skip, segment.bytes);
    skip -= offset;
    while (offset < segment.bytes) {
      // The last piece ends where the segments do, or they are more than the request says.
      if (bytes == left) return std::unexpected(Status::kOutOfRange);
      if (bytes == wanted) {
        full = true;
        break;
      }
      const PhysAddr at = *physical + offset;
      auto part = std::min<uint64_t>(segment.bytes - offset, wanted - bytes);
      if (count != 0 && buffers[count - 1].physical + buffers[count - 1].bytes == at &&
          buffers[count - 1].bytes < buffer_bytes) {
        part = std::min<uint64_t>(part, buffer_bytes - buffers[count - 1].bytes);
        buffers[count - 1].bytes += static_cast<uint32_t>(part);
      } else if (count == buffers.size()) {
        full = true;
        break;
      } else {
        part = std::min<uint64_t>(part, buffer_bytes);
        buffers[count++] = {at, static_cast<uint32_t>(part)};
      }
      bytes += part;
      offset += part;
    }
  }
  if (bytes < wanted && !full) return std::unexpected(Status::kOutOfRange);  // segments too short
  const uint64_t whole = AlignDown(bytes, kSectorBytes);
  if (whole == 0) return std::unexpected(Status::kOutOfRange);  // pieces smaller than a sector
  Trim(buffers, count, bytes - whole);
  return Piece{.sectors = static_cast<uint32_t>(whole / kSectorBytes), .buffers = count};
}

}  // namespace atoll::blk_driver
