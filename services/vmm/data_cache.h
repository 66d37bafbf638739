// Cache maintenance for memory that a vCPU will read with its MMU off.
#ifndef ATOLL_SERVICES_VMM_DATA_CACHE_H_
#define ATOLL_SERVICES_VMM_DATA_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace atoll {

// Writes what lies in the data caches back to the point of coherency. A guest starts with its MMU
// off, and its reads then bypass the caches (DDI0487 D8.2.12). Instruction caches: the kernel, when
// a vCPU starts.
[[gnu::noinline]] inline void CleanToCoherency([[maybe_unused]] std::span<const std::byte> memory) {
#if !__STDC_HOSTED__
  uint64_t ctr;
  asm("mrs %0, ctr_el0" : "=r"(ctr));
  constexpr unsigned kDminLineShift =
      16;  // CTR_EL0.DminLine: log2 of the words of the smallest line
  const uint64_t line = uint64_t{4} << ((ctr >> kDminLineShift) & 0xf);
  const auto start = reinterpret_cast<uint64_t>(memory.data());
  const uint64_t end = start + memory.size();
  const auto clean = [](uint64_t address) {
    asm volatile("dc cvac, %0" ::"r"(address) : "memory");
  };
  uint64_t address = start & ~(line - 1);
  // A Linux kernel has half a million lines: eight at a time halve the instructions.
  constexpr uint64_t kGroup = 8;
  for (; end - address >= kGroup * line; address += kGroup * line) {
    for (uint64_t i = 0; i < kGroup; ++i) clean(address + i * line);
  }
  for (; address < end; address += line) clean(address);
  // Complete before the kernel call that starts the vCPU.
  asm volatile("dsb sy" ::: "memory");
#endif
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_DATA_CACHE_H_
