// PL011 as a pair of byte streams: FIFOs, flags, errors, loopback, back-pressure.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/unit/uart/uart_machine.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

constexpr uint32_t kOn = kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable;

std::string AllBytes() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
  return text;
}

TEST(Pl011, PL011_12_PL011_14_PL011_61_output_in_order_and_binary_clean) {
  UartMachine m;
  m.Print(AllBytes());
  EXPECT_EQ(m.ConsoleReads(), AllBytes());
  m.Write(kDr, 0xffff'ff41);  // bits above the data are ignored
  EXPECT_EQ(m.ConsoleReads(), "A");
}

TEST(Pl011, PL011_13_data_register_takes_one_byte_and_nothing_when_empty) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("ab");
  EXPECT_EQ(m.Read(kDr), 'a' + 0u);
  EXPECT_EQ(m.Read(kDr), 'b' + 0u);
  const Pl011State before = *m.state;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(m.Read(kDr), 0u);
  EXPECT_EQ(std::memcmp(&before, m.state, sizeof(before)), 0);
  m.ConsoleWrites("c");
  EXPECT_EQ(m.Read(kDr), 'c' + 0u);
}

TEST(Pl011, PL011_14_byte_written_to_a_full_fifo_is_dropped_alone) {
  UartMachine m;
  m.Enable();
  m.FillOutput();
  m.Print("dropped");
  const std::string text = m.ConsoleReads();
  EXPECT_EQ(text, std::string(UartMachine::kRingCapacity, 'x'));
  m.Print("next");
  EXPECT_EQ(m.ConsoleReads(), "next");
}

TEST(Pl011, PL011_15_PL011_57_normal_input_has_no_error_bits) {
  UartMachine m;
  m.Enable();
  for (const char c : AllBytes()) {
    ASSERT_EQ(m.ConsoleWrites({&c, 1}), 1u);
    EXPECT_EQ(m.Read(kDr), static_cast<uint8_t>(c));
    EXPECT_EQ(m.Read(kRsr), 0u);
  }
  EXPECT_EQ(m.Read(kRis) & 0x780, 0u);
}

TEST(Pl011, PL011_19_full_and_empty_follow_the_fifos) {
  UartMachine m;
  m.Enable();
  EXPECT_EQ(m.Read(kFr) & 0xf8, kFrTxFifoEmpty | kFrRxFifoEmpty);
  m.ConsoleWrites("1");
  EXPECT_EQ(m.Read(kFr) & (kFrRxFifoEmpty | kFrRxFifoFull), 0u);
  m.ConsoleWrites(std::string(14, '2'));
  EXPECT_EQ(m.Read(kFr) & (kFrRxFifoEmpty | kFrRxFifoFull), 0u);
  m.ConsoleWrites("3");
  EXPECT_EQ(m.Read(kFr) & (kFrRxFifoEmpty | kFrRxFifoFull), kFrRxFifoFull);
  m.FillOutput();
  EXPECT_EQ(m.Read(kFr) & (kFrTxFifoEmpty | kFrTxFifoFull), kFrTxFifoFull);
  m.ConsoleReads(1);
  EXPECT_EQ(m.Read(kFr) & (kFrTxFifoEmpty | kFrTxFifoFull), 0u);
  m.ConsoleReads(15);
  EXPECT_EQ(m.Read(kFr) & (kFrTxFifoEmpty | kFrTxFifoFull), kFrTxFifoEmpty);
}

TEST(Pl011, PL011_19_holding_registers_of_one_byte_without_fifo) {
  UartMachine m;
  m.Enable(/*fifo=*/false);
  m.ConsoleWrites("ab");
  EXPECT_NE(m.Read(kFr) & kFrRxFifoFull, 0u);
  EXPECT_EQ(m.Read(kDr), 'a' + 0u);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoFull, 0u);
  EXPECT_EQ(m.Read(kDr), 'b' + 0u);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  m.FillOutput();
  EXPECT_NE(m.Read(kFr) & kFrTxFifoFull, 0u);
  m.ConsoleReads(1);
  EXPECT_EQ(m.Read(kFr) & (kFrTxFifoEmpty | kFrTxFifoFull | kFrBusy), kFrTxFifoEmpty);
}

TEST(Pl011, PL011_20_PL011_21_busy_falls_when_the_console_has_room) {
  UartMachine m;
  m.Enable();
  m.Print("hello");
  EXPECT_EQ(m.Read(kFr) & (kFrBusy | kFrTxFifoEmpty), kFrTxFifoEmpty);
  m.FillOutput();
  EXPECT_NE(m.Read(kFr) & kFrBusy, 0u);
  m.ConsoleReads();
  // By itself: neither a signal nor a timer was needed.
  EXPECT_EQ(m.Read(kFr) & (kFrBusy | kFrTxFifoEmpty | kFrTxFifoFull), kFrTxFifoEmpty);
}

