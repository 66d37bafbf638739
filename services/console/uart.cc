#include "services/console/uart.h"

#include "services/pl011/registers.h"

namespace atoll {

using namespace pl011;  // NOLINT: registers only

namespace {

// Reads of UARTFR until a full FIFO must have left at any usual speed; then the UART is stuck and
// is set up anyway.
constexpr uint32_t kDrainPolls = 100'000;

constexpr uint32_t kDr_ = kTable.offset(kDr);
constexpr uint32_t kFr_ = kTable.offset(kFr);
constexpr uint32_t kLcrH_ = kTable.offset(kLcrH);
constexpr uint32_t kCr_ = kTable.offset(kCr);
constexpr uint32_t kImsc_ = kTable.offset(kImsc);

}  // namespace

void Uart::Initialize() {
  port_.Write(kImsc_, 0);
  constexpr uint32_t kLineControl = kLcrHFifoEnable | kLcrHWordLength8;
  // UARTLCR_H may be written only while the UART is disabled and idle (DDI0183, 3.3.8), and a
  // change of FEN empties the FIFOs: so only if it is not as wanted.
  if (port_.Read(kLcrH_) != kLineControl) {
    for (uint32_t poll = 0; poll < kDrainPolls && !IsIdle(); ++poll) {
    }
    port_.Write(kCr_, 0);
    port_.Write(kLcrH_, kLineControl);
  }
  port_.Write(kCr_, kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable);
  // UARTICR is left alone: input that lies in the FIFO already has raised its interrupt and may not
  // raise it again.
  mask_ = 0;
  EnableReceiveInterrupt(true);
}

bool Uart::CanSend() const { return (port_.Read(kFr_) & kFrTxFifoFull) == 0; }

void Uart::Send(std::byte byte, const Stores& stores) {
  port_.WriteWith(kDr_, std::to_integer<uint32_t>(byte), stores);
}

bool Uart::IsIdle() const { return (port_.Read(kFr_) & kFrBusy) == 0; }

bool Uart::Receive(uint32_t mark, uint32_t& taken) {
  if ((port_.Read(kFr_) & kFrRxFifoEmpty) != 0) return false;
  port_.ReadInto(kDr_, mark, taken);
  return true;
}

std::optional<std::byte> Uart::ByteOf(uint32_t taken) {
  if ((taken & kDrBreak) != 0) return std::nullopt;
  return static_cast<std::byte>(taken & kDrData);
}

void Uart::EnableReceiveInterrupt(bool enable) {
  constexpr uint32_t kReceive = kInterruptReceive | kInterruptReceiveTimeout;
  SetMask(enable ? mask_ | kReceive : mask_ & ~kReceive);
}

void Uart::EnableSendInterrupt(bool enable) {
  SetMask(enable ? mask_ | kInterruptTransmit : mask_ & ~kInterruptTransmit);
}

void Uart::SetMask(uint32_t mask) {
  if (mask == mask_) return;
  mask_ = mask;
  port_.Write(kImsc_, mask);
}

}  // namespace atoll
