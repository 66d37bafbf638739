#include "guests/bare/bare.h"

namespace bare {
namespace {

InterruptHandler interrupt_handler = nullptr;
FaultHandler fault_handler = nullptr;

void PutByte(char c) {
  while ((Load32(kUart + 0x18) & (1u << 5)) != 0) {  // UARTFR.TXFF
  }
  Store32(kUart, static_cast<uint8_t>(c));
}

// GICD and GICR SGI_base share the layout of these banks (IHI0069).
uintptr_t BankOf(uint32_t intid, uint32_t vcpu) {
  return intid < 32 ? kRedistributor + vcpu * 0x2'0000 + 0x1'0000 : kDistributor;
}

inline constexpr uint32_t kSpurious = 1020;

}  // namespace

void Print(std::string_view text) {
  for (const char c : text) {
    if (c == '\n') PutByte('\r');
    PutByte(c);
  }
}

void PrintNumber(uint64_t value) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) PutByte(digits[--count]);
}

void PrintHex(uint64_t value) {
  Print("0x");
  for (int shift = 60; shift >= 0; shift -= 4) PutByte("0123456789abcdef"[(value >> shift) & 15]);
}

#define BARE_CONDUIT(instruction)                                                     \
  register uint64_t r0 asm("x0") = x0;                                                \
  register uint64_t r1 asm("x1") = x1;                                                \
  register uint64_t r2 asm("x2") = x2;                                                \
  register uint64_t r3 asm("x3") = x3;                                                \
  asm volatile(instruction " #0" : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3)::"memory"); \
  return { r0, r1, r2, r3 }

SmcccResult Hvc(uint64_t x0, uint64_t x1, uint64_t x2, uint64_t x3) { BARE_CONDUIT("hvc"); }
SmcccResult Smc(uint64_t x0, uint64_t x1, uint64_t x2, uint64_t x3) { BARE_CONDUIT("smc"); }

void PowerOff() {
  Hvc(0x8400'0008);
  for (;;) {
  }
}

void SetInterruptHandler(InterruptHandler handler) { interrupt_handler = handler; }
void SetFaultHandler(FaultHandler handler) { fault_handler = handler; }

void InitializeGic(uint32_t vcpu) {
  const uintptr_t frame = kRedistributor + vcpu * 0x2'0000;
  Store32(frame + 0x14, 0);  // GICR_WAKER
  while ((Load32(frame + 0x14) & 4) != 0) {
  }
  Store32(frame + 0x1'0080, ~0u);  // GICR_IGROUPR0
  for (uint32_t i = 0; i < 8; ++i) Store32(frame + 0x1'0400 + 4 * i, 0xa0a0'a0a0);
  if (vcpu == 0) {
    const uint32_t lines = (Load32(kDistributor + 4) & 31) + 1;  // GICD_TYPER.ITLinesNumber
    for (uint32_t i = 1; i < lines; ++i) {
      Store32(kDistributor + 0x80 + 4 * i, ~0u);
      for (uint32_t j = 0; j < 8; ++j) Store32(kDistributor + 0x400 + 32 * i + 4 * j, 0xa0a0'a0a0);
    }
    Store32(kDistributor, 0x12);  // ARE, EnableGrp1
  }
  BARE_WRITE("icc_sre_el1", 7);
  BARE_WRITE("icc_pmr_el1", 0xff);
  BARE_WRITE("icc_igrpen1_el1", 1);
}

void EnableInterrupt(uint32_t intid, uint32_t vcpu) {
  Store32(BankOf(intid, vcpu) + 0x100 + intid / 32 * 4, 1u << (intid % 32));
}
void DisableInterrupt(uint32_t intid, uint32_t vcpu) {
  Store32(BankOf(intid, vcpu) + 0x180 + intid / 32 * 4, 1u << (intid % 32));
}

extern "C" void HandleException(Frame* frame, uint64_t vector) {
  frame->vector = vector;
  if (vector % 4 == 1 || vector % 4 == 2) {
    const bool group0 = vector % 4 == 2;
    const auto intid =
        static_cast<uint32_t>(group0 ? BARE_READ("icc_iar0_el1") : BARE_READ("icc_iar1_el1"));
    if (intid >= kSpurious) return;
    if (interrupt_handler != nullptr) interrupt_handler(intid);
    if (group0) {
      BARE_WRITE("icc_eoir0_el1", intid);
    } else {
      BARE_WRITE("icc_eoir1_el1", intid);
    }
    if (interrupt_handler != nullptr) return;
    Print("FAIL unexpected interrupt ");
    PrintNumber(intid);
  } else if (fault_handler != nullptr && fault_handler(*frame)) {
    return;
  } else {
    Print("FAIL unexpected exception: vector ");
    PrintNumber(vector);
    Print(" esr ");
    PrintHex(frame->esr);
    Print(" elr ");
    PrintHex(frame->elr);
    Print(" far ");
    PrintHex(frame->far);
  }
  Print("\n");
  PowerOff();
}

}  // namespace bare
