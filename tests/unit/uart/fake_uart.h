// A PL011 as the console's driver sees it: FIFOs of 16, interrupts by level (DDI0183), a wire on
// the other side.
#ifndef ATOLL_TESTS_UNIT_UART_FAKE_UART_H_
#define ATOLL_TESTS_UNIT_UART_FAKE_UART_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "services/console/uart.h"
#include "services/pl011/registers.h"

namespace atoll {

class FakeUart final : public UartPort {
 public:
  uint32_t Read(uint32_t offset) override {
    using namespace pl011;  // NOLINT: registers only
    switch (offset) {
      case 0x000: {
        if (received.empty()) return 0;
        const uint32_t entry = received.front();
        received.pop_front();
        FillReceiveFifo();
        return entry;
      }
      case 0x018:
        return (received.empty() ? kFrRxFifoEmpty : 0) |
               (fifo.size() >= kFifoDepth ? kFrTxFifoFull : 0) |
               (fifo.empty() ? kFrTxFifoEmpty : kFrBusy);
      case 0x02c: return line_control;
      case 0x030: return control;
      case 0x038: return mask;
      default: return 0;
    }
  }

  void Write(uint32_t offset, uint32_t value) override {
    using namespace pl011;  // NOLINT: registers only
    switch (offset) {
      case 0x000:
        if (instant) {
          wire.push_back(static_cast<char>(value));
        } else if (fifo.size() < kFifoDepth) {
          fifo.push_back(static_cast<char>(value));
        } else {
          ++lost;
        }
        break;
      case 0x02c:
        line_control_written_while_enabled |= (control & kCrUartEnable) != 0;
        line_control_written_while_busy |= !fifo.empty();
        line_control = value;
        break;
      case 0x030: control = value; break;
      case 0x038: mask = value; break;
      default: break;
    }
  }

  void ReadInto(uint32_t offset, uint32_t mark, uint32_t& word) override {
    word = mark | Read(offset);
  }
  void WriteWith(uint32_t offset, uint32_t value, const Stores& stores) override {
    Write(offset, value);
    EXPECT_EQ(stores[3].word, nullptr) << "there is room for three";
    Commit(stores);
  }
  void Commit(const Stores& stores) override {
    for (const WordStore& store : stores) {
      if (store.word != nullptr) *store.word = store.value;
    }
  }

  // The line to the interrupt controller.
  bool Interrupt() const {
    using namespace pl011;  // NOLINT: registers only
    const uint32_t raised = (received.empty() ? 0 : kInterruptReceive | kInterruptReceiveTimeout) |
                            (fifo.size() <= kFifoDepth / 2 ? kInterruptTransmit : 0);
    return (raised & mask) != 0;
  }

  // The wire takes bytes out of the FIFO.
  void Transmit(size_t most = SIZE_MAX) {
    for (; most != 0 && !fifo.empty(); --most) {
      wire.push_back(fifo.front());
      fifo.pop_front();
    }
  }
  // A user types; bytes beyond the FIFO wait at the other end of the wire, as QEMU's do.
  void Type(std::string_view text) {
    for (const char c : text) typed.push_back(static_cast<uint8_t>(c));
    FillReceiveFifo();
  }
  void FillReceiveFifo() {
    while (received.size() < pl011::kFifoDepth && !typed.empty()) {
      received.push_back(typed.front());
      typed.pop_front();
    }
  }
  std::string TakeWire() {
    std::string text;
    text.swap(wire);
    return text;
  }

  bool instant = true;  // bytes leave at once, as in QEMU
  std::deque<char> fifo;
  std::deque<uint32_t> received;
  std::deque<uint32_t> typed;
  std::string wire;
  int lost = 0;
  uint32_t line_control = 0;
  uint32_t control = 0x300;
  uint32_t mask = 0;
  bool line_control_written_while_enabled = false;
  bool line_control_written_while_busy = false;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_UART_FAKE_UART_H_
