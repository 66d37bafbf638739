// How many pages the supervisor donates to the kernel for each object
// (CreateObject, proto/kernel.proto).
#ifndef ATOLL_SERVICES_SUPERVISOR_OBJECT_PAGES_H_
#define ATOLL_SERVICES_SUPERVISOR_OBJECT_PAGES_H_

#include <algorithm>
#include <cstdint>

#include "ipc/address.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// First offers; doubled up to kMaxObjectPages when the kernel asks for more.
// Tasks and VMs keep what is left over for page tables.
constexpr uint64_t ObjectPages(ObjectType type) {
  switch (type) {
    case ObjectType::kTask: return 16;  // object, handles, root table; tables of 4 to 6 regions
    case ObjectType::kVm: return 32;  // object, interrupts, two root tables; tables of RAM by 2 MiB
    case ObjectType::kVcpu: return 2;
    default: return 1;
  }
}
inline constexpr uint64_t kMaxObjectPages = 256;

// How many pages to donate when a mapping runs out of page tables with `bytes` left to map: a last-level table
// for each 2 MiB if that is mapped by pages, one of each level above, and no more than kMaxTablePages at once.
inline constexpr uint64_t kMaxTablePages = 256;
constexpr uint64_t TablePages(uint64_t bytes) {
  constexpr uint64_t kUpperLevels = 3;
  return std::min(bytes / kBlockSize + kUpperLevels, kMaxTablePages);
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_OBJECT_PAGES_H_