TEST(Pl011, PL011_27_switching_the_fifos_loses_nothing) {
  UartMachine m;
  m.Enable();
  m.Print("before ");
  m.ConsoleWrites("0123456789");
  m.Write(kLcrH, kLcrHWordLength8);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoFull, 0u);
  EXPECT_EQ(m.Read(kDr), '0' + 0u);
  m.Write(kLcrH, kLcrHWordLength8 | kLcrHFifoEnable);
  m.Print("after");
  EXPECT_EQ(m.DrainInput(), "123456789");
  EXPECT_EQ(m.ConsoleReads(), "before after");
}

TEST(Pl011, PL011_28_rewriting_lcr_h_loses_nothing) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("input");
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    m.Print("o");
    m.Write(kLcrH, kLcrHFifoEnable | kLcrHWordLength8 | (i % 2 != 0 ? 0x2 : 0));
    expected += "o";
  }
  EXPECT_EQ(m.DrainInput(), "input");
  EXPECT_EQ(m.ConsoleReads(), expected);
}

TEST(Pl011, PL011_33_bytes_leave_before_the_uart_is_enabled) {
  UartMachine m;
  m.Write(kCr, 0);
  m.Print("early");
  EXPECT_EQ(m.ConsoleReads(), "early");
  EXPECT_NE(m.Read(kFr) & kFrTxFifoEmpty, 0u);
}

TEST(Pl011, PL011_34_input_waits_while_reception_is_off) {
  UartMachine m;
  for (const uint32_t control : {0x300u, kCrUartEnable | kCrTransmitEnable, 0u}) {
    m.Write(kCr, kOn);
    m.Write(kImsc, 0x7ff & ~kInterruptTransmit);
    m.ConsoleWrites("waits");
    m.Write(kCr, control);
    EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
    EXPECT_EQ(m.Read(kDr), 0u);
    m.PassMicroseconds(10'000);
    EXPECT_FALSE(m.line.level);  // nothing that the driver could not dismiss
    m.Write(kCr, kOn);
    m.PassMicroseconds(10'000);
    EXPECT_TRUE(m.line.level);
    EXPECT_EQ(m.DrainInput(), "waits");
    EXPECT_FALSE(m.line.level);
  }
}

TEST(Pl011, PL011_35_loopback_returns_output_and_cuts_input_off) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback);
  m.ConsoleWrites("outside");
  m.Print("inside");
  EXPECT_EQ(m.ConsoleReads(), "");
  EXPECT_EQ(m.DrainInput(), "inside");
  m.Print("left");
  m.Write(kCr, kOn);
  EXPECT_EQ(m.DrainInput(), "leftoutside");
  m.Print("normal");
  EXPECT_EQ(m.ConsoleReads(), "normal");
  // What is left is there also if nothing comes from outside.
  m.Write(kCr, kOn | kCrLoopback);
  m.Print("tail");
  m.Write(kCr, kOn);
  EXPECT_EQ(m.DrainInput(), "tail");
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
}

TEST(Pl011, PL011_35_loopback_connects_the_modem_lines) {
  UartMachine m;
  m.Write(kCr, kOn | kCrLoopback);
  EXPECT_EQ(m.Read(kFr) & 0x107, 0u);
  const struct {
    uint32_t output, flag, interrupt;
  } lines[] = {{kCrDtr, kFrDsr, kInterruptDsr},
               {kCrRts, kFrCts, kInterruptCts},
               {kCrOut1, kFrDcd, kInterruptDcd},
               {kCrOut2, kFrRi, kInterruptRi}};
  for (const auto& line : lines) {
    m.Write(kIcr, 0x7ff);
    m.Write(kCr, kOn | kCrLoopback | line.output);
    EXPECT_EQ(m.Read(kFr) & 0x107, line.flag);
    EXPECT_EQ(m.Load(0x018, 1), (line.flag | kFrTxFifoEmpty | kFrRxFifoEmpty) & 0xff);
    EXPECT_NE(m.Read(kRis) & line.interrupt, 0u);
    m.Write(kCr, kOn | kCrLoopback);
  }
}

