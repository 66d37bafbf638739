// What each 4 KiB page of RAM is used for: one byte per page.
//
// Every page has one use at a time, so memory of a task or guest can never be kernel object or page
// table memory as well. The caller serialises.
#ifndef ATOLL_KERNEL_MEMORY_FRAME_TABLE_H_
#define ATOLL_KERNEL_MEMORY_FRAME_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll {

enum class FrameState : uint8_t {
  kKernel = 0,  // image, this table, holes between banks of RAM: never given away
  kFree = 1,
  kObject = 2,  // backs a kernel object or its page tables
  kMemory = 3,  // belongs to a memory object
};

class FrameTable {
 public:
  FrameTable() = default;
  // One state per page of RAM from `base` (page aligned) on; all pages begin as kKernel.
  FrameTable(PhysAddr base, std::span<FrameState> states);

  // All pages of [start, start + bytes) must be in state `from` and are then in state `to`;
  // otherwise nothing changes. INVALID_ARGUMENT: not page aligned, or empty. OUT_OF_RANGE: not all
  // RAM. FAILED_PRECONDITION: a page is in another state.
  Status Claim(PhysAddr start, uint64_t bytes, FrameState to) {
    return Change(start, bytes, FrameState::kFree, to);
  }
  Status Release(PhysAddr start, uint64_t bytes, FrameState from) {
    return Change(start, bytes, from, FrameState::kFree);
  }

  // Nothing for an address that is not RAM.
  std::optional<FrameState> StateOf(PhysAddr address) const;

  // True if any byte of [start, start + bytes) is in the table's range (or the range wraps).
  bool Overlaps(PhysAddr start, uint64_t bytes) const;

 private:
  Status Change(PhysAddr start, uint64_t bytes, FrameState from, FrameState to);

  PhysAddr base_;
  std::span<FrameState> states_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_FRAME_TABLE_H_
