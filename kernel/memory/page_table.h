// A translation table of one address space: map, unmap, look up, each call bounded.
//
// PageTable is a view: it owns neither the root table nor the pool that tables are taken from and
// given back to. The owner serialises calls; hardware may walk the table meanwhile, on any CPU. So
// every descriptor is written whole by one release store, a table is complete before it is linked,
// and a valid entry is never replaced by another valid one (break-before-make, DDI0487 D8, TLB
// maintenance requirements).
//
// While a block is split its addresses are invalid for a moment. Whoever gets a translation fault
// takes the owner's lock, asks Query, and lets the access run again if it is mapped.
#ifndef ATOLL_KERNEL_MEMORY_PAGE_TABLE_H_
#define ATOLL_KERNEL_MEMORY_PAGE_TABLE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "ipc/address.h"
#include "ipc/status.h"
#include "kernel/memory/page_pool.h"
#include "kernel/memory/table_format.h"
#include "kernel/memory/tlb.h"
#include "kernel/system_register.h"

namespace atoll {

struct Mapping {
  PhysAddr phys;       // of the address asked for
  uint64_t bytes = 0;  // from there to the end of its page or block
  PageAttributes attributes;
};

// What tells one kind of table from another, but for its descriptors.
struct TableShape {
  uint64_t base;
  unsigned input_bits;
  unsigned root_level;
  unsigned largest_block_level;
  bool may_split_blocks;
};

// A table of any shape; PageTable has the contracts. One copy of the code serves all of them.
template <typename PhysicalMemory>
class BasicPageTable {
 public:
  using Pool = BasicPagePool<PhysicalMemory>;

  static constexpr size_t kEntries = kPageSize / sizeof(uint64_t);
  static constexpr unsigned kLastLevel = 3;
  // Bytes that an entry of a level maps: 1 GiB, 2 MiB, 4 KiB.
  static constexpr uint64_t EntryBytes(unsigned level) {
    return kPageSize << (9 * (kLastLevel - level));
  }

  struct Leaf {
    PhysAddr phys;  // as in Mapping
    uint64_t bytes = 0;
    uint64_t descriptor = 0;
  };

 protected:
  BasicPageTable(PhysAddr root, Pool& pool, const TableShape& shape)
      : root_(root), pool_(pool), shape_(shape) {}

  // `attributes`: bits of a descriptor, if the format has such.
  Result<uint64_t> Map(uint64_t address, PhysAddr phys, uint64_t bytes,
                       std::optional<uint64_t> attributes, uint32_t budget);
  Result<uint64_t> Unmap(uint64_t address, uint64_t bytes, uint32_t budget, Tlb& tlb);
  std::optional<Leaf> Find(uint64_t address) const;

 private:
  // Table and entry of each level on the way to one address; valid from kRootLevel to `level`.
  struct Walk {
    std::array<PhysAddr, kLastLevel + 1> table;
    std::array<size_t, kLastLevel + 1> index;
    unsigned level = 0;  // where the walk ended
    uint64_t entry = 0;  // what it ended at: invalid, a block or a page
  };

  static bool IsValid(uint64_t entry) { return (entry & descriptor::kValid) != 0; }
  static bool IsTable(uint64_t entry, unsigned level) {
    return level < kLastLevel && (entry & descriptor::kTypeMask) == descriptor::kTypeMask;
  }
  static PhysAddr AddressOf(uint64_t entry) { return PhysAddr(entry & descriptor::kAddressMask); }
  static uint64_t LeafType(unsigned level) {
    return level == kLastLevel ? descriptor::kTypeMask : descriptor::kValid;
  }
  size_t Index(uint64_t offset, unsigned level) const {
    const uint64_t index = offset / EntryBytes(level);
    return level == shape_.root_level ? index : index % kEntries;  // offsets are inside the space
  }

