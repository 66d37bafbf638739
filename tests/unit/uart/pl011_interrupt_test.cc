// PL011 interrupts, notification of the console, and what a restart keeps of both.
#include <gtest/gtest.h>

#include "tests/unit/uart/uart_machine.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

constexpr uint32_t kOn = kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable;
constexpr uint32_t kRx = kInterruptReceive;
constexpr uint32_t kRt = kInterruptReceiveTimeout;
constexpr uint32_t kTx = kInterruptTransmit;

TEST(Pl011, PL011_37_PL011_39_PL011_42_PL011_43_mask_gates_the_line) {
  UartMachine m;
  m.Print("a");
  ASSERT_EQ(m.Read(kRis), kTx);
  EXPECT_EQ(m.Read(kMis), 0u);
  EXPECT_FALSE(m.line.level);
  m.Write(kImsc, kTx);
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.Read(kMis), kTx);
  m.Write(kImsc, 0x7ff & ~kTx);
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.Read(kImsc), 0x7ffu & ~kTx);
}

TEST(Pl011, PL011_38_PL011_40_icr_clears_only_the_bits_written) {
  UartMachine m;
  m.Enable();
  m.Print("a");
  m.ConsoleWrites("12345678");
  m.PassMicroseconds(1000);
  ASSERT_EQ(m.Read(kRis), kTx | kRx | kRt);
  m.Write(kIcr, 0);
  EXPECT_EQ(m.Read(kRis), kTx | kRx | kRt);
  m.Write(kIcr, kRx);
  EXPECT_EQ(m.Read(kRis), kTx | kRt);
  m.Write(kIcr, 0xffff'ffff);
  EXPECT_EQ(m.Read(kRis), 0u);
}

TEST(Pl011, PL011_44_PL011_36_receive_level_is_a_transition) {
  const struct {
    uint32_t select, level;
  } levels[] = {{0, 2}, {1, 4}, {2, 8}, {3, 12}, {4, 14}, {5, 14}, {7, 14}};
  for (const auto& [select, level] : levels) {
    UartMachine m;
    m.Enable();
    m.Write(kIfls, select << 3);
    m.ConsoleWrites(std::string(level - 1, 'a'));
    EXPECT_EQ(m.Read(kRis) & kRx, 0u) << select;
    m.ConsoleWrites("b");
    EXPECT_EQ(m.Read(kRis) & kRx, kRx) << select;
    m.Write(kIcr, kRx);
    if (level < 16) m.ConsoleWrites("c");
    EXPECT_EQ(m.Read(kRis) & kRx, 0u) << "above the level already";
  }
}

TEST(Pl011, PL011_44_each_byte_without_fifo) {
  UartMachine m;
  m.Enable(/*fifo=*/false);
  m.Write(kImsc, kRx);
  m.ConsoleWrites("abc");
  for (const char c : {'a', 'b', 'c'}) {
    EXPECT_TRUE(m.line.level);
    m.Write(kIcr, kRx);
    EXPECT_FALSE(m.line.level);
    EXPECT_EQ(m.Read(kDr), static_cast<uint8_t>(c));
  }
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_45_reading_below_the_level_clears) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("12345678");  // level 1/2
  ASSERT_EQ(m.Read(kRis) & kRx, kRx);
  m.Read(kDr);
  EXPECT_EQ(m.Read(kRis) & kRx, 0u);
}

TEST(Pl011, PL011_46_PL011_48_a_single_key_is_announced) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kRx | kRt);
  m.ConsoleWrites("k");
  m.PassMicroseconds(1000);
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.Read(kMis), kRt);
  EXPECT_EQ(m.DrainInput(), "k");
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_46_a_read_restarts_the_timeout) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("1234");
  for (int i = 0; i < 3; ++i) {
    m.PassMicroseconds(200);
    EXPECT_EQ(m.Read(kRis) & kRt, 0u);
    m.Read(kDr);
  }
  m.PassMicroseconds(300);
  EXPECT_EQ(m.Read(kRis) & kRt, kRt);
}

TEST(Pl011, PL011_47_timeout_comes_again_while_bytes_remain) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("12");
  m.PassMicroseconds(300);
  ASSERT_EQ(m.Read(kRis) & kRt, kRt);
  m.Write(kIcr, kRt);
  EXPECT_EQ(m.Read(kRis) & kRt, 0u);
  m.PassMicroseconds(300);
  EXPECT_EQ(m.Read(kRis) & kRt, kRt);
  m.Read(kDr);
  EXPECT_EQ(m.Read(kRis) & kRt, kRt);
  m.Read(kDr);
  EXPECT_EQ(m.Read(kRis) & kRt, 0u);
  m.PassMicroseconds(3000);
  EXPECT_EQ(m.Read(kRis) & kRt, 0u);
}

