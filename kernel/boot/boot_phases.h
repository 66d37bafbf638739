// The phases of boot, in the order in which boot.S calls them.
#ifndef ATOLL_KERNEL_BOOT_BOOT_PHASES_H_
#define ATOLL_KERNEL_BOOT_BOOT_PHASES_H_

#include <cstdint>

#include "ipc/address.h"

namespace atoll::boot {

extern "C" {
// With the MMU off, at the physical address.
void boot_check_machine(uint64_t device_tree);  // entry_check.cc
void boot_build_tables();                       // kernel_map.cc: the image, at both addresses
void boot_enable_translation();                 // enable_translation.cc
// With the MMU on, at the virtual address.
[[noreturn]] void boot_main(uint64_t device_tree, uint64_t image_base);  // boot_main.cc
// Where PSCI CPU_ON enters, at the physical address, with the CPU's index; and where that leads.
void boot_secondary();                                  // boot.S
[[noreturn]] void boot_secondary_main(uint64_t index);  // secondary_cpus.cc
}

// The UART's physical address if boot_check_machine saw one, else 0.
extern PhysAddr early_uart;

// The device tree's size as its header said, at most kMaxDeviceTreeBytes.
extern uint64_t device_tree_bytes;

}  // namespace atoll::boot

#endif  // ATOLL_KERNEL_BOOT_BOOT_PHASES_H_
