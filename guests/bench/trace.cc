// Ways through the hypervisor, each taken a few times in a row, for scripts/trace-path: the instruction at label
// trace_NAME leaves the guest, and what runs until the guest's next instruction is the path NAME.
#include "guests/bare/bare.h"

namespace {

using namespace bare;

// The first ones are slower than the others: caches of the kernel's own, such as a vCPU's last range, are cold.
#define REPEATS "4"

// `body`: the instruction to trace, then what else belongs into the loop.
#define TRACE(name, setup, body, ...)                                                          \
  asm volatile("mov x10, #" REPEATS "\n1:\n\t" setup "\n\t.global trace_" name "\ntrace_" name \
               ":\n\t" body "\n\tsubs x10, x10, #1\n\tb.ne 1b" ::__VA_ARGS__                   \
               : "x0", "x1", "x2", "x3", "x9", "x10", "memory", "cc")

inline constexpr uintptr_t kUartFlags = kUart + 0x18;
inline constexpr uintptr_t kTypeRegister = kDistributor + 4;
inline constexpr uintptr_t kQueueNotify = kVirtio + 0x50;
inline constexpr uint64_t kPsciVersion = 0x8400'0000;
inline constexpr uint64_t kSgi1ToSelf = uint64_t{1} << 24 | 1;

}  // namespace

extern "C" void GuestMain(uint64_t) {
  InitializeGic();
  TRACE("uart_status_read", "", "ldr w9, [%0]", "r"(kUartFlags));
  TRACE("rtc_data_read", "", "ldr w9, [%0]", "r"(kRtc));
  TRACE("gicd_typer_read", "", "ldr w9, [%0]", "r"(kTypeRegister));
  TRACE("virtio_magic_read", "", "ldr w9, [%0]", "r"(kVirtio));
  TRACE("psci_version", "mov x0, %0", "hvc #0", "r"(kPsciVersion));
  // Two devices in turn: each access is the first one to another range.
  TRACE("other_device_read", "ldr w9, [%1]", "ldr w9, [%0]", "r"(kUartFlags), "r"(kRtc));
  // Only signals the service, which looks at a queue that is not ready when it runs next.
  TRACE("doorbell", "", "str wzr, [%0]", "r"(kQueueNotify));
  // The SGI stays pending: no interrupt is unmasked.
  TRACE("sgi_to_self", "", "msr icc_sgi1r_el1, %0", "r"(kSgi1ToSelf));
  TRACE("id_register_read", "", "mrs x9, id_aa64pfr0_el1", "r"(0ull));
}

extern "C" void SecondaryMain() {}
