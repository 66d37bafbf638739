// The machine's log between the output of guests.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "services/console/console.h"
#include "tests/unit/uart/console_machine.h"

namespace atoll {
namespace {

TEST(Console, log_lines_come_between_lines_whatever_has_the_focus) {
  ConsoleMachine m;
  m.log_room.Taken();
  m.Log("[0.1] one\n[0.2] two\n");
  EXPECT_EQ(m.hardware.TakeWire(), "[0.1] one\r\n[0.2] two\r\n");
  EXPECT_EQ(m.log_room.Taken(), 1);
  m.guests[0].Print("guest\r\n");
  m.Output();
  m.Type(
      "\x01"
      "2");
  m.Log("[0.3] three\n");
  EXPECT_EQ(m.hardware.TakeWire(), "guest\r\n\r\n[console] vm1\r\n[0.3] three\r\n");
}

TEST(Console, log_waits_for_the_end_of_a_guests_line) {
  ConsoleMachine m;
  m.guests[0].Print("half of ");
  m.Output();
  m.Log("[0.1] log\n");
  m.PassMilliseconds(50);
  EXPECT_EQ(m.hardware.TakeWire(), "half of ");
  m.guests[0].Print("a line\r\nnext");
  m.Output();
  m.PassMilliseconds(200);
  // "next" came in the same piece, so the log had its turn after it; nothing is split but by an end of line.
  EXPECT_EQ(m.hardware.TakeWire(), "a line\r\nnext\r\n[0.1] log\r\n");
}

TEST(Console, log_ends_a_prompt_after_a_while) {
  ConsoleMachine m;
  m.guests[0].Print("~ # ");
  m.Output();
  m.Log("[0.1] log\n");
  m.PassMilliseconds(99);
  EXPECT_EQ(m.hardware.TakeWire(), "~ # ");
  m.PassMilliseconds(2);
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[0.1] log\r\n");
  m.Log("[0.2] more\n");
  EXPECT_EQ(m.hardware.TakeWire(), "[0.2] more\r\n") << "the line is ended already";
  m.guests[0].Print("x");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "x");
}

TEST(Console, log_line_is_never_split_by_a_slow_uart_or_a_restart) {
  ConsoleMachine m;
  m.hardware.instant = false;
  m.Log("[0.1] a line longer than the FIFO of the UART\n[0.2] and one more\n");
  m.guests[0].Print("guest\r\n");
  for (int i = 0; i < 200; ++i) {
    m.hardware.Transmit(1);
    m.Output();
    if (i == 20) m.Boot();
  }
  EXPECT_EQ(m.hardware.lost, 0);
  EXPECT_EQ(m.hardware.TakeWire(),
            "[0.1] a line longer than the FIFO of the UART\r\nguest\r\n[0.2] and one more\r\n");
}

TEST(Console, endless_output_and_endless_log_leave_each_other_room) {
  ConsoleMachine m;
  std::string wire;
  const std::string line = "[0.1] " + std::string(93, 'k') + "\n";
  const std::string output(kRingCapacity, 'g');  // not one end of a line
  for (int turn = 0; turn < 100; ++turn) {
    m.guests[0].Print(output);
    while (m.log.Write(std::as_bytes(std::span(line))
                           .first(m.log.Free() >= line.size() ? line.size() : 0)) != 0) {
    }
    m.console->OnSignals(Console::kLogSignal);
    m.counter.ticks += FakeCounter::kFrequency / 100;
    wire += m.hardware.TakeWire();
  }
  EXPECT_GT(std::ranges::count(wire, 'g'), 20'000);
  EXPECT_GT(std::ranges::count(wire, 'k'), 15'000);
}

TEST(Console, flush_prints_the_log_after_the_guests_last_words) {
  ConsoleMachine m;
  m.guests[0].Print("reboot: Power down");
  m.guests[1].Print("held\r\n");
  ASSERT_NE(m.log.Write(std::as_bytes(std::span(std::string_view("[1.0] VM vm0 is off\n")))), 0u);
  m.console->OnSignals(Console::kLogSignal | Console::kFlushSignal);
  m.Settle();
  EXPECT_EQ(m.hardware.TakeWire(), "[vm1] held\r\nreboot: Power down\r\n[1.0] VM vm0 is off\r\n");
  EXPECT_EQ(m.flushed.Taken(), 1);
}

TEST(Console, log_ring_that_makes_no_sense_is_harmless) {
  ConsoleMachine m;
  const uint32_t index = 0x8000'0000;
  std::memcpy(m.log_memory.bytes, &index, sizeof(index));
  m.guests[0].Print("fine\n");
  m.console->OnSignals(Console::kLogSignal);
  m.Settle();
  EXPECT_EQ(m.hardware.TakeWire(), "fine\n");
}

}  // namespace
}  // namespace atoll
