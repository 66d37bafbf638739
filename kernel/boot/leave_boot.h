// The end of boot.
#ifndef ATOLL_KERNEL_BOOT_LEAVE_BOOT_H_
#define ATOLL_KERNEL_BOOT_LEAVE_BOOT_H_

namespace atoll {

struct Thread;

// Unmaps the code that runs only once (.boot_text in kernel.ld, the caller with it), and resumes
// `first`.
[[noreturn]] void LeaveBoot(Thread* first);

}  // namespace atoll

#endif  // ATOLL_KERNEL_BOOT_LEAVE_BOOT_H_
