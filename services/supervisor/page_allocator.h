// The machine's free physical memory.
#ifndef ATOLL_SERVICES_SUPERVISOR_PAGE_ALLOCATOR_H_
#define ATOLL_SERVICES_SUPERVISOR_PAGE_ALLOCATOR_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll {

// A sorted list of free ranges, in pages. Small things lie at its start: first fit. Blocks (a VM's RAM) lie at its
// end: the smallest range that fits, from its top. So what is small does not spread over the room that a VM gave back,
// which is needed whole when it starts again.
class PageAllocator {
 public:
  static constexpr size_t kMaxRanges = 2048;

  // Makes [base, base + bytes) free: RAM found at start, or memory given back.
  // Partial pages at the ends are INVALID_ARGUMENT, as is a range that is free
  // already or wraps; RESOURCE_EXHAUSTED: too many ranges.
  Status Free(PhysAddr base, uint64_t bytes);

  // Takes whatever part of [base, base + bytes) is free out of use, whole pages
  // around it.
  Status Reserve(PhysAddr base, uint64_t bytes);

  // `bytes` is a page multiple above 0, `alignment` a power of two of at least
  // a page (of at least 2 MiB: blocks): else INVALID_ARGUMENT. RESOURCE_EXHAUSTED: no such range left.
  Result<PhysAddr> Allocate(uint64_t bytes, uint64_t alignment = kPageSize);

  uint64_t free_bytes() const;

 private:
  struct Range {
    uint64_t base = 0;
    uint64_t end = 0;
  };

  Result<PhysAddr> AllocateBlocks(uint64_t bytes, uint64_t alignment);

  // Replaces range `index` by up to two parts of it; empty parts vanish.
  Status Replace(size_t index, Range low, Range high);
  void Erase(size_t index);
  bool Insert(size_t index, Range range);

  std::array<Range, kMaxRanges> ranges_{};  // ascending, never touching each other
  size_t count_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_PAGE_ALLOCATOR_H_
