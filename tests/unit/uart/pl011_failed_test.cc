// A PL011 that was given up: output goes nowhere, there is no input, and no driver waits.
#include <gtest/gtest.h>

#include <random>

#include "services/pl011/failed.h"
#include "tests/unit/uart/uart_machine.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

constexpr uint32_t kOn = kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable;

struct FailedMachine {
  uint32_t Read(Register index) {
    return static_cast<uint32_t>(
        *device.Access({.offset = kTable.offset(index), .size = 4, .write = false, .value = 0}));
  }
  void Write(Register index, uint32_t value) {
    (void)*device.Access(
        {.offset = kTable.offset(index), .size = 4, .write = true, .value = value});
  }

  explicit FailedMachine(const Table::Values& registers) : device(line, registers) {
    device.Start();
  }

  FakeLine line;
  FailedPl011 device;
};

TEST(FailedPl011, takes_output_has_no_input_and_lets_no_driver_wait) {
  UartMachine before;
  before.Enable();
  before.Write(kImsc, kInterruptTransmit | kInterruptReceive);
  before.FillOutput();
  before.ConsoleWrites("input");
  FailedMachine m(before.state->registers);
  EXPECT_TRUE(m.line.level);  // whoever waits for room goes on
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(m.Read(kFr), kFrCts | kFrDsr | kFrDcd | kFrTxFifoEmpty | kFrRxFifoEmpty);
    m.Write(kDr, 'x');
    ASSERT_EQ(m.Read(kMis), kInterruptTransmit);
    m.Write(kIcr, kInterruptAll);
    ASSERT_EQ(m.Read(kMis), 0u);
    ASSERT_FALSE(m.line.level);
  }
  EXPECT_EQ(m.Read(kDr), 0u);
  EXPECT_EQ(m.Read(kCr), kOn);
  m.Write(kIbrd, 0x123);
  EXPECT_EQ(m.Read(kIbrd), 0x123u);
  EXPECT_EQ(m.Read(kPeriphId0), 0x11u);
  m.Write(kDr, 'x');
  EXPECT_TRUE(m.line.level);
  m.Write(kImsc, 0);
  EXPECT_FALSE(m.line.level);
}

TEST(FailedPl011, any_access_is_answered) {
  FailedMachine m(kTable.reset_values());
  std::mt19937_64 random(6);
  for (int i = 0; i < 100'000; ++i) {
    const uint32_t size = 1u << (random() % 4);
    const Result<uint64_t> value = m.device.Access(
        {.offset = random() % 0x1100, .size = size, .write = random() % 2 == 0, .value = random()});
    ASSERT_TRUE(value.has_value());
    ASSERT_TRUE(size == 8 ? *value == 0 : *value >> (8 * size) == 0);
  }
  EXPECT_EQ(m.Read(kPCellId3), 0xb1u);
}

}  // namespace
}  // namespace atoll
