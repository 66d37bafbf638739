// What boot hands to the kernel proper.
#ifndef ATOLL_KERNEL_BOOT_BOOT_INFO_H_
#define ATOLL_KERNEL_BOOT_BOOT_INFO_H_

#include "ipc/address.h"
#include "kernel/machine/bounded_vector.h"
#include "kernel/machine/machine.h"

namespace atoll {

struct BootInfo {
  const Machine& machine;
  PhysRange image;         // the kernel's memory, stacks and tables included
  PhysRange device_tree;   // page aligned, kept out of free_memory
  PhysAddr empty_table;    // for TTBR0_EL2 while no task's space is there
  FreeMemory free_memory;  // RAM that is nobody's yet; the boot archive lies in it
  VirtAddr distributor;    // GICD, in the device window
  BoundedVector<VirtAddr, kMaxRedistributorRegions> redistributors;  // GICR, as in machine
};

}  // namespace atoll

// Called on CPU 0's kernel stack with the MMU on, interrupts masked, VBAR_EL2 still boot's (which
// report a fault and power off), TTBR0_EL2 = empty_table, HCR_EL2.{E2H,TGE,RW} = 1.
extern "C" [[noreturn]] void KernelMain(const atoll::BootInfo& info);

#endif  // ATOLL_KERNEL_BOOT_BOOT_INFO_H_