  static uint64_t Load(PhysAddr table, size_t index) {
    return std::atomic_ref(PhysicalMemory::Words(table)[index]).load(std::memory_order_relaxed);
  }
  // Release: what the entry leads to is visible before it (a walker's reads are ordered by their
  // addresses).
  static void Store(PhysAddr table, size_t index, uint64_t entry) {
    std::atomic_ref(PhysicalMemory::Words(table)[index]).store(entry, std::memory_order_release);
  }

  Status CheckRange(uint64_t address, uint64_t bytes, uint32_t budget) const;
  // Follows tables down to `last_level` at most.
  Walk FollowTables(uint64_t offset, unsigned last_level = kLastLevel) const;
  Status MapOne(uint64_t offset, PhysAddr phys, unsigned level, uint64_t attributes,
                uint64_t& mapped);
  Status Split(Walk& walk, uint64_t offset, Tlb& tlb);
  void FreeEmptyTables(const Walk& walk, Pool& detached) const;

  PhysAddr root_;
  Pool& pool_;
  const TableShape& shape_;
};

template <typename PhysicalMemory>
Status BasicPageTable<PhysicalMemory>::CheckRange(uint64_t address, uint64_t bytes,
                                                  uint32_t budget) const {
  if (address % kPageSize != 0 || bytes % kPageSize != 0 || bytes == 0 || budget == 0) {
    return Status::kInvalidArgument;
  }
  // An address below kBase wraps to a large offset.
  const bool inside = InBounds(address - shape_.base, bytes, uint64_t{1} << shape_.input_bits);
  return inside ? Status::kOk : Status::kOutOfRange;
}

template <typename PhysicalMemory>
auto BasicPageTable<PhysicalMemory>::FollowTables(uint64_t offset, unsigned last_level) const
    -> Walk {
  Walk walk;
  walk.level = shape_.root_level;
  PhysAddr table = root_;
  for (;; ++walk.level) {
    walk.table[walk.level] = table;
    walk.index[walk.level] = Index(offset, walk.level);
    walk.entry = Load(table, walk.index[walk.level]);
    if (walk.level == last_level || !IsTable(walk.entry, walk.level)) return walk;
    table = AddressOf(walk.entry);
  }
}

// Writes one leaf at `level`, or below it where a table exists already; `mapped` gets its size.
template <typename PhysicalMemory>
Status BasicPageTable<PhysicalMemory>::MapOne(uint64_t offset, PhysAddr phys, unsigned level,
                                              uint64_t attributes, uint64_t& mapped) {
  Walk walk = FollowTables(offset, level);
  if (IsTable(walk.entry, walk.level)) {  // small pages are mapped inside what could be one block
    level = kLastLevel;
    walk = FollowTables(offset, level);
  }
  if (IsValid(walk.entry)) return Status::kAlreadyExists;
  // All tables or none, so that a failure leaves nothing behind.
  if (pool_.count() < level - walk.level) return Status::kResourceExhausted;
  PhysAddr table = walk.table[walk.level];
  for (unsigned above = walk.level; above < level; ++above) {
    const PhysAddr next = *pool_.Take();
    Store(table, Index(offset, above), next.value | descriptor::kTypeMask);
    table = next;
  }
  Store(table, Index(offset, level), phys.value | attributes | LeafType(level));
  mapped = EntryBytes(level);
  return Status::kOk;
}

template <typename PhysicalMemory>
Result<uint64_t> BasicPageTable<PhysicalMemory>::Map(uint64_t address, PhysAddr phys,
                                                     uint64_t bytes,
                                                     std::optional<uint64_t> attributes,
                                                     uint32_t budget) {
  if (Status status = CheckRange(address, bytes, budget); !IsOk(status))
    return std::unexpected(status);
  if (!attributes || !phys.IsAligned(kPageSize)) return std::unexpected(Status::kInvalidArgument);
  if (!InBounds(phys.value, bytes, descriptor::kAddressMask + kPageSize)) {
    return std::unexpected(Status::kOutOfRange);
  }
  uint64_t done = 0;
  for (; done < bytes && budget > 0; --budget) {
    const uint64_t offset = address + done - shape_.base;
    const PhysAddr target = phys + done;
    unsigned level = shape_.largest_block_level;
    while (level < kLastLevel && (((offset | target.value) & (EntryBytes(level) - 1)) != 0 ||
                                  bytes - done < EntryBytes(level))) {
      ++level;
    }
    uint64_t mapped = 0;
    const Status status = MapOne(offset, target, level, *attributes, mapped);
    if (!IsOk(status)) {
      if (done == 0) return std::unexpected(status);
      break;  // the next call, at the page in question, says why
    }
    done += mapped;
  }
  // No TLBI: invalid entries are never cached. The barriers make this CPU's next access find the
  // new ones.
  DsbIshst();
  Isb();
  return done;
}

// Replaces the block that `walk` ended at by a table of the next level that maps the same.
template <typename PhysicalMemory>
Status BasicPageTable<PhysicalMemory>::Split(Walk& walk, uint64_t offset, Tlb& tlb) {
  if (!shape_.may_split_blocks) return Status::kFailedPrecondition;
  const std::optional<PhysAddr> table = pool_.Take();
  if (!table) return Status::kResourceExhausted;
  const unsigned level = walk.level + 1;
  const uint64_t attributes = walk.entry & ~(descriptor::kAddressMask | descriptor::kTypeMask);
  for (size_t i = 0; i < kEntries; ++i) {
    const PhysAddr phys = AddressOf(walk.entry) + i * EntryBytes(level);
    Store(*table, i, phys.value | attributes | LeafType(level));
  }
  // Break, so that no CPU holds a block and a page for the same address, then make.
  Store(walk.table[walk.level], walk.index[walk.level], 0);
  const uint64_t block = AlignDown(offset, EntryBytes(walk.level));
  tlb.Invalidate(shape_.base + block, EntryBytes(walk.level));
  Store(walk.table[walk.level], walk.index[walk.level], table->value | descriptor::kTypeMask);
  walk = FollowTables(offset, level);
  return Status::kOk;
}

// Unlinks the table that `walk` ended in if it is empty, then the one above it, and so on; never
// the root.
template <typename PhysicalMemory>
void BasicPageTable<PhysicalMemory>::FreeEmptyTables(const Walk& walk, Pool& detached) const {
  for (unsigned level = walk.level; level > shape_.root_level; --level) {
    const PhysAddr table = walk.table[level];
    // From the end: unmapping goes upwards, so a table in use is mostly recognised by its last
    // entry.
    for (size_t i = kEntries; i > 0; --i) {
      if (IsValid(Load(table, i - 1))) return;
    }
    Store(walk.table[level - 1], walk.index[level - 1], 0);
    detached.Give(table);
  }
}

template <typename PhysicalMemory>
Result<uint64_t> BasicPageTable<PhysicalMemory>::Unmap(uint64_t address, uint64_t bytes,
                                                       uint32_t budget, Tlb& tlb) {
  if (Status status = CheckRange(address, bytes, budget); !IsOk(status))
    return std::unexpected(status);
  uint64_t done = 0;
  uint64_t changed_from = bytes;
  uint64_t changed_to = 0;
  Pool detached;  // not to be used before the TLBs forgot that they were tables
  Status status = Status::kOk;
  for (; done < bytes && budget > 0; --budget) {
    const uint64_t offset = address + done - shape_.base;
    Walk walk = FollowTables(offset);
    const auto inside_range = [&](unsigned level) {
      return offset % EntryBytes(level) == 0 && bytes - done >= EntryBytes(level);
    };
    while (IsOk(status) && IsValid(walk.entry) && !inside_range(walk.level)) {
      status = Split(walk, offset, tlb);  // a page always is: this ends
    }
    if (!IsOk(status)) break;
    const uint64_t entry_bytes = EntryBytes(walk.level);
    const uint64_t step = std::min(bytes - done, entry_bytes - offset % entry_bytes);
    if (IsValid(walk.entry)) {
      Store(walk.table[walk.level], walk.index[walk.level], 0);
      changed_from = std::min(changed_from, done);
      changed_to = done + step;
    }
    done += step;
    const bool leaves_table = (offset + step) % (entry_bytes * kEntries) == 0;
    if (leaves_table || done == bytes || budget == 1) FreeEmptyTables(walk, detached);
  }
  if (changed_from < changed_to) tlb.Invalidate(address + changed_from, changed_to - changed_from);
  while (detached.count() > 0) pool_.Give(*detached.Take());
  if (done == 0 && !IsOk(status)) return std::unexpected(status);
  return done;
}

template <typename PhysicalMemory>
auto BasicPageTable<PhysicalMemory>::Find(uint64_t address) const -> std::optional<Leaf> {
  const uint64_t offset = address - shape_.base;
  if (offset >= uint64_t{1} << shape_.input_bits) return std::nullopt;
  const Walk walk = FollowTables(offset);
  if (!IsValid(walk.entry)) return std::nullopt;
  const uint64_t inside = offset % EntryBytes(walk.level);
  return Leaf{.phys = AddressOf(walk.entry) + inside,
              .bytes = EntryBytes(walk.level) - inside,
              .descriptor = walk.entry};
}

template <typename Format, typename PhysicalMemory = KernelDirectMap>
class PageTable : private BasicPageTable<PhysicalMemory> {
  using Base = BasicPageTable<PhysicalMemory>;
  static constexpr TableShape kShape = {.base = Format::kBase.value,
                                        .input_bits = Format::kInputBits,
                                        .root_level = Format::kRootLevel,
                                        .largest_block_level = Format::kLargestBlockLevel,
                                        .may_split_blocks = Format::kMaySplitBlocks};

