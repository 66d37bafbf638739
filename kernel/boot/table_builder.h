// Builds the kernel's Stage-1 tables: 4 KiB granule, 39 bits, three levels. Mappings are only ever
// added.
#ifndef ATOLL_KERNEL_BOOT_TABLE_BUILDER_H_
#define ATOLL_KERNEL_BOOT_TABLE_BUILDER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/address.h"
#include "ipc/status.h"
#include "kernel/memory_attributes.h"

namespace atoll::boot {

struct alignas(kPageSize) TranslationTable {
  std::array<uint64_t, kPageSize / sizeof(uint64_t)> entries;
};

// Never writable and executable. None is for EL0.
enum class Access { kReadOnly, kReadWrite, kExecute };

class TableBuilder {
 public:
  // Takes tables from pool[used] on, all zero; counts in `used`. `pool_base`: physical address of
  // pool[0].
  TableBuilder(std::span<TranslationTable> pool, PhysAddr pool_base, size_t& used)
      : pool_(pool), pool_base_(pool_base), used_(used) {}

  // Maps [address, address + bytes) to `physical` with the largest blocks that fit, as global
  // entries. The upper bits of a TTBR1 address are ignored. All page multiples, else
  // INVALID_ARGUMENT. ALREADY_EXISTS: a part is mapped. RESOURCE_EXHAUSTED: the pool is empty.
  // Either leaves a part mapped.
  Status Map(TranslationTable& root, VirtAddr address, PhysAddr physical, uint64_t bytes,
             MemoryAttribute attribute, Access access);

 private:
  // Returns the next level's table that `entry` points to, made if it is empty.
  Result<TranslationTable*> NextTable(uint64_t& entry);

  std::span<TranslationTable> pool_;
  PhysAddr pool_base_;
  size_t& used_;
};

}  // namespace atoll::boot

#endif  // ATOLL_KERNEL_BOOT_TABLE_BUILDER_H_
