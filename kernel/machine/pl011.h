// The PL011 UART as a place to write text to: for the log before the console service runs, and
// panics. Registers: Arm PrimeCell UART (PL011) TRM, DDI0183G, 3.2.
#ifndef ATOLL_KERNEL_MACHINE_PL011_H_
#define ATOLL_KERNEL_MACHINE_PL011_H_

#include <cstdint>
#include <string_view>

namespace atoll {

class Pl011 {
 public:
  constexpr Pl011() = default;
  constexpr explicit Pl011(uintptr_t registers) : registers_(registers) {}

  constexpr bool present() const { return registers_ != 0; }

  // Makes the transmitter work whatever state its last owner left it in. The line settings stay.
  void EnableTransmitter() const {
    if (!present()) return;
    Write(Register::kUartcr, Read(Register::kUartcr) | kUarten | kTxe);
  }

  // Polls; a UART that takes nothing for kMaxSpins reads loses the character, it does not stop the
  // kernel.
  void Put(char c) const {
    if (!present()) return;
    for (uint32_t spin = 0; (Read(Register::kUartfr) & kTxff) != 0; ++spin) {
      if (spin == kMaxSpins) return;
    }
    Write(Register::kUartdr, static_cast<uint8_t>(c));
  }

  void Put(std::string_view text) const {
    for (char c : text) {
      if (c == '\n') Put('\r');
      Put(c);
    }
  }

  // Waits (bounded) until the last character has left.
  void Flush() const {
    if (!present()) return;
    for (uint32_t spin = 0; (Read(Register::kUartfr) & kBusy) != 0 && spin < kMaxSpins; ++spin) {
    }
  }

 private:
  enum class Register : uint32_t { kUartdr = 0x000, kUartfr = 0x018, kUartcr = 0x030 };
  static constexpr uint32_t kBusy = 1u << 3;    // UARTFR.BUSY
  static constexpr uint32_t kTxff = 1u << 5;    // UARTFR.TXFF
  static constexpr uint32_t kUarten = 1u << 0;  // UARTCR.UARTEN
  static constexpr uint32_t kTxe = 1u << 8;     // UARTCR.TXE
  static constexpr uint32_t kMaxSpins = 100'000;

  uint32_t Read(Register offset) const {
    return *reinterpret_cast<const volatile uint32_t*>(registers_ + static_cast<uint32_t>(offset));
  }
  void Write(Register offset, uint32_t value) const {
    *reinterpret_cast<volatile uint32_t*>(registers_ + static_cast<uint32_t>(offset)) = value;
  }

  uintptr_t registers_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_PL011_H_
