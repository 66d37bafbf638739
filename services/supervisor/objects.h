// Kernel objects and their memory: the kernel's bounded calls made whole, with
// pages from the allocator, and undone again.
#ifndef ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_
#define ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "ipc/status.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/ledger.h"
#include "services/supervisor/page_allocator.h"

namespace atoll {

// Where the supervisor maps what it fills: far from its image and from the boot
// archive.
inline constexpr VirtAddr kWorkspace{0x28'0000'0000};
inline constexpr VirtAddr kWorkspaceEnd{0x29'0000'0000};

// Work that takes the kernel many calls: clearing and mapping memory. Made by Objects, done by Objects::Step.
struct Bulk {
  enum class Kind : uint8_t { kNone, kClear, kMap };
  Kind kind = Kind::kNone;  // none: it is done
  bool donated = false;     // page tables, since the last progress
  Owner owner = kMachine;
  uint32_t memory = 0;
  uint32_t space = 0;
  uint32_t rights = 0;
  uint64_t offset = 0;
  uint64_t address = 0;
  uint64_t bytes = 0;

  bool done() const { return kind == Kind::kNone; }
};

class Objects {
 public:
  constexpr Objects(KernelCalls& kernel, PageAllocator& pages) : kernel_(kernel), pages_(pages) {}

  // To whom belongs what is made from now on.
  void set_owner(Owner owner) { owner_ = owner; }

  // CreateObject in slot `slot` with donated pages. OUT_OF_RANGE if there is no
  // such slot.
  Status Create(ObjectType type, uint32_t slot, uint32_t owner, uint64_t a, uint64_t b);

  // A memory object of cleared RAM; with `clear`, clearing it is left to the caller.
  Status CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment = kPageSize);
  Status CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment, Bulk& clear);
  // A memory object of a range that is not the allocator's: device registers,
  // boot archive.
  Status CreateMemory(uint32_t slot, PhysAddr base, uint64_t bytes, MemoryType type);

  // True if Create made an object there, or it is one that the kernel gave at
  // start.
  bool Exists(uint32_t slot) const;

  // True if the memory is mapped there in a space, all of it or its start.
  bool IsMapped(uint32_t memory, uint32_t space, uint64_t address) const;

  uint64_t free_bytes() const { return pages_.free_bytes(); }
  const Ledger& ledger() const { return ledger_; }

  Status Grant(uint32_t object, const GrantHandleRequest& request);

  // The whole of it, however many calls that takes; page tables are donated
  // when they run out.
  Status Map(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address, uint64_t bytes,
             uint32_t rights);
  Status Clear(uint32_t memory, uint64_t offset, uint64_t bytes);
  // The same in pieces: Step is one call of the kernel.
  Bulk MapLater(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address, uint64_t bytes,
                uint32_t rights) const;
  Status Step(Bulk& bulk);

  // Maps a part of a memory object for the supervisor, one at a time. Page
  // multiples.
  Result<std::span<std::byte>> Open(uint32_t memory, uint64_t offset, uint64_t bytes);
  Status Close();

  // ---- after the supervisor's own death (recovery_objects.cc): what the kernel has is in use, and is in the ledger ----

  // The object in a slot that the plan names, if there is one. RAM in `archive` is not the allocator's.
  Status Adopt(uint32_t slot, Owner owner, const GetResourceReply* archive);
  // All mappings, and the pages given for page tables, of what was adopted; nothing is open.
  Status AdoptSpaces();
  // A handle that was given, or is taken away by now. False: there are too many.
  bool AdoptGrant(Owner owner, uint32_t object, uint32_t task, uint32_t slot);
  // What is mapped already of a mapping that was to be made.
  uint64_t MappedBytes(uint32_t memory, uint32_t space, uint64_t address) const;
  // Unmaps the memory wherever it is mapped, and destroys it; of something that is half made.
  Status Discard(uint32_t memory);

  // ---- the way back; indices are those of the ledger ----

  // Empties the handle's slot; the entry is gone.
  Status Revoke(size_t grant);
  // One call; the entry is gone when all is unmapped.
  Status Unmap(size_t mapping);
  // All that is mapped of this memory there.
  Status UnmapAll(uint32_t memory, uint32_t space);
  // Destroys the object and frees its pages. The kernel refuses while anything refers to it.
  Status Destroy(uint32_t slot);

  // A stop that the caller can tell apart from the kernel's: the kernel did
  // more than asked, or nothing.
  static constexpr Status kBrokenKernel = Status::kInternal;

 private:
  Status MapSome(Bulk& bulk);
  Status ClearSome(Bulk& bulk);
  Status DonateTables(uint32_t space, uint64_t pages);
  Ledger::Mapping* Note(const Bulk& bulk);
  Status AdoptSpace(uint32_t space);
  Result<uint32_t> MemorySlot(uint64_t backing, uint32_t near) const;

  KernelCalls& kernel_;
  PageAllocator& pages_;
  Ledger ledger_;
  Owner owner_ = kMachine;
  uint64_t open_bytes_ = 0;
};

constexpr uint32_t Rights(Right first) { return static_cast<uint32_t>(first); }
constexpr uint32_t Rights(Right first, auto... more) { return Rights(first) | Rights(more...); }

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_OBJECTS_H_
