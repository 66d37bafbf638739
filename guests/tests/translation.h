// Stage-1 tables of test guests: an identity map of the low 2 GiB (devices, RAM), with room for more.
#ifndef ATOLL_GUESTS_TESTS_TRANSLATION_H_
#define ATOLL_GUESTS_TESTS_TRANSLATION_H_

#include "guests/bare/bare.h"

namespace bare {

// Descriptors (DDI0487, VMSAv8-64).
inline constexpr uint64_t kBlock = 1;
inline constexpr uint64_t kTableOrPage = 3;
inline constexpr uint64_t kDeviceMemory =
    0 << 2 | 1 << 10 | uint64_t{3} << 53;  // AttrIndx 0, AF, not executable
inline constexpr uint64_t kNormalMemory =
    1 << 2 | 3 << 8 | 1 << 10;  // AttrIndx 1, inner shareable, AF
inline constexpr uint64_t kNonCacheable = 2 << 2 | 3 << 8 | 1 << 10;

// TCR_EL1.TG0 with the starting level at which one table maps the low GiB by blocks.
struct Granule {
  uint64_t tg0;
  uint64_t input_bits;
  uint64_t block_bits;
};
inline constexpr Granule k4K = {0, 39, 30};
inline constexpr Granule k16K = {2, 36, 25};
inline constexpr Granule k64K = {1, 42, 29};

struct alignas(65536) Table {
  uint64_t entry[8192];
};

inline void MapIdentity(Table& table, const Granule& granule) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  for (uint64_t& entry : table.entry) entry = 0;
  for (uint64_t address = 0; address < 2 * kGiB; address += uint64_t{1} << granule.block_bits) {
    table.entry[address >> granule.block_bits] =
        address | kBlock | (address < kGiB ? kDeviceMemory : kNormalMemory);
  }
}

// TTBR1 is used with 4 KiB pages and 39 bits if `high` is not null.
inline void EnableMmu(const Table& table, const Granule& granule, uint64_t high = 0) {
  BARE_WRITE("mair_el1", 0x44'ff04);
  uint64_t tcr = (64 - granule.input_bits) | granule.tg0 << 14 | 1 << 8 | 1 << 10 | 3 << 12 |
                 uint64_t{2} << 32;
  tcr |= high == 0 ? 1 << 23 : uint64_t{25} << 16 | uint64_t{2} << 30;
  BARE_WRITE("tcr_el1", tcr);
  BARE_WRITE("ttbr0_el1", reinterpret_cast<uint64_t>(&table));
  BARE_WRITE("ttbr1_el1", high);
  asm volatile("dsb sy\n\ttlbi vmalle1\n\tdsb sy\n\tisb" ::: "memory");
  BARE_WRITE("sctlr_el1", BARE_READ("sctlr_el1") | 1 << 12 | 1 << 2 | 1);  // I, C, M
}

inline void DisableMmu() {
  BARE_WRITE("sctlr_el1", BARE_READ("sctlr_el1") & ~uint64_t{1 << 12 | 1 << 2 | 1});
  asm volatile("dsb sy\n\ttlbi vmalle1\n\tdsb sy\n\tisb" ::: "memory");
}

}  // namespace bare

#endif  // ATOLL_GUESTS_TESTS_TRANSLATION_H_