TEST(Pl011, PL011_49_input_from_before_the_driver) {
  UartMachine m;
  m.ConsoleWrites(std::string(40, 't'));  // typed while the guest boots
  m.Enable();
  // pl011_startup: clear RX and RT, drain up to twice the FIFO, unmask.
  m.Write(kIcr, kRx | kRt);
  std::string got;
  for (int i = 0; i < 32 && (m.Read(kFr) & kFrRxFifoEmpty) == 0; ++i) {
    got.push_back(static_cast<char>(m.Read(kDr)));
  }
  m.Write(kImsc, kRx | kRt);
  m.PassMicroseconds(1000);
  EXPECT_TRUE(m.line.level);
  got += m.DrainInput();
  EXPECT_EQ(got, std::string(40, 't'));
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_50_no_transmit_interrupt_before_the_first_byte) {
  UartMachine m;
  m.Write(kImsc, kTx);
  m.Enable();
  m.PassMicroseconds(5000);
  m.device->OnSignals(Pl011::kConsoleSignal);
  EXPECT_EQ(m.Read(kRis), 0u);
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_50_PL011_51_transmit_level) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kTx);
  m.FillOutput();
  EXPECT_EQ(m.Read(kRis) & kTx, 0u);  // filled above the level
  EXPECT_FALSE(m.line.level);
  m.ConsoleReads(7);
  m.PassMicroseconds(2000);
  EXPECT_EQ(m.Read(kRis) & kTx, 0u);  // 9 left, level 8
  m.ConsoleReads(1);
  m.PassMicroseconds(2000);
  EXPECT_TRUE(m.line.level);
  m.Write(kIcr, kTx);
  EXPECT_FALSE(m.line.level);
  m.ConsoleReads(1);
  m.PassMicroseconds(2000);
  EXPECT_FALSE(m.line.level);  // a transition, not a state
}

TEST(Pl011, PL011_52_half_the_fifo_can_be_written_on_the_interrupt) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kTx);
  std::string sent;
  std::string received;
  while ((m.Read(kFr) & kFrTxFifoFull) == 0) {
    m.Print("x");
    sent += 'x';
  }
  char next = 'A';
  for (int round = 0; round < 200; ++round) {
    received += m.ConsoleReads(9);
    m.PassMicroseconds(1100);
    if (!m.line.level) continue;
    m.Write(kIcr, kTx);
    for (int i = 0; i < 8; ++i) {  // without a look at UARTFR
      m.Write(kDr, static_cast<uint8_t>(next));
      sent.push_back(next);
      next = next == 'Z' ? 'A' : static_cast<char>(next + 1);
    }
  }
  received += m.ConsoleReads();
  EXPECT_TRUE(received == sent);
  EXPECT_GT(sent.size(), 1000u);
}

TEST(Pl011, PL011_53_transmit_interrupt_after_the_last_byte) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kTx);
  for (int i = 0; i < 10; ++i) {
    m.Write(kIcr, kTx);
    m.Print("b");
    EXPECT_TRUE(m.line.level);
  }
  // Also if it had to wait for the console, with as few bytes in the FIFO as can be.
  m.FillOutput();
  m.ConsoleReads(17);
  m.PassMicroseconds(2000);
  m.Print("ab");  // one byte has no place but the FIFO
  ASSERT_EQ(m.Read(kFr) & kFrTxFifoEmpty, 0u);
  m.Write(kIcr, kTx);
  EXPECT_FALSE(m.line.level);
  m.ConsoleReads();
  m.PassMicroseconds(2000);
  EXPECT_TRUE(m.line.level);
}

TEST(Pl011, PL011_53_fifo_switched_on_while_the_ring_is_nearly_full) {
  UartMachine m;
  m.Enable(/*fifo=*/false);
  m.FillOutput();
  m.ConsoleReads(2);
  m.PassMicroseconds(5000);
  m.Write(kIcr, kTx);
  m.Write(kImsc, kTx);
  m.Write(kLcrH, kLcrHWordLength8 | kLcrHFifoEnable);
  EXPECT_FALSE(m.line.level);
  m.ConsoleReads();
  m.PassMicroseconds(5000);
  EXPECT_TRUE(m.line.level);
}

