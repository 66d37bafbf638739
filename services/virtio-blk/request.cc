#include "services/virtio-blk/request.h"

#include <span>

namespace atoll::virtio_blk {
namespace {

// The chain's parts besides header and status (5.2.6).
uint64_t DataToDevice(const virtio::Chain& chain) {
  return chain.readable_bytes() - sizeof(RequestHeader);
}
uint64_t DataFromDevice(const virtio::Chain& chain) { return chain.writable_bytes() - 1; }

bool SectorsExist(uint64_t sector, uint64_t count, const DiskLimits& disk) {
  return InBounds(sector, count, disk.sectors);
}

RequestStatus CheckTransfer(uint64_t sector, uint64_t bytes, const DiskLimits& disk,
                            RequestRecord& request) {
  if (bytes % kSectorBytes != 0 || !SectorsExist(sector, bytes / kSectorBytes, disk)) {
    return kStatusIoErr;
  }
  request.ranges[0] = {.offset = sector * kSectorBytes, .bytes = bytes};
  request.range_count = 1;
  return kStatusOk;
}

RequestStatus CheckIn(const virtio::Chain& chain, uint64_t sector, const DiskLimits& disk,
                      RequestRecord& request) {
  if (DataToDevice(chain) != 0) return kStatusIoErr;
  return CheckTransfer(sector, DataFromDevice(chain), disk, request);
}

RequestStatus CheckOut(const virtio::Chain& chain, uint64_t sector, const DiskLimits& disk,
                       RequestRecord& request) {
  if (disk.read_only || DataFromDevice(chain) != 0) return kStatusIoErr;
  return CheckTransfer(sector, DataToDevice(chain), disk, request);
}

// DISCARD and WRITE_ZEROES: an array of segments as data.
RequestStatus CheckRanges(const virtio::Chain& chain, uint32_t allowed_flags,
                          const DiskLimits& disk, RequestRecord& request) {
  const uint64_t bytes = DataToDevice(chain);
  if (disk.read_only || DataFromDevice(chain) != 0 || bytes == 0 ||
      bytes % sizeof(DiscardWriteZeroes) != 0 || bytes / sizeof(DiscardWriteZeroes) > kMaxRanges) {
    return kStatusIoErr;
  }
  std::array<DiscardWriteZeroes, kMaxRanges> array;
  const auto segments = std::span(array).first(bytes / sizeof(DiscardWriteZeroes));
  if (!IsOk(chain.CopyFromReadable(sizeof(RequestHeader), std::as_writable_bytes(segments)))) {
    return kStatusIoErr;
  }
  for (const DiscardWriteZeroes& segment : segments) {
    if ((segment.flags & ~allowed_flags) != 0) return kStatusUnsupp;
  }
  for (const DiscardWriteZeroes& segment : segments) {
    if (segment.num_sectors > kMaxRangeSectors ||
        !SectorsExist(segment.sector, segment.num_sectors, disk)) {
      return kStatusIoErr;
    }
    request.ranges[request.range_count] = {.offset = segment.sector * kSectorBytes,
                                           .bytes = segment.num_sectors * kSectorBytes};
    ++request.range_count;
  }
  return kStatusOk;
}

RequestStatus Check(const virtio::Chain& chain, const DiskLimits& disk, uint64_t features,
                    RequestRecord& request) {
  RequestHeader header;
  if (!chain.reachable() || chain.readable_bytes() < sizeof(header) ||
      !IsOk(chain.CopyFromReadable(0, std::as_writable_bytes(std::span(&header, 1))))) {
    return kStatusIoErr;
  }
  request.type = header.type;
  switch (header.type) {
    case kIn: return CheckIn(chain, header.sector, disk, request);
    case kOut: return CheckOut(chain, header.sector, disk, request);
    case kGetId: return kStatusOk;
    case kFlush:
      if ((features & kFeatureFlush) != 0) return kStatusOk;
      break;
    case kDiscard:
      if ((features & kFeatureDiscard) != 0) return CheckRanges(chain, 0, disk, request);
      break;
    case kWriteZeroes:
      if ((features & kFeatureWriteZeroes) != 0) {
        return CheckRanges(chain, kFlagUnmap, disk, request);
      }
      break;
    default: break;
  }
  return kStatusUnsupp;
}

// At most kMaxRanges of them.
uint64_t CheckOf(const RequestRecord& request) {
  CheckWord check;
  check.Add(request.type | uint64_t{request.range_count} << 32);
  for (const Range& range : std::span(request.ranges).first(request.range_count)) {
    check.Add(range.offset);
    check.Add(range.bytes);
  }
  return check.value();
}

}  // namespace

bool ParseRequest(const virtio::Chain& chain, const DiskLimits& disk, uint64_t features,
                  RequestRecord& request) {
  if (chain.writable_bytes() == 0) return false;
  const auto reachable = [](std::span<std::byte>) { return Status::kOk; };
  if (!chain.reachable() && !IsOk(chain.VisitWritable(DataFromDevice(chain), 1, reachable))) {
    return false;
  }
  request.type = 0;
  request.range_count = 0;
  const RequestStatus status = Check(chain, disk, features, request);
  request.check = CheckOf(request);
  request.progress = RequestProgress::Pack(0, uint64_t{status} << RequestProgress::kStatusShift);
  return true;
}

bool IsPlausible(const RequestRecord& request, const DiskLimits& disk) {
  const uint64_t progress = request.progress & ((uint64_t{1} << RequestProgress::kCheckShift) - 1);
  if (request.range_count > kMaxRanges || request.check != CheckOf(request) ||
      request.progress != RequestProgress::Pack(progress, 0) || request.status() > kStatusUnsupp) {
    return false;
  }
  uint64_t bytes = 0;
  for (const Range& range : std::span(request.ranges).first(request.range_count)) {
    if (!InBounds(range.offset, range.bytes, disk.sectors * kSectorBytes)) return false;
    bytes += range.bytes;
  }
  constexpr uint64_t kKnown = RequestProgress::kAtBackend | RequestProgress::kFlushed |
                              uint64_t{3} << RequestProgress::kStatusShift;
  return request.done() <= bytes && (progress & RequestProgress::kFlags & ~kKnown) == 0;
}

NextPart NextPartOf(const RequestRecord& request) {
  uint64_t before = request.done();
  for (const Range& range : std::span(request.ranges).first(request.range_count)) {
    if (before < range.bytes) {
      return {.offset = range.offset + before, .bytes = range.bytes - before};
    }
    before -= range.bytes;
  }
  return {};
}

}  // namespace atoll::virtio_blk