TEST(Pl011, PL011_16_PL011_54_overrun_in_loopback) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback);
  m.Print("0123456789abcdef");
  EXPECT_EQ(m.Read(kRis) & kInterruptOverrun, 0u);
  m.Print("!");
  EXPECT_NE(m.Read(kRis) & kInterruptOverrun, 0u);
  EXPECT_EQ(m.Read(kRsr), kRsrOverrun);
  EXPECT_EQ(m.state->overruns, 1u);
  std::string text;
  for (int i = 0; i < 16; ++i) {
    const uint32_t entry = m.Read(kDr);
    text.push_back(static_cast<char>(entry));
    EXPECT_EQ((entry & kDrOverrun) != 0, i == 15);
    EXPECT_EQ(m.Read(kRsr), kRsrOverrun);  // sticky
  }
  EXPECT_EQ(text, "0123456789abcdef");
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  m.Write(kRsr, 0);  // any value clears
  EXPECT_EQ(m.Read(kRsr), 0u);
  m.Write(kIcr, kInterruptOverrun);
  EXPECT_EQ(m.Read(kRis) & kInterruptOverrun, 0u);
}

TEST(Pl011, PL011_55_PL011_62_pasting_64_KiB_loses_nothing) {
  UartMachine m;
  m.Enable();
  std::mt19937 random(55);
  std::string sent(64 * 1024, '\0');
  for (char& c : sent) c = static_cast<char>(random());
  std::string received;
  size_t written = 0;
  while (received.size() < sent.size()) {
    written += m.ConsoleWrites(std::string_view(sent).substr(written));  // what the ring takes
    for (auto i = random() % 40; i != 0; --i) {
      if ((m.Read(kFr) & kFrRxFifoEmpty) != 0) break;
      received.push_back(static_cast<char>(m.Read(kDr)));
    }
  }
  EXPECT_TRUE(received == sent);
  EXPECT_EQ(m.Read(kRis) & kInterruptOverrun, 0u);
}

TEST(Pl011, PL011_59_flow_control_bits_do_not_stop_output) {
  UartMachine m;
  m.Write(kCr, kOn | 0xc000);
  m.Print("flows");
  EXPECT_EQ(m.ConsoleReads(), "flows");
  EXPECT_NE(m.Read(kFr) & kFrTxFifoEmpty, 0u);
}

TEST(Pl011, PL011_59_rts_and_cts_flow_control_in_loopback) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback | kCrRtsFlow | kCrCtsFlow);
  EXPECT_NE(m.Read(kFr) & kFrCts, 0u);
  m.Write(kIcr, kInterruptAll);
  m.Print("0123456789abcdefghijklmn");
  // The receiver is not ready from half a FIFO on; the transmit FIFO takes what it can.
  EXPECT_EQ(m.Read(kFr) & (kFrCts | kFrTxFifoFull | kFrBusy | kFrTxFifoEmpty),
            kFrTxFifoFull | kFrBusy);
  EXPECT_NE(m.Read(kRis) & kInterruptCts, 0u);
  EXPECT_EQ(m.Read(kRis) & kInterruptOverrun, 0u);
  m.Write(kDr, '!');  // full: dropped
  std::string text;
  for (int i = 0; i < 4; ++i) text.push_back(static_cast<char>(m.Read(kDr)));
  m.Boot();
  text += m.DrainInput();
  EXPECT_EQ(text, "0123456789abcdefghijklmn");
  EXPECT_NE(m.Read(kFr) & kFrCts, 0u);
  EXPECT_NE(m.Read(kRis) & kInterruptTransmit, 0u);
  EXPECT_EQ(m.ConsoleReads(), "");
}

TEST(Pl011, PL011_59_cts_flow_control_by_rts_in_loopback) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback | kCrCtsFlow);  // RTS is off
  m.Print("ab");
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  EXPECT_EQ(m.Read(kFr) & kFrTxFifoEmpty, 0u);
  m.Write(kCr, kOn | kCrLoopback | kCrCtsFlow | kCrRts);
  EXPECT_EQ(m.DrainInput(), "ab");
  m.Write(kCr, kOn | kCrLoopback | kCrCtsFlow);
  m.Print("cd");
  m.Write(kCr, kOn);  // out of loopback CTS is asserted: they leave
  EXPECT_EQ(m.ConsoleReads(), "cd");
  EXPECT_NE(m.Read(kFr) & kFrTxFifoEmpty, 0u);
}

TEST(Pl011, PL011_56_a_break_comes_at_its_place) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kInterruptBreak);
  m.ConsoleWrites("ab", false);
  m.console.input.PutMark();
  m.ConsoleWrites("cd");
  EXPECT_EQ(m.Read(kRis) & kInterruptBreak, kInterruptBreak);
  EXPECT_TRUE(m.line.level);
  m.Write(kIcr, kInterruptBreak);
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.Read(kDr), 'a');
  EXPECT_EQ(m.Read(kDr), 'b');
  EXPECT_EQ(m.Read(kRsr), 0u);
  EXPECT_EQ(m.Read(kDr), kDrBreak);
  EXPECT_EQ(m.Read(kRsr), kDrBreak >> kDrErrorShift);
  EXPECT_EQ(m.Read(kDr), 'c');
  EXPECT_EQ(m.Read(kRsr), 0u);
  EXPECT_EQ(m.Read(kDr), 'd');
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  EXPECT_EQ(m.Read(kRis) & kInterruptBreak, 0u);
}

