// Driver of the machine's UART, a PL011 (DDI0183). It never waits longer than kDrainPolls register
// reads.
#ifndef ATOLL_SERVICES_CONSOLE_UART_H_
#define ATOLL_SERVICES_CONSOLE_UART_H_

#include <cstddef>
#include <cstdint>
#include <optional>

namespace atoll {

// Access to the UART's registers; `offset` in bytes, always 32-bit accesses.
class UartPort {
 public:
  virtual uint32_t Read(uint32_t offset) = 0;
  virtual void Write(uint32_t offset, uint32_t value) = 0;

 protected:
  ~UartPort() = default;
};

class Uart {
 public:
  explicit Uart(UartPort& port) : port_(port) {}

  // Takes over from whoever used the UART before (firmware, kernel, an earlier instance): speed and
  // received bytes stay, what is being sent is let out. Afterwards it receives by interrupt.
  void Initialize();

  bool CanSend() const;
  void Send(std::byte byte);  // only if CanSend()
  bool IsIdle() const;        // the last byte has left

  // The next received byte, if any. A break (no byte) is skipped.
  std::optional<std::byte> Receive();

  // Interrupts: input is there; room in the full transmit FIFO.
  void EnableReceiveInterrupt(bool enable);
  void EnableSendInterrupt(bool enable);

 private:
  void SetMask(uint32_t mask);

  UartPort& port_;
  uint32_t mask_ = 0;  // UARTIMSC
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_UART_H_
