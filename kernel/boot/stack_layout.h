// Layout of the kernel's stacks, for C++ and assembly. Per CPU, from low to high addresses: an
// unmapped guard page, the emergency stack (panics only), an unmapped guard page, the kernel stack.
#ifndef ATOLL_KERNEL_BOOT_STACK_LAYOUT_H_
#define ATOLL_KERNEL_BOOT_STACK_LAYOUT_H_

#define ATOLL_MAX_CPUS 8
#define ATOLL_GUARD_BYTES 0x1000
#define ATOLL_EMERGENCY_STACK_BYTES 0x2000
#define ATOLL_STACK_BYTES 0x4000
#define ATOLL_EMERGENCY_STACK_TOP (ATOLL_GUARD_BYTES + ATOLL_EMERGENCY_STACK_BYTES)
#define ATOLL_STACK_TOP (ATOLL_EMERGENCY_STACK_TOP + ATOLL_GUARD_BYTES + ATOLL_STACK_BYTES)

#endif  // ATOLL_KERNEL_BOOT_STACK_LAYOUT_H_