TEST(Pl011, PL011_56_a_break_alone_and_over_restarts) {
  UartMachine m;
  m.Enable();
  m.console.input.PutMark();
  m.device->OnSignals(Pl011::kConsoleSignal);
  EXPECT_EQ(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  m.PassMicroseconds(1000);
  EXPECT_NE(m.Read(kRis) & kInterruptReceiveTimeout, 0u);
  m.Boot();
  EXPECT_EQ(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  EXPECT_EQ(m.Read(kDr), kDrBreak);
  m.Boot();
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  // One that came while nobody was there.
  m.console.input.PutMark();
  m.Boot();
  EXPECT_EQ(m.Read(kDr), kDrBreak);
  EXPECT_EQ(m.Read(kDr), 0u);
}

TEST(Pl011, PL011_56_a_break_waits_until_reception_is_on) {
  UartMachine m;
  m.console.input.PutMark();
  m.device->OnSignals(Pl011::kConsoleSignal);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Enable();
  EXPECT_EQ(m.Read(kDr), kDrBreak);
}

TEST(Pl011, PL011_56_marks_that_cannot_be_are_breaks_at_once) {
  UartMachine m;
  m.Enable();
  for (const uint64_t position : {uint64_t{5000}, uint64_t{0xffff'fff0}, uint64_t{100}}) {
    m.ConsoleWrites("x", false);
    const uint64_t word = (position + 1) << 32 | position;
    std::memcpy(m.memory.span().data() + UartMachine::kLineBytes / 2 + 8, &word, sizeof(word));
    m.device->OnSignals(Pl011::kConsoleSignal);
    EXPECT_EQ(m.Read(kDr), kDrBreak);
    EXPECT_EQ(m.Read(kDr), 'x');
    EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  }
}

TEST(Pl011, PL011_30_PL011_56_the_guests_own_break_comes_back_in_loopback) {
  UartMachine m;
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback);
  m.Print("a");
  m.Write(kLcrH, kLcrHWordLength8 | kLcrHFifoEnable | kLcrHBreak);
  m.Write(kLcrH,
          kLcrHWordLength8 | kLcrHFifoEnable | kLcrHBreak);  // one break, as long as it lasts
  m.Write(kLcrH, kLcrHWordLength8 | kLcrHFifoEnable);
  EXPECT_EQ(m.Read(kRis) & kInterruptBreak, kInterruptBreak);
  EXPECT_EQ(m.Read(kDr), 'a');
  EXPECT_EQ(m.Read(kDr), kDrBreak);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
  EXPECT_EQ(m.ConsoleReads(), "");
}

TEST(Pl011, PL011_61_no_byte_lost_against_a_slow_console) {
  UartMachine m;
  m.Enable();
  std::mt19937 random(61);
  std::string sent;
  std::string received;
  while (sent.size() < 50'000) {
    for (auto i = random() % 700; i != 0; --i) {
      if ((m.Read(kFr) & kFrTxFifoFull) != 0) break;
      const auto byte = static_cast<char>(random());
      m.Write(kDr, static_cast<uint8_t>(byte));
      sent.push_back(byte);
    }
    received += m.ConsoleReads(random() % 700);
  }
  received += m.ConsoleReads();
  EXPECT_TRUE(received == sent);
}

TEST(Pl011, PL011_64_the_last_bytes_lie_in_the_ring_at_once) {
  UartMachine m;
  m.Print("reboot: Power down\r\n");
  m.device.reset();  // nothing of the service runs any more
  EXPECT_EQ(m.ConsoleReads(), "reboot: Power down\r\n");
}

// A console that writes nonsense into the shared memory harms no more than this guest's console.
TEST(Pl011, ring_indices_that_cannot_be) {
  for (const uint32_t index : {0x8000'0000u, 0x7fff'ffffu, 515u}) {
    UartMachine m;
    m.Enable();
    m.Print("ab");
    const size_t half = UartMachine::kLineBytes / 2;
    std::memcpy(m.memory.bytes + 64, &index, sizeof(index));    // output: read index
    std::memcpy(m.memory.bytes + half, &index, sizeof(index));  // input: write index
    m.device->OnSignals(Pl011::kConsoleSignal);
    m.Print("c");
    EXPECT_NE(m.Read(kFr) & kFrTxFifoFull, 0u);
    EXPECT_NE(m.Read(kFr) & kFrRxFifoEmpty, 0u);
    EXPECT_EQ(m.Read(kDr), 0u);
    m.PassMicroseconds(5000);
    EXPECT_EQ(m.Read(kIbrd), 0u);
  }
}

}  // namespace
}  // namespace atoll
