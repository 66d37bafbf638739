// The kernel's Stage-1 mappings (TTBR1_EL2). They are only added, during boot; none is ever removed
// or changed.
#ifndef ATOLL_KERNEL_BOOT_KERNEL_MAP_H_
#define ATOLL_KERNEL_BOOT_KERNEL_MAP_H_

#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"
#include "kernel/boot/table_builder.h"

namespace atoll::boot {

// Physical addresses of the top tables: the kernel's, the identity map of boot, and one without
// entries (TTBR0_EL2 while no task's space is there).
struct RootTables {
  PhysAddr kernel;
  PhysAddr identity;
  PhysAddr empty;
};
// At the physical addresses (MMU off) and at the virtual ones alike.
RootTables GetRootTables(PhysAddr image_base);

// Adds a mapping; complete for this CPU on return. Errors as TableBuilder::Map.
Status MapKernel(PhysAddr image_base, VirtAddr address, PhysAddr physical, uint64_t bytes,
                 MemoryAttribute attribute, Access access);

// Maps RAM [base, base + bytes) into the direct map; the image's text and constants read-only.
Status MapDirect(PhysAddr image_base, PhysAddr base, uint64_t bytes);

// Maps device registers into the device window; whole pages, the offset in the page is kept.
Result<VirtAddr> MapDevice(PhysAddr image_base, PhysAddr base, uint64_t bytes);

}  // namespace atoll::boot

#endif  // ATOLL_KERNEL_BOOT_KERNEL_MAP_H_
