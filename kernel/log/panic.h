// The end of the kernel: a report, then the machine goes off with a failing status.
#ifndef ATOLL_KERNEL_LOG_PANIC_H_
#define ATOLL_KERNEL_LOG_PANIC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace atoll {

// What the vectors save at an exception taken from EL2 itself.
struct PanicFrame {
  std::array<uint64_t, 31> x;
  uint64_t sp;
  uint64_t elr;
  uint64_t spsr;
  uint64_t esr;
  uint64_t far;
};
static_assert(offsetof(PanicFrame, sp) == 248 && offsetof(PanicFrame, elr) == 256);
static_assert(offsetof(PanicFrame, esr) == 272 && offsetof(PanicFrame, far) == 280);

// For what only a bug of our own can bring about. Prints the reason and a backtrace, on the UART in
// any case.
[[noreturn]] void Panic(std::string_view reason);

// The same for an exception; runs on an emergency stack. A second fault inside a report ends it.
[[noreturn]] void PanicException(const PanicFrame& frame);

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_PANIC_H_
