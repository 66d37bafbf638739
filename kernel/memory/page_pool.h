// The 4 KiB pages that were donated to one object for its page tables, as an intrusive list.
//
// Who donates counts; nobody else ever takes from the pool, so one object cannot use up another's
// memory. The link is the page's first word: a physical address, page aligned, so bit 0 is clear. A
// table walker that still holds a stale pointer to a page that was a table therefore reads an
// invalid descriptor there.
#ifndef ATOLL_KERNEL_MEMORY_PAGE_POOL_H_
#define ATOLL_KERNEL_MEMORY_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "ipc/address.h"
#include "kernel/direct_map.h"

namespace atoll {

// How the kernel reaches physical memory. Host tests put an arena in its place.
struct KernelDirectMap {
  static uint64_t* Words(PhysAddr page) { return PhysToPointer<uint64_t>(page); }
};

template <typename PhysicalMemory>
class BasicPagePool {
 public:
  // Takes over a page that nothing else uses.
  void Give(PhysAddr page) {
    *PhysicalMemory::Words(page) = first_.value;
    first_ = page;
    ++count_;
  }

  // A page filled with zeroes; nothing if the pool is empty.
  std::optional<PhysAddr> Take() {
    if (count_ == 0) return std::nullopt;
    const PhysAddr page = first_;
    uint64_t* const words = PhysicalMemory::Words(page);
    first_ = PhysAddr(*words);
    --count_;
    std::memset(words, 0, kPageSize);
    return page;
  }

  size_t count() const { return count_; }

 private:
  PhysAddr first_;    // valid if count_ > 0
  size_t count_ = 0;  // the end of the list: every address, 0 too, may be a page
};

using PagePool = BasicPagePool<KernelDirectMap>;

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_PAGE_POOL_H_
