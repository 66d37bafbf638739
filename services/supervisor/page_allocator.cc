#include "services/supervisor/page_allocator.h"

#include <algorithm>

namespace atoll {

Status PageAllocator::Free(PhysAddr base, uint64_t bytes) {
  if (bytes == 0 || !base.IsAligned(kPageSize) || bytes % kPageSize != 0 ||
      base.value + bytes < base.value) {
    return Status::kInvalidArgument;
  }
  const Range freed{base.value, base.value + bytes};
  size_t next = 0;  // the first range above
  while (next < count_ && ranges_[next].base < freed.base) ++next;
  if (next > 0 && ranges_[next - 1].end > freed.base) return Status::kInvalidArgument;
  if (next < count_ && ranges_[next].base < freed.end) return Status::kInvalidArgument;

  const bool joins_low = next > 0 && ranges_[next - 1].end == freed.base;
  const bool joins_high = next < count_ && ranges_[next].base == freed.end;
  if (joins_low && joins_high) {
    ranges_[next - 1].end = ranges_[next].end;
    Erase(next);
  } else if (joins_low) {
    ranges_[next - 1].end = freed.end;
  } else if (joins_high) {
    ranges_[next].base = freed.base;
  } else if (!Insert(next, freed)) {
    return Status::kResourceExhausted;
  }
  return Status::kOk;
}

Status PageAllocator::Reserve(PhysAddr base, uint64_t bytes) {
  const uint64_t first = AlignDown(base.value, kPageSize);
  const uint64_t end = AlignUp(base.value + bytes, kPageSize);
  if (end < first) return Status::kInvalidArgument;
  for (size_t i = count_; i-- > 0;) {  // downwards: Replace moves only what lies above
    const Range range = ranges_[i];
    if (range.end <= first || range.base >= end) continue;
    const Status status = Replace(i, {range.base, std::max(range.base, first)},
                                  {std::min(range.end, end), range.end});
    if (!IsOk(status)) return status;
  }
  return Status::kOk;
}

Result<PhysAddr> PageAllocator::Allocate(uint64_t bytes, uint64_t alignment) {
  if (bytes == 0 || bytes % kPageSize != 0 || !IsPowerOfTwo(alignment) || alignment < kPageSize) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (alignment >= kBlockSize) return AllocateBlocks(bytes, alignment);
  for (size_t i = 0; i < count_; ++i) {
    const Range range = ranges_[i];
    const uint64_t base = AlignUp(range.base, alignment);
    if (base < range.base || base > range.end || range.end - base < bytes) continue;
    const Status status = Replace(i, {range.base, base}, {base + bytes, range.end});
    if (!IsOk(status)) return std::unexpected(status);
    return PhysAddr{base};
  }
  return std::unexpected(Status::kResourceExhausted);
}

Result<PhysAddr> PageAllocator::AllocateBlocks(uint64_t bytes, uint64_t alignment) {
  size_t best = count_;
  for (size_t i = 0; i < count_; ++i) {
    const Range range = ranges_[i];
    if (range.end - range.base < bytes) continue;
    if (AlignDown(range.end - bytes, alignment) < range.base) continue;
    if (best == count_ || range.end - range.base <= ranges_[best].end - ranges_[best].base)
      best = i;
  }
  if (best == count_) return std::unexpected(Status::kResourceExhausted);
  const Range range = ranges_[best];
  const uint64_t base = AlignDown(range.end - bytes, alignment);
  const Status status = Replace(best, {range.base, base}, {base + bytes, range.end});
  if (!IsOk(status)) return std::unexpected(status);
  return PhysAddr{base};
}

uint64_t PageAllocator::free_bytes() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < count_; ++i) sum += ranges_[i].end - ranges_[i].base;
  return sum;
}

Status PageAllocator::Replace(size_t index, Range low, Range high) {
  const bool keep_low = low.base < low.end;
  const bool keep_high = high.base < high.end;
  if (keep_low && keep_high) {
    if (!Insert(index + 1, high)) return Status::kResourceExhausted;
    ranges_[index] = low;
  } else if (keep_low || keep_high) {
    ranges_[index] = keep_low ? low : high;
  } else {
    Erase(index);
  }
  return Status::kOk;
}

void PageAllocator::Erase(size_t index) {
  std::copy(ranges_.begin() + index + 1, ranges_.begin() + count_, ranges_.begin() + index);
  --count_;
}

bool PageAllocator::Insert(size_t index, Range range) {
  if (count_ == kMaxRanges) return false;
  std::copy_backward(ranges_.begin() + index, ranges_.begin() + count_,
                     ranges_.begin() + count_ + 1);
  ranges_[index] = range;
  ++count_;
  return true;
}

}  // namespace atoll
