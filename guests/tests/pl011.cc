// PL011 through traps, interrupts and waits (checklist: pl011).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint32_t kDr = 0x00, kFr = 0x18, kIbrd = 0x24, kLcrH = 0x2c, kCr = 0x30,
                          kImsc = 0x38, kRis = 0x3c, kMis = 0x40, kIcr = 0x44;
inline constexpr uint32_t kRxEmpty = 1 << 4, kTxFull = 1 << 5, kBusy = 1 << 3, kTxEmpty = 1 << 7;
inline constexpr uint32_t kRx = 1 << 4, kTx = 1 << 5, kRt = 1 << 6;
inline constexpr uint32_t kEnabled = 0x301, kLoopback = 0x80;

uint32_t Uart(uint32_t offset) { return Load32(kUart + offset); }
void Uart(uint32_t offset, uint32_t value) { Store32(kUart + offset, value); }
void Drain() {
  while ((Uart(kFr) & kBusy) != 0) {
  }
}

TEST(PL011_01_PL011_02_PL011_06_PL011_11_identity_by_every_width) {
  const uint8_t wanted[] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  for (uint32_t i = 0; i < 8; ++i) {
    const uintptr_t address = kUart + 0xfe0 + 4 * i;
    EXPECT_EQ(Load<uint8_t>(address), wanted[i]);
    EXPECT_EQ(Load<uint16_t>(address), wanted[i]);
    EXPECT_EQ(Load32(address), wanted[i]);
  }
  Uart(kIbrd, 0x1234);
  (void)FaultsOf([] {
    Store<uint64_t>(kUart + kIbrd - 4, ~uint64_t{0});
    Store<uint16_t>(kUart + kIbrd + 1, 0xffff);
    (void)Load32(kUart + kIbrd + 2);
  });
  EXPECT_EQ(Uart(kIbrd), 0x1234);
  Uart(kIbrd, 0);
  for (uint32_t offset = 0x4c; offset < 0xfe0; offset += 4) {
    Uart(offset, ~0u);
    EXPECT_EQ(Uart(offset), 0);
  }
}

TEST(PL011_35_PL011_61_loopback_keeps_order_and_every_value) {
  Drain();
  Uart(kLcrH, 0x70);
  Uart(kCr, kEnabled | kLoopback);
  bool right = true;
  for (uint32_t value = 0; value < 256; ++value) {
    Uart(kDr, value);
    right &= WaitUntil([] { return (Uart(kFr) & kRxEmpty) == 0; }, 100);
    right &= Uart(kDr) == value;
  }
  Uart(kCr, kEnabled);
  EXPECT(right);
  EXPECT_EQ(Uart(kFr) & kRxEmpty, kRxEmpty);
}

TEST(PL011_20_PL011_21_PL011_50_PL011_53_transmission_ends_and_interrupts) {
  Drain();
  Uart(kLcrH, 0x70);
  Uart(kCr, kEnabled);
  Uart(kIcr, 0x7ff);
  EXPECT_EQ(Uart(kRis) & kTx, 0);
  EnableInterrupt(kUartIntid);
  CountInterrupts([](uint32_t) { Uart(kIcr, kTx); });
  Uart(kImsc, kTx);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 16; ++i) {
      while ((Uart(kFr) & kTxFull) != 0) {
      }
      Uart(kDr, i == 15 ? '\n' : '.');
    }
    static volatile uint32_t wanted;
    wanted = interrupts.total + 1;
    UnmaskInterrupts();
    const bool came = WaitUntil([] { return interrupts.total >= wanted; }, 100);
    MaskInterrupts();
    EXPECT(came);
    EXPECT(WaitUntil([] { return (Uart(kFr) & (kTxEmpty | kBusy)) == kTxEmpty; }, 100));
  }
  Uart(kImsc, 0);
  DisableInterrupt(kUartIntid);
}

TEST(PL011_42_PL011_43_line_follows_mask_and_status) {
  Drain();
  Uart(kCr, kEnabled | kLoopback);
  Uart(kLcrH, 0x60);  // no FIFO: each byte interrupts
  Uart(kDr, 'x');
  EXPECT(WaitUntil([] { return (Uart(kRis) & (kRx | kRt)) != 0; }, 100));
  EXPECT(!IsPending(kUartIntid));
  Uart(kImsc, kRx | kRt);
  EXPECT(IsPending(kUartIntid));
  EXPECT_EQ(Uart(kMis), Uart(kRis) & (kRx | kRt));
  Uart(kImsc, 0);
  EXPECT(!IsPending(kUartIntid));
  Uart(kImsc, kRx | kRt);
  EXPECT(IsPending(kUartIntid));
  EXPECT_EQ(Uart(kDr), 'x');
  EXPECT(!IsPending(kUartIntid));
  Uart(kImsc, 0);
  Uart(kLcrH, 0x70);
  Uart(kCr, kEnabled);
}

TEST(PL011_46_PL011_60_PL011_62_typed_input_comes_by_interrupt_in_order) {
  Drain();
  Uart(kLcrH, 0x70);
  Uart(kCr, kEnabled);
  Uart(kIcr, 0x7ff);
  static volatile uint32_t received;
  static uint8_t text[64];
  received = 0;
  CountInterrupts([](uint32_t) {
    while ((Uart(kRis) & (kRx | kRt)) != 0) {
      Uart(kIcr, kRx | kRt);
      while ((Uart(kFr) & kRxEmpty) == 0 && received < sizeof(text)) {
        text[received] = static_cast<uint8_t>(Uart(kDr));
        received = received + 1;
      }
    }
  });
  EnableInterrupt(kUartIntid);
  Uart(kImsc, kRx | kRt);
  // 40 bytes, more than the FIFO has.
  Print("INPUT ");
  for (uint32_t i = 0; i < 40; ++i) {
    const char* const digits = "0123456789abcdef";
    const uint32_t value = i == 0 ? 0xff : 0x30 + i;
    const char pair[] = {digits[value >> 4], digits[value & 15]};
    Print({pair, 2});
  }
  Print("\n");
  while (received < 40) {
    WaitForInterrupt();
    UnmaskInterrupts();
    asm volatile("isb");
    MaskInterrupts();
  }
  Uart(kImsc, 0);
  DisableInterrupt(kUartIntid);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(text[i], i == 0 ? 0xff : 0x30 + i);
  EXPECT_EQ(Uart(kFr) & kRxEmpty, kRxEmpty);
}

}  // namespace
}  // namespace bare
