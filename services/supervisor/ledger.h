// What the supervisor has made with the kernel's calls and has to undo some day: objects, mappings, grants, and pages
// given for page tables. Every entry belongs to a VM, with which it comes and goes, or to the machine.
#ifndef ATOLL_SERVICES_SUPERVISOR_LEDGER_H_
#define ATOLL_SERVICES_SUPERVISOR_LEDGER_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// The supervisor's handle table, as the kernel fills it at start.
inline constexpr uint32_t kHandleSlots = 2048;
inline constexpr abi::Handle kOwnTask{1};
inline constexpr abi::Handle kOwnSignal{2};

// Slot of the VM's object in the supervisor's table.
using Owner = uint32_t;
inline constexpr Owner kMachine = 0;

// A list with a fixed capacity, in no order.
template <typename T, size_t kCapacity>
class FixedList {
 public:
  // Null if it is full.
  T* Add(const T& entry) {
    if (count_ == kCapacity) return nullptr;
    entries_[count_] = entry;
    return &entries_[count_++];
  }
  // The last entry takes its place.
  void Remove(size_t index) { entries_[index] = entries_[--count_]; }
  std::span<T> entries() { return std::span(entries_).first(count_); }
  std::span<const T> entries() const { return std::span(entries_).first(count_); }
  bool full() const { return count_ == kCapacity; }

 private:
  std::array<T, kCapacity> entries_{};
  size_t count_ = 0;
};

struct Ledger {
  struct Object {
    ObjectType type = ObjectType::kNone;  // none: the slot is empty
    Owner owner = kMachine;
    PhysAddr backing{};  // donated pages
    uint64_t backing_bytes = 0;
    PhysAddr memory{};  // MEMORY: its range ...
    uint64_t memory_bytes = 0;
    bool is_allocated = false;  // ... which came from the page allocator
  };
  struct Mapping {
    uint32_t memory = 0;
    uint32_t space = 0;
    Owner owner = kMachine;
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint64_t offset = 0;  // into the memory
  };
  struct Grant {
    Owner owner = kMachine;
    uint32_t task = 0;
    uint32_t slot = 0;
  };
  // They come back with the object whose page tables they are.
  struct TablePages {
    uint32_t space = 0;
    PhysAddr base{};
    uint64_t bytes = 0;
  };

  std::array<Object, kHandleSlots> objects{};
  FixedList<Mapping, 2048> mappings;
  FixedList<Grant, 4096> grants;
  FixedList<TablePages, 1024> table_pages;

  // The mapping that begins there; null: none does.
  const Mapping* MappingAt(uint32_t space, uint64_t address) const {
    for (const Mapping& mapping : mappings.entries()) {
      if (mapping.space == space && mapping.address == address) return &mapping;
    }
    return nullptr;
  }
  bool IsMapped(uint32_t memory, uint32_t space) const {
    return std::ranges::any_of(mappings.entries(), [&](const Mapping& mapping) {
      return mapping.space == space && mapping.memory == memory;
    });
  }

  // Bytes that were taken from the page allocator for all of this, and for what one owner has.
  uint64_t bytes() const {
    return Sum([](Owner) { return true; });
  }
  uint64_t bytes(Owner owner) const {
    return Sum([owner](Owner of) { return of == owner; });
  }

 private:
  template <typename Predicate>
  uint64_t Sum(Predicate counts) const {
    uint64_t sum = 0;
    for (const Object& object : objects) {
      if (object.type == ObjectType::kNone || !counts(object.owner)) continue;
      sum += object.backing_bytes + (object.is_allocated ? object.memory_bytes : 0);
    }
    for (const TablePages& pages : table_pages.entries()) {
      if (counts(objects[pages.space].owner)) sum += pages.bytes;
    }
    return sum;
  }
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_LEDGER_H_
