// Pages that the supervisor gives for a new object: taken from the front, the object itself first.
#ifndef ATOLL_KERNEL_DONATION_H_
#define ATOLL_KERNEL_DONATION_H_

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "ipc/address.h"
#include "kernel/direct_map.h"
#include "kernel/memory/page_pool.h"

namespace atoll {

class Donation {
 public:
  // `backing` as in kernel.proto: page-aligned physical address | number of pages in bits [11:0].
  explicit Donation(uint64_t backing)
      : base_(AlignDown(backing, kPageSize)),
        pages_(static_cast<uint32_t>(backing & (kPageSize - 1))) {}

  PhysAddr base() const { return base_; }
  uint32_t pages() const { return pages_; }
  uint32_t left() const { return pages_ - taken_; }

  static constexpr uint32_t PagesFor(uint64_t bytes) {
    return static_cast<uint32_t>((bytes + kPageSize - 1) / kPageSize);
  }

  // The next pages, cleared; the caller has checked that there are so many.
  std::byte* Take(uint32_t pages) {
    std::byte* const memory = PhysToPointer<std::byte>(base_ + taken_ * kPageSize);
    std::memset(memory, 0, pages * kPageSize);
    taken_ += pages;
    return memory;
  }

  template <typename T, typename... Arguments>
  T* Construct(Arguments&&... arguments) {
    return new (Take(PagesFor(sizeof(T)))) T(std::forward<Arguments>(arguments)...);
  }

  PhysAddr next() const { return base_ + taken_ * kPageSize; }

  void GiveRest(PagePool& pool) {
    for (; taken_ < pages_; ++taken_) pool.Give(base_ + taken_ * kPageSize);
  }

 private:
  PhysAddr base_;
  uint32_t pages_;
  uint32_t taken_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_DONATION_H_
