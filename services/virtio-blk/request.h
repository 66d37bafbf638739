// One block request: parsed from a chain and checked once, then executed from the private copy.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_REQUEST_H_
#define ATOLL_SERVICES_VIRTIO_BLK_REQUEST_H_

#include <array>
#include <cstdint>

#include "services/runtime/check_word.h"
#include "services/virtio-blk/specification.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_blk {

inline constexpr uint32_t kMaxRanges = 16;             // max_discard_seg, max_write_zeroes_seg
inline constexpr uint32_t kMaxRangeSectors = 1 << 21;  // max_..._sectors: 1 GiB

// Bytes of the disk that a request is about.
struct Range {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// How far a request is, stored as one word: bytes executed, counted over all ranges, and in the bits
// that are 0 because ranges are of whole sectors, flags and how it ended. The top has a check.
struct RequestProgress {
  static constexpr uint64_t kAtBackend =
      1;                                   // what follows `done` was, or is about to be, submitted
  static constexpr uint64_t kFlushed = 2;  // all ranges are done, and flushed
  static constexpr unsigned kStatusShift = 2;  // RequestStatus, two bits: how it failed
  static constexpr uint64_t kFlags = kSectorBytes - 1;
  static constexpr unsigned kCheckShift = 48;

  [[gnu::always_inline]] static uint64_t Pack(uint64_t done, uint64_t flags) {
    const uint64_t word = done | flags;
    CheckWord check;
    check.Add(word);
    return word | uint64_t{check.value()} << kCheckShift;
  }
};
static_assert(kMaxRanges * uint64_t{kMaxRangeSectors} * kSectorBytes <
              uint64_t{1} << RequestProgress::kCheckShift);

// A request in the journal. Executing it again from where it stands is harmless.
struct RequestRecord {
  virtio::HeldChain held;
  uint32_t type = 0;
  uint32_t range_count = 0;
  uint64_t check = 0;     // of type and ranges
  uint64_t progress = 0;  // RequestProgress
  std::array<Range, kMaxRanges> ranges = {};

  // Of `held`, as what the model keeps with it.
  uint32_t extra() const { return static_cast<uint32_t>(check); }
  uint64_t done() const {
    return progress & ((uint64_t{1} << RequestProgress::kCheckShift) - 1) &
           ~RequestProgress::kFlags;
  }
  bool Has(uint64_t flag) const { return (progress & flag) != 0; }
  // kStatusOk: to be executed; otherwise how it failed.
  uint32_t status() const { return progress >> RequestProgress::kStatusShift & 3; }
  void SetProgress(uint64_t done, uint64_t flags) {
    const uint64_t next = RequestProgress::Pack(done, flags);
    if constexpr (kWritesJournal) {
      virtio::StoreRelease(progress, next);
    } else {
      progress = next;  // what the service itself works on
    }
  }
  // It ends here. Nothing of it is at the backend any more.
  void Fail(RequestStatus how) {
    SetProgress(done(), uint64_t{how} << RequestProgress::kStatusShift);
  }
};

// The part of a request that comes next: of one range, from `done` on.
struct NextPart {
  uint64_t offset = 0;  // in bytes on the disk
  uint64_t bytes = 0;   // 0: all ranges are done
};
NextPart NextPartOf(const RequestRecord& request);

// What the requests are checked against.
struct DiskLimits {
  uint64_t sectors = 0;
  bool read_only = false;
};

// Fills `request` from the chain. False: not even a status can be reported (no writable byte, or
// the last one is outside guest RAM).
bool ParseRequest(const virtio::Chain& chain, const DiskLimits& disk, uint64_t features,
                  RequestRecord& request);

// Whether ParseRequest can have made it, and others brought it this far: a journal is not believed.
bool IsPlausible(const RequestRecord& request, const DiskLimits& disk);

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_REQUEST_H_
