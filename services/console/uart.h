// Driver of the machine's UART, a PL011 (DDI0183). It never waits longer than kDrainPolls register
// reads.
//
// Commits. Reading UARTDR takes a byte off the wire and writing it puts one there, for good. So what is noted about it
// is written in the same step: the instructions of a commit are the task's commit window (SetCommitWindow), in which it
// is not killed.
#ifndef ATOLL_SERVICES_CONSOLE_UART_H_
#define ATOLL_SERVICES_CONSOLE_UART_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "services/runtime/word_store.h"

namespace atoll {

// The stores of a commit besides that to a register. Each is a release; those without a word are not made.
using Stores = std::array<WordStore, 4>;

// Access to the UART's registers; `offset` in bytes, always 32-bit accesses.
class UartPort {
 public:
  virtual uint32_t Read(uint32_t offset) = 0;
  virtual void Write(uint32_t offset, uint32_t value) = 0;

  // Reads a register and stores mark | what was read into `word`, as one step.
  virtual void ReadInto(uint32_t offset, uint32_t mark, uint32_t& word) = 0;
  // Writes a register and makes the first three stores, as one step.
  virtual void WriteWith(uint32_t offset, uint32_t value, const Stores& stores) = 0;
  // Makes the stores as one step.
  virtual void Commit(const Stores& stores) = 0;

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
  // Only if CanSend(); with at most three stores.
  void Send(std::byte byte, const Stores& stores);
  bool IsIdle() const;  // the last byte has left

  // Stores what was received next into `taken`, with `mark`. False: there is nothing.
  bool Receive(uint32_t mark, uint32_t& taken);
  // The byte that `taken` holds; none if it was a break.
  static std::optional<std::byte> ByteOf(uint32_t taken);

  void Commit(const Stores& stores) { port_.Commit(stores); }

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
