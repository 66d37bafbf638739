// What bare-metal guests share: console, PSCI, exceptions, the GIC and the timers. EL1, MMU off.
#ifndef ATOLL_GUESTS_BARE_BARE_H_
#define ATOLL_GUESTS_BARE_BARE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bare {

// The machine that every VM is given (docs/guest-machine.md).
inline constexpr uintptr_t kDistributor = 0x0800'0000;
inline constexpr uintptr_t kRedistributor = 0x080a'0000;  // 128 KiB per vCPU
inline constexpr uintptr_t kUart = 0x0900'0000;
inline constexpr uintptr_t kRtc = 0x0901'0000;
inline constexpr uintptr_t kVirtio = 0x0a00'0000;  // + n * 0x1000
inline constexpr uintptr_t kRam = 0x4000'0000;
inline constexpr uint32_t kUartIntid = 33;
inline constexpr uint32_t kRtcIntid = 34;
inline constexpr uint32_t kVirtioIntid = 48;  // + n
inline constexpr uint32_t kVirtualTimerIntid = 27;
inline constexpr uint32_t kPhysicalTimerIntid = 30;

// Layout known to start.S.
struct Frame {
  uint64_t x[31];
  uint64_t elr;
  uint64_t spsr;
  uint64_t esr;
  uint64_t far;
  uint64_t vector;  // 0-15
};

// Device accesses: one instruction without writeback each, as compilers do not promise for volatile ones, but the
// syndrome of a trapped access needs (DDI0487, ISV).
template <typename T>
T Load(uintptr_t address) {
  T value;
  if constexpr (sizeof(T) == 1)
    asm volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
  if constexpr (sizeof(T) == 2)
    asm volatile("ldrh %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
  if constexpr (sizeof(T) == 4)
    asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
  if constexpr (sizeof(T) == 8)
    asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(address) : "memory");
  return value;
}
template <typename T>
void Store(uintptr_t address, T value) {
  if constexpr (sizeof(T) == 1)
    asm volatile("strb %w0, [%1]" ::"r"(value), "r"(address) : "memory");
  if constexpr (sizeof(T) == 2)
    asm volatile("strh %w0, [%1]" ::"r"(value), "r"(address) : "memory");
  if constexpr (sizeof(T) == 4) asm volatile("str %w0, [%1]" ::"r"(value), "r"(address) : "memory");
  if constexpr (sizeof(T) == 8) asm volatile("str %0, [%1]" ::"r"(value), "r"(address) : "memory");
}
inline uint32_t Load32(uintptr_t address) { return Load<uint32_t>(address); }
inline void Store32(uintptr_t address, uint32_t value) { Store<uint32_t>(address, value); }

// BARE_READ("cntfrq_el0"): the register's value.
#define BARE_READ(name)                               \
  [] {                                                \
    uint64_t bare_value;                              \
    asm volatile("mrs %0, " name : "=r"(bare_value)); \
    return bare_value;                                \
  }()
#define BARE_WRITE(name, value) \
  asm volatile("msr " name ", %0\n\tisb" ::"r"(static_cast<uint64_t>(value)) : "memory")

void Print(std::string_view text);
void PrintNumber(uint64_t value);
void PrintHex(uint64_t value);

struct SmcccResult {
  uint64_t x0, x1, x2, x3;
};
SmcccResult Hvc(uint64_t x0, uint64_t x1 = 0, uint64_t x2 = 0, uint64_t x3 = 0);
SmcccResult Smc(uint64_t x0, uint64_t x1 = 0, uint64_t x2 = 0, uint64_t x3 = 0);
[[noreturn]] void PowerOff();

// The counter, read in program order.
inline uint64_t Counter() {
  asm volatile("isb" ::: "memory");
  return BARE_READ("cntvct_el0");
}

// IRQs (Group 1) and FIQs (Group 0): handler called with the INTID between acknowledge and end of interrupt.
// null: interrupts are unexpected.
using InterruptHandler = void (*)(uint32_t intid);
void SetInterruptHandler(InterruptHandler handler);

// Synchronous exceptions: the handler may change the frame (skip an instruction: elr += 4) and returns true
// if it was expected. null: none is.
using FaultHandler = bool (*)(Frame& frame);
void SetFaultHandler(FaultHandler handler);

// Distributor, this vCPU's redistributor and CPU interface on, everything in Group 1 at priority 0xa0.
void InitializeGic(uint32_t vcpu = 0);
void EnableInterrupt(uint32_t intid, uint32_t vcpu = 0);
void DisableInterrupt(uint32_t intid, uint32_t vcpu = 0);
inline void UnmaskInterrupts() { asm volatile("msr daifclr, #2" ::: "memory"); }
inline void MaskInterrupts() { asm volatile("msr daifset, #2" ::: "memory"); }
inline void WaitForInterrupt() { asm volatile("dsb sy\n\twfi" ::: "memory"); }

}  // namespace bare

// x0-x3 as the guest was entered with.
extern "C" uint64_t boot_registers[4];
// End of the image and of what it has in memory (bare.ld).
extern "C" char guest_end[];

// Defined by each guest.
extern "C" void GuestMain(uint64_t device_tree);
extern "C" void SecondaryMain();
// Entry point of a vCPU whose context id is the top of its stack: calls SecondaryMain.
extern "C" char secondary_start[];

#endif  // ATOLL_GUESTS_BARE_BARE_H_
