// The driver of the machine's UART.
#include <gtest/gtest.h>

#include "tests/unit/uart/fake_uart.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

constexpr uint32_t kWanted = kLcrHFifoEnable | kLcrHWordLength8;
constexpr uint32_t kMark = 1u << 31;

// Everything that was received; a break is nothing.
std::string ReceiveAll(Uart& uart) {
  std::string text;
  uint32_t taken = 0;
  while (uart.Receive(kMark, taken)) {
    EXPECT_NE(taken & kMark, 0u);
    if (const auto byte = Uart::ByteOf(taken)) text.push_back(static_cast<char>(*byte));
  }
  return text;
}

TEST(UartDriver, sets_up_a_uart_that_nobody_used) {
  FakeUart hardware;
  Uart uart(hardware);
  uart.Initialize();
  EXPECT_EQ(hardware.line_control, kWanted);
  EXPECT_EQ(hardware.control, kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable);
  EXPECT_EQ(hardware.mask, kInterruptReceive | kInterruptReceiveTimeout);
  EXPECT_FALSE(hardware.line_control_written_while_enabled);
}

TEST(UartDriver, takes_over_without_losing_input_or_output) {
  FakeUart hardware;
  hardware.instant = false;
  hardware.line_control = kWanted;
  hardware.control = kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable;
  hardware.Write(0x000, 'k');  // of the kernel, on its way
  hardware.Type("typed before");
  Uart uart(hardware);
  uart.Initialize();
  EXPECT_FALSE(hardware.line_control_written_while_busy);
  hardware.Transmit();
  EXPECT_EQ(hardware.TakeWire(), "k");
  EXPECT_TRUE(hardware.Interrupt());
  EXPECT_EQ(ReceiveAll(uart), "typed before");
  EXPECT_FALSE(hardware.Interrupt());
}

TEST(UartDriver, a_stuck_uart_does_not_hold_up_the_start) {
  FakeUart hardware;
  hardware.instant = false;
  hardware.fifo = {'s', 't', 'u', 'c', 'k'};
  Uart uart(hardware);
  uart.Initialize();
  EXPECT_EQ(hardware.line_control, kWanted);
}

TEST(UartDriver, breaks_are_skipped_and_errors_pass) {
  FakeUart hardware;
  Uart uart(hardware);
  hardware.received = {'a', kDrBreak, 'b' | kDrOverrun, 'c' | (1u << kDrErrorShift)};
  EXPECT_EQ(ReceiveAll(uart), "abc");
}

TEST(UartDriver, full_fifo_is_seen) {
  FakeUart hardware;
  hardware.instant = false;
  Uart uart(hardware);
  uint32_t sent = 0;
  uint32_t recorded = 0;
  while (uart.CanSend()) {
    ++sent;
    uart.Send(std::byte{'x'}, {WordStore{&recorded, sent}});
  }
  EXPECT_EQ(sent, 16u);
  EXPECT_EQ(recorded, 16u);
  EXPECT_EQ(hardware.lost, 0);
  EXPECT_FALSE(uart.IsIdle());
  hardware.Transmit();
  EXPECT_TRUE(uart.IsIdle());
}

}  // namespace
}  // namespace atoll
