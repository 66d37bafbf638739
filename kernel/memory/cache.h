// Data cache maintenance by address (DDI0487, cache maintenance instructions).
#ifndef ATOLL_KERNEL_MEMORY_CACHE_H_
#define ATOLL_KERNEL_MEMORY_CACHE_H_

#include <cstddef>
#include <cstdint>

namespace atoll {

struct CacheGeometry {
  uint64_t zero_block;  // bytes that DC ZVA writes
  uint64_t data_line;   // smallest data cache line, bytes
  static CacheGeometry Read() {
    uint64_t dczid;
    uint64_t ctr;
    asm("mrs %0, dczid_el0" : "=r"(dczid));
    asm("mrs %0, ctr_el0" : "=r"(ctr));
    // DCZID_EL0.BS and CTR_EL0.DminLine: log2 of words.
    return {.zero_block = uint64_t{4} << (dczid & 0xf),
            .data_line = uint64_t{4} << ((ctr >> 16) & 0xf)};
  }
};

// Runs `operation` on each `step` of whole pages; eight at a time, since gigabytes go through here.
template <typename Operation>
inline void ForEachBlock(std::byte* start, uint64_t bytes, uint64_t step, Operation operation) {
  std::byte* const end = start + bytes;
  if (bytes % (8 * step) == 0) {
    for (std::byte* at = start; at < end; at += 8 * step) {
#pragma clang loop unroll(full)
      for (uint64_t i = 0; i < 8; ++i) operation(at + i * step);
    }
  } else {
    for (std::byte* at = start; at < end; at += step) operation(at);
  }
}

// Fills whole pages with zeroes and cleans them to the point of coherency: a guest that starts with its
// MMU off, or a device that does not snoop, reads memory and not our caches.
inline void ClearToPointOfCoherency(std::byte* start, uint64_t bytes) {
  const CacheGeometry geometry = CacheGeometry::Read();
  ForEachBlock(start, bytes, geometry.zero_block, [](std::byte* at) {
    asm volatile("dc zva, %0" ::"r"(at) : "memory");
  });
  ForEachBlock(start, bytes, geometry.data_line, [](std::byte* at) {
    asm volatile("dc cvac, %0" ::"r"(at) : "memory");
  });
  asm volatile("dsb sy" ::
                   : "memory");  // complete for observers outside the shareability domain too
}

// What was written to these whole pages can be executed, on every CPU: data to the point of unification, then
// no instruction cache has what was there before.
inline void MakeExecutable(std::byte* start, uint64_t bytes) {
  ForEachBlock(start, bytes, CacheGeometry::Read().data_line, [](std::byte* at) {
    asm volatile("dc cvau, %0" ::"r"(at) : "memory");
  });
  asm volatile("dsb ish\n\tic ialluis\n\tdsb ish\n\tisb" ::: "memory");
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_CACHE_H_