 public:
  using Input = typename Format::Input;
  using Base::EntryBytes;
  using typename Base::Pool;

  static constexpr size_t kRootEntries =
      (uint64_t{1} << Format::kInputBits) / EntryBytes(Format::kRootLevel);
  // The root's size, and its alignment.
  static constexpr size_t kRootBytes = kRootEntries * sizeof(uint64_t);

  // `root`: kRootBytes, cleared before its first use.
  PageTable(PhysAddr root, Pool& pool) : Base(root, pool, kShape) {}

  // Maps up to `budget` pages or blocks from the front of [address, address + bytes) and says how
  // many bytes that was. An error means that nothing was changed:
  //   INVALID_ARGUMENT    not page aligned, nothing to do, attributes that this format refuses
  //   OUT_OF_RANGE        input or output address beyond the address space
  //   ALREADY_EXISTS      the page at `address` is mapped
  //   RESOURCE_EXHAUSTED  the pool has too few pages for the tables that the page at `address`
  //   needs
  // Returns with the new descriptors visible to every table walker.
  Result<uint64_t> Map(Input address, PhysAddr phys, uint64_t bytes, PageAttributes attributes,
                       uint32_t budget) {
    return Base::Map(address.value, phys, bytes, Format::Encode(attributes), budget);
  }

  // Unmaps the front of the range, at most `budget` entries (mapped or not), and says how many
  // bytes that was. What is not mapped is passed over. Blocks that are only partly in the range are
  // split, which takes a page: RESOURCE_EXHAUSTED; FAILED_PRECONDITION if the format has no
  // splitting. Tables that became empty are back in the pool, and no CPU uses an old translation,
  // when this returns.
  Result<uint64_t> Unmap(Input address, uint64_t bytes, uint32_t budget, Tlb& tlb) {
    return Base::Unmap(address.value, bytes, budget, tlb);
  }

  std::optional<Mapping> Query(Input address) const {
    const auto leaf = Base::Find(address.value);
    if (!leaf.has_value()) return std::nullopt;
    return Mapping{
        .phys = leaf->phys, .bytes = leaf->bytes, .attributes = Format::Decode(leaf->descriptor)};
  }
};

using TaskTable = PageTable<TaskFormat>;
using KernelTable = PageTable<KernelFormat>;
using Stage2Table = PageTable<Stage2Format>;

extern template class BasicPageTable<KernelDirectMap>;

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_PAGE_TABLE_H_
