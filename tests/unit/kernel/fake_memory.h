// Physical memory of page table tests: an arena at a made-up address.
#ifndef ATOLL_TESTS_UNIT_KERNEL_FAKE_MEMORY_H_
#define ATOLL_TESTS_UNIT_KERNEL_FAKE_MEMORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "ipc/address.h"

namespace atoll {

struct FakeMemory {
  static constexpr size_t kPages = 64;
  static constexpr PhysAddr kBase{0x4800'0000};
  using Page = std::array<uint64_t, kPageSize / sizeof(uint64_t)>;
  alignas(kPageSize) static inline std::array<Page, kPages> pages = {};

  static PhysAddr PageAt(size_t index) { return kBase + index * kPageSize; }

  // What the kernel and the hardware's table walks see. An address that is no page of the arena is
  // a bug.
  static uint64_t* Words(PhysAddr page) {
    const uint64_t offset = page - kBase;
    if (offset % kPageSize != 0 || offset / kPageSize >= kPages) {
      throw std::out_of_range("not a page of the arena");
    }
    return pages[offset / kPageSize].data();
  }
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_KERNEL_FAKE_MEMORY_H_