TEST(Pl011, PL011_60_a_handler_like_that_of_Linux_ends) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kRx | kRt | kTx);
  m.Print("x");
  m.ConsoleWrites(std::string(100, 'i'));
  std::string got;
  int passes = 0;
  while (m.Read(kMis) != 0) {
    ASSERT_LT(++passes, 20);
    const uint32_t status = m.Read(kMis);
    m.Write(kIcr, status & ~(kTx | kRx | kRt));
    if ((status & (kRx | kRt)) != 0) got += m.DrainInput();
    if ((status & kTx) != 0) m.Write(kImsc, m.Read(kImsc) & ~kTx);  // nothing more to send
  }
  EXPECT_EQ(got.size(), 100u);
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, console_is_notified_once_for_a_burst) {
  UartMachine m;
  m.Print("a line of output\r\n");
  EXPECT_EQ(m.console_signal.Taken(), 0);
  EXPECT_EQ(m.timer.sets, 1);
  m.PassMicroseconds(1000);
  EXPECT_EQ(m.console_signal.Taken(), 1);
  m.PassMicroseconds(100'000);
  EXPECT_EQ(m.console_signal.Taken(), 0);
  m.Print("b");
  m.PassMicroseconds(1000);
  EXPECT_EQ(m.console_signal.Taken(), 1);
}

TEST(Pl011, console_is_notified_at_once_at_half_a_ring) {
  UartMachine m;
  m.Print(std::string(UartMachine::kRingCapacity / 2 - 1, 'x'));
  EXPECT_EQ(m.console_signal.Taken(), 0);
  m.Print("x");
  EXPECT_EQ(m.console_signal.Taken(), 1);
  m.Print(std::string(UartMachine::kRingCapacity, 'x'));
  EXPECT_EQ(m.console_signal.Taken(), 0);
  m.ConsoleReads();
  m.Print(std::string(UartMachine::kRingCapacity / 2, 'x'));
  EXPECT_EQ(m.console_signal.Taken(), 1);
}

// Whatever the console read in between, each byte is followed by a notification.
TEST(Pl011, no_byte_waits_for_ever) {
  UartMachine m;
  for (int i = 0; i < 100; ++i) {
    m.Print("ab");
    m.PassMicroseconds(static_cast<uint64_t>(i) * 37 % 900);
    if (i % 3 == 0) m.ConsoleReads(1);
    m.Print("c");
    m.console_signal.Taken();
    m.PassMicroseconds(1000);
    EXPECT_EQ(m.console_signal.Taken(), 1) << i;
    if (i % 2 == 0) m.ConsoleReads();
  }
}

TEST(Pl011, PL011_66_restart_keeps_registers_and_fifos) {
  UartMachine m;
  m.Enable();
  m.Write(kIbrd, 13);
  m.Write(kFbrd, 2);
  m.Write(kIfls, 0x0a);
  m.Write(kImsc, kRx | kRt);
  m.Write(kDmacr, 3);
  m.Print("output");
  m.ConsoleWrites("input");
  const uint32_t raised = m.Read(kRis);
  m.Boot();
  EXPECT_EQ(m.Read(kIbrd), 13u);
  EXPECT_EQ(m.Read(kFbrd), 2u);
  EXPECT_EQ(m.Read(kLcrH), kLcrHWordLength8 | kLcrHFifoEnable);
  EXPECT_EQ(m.Read(kCr), kOn);
  EXPECT_EQ(m.Read(kIfls), 0x0au);
  EXPECT_EQ(m.Read(kImsc), kRx | kRt);
  EXPECT_EQ(m.Read(kDmacr), 3u);
  EXPECT_EQ(m.Read(kRis), raised);
  EXPECT_EQ(m.DrainInput(), "input");
  EXPECT_EQ(m.ConsoleReads(), "output");
}

TEST(Pl011, PL011_66_restart_in_loopback) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback);
  m.Print("loop");
  m.Boot();
  EXPECT_EQ(m.DrainInput(), "loop");
}

TEST(Pl011, bytes_survive_restarts_between_accesses) {
  UartMachine m;
  m.Enable();
  std::string sent;
  std::string received;
  std::string typed;
  std::string read;
  for (int i = 0; i < 2000; ++i) {
    const char c = static_cast<char>('a' + i % 26);
    if ((m.Read(kFr) & kFrTxFifoFull) == 0) {
      m.Print({&c, 1});
      sent.push_back(c);
    }
    if (m.ConsoleWrites({&c, 1}) == 1) typed.push_back(c);
    if (i % 7 == 0) m.Boot();
    if (i % 5 != 0 && (m.Read(kFr) & kFrRxFifoEmpty) == 0) {
      read.push_back(static_cast<char>(m.Read(kDr)));
    }
    if (i % 11 == 0) received += m.ConsoleReads(13);
  }
  read += m.DrainInput();
  received += m.ConsoleReads();
  EXPECT_TRUE(sent == received);
  EXPECT_TRUE(typed == read);
}

TEST(Pl011, PL011_68_due_interrupts_stay_due) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kRx | kRt);
  m.ConsoleWrites("12345678");
  ASSERT_TRUE(m.line.level);
  m.line.level = false;  // a new instance cannot know what the line is
  m.Boot();
  EXPECT_TRUE(m.line.level);
  m.DrainInput();
  EXPECT_FALSE(m.line.level);
  // Input that came while no instance ran is announced.
  m.ConsoleWrites("z", /*signal=*/false);
  m.Boot();
  m.PassMicroseconds(1000);
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.DrainInput(), "z");
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_68_restart_with_a_full_ring) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kTx);
  m.FillOutput();
  m.console_signal.Taken();
  m.Boot();
  EXPECT_EQ(m.console_signal.Taken(), 1);  // the notification may have been lost
  EXPECT_FALSE(m.line.level);
  m.ConsoleReads();
  m.PassMicroseconds(2000);
  EXPECT_TRUE(m.line.level);
}

TEST(Pl011, PL011_68_no_interrupt_without_cause_after_restart) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kRx | kRt);
  m.Boot();
  m.PassMicroseconds(10'000);
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.console_signal.Taken(), 0);
}

}  // namespace
}  // namespace atoll
