// A descriptor chain as one readable and one writable run of bytes, however the driver split them
// (VIRTIO 2.7.4.1).
#ifndef ATOLL_SERVICES_VIRTIO_CHAIN_H_
#define ATOLL_SERVICES_VIRTIO_CHAIN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ipc/status.h"
#include "services/runtime/guest_memory.h"
#include "services/virtio/guest_access.h"
#include "services/virtio/journal.h"

namespace atoll::virtio {

class Chain {
 public:
  Chain(const ChainRecord& record, const GuestMemory& memory) : record_(record), memory_(memory) {}

  uint64_t readable_bytes() const { return record_.readable_bytes; }
  uint64_t writable_bytes() const { return record_.writable_bytes; }
  uint32_t segments() const {
    return uint32_t{record_.readable_segments} + record_.writable_segments;
  }
  // Every segment lies in guest RAM.
  bool reachable() const { return record_.unreachable == 0; }

  // Calls `visit(std::span<std::byte>)` -> Status for each piece of [offset, offset + length) of
  // the readable (writable) part in order, until one fails. OUT_OF_RANGE: beyond the part, or a
  // piece not in guest RAM.
  template <typename Visit>
  Status VisitReadable(uint64_t offset, uint64_t length, Visit visit) const {
    return VisitMapped(0, record_.readable_segments, offset, length, visit);
  }
  template <typename Visit>
  Status VisitWritable(uint64_t offset, uint64_t length, Visit visit) const {
    return VisitMapped(record_.readable_segments, record_.writable_segments, offset, length, visit);
  }
  // The same with `visit(GuestPhys, uint64_t bytes)`, for those who pass the addresses on.
  template <typename Visit>
  Status VisitReadableSegments(uint64_t offset, uint64_t length, Visit visit) const {
    return VisitPieces(0, record_.readable_segments, offset, length, visit);
  }
  template <typename Visit>
  Status VisitWritableSegments(uint64_t offset, uint64_t length, Visit visit) const {
    return VisitPieces(record_.readable_segments, record_.writable_segments, offset, length, visit);
  }

  // Private copy of readable bytes, read once.
  Status CopyFromReadable(uint64_t offset, std::span<std::byte> to) const {
    return VisitReadable(offset, to.size(), [&to](std::span<std::byte> piece) {
      std::memcpy(to.data(), piece.data(), piece.size());
      asm volatile("" ::: "memory");  // as in ReadOnce
      to = to.subspan(piece.size());
      return Status::kOk;
    });
  }
  Status CopyToWritable(uint64_t offset, std::span<const std::byte> from) const {
    return VisitWritable(offset, from.size(), [&from](std::span<std::byte> piece) {
      std::memcpy(piece.data(), from.data(), piece.size());
      from = from.subspan(piece.size());
      return Status::kOk;
    });
  }

 private:
  template <typename Visit>
  Status VisitMapped(uint32_t first, uint32_t count, uint64_t offset, uint64_t length,
                     Visit& visit) const {
    return VisitPieces(first, count, offset, length, [this, &visit](GuestPhys at, uint64_t bytes) {
      // Sums that wrap here were unreachable when parsed; Range refuses what a broken journal might
      // hold.
      const auto piece = memory_.Range(at, bytes);
      return piece.has_value() ? visit(*piece) : piece.error();
    });
  }

  template <typename Visit>
  Status VisitPieces(uint32_t first, uint32_t count, uint64_t offset, uint64_t length,
                     Visit&& visit) const {
    for (uint32_t i = first; i < first + count && length != 0; ++i) {
      const Segment& segment = record_.segments[i];
      if (offset >= segment.length) {
        offset -= segment.length;
        continue;
      }
      const uint64_t bytes = std::min<uint64_t>(segment.length - offset, length);
      const Status status = visit(GuestPhys(segment.address) + offset, bytes);
      if (!IsOk(status)) return status;
      length -= bytes;
      offset = 0;
    }
    return length == 0 ? Status::kOk : Status::kOutOfRange;
  }

  const ChainRecord& record_;
  const GuestMemory& memory_;
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_CHAIN_H_
