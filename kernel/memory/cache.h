// Data cache maintenance by address (DDI0487, cache maintenance instructions).
#ifndef ATOLL_KERNEL_MEMORY_CACHE_H_
#define ATOLL_KERNEL_MEMORY_CACHE_H_

#include <cstddef>
#include <cstdint>

namespace atoll {

// Fills whole pages with zeroes and cleans them to the point of coherency: a guest that starts with its MMU
// off, or a device that does not snoop, reads memory and not our caches.
inline void ClearToPointOfCoherency(std::byte* start, uint64_t bytes) {
  uint64_t dczid;
  uint64_t ctr;
  asm("mrs %0, dczid_el0" : "=r"(dczid));
  asm("mrs %0, ctr_el0" : "=r"(ctr));
  const uint64_t zero_block = uint64_t{4} << (dczid & 0xf);      // DCZID_EL0.BS, log2 words
  const uint64_t line = uint64_t{4} << ((ctr >> 16) & 0xf);       // CTR_EL0.DminLine, log2 words
  std::byte* const end = start + bytes;
  for (std::byte* at = start; at < end; at += zero_block) asm volatile("dc zva, %0" ::"r"(at) : "memory");
  for (std::byte* at = start; at < end; at += line) asm volatile("dc cvac, %0" ::"r"(at) : "memory");
  asm volatile("dsb sy" ::: "memory");  // complete for observers outside the shareability domain too
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_CACHE_H_
