// Kernel objects and their memory: the kernel's bounded calls made whole, with
// pages from the allocator.
#ifndef ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_
#define ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "ipc/status.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/page_allocator.h"

namespace atoll {

// The supervisor's handle table, as the kernel fills it at start.
inline constexpr uint32_t kHandleSlots = 2048;
inline constexpr abi::Handle kOwnTask{1};
inline constexpr abi::Handle kOwnSignal{2};

// Where the supervisor maps what it fills: far from its image and from the boot
// archive.
inline constexpr VirtAddr kWorkspace{0x28'0000'0000};

class Objects {
 public:
  constexpr Objects(KernelCalls& kernel, PageAllocator& pages) : kernel_(kernel), pages_(pages) {}

  // CreateObject in slot `slot` with donated pages. OUT_OF_RANGE if there is no
  // such slot.
  Status Create(ObjectType type, uint32_t slot, uint32_t owner, uint64_t a, uint64_t b);

  // A memory object of cleared RAM.
  Status CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment = kPageSize);
  // A memory object of a range that is not the allocator's: device registers,
  // boot archive.
  Status CreateMemory(uint32_t slot, PhysAddr base, uint64_t bytes, MemoryType type);

  // True if Create made an object there, or it is one that the kernel gave at
  // start.
  bool Exists(uint32_t slot) const;

  uint64_t free_bytes() const { return pages_.free_bytes(); }

  // The whole of it, however many calls that takes; page tables are donated
  // when they run out.
  Status Map(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address, uint64_t bytes,
             uint32_t rights);
  Status Clear(uint32_t memory, uint64_t offset, uint64_t bytes);

  // Maps a part of a memory object for the supervisor, one at a time. Page
  // multiples.
  Result<std::span<std::byte>> Open(uint32_t memory, uint64_t offset, uint64_t bytes);
  Status Close();

  // A stop that the caller can tell apart from the kernel's: the kernel did
  // more than asked, or nothing.
  static constexpr Status kBrokenKernel = Status::kInternal;

 private:
  Status DonateTables(uint32_t space, uint64_t pages);
  Status Unmap(uint32_t space, uint64_t address, uint64_t bytes);

  KernelCalls& kernel_;
  PageAllocator& pages_;
  std::bitset<kHandleSlots> exists_;
  uint64_t open_bytes_ = 0;
};

constexpr uint32_t Rights(Right first) { return static_cast<uint32_t>(first); }
constexpr uint32_t Rights(Right first, auto... more) { return Rights(first) | Rights(more...); }

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_
