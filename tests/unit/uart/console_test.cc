// The console service between guests' rings and the machine's UART.
#include "services/console/console.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "tests/unit/uart/console_machine.h"

namespace atoll {
namespace {
TEST(Console, output_of_the_guest_in_focus_appears_as_it_is) {
  ConsoleMachine m;
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  m.guests[0].Print(all);
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), all);
}

TEST(Console, input_goes_to_the_guest_in_focus_with_one_signal) {
  ConsoleMachine m;
  m.Type("ls -l\r");
  EXPECT_EQ(m.guests[0].Read(), "ls -l\r");
  EXPECT_EQ(m.guests[0].input.Taken(), 1);
  EXPECT_EQ(m.guests[1].Read(), "");
  EXPECT_EQ(m.guests[1].input.Taken(), 0);
}

TEST(Console, focus_switches_and_held_output_appears) {
  ConsoleMachine m;
  m.guests[1].Print("login: ");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "");
  m.Type(
      "\x01"
      "2root");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm1\r\nlogin: ");
  EXPECT_EQ(m.guests[1].Read(), "root");
  EXPECT_EQ(m.guests[0].Read(), "");
  m.Type(
      "\x01"
      "1x");
  EXPECT_EQ(m.guests[0].Read(), "x");
}

TEST(Console, focus_on_a_guest_that_is_not_there_stays) {
  ConsoleMachine m;
  for (const std::string command : {"\x01"
                                    "3",
                                    "\x01"
                                    "9"}) {
    m.Type(command + "a");
    EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] there is no such guest\r\n");
    EXPECT_EQ(m.guests[0].Read(), "a");
  }
}

TEST(Console, power_off_key) {
  for (const char* command : {"\x01x", "\x01X"}) {
    ConsoleMachine m;
    m.Type("x");
    EXPECT_EQ(m.power_off.Taken(), 0);
    EXPECT_NE(m.wish(), PowerOffWish::kWanted);
    m.Type(command);
    EXPECT_EQ(m.power_off.Taken(), 1);
    EXPECT_EQ(m.wish(), PowerOffWish::kWanted);
    EXPECT_EQ(m.guests[0].Read(), "x");
  }
}

TEST(Console, PL011_56_break_key) {
  ConsoleMachine m;
  m.Type("ab");
  const uint32_t before = m.guests[0].line.input.LastMark().count;
  m.guests[0].input.Taken();
  m.Type(
      "\x01"
      "b");
  EXPECT_EQ(m.guests[0].line.input.LastMark().count, before + 1);
  EXPECT_EQ(m.guests[0].input.Taken(), 1);
  EXPECT_EQ(m.guests[1].line.input.LastMark().count, 0u);
  m.Type("c");
  EXPECT_EQ(m.guests[0].Read(2), "ab");
  EXPECT_TRUE(m.guests[0].line.input.IsNext(m.guests[0].line.input.LastMark().position));
  EXPECT_EQ(m.guests[0].Read(), "c");
  ConsoleMachine without(0);
  without.Type(
      "\x01"
      "b");
}

TEST(Console, escaped_escape_and_help) {
  ConsoleMachine m;
  m.Type(
      "a\x01\x01"
      "b");
  EXPECT_EQ(m.guests[0].Read(),
            "a\x01"
            "b");
  m.Type("\x01?");
  EXPECT_NE(m.hardware.TakeWire().find("Ctrl-A x: power off"), std::string::npos);
  m.Type("\x01");
  m.Type("q");  // an unknown command goes nowhere
  EXPECT_EQ(m.guests[0].Read(), "");
  EXPECT_EQ(m.power_off.Taken(), 0);
}

TEST(Console, works_without_guests) {
  ConsoleMachine m(0);
  m.Type(
      "abc\x01"
      "1\x01x");
  EXPECT_EQ(m.power_off.Taken(), 1);
  m.console->OnSignals(Console::kFlushSignal);
  EXPECT_EQ(m.flushed.Taken(), 1);
}

TEST(Console, PL011_62_PL011_55_pasting_64_KiB_loses_nothing) {
  ConsoleMachine m;
  std::mt19937 random(62);
  std::string sent(64 * 1024, '\0');
  for (char& c : sent) c = static_cast<char>('a' + random() % 26);
  m.Type(sent);
  std::string received;
  for (int i = 0; i < 10'000 && received.size() < sent.size(); ++i) {
    received += m.guests[0].Read(random() % 300);
    m.PassMilliseconds(1);
  }
  EXPECT_TRUE(received == sent);
}

TEST(Console, input_that_a_guest_does_not_take_costs_no_endless_work) {
  ConsoleMachine m;
  m.Type(std::string(kRingCapacity + 100, 'k'));  // Settle fails if the interrupt stays
  EXPECT_FALSE(m.hardware.Interrupt());
  EXPECT_EQ(m.guests[0].Read().size(), kRingCapacity);
  m.PassMilliseconds(10);
  EXPECT_EQ(m.guests[0].Read().size(), 100u);
}

TEST(Console, PL011_21_guest_without_focus_never_waits) {
  ConsoleMachine m;
  std::string sent;
  std::string line = "a line of the second guest\n";
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(m.guests[1].Print(line), line.size()) << "ring full at line " << i;
    m.Output();
  }
  m.Type(
      "\x01"
      "2");
  std::string wire = m.hardware.TakeWire();
  size_t lines = 0;
  for (size_t at = 0; (at = wire.find("second guest\n", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 1000u);
  EXPECT_EQ(wire.find("[vm1] a line of the second guest\n[vm1] a line"), 0u);
}

TEST(Console, a_line_that_was_begun_is_finished_before_anothers_begins) {
  ConsoleMachine m;
  m.guests[0].Print("prompt# ");
  m.Output();
  m.guests[1].Print(std::string(2500, 'z') + "\nend\n");
  m.PassMilliseconds(10);
  m.guests[0].Print("echo\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(),
            "prompt# echo\n[vm1] " + std::string(2500, 'z') + "\n[vm1] end\n");
}

TEST(Console, the_rest_of_a_line_is_waited_for_20_ms) {
  ConsoleMachine m;
  m.guests[0].Print("prompt# ");
  m.Output();
  m.guests[1].Print(std::string(2500, 'z') + "\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "prompt# ");
  m.PassMilliseconds(21);
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[vm1] " + std::string(2500, 'z') + "\n");
  EXPECT_EQ(m.timer.deadline, FakeTimer::kNever);
}

TEST(Console, the_rest_of_a_line_is_not_waited_for_when_another_guest_has_little_room) {
  ConsoleMachine m;
  m.guests[0].Print("prompt# ");
  m.Output();
  m.guests[1].Print(std::string(kRingCapacity / 4 * 3, 'z') + "\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(),
            "prompt# \r\n[vm1] " + std::string(kRingCapacity / 4 * 3, 'z') + "\n");
}

TEST(Console,
     a_line_of_a_guest_without_focus_comes_to_its_end_though_its_ring_was_empty_in_between) {
  ConsoleMachine m(3);
  m.guests[1].Print(std::string(kRingCapacity / 2, '1') + "\n" + std::string(600, 's'));
  m.Output();
  m.guests[2].Print(std::string(kRingCapacity / 2, '2') + "\n");
  m.guests[0].Print("focus\n");
  m.Output();
  m.PassMilliseconds(5);
  m.guests[1].Print("4567\nnext");
  m.Output();
  const std::string wire = m.hardware.TakeWire();
  EXPECT_NE(wire.find("[vm1] " + std::string(600, 's') + "4567\n"), std::string::npos) << wire;
  EXPECT_NE(wire.find("[vm2] 222"), std::string::npos);
  EXPECT_NE(wire.find("focus\n"), std::string::npos);
  EXPECT_EQ(wire.find("next"), std::string::npos) << "that is kept until its ring is half full";
}

TEST(Console, lines_without_end_do_not_hold_up_the_others) {
  ConsoleMachine m;
  std::string wire;
  for (int i = 0; i < 40; ++i) {
    m.guests[0].Print(std::string(300, 'e'));
    m.guests[1].Print(std::string(300, '1') + "\n");
    m.Output();
    wire += m.hardware.TakeWire();
  }
  EXPECT_NE(wire.find("1\n"), std::string::npos);
  size_t bytes = 0;
  for (const char c : wire) bytes += c == 'e' ? 1 : 0;
  EXPECT_EQ(bytes, 40u * 300) << "none is lost";
}

TEST(Console, PL011_65_endless_output_leaves_the_others_and_the_keyboard) {
  ConsoleMachine m;
  const std::string flood(kRingCapacity, 'f');
  m.guests[1].Print(std::string(kRingCapacity / 2, '2') + "\n");
  m.hardware.Type("\x01x");
  for (int turn = 0; turn < 20; ++turn) {
    m.guests[0].Print(flood);
    m.console->OnSignals(kUartSignal | 0x100);
  }
  EXPECT_EQ(m.power_off.Taken(), 1);
  EXPECT_NE(m.hardware.TakeWire().find("[vm1] 222"), std::string::npos);
  // Each turn is bounded and comes back by the timer.
  m.guests[0].Print(flood);
  m.guests[1].Print(flood);
  m.console->OnSignals(0x100);
  EXPECT_EQ(m.timer.deadline, 0u);
  m.Settle();
}

TEST(Console, slow_uart_is_driven_by_its_interrupt) {
  ConsoleMachine m;
  m.hardware.instant = false;
  std::string sent;
  for (int i = 0; i < 100; ++i) sent += "line " + std::to_string(i) + "\r\n";
  m.guests[0].Print(sent);
  m.console->OnSignals(0x100);
  EXPECT_EQ(m.hardware.fifo.size(), 16u);
  EXPECT_FALSE(m.hardware.Interrupt());
  for (int i = 0; i < 10'000 && m.hardware.wire.size() < sent.size(); ++i) {
    m.hardware.Transmit(1);
    m.Settle();
  }
  EXPECT_EQ(m.hardware.lost, 0);
  EXPECT_EQ(m.hardware.TakeWire(), sent);
  EXPECT_FALSE(m.hardware.Interrupt()) << "an idle UART must not interrupt";
}

TEST(Console, PL011_64_flush_reports_when_all_is_on_the_wire) {
  ConsoleMachine m;
  m.hardware.instant = false;
  m.guests[0].Print("Power down\r\n");
  m.guests[1].Print("last words");
  m.console->OnSignals(Console::kFlushSignal);
  EXPECT_EQ(m.flushed.Taken(), 0);
  for (int i = 0; i < 200 && m.flushed.count == 0; ++i) {
    m.hardware.Transmit(1);
    m.PassMilliseconds(2);
    EXPECT_TRUE(m.flushed.count == 0 || m.hardware.fifo.empty());
  }
  EXPECT_EQ(m.flushed.Taken(), 1);
  const std::string wire = m.hardware.TakeWire();
  EXPECT_NE(wire.find("Power down\r\n"), std::string::npos);
  EXPECT_NE(wire.find("[vm1] last words"), std::string::npos);
  m.PassMilliseconds(10);
  EXPECT_EQ(m.flushed.Taken(), 0);
  // Held output is held again afterwards.
  m.guests[1].Print("more");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "");
}

TEST(Console, flush_with_nothing_to_do_reports_at_once) {
  ConsoleMachine m;
  m.console->OnSignals(Console::kFlushSignal);
  EXPECT_EQ(m.flushed.Taken(), 1);
}

TEST(Console, restart_keeps_focus_command_flush_and_bytes) {
  ConsoleMachine m;
  m.Type(
      "\x01"
      "2");
  m.hardware.TakeWire();
  m.Type("\x01");
  m.guests[1].Print("kept");
  m.guests[0].Print("held");
  m.Boot();
  EXPECT_EQ(m.hardware.TakeWire(), "kept");
  m.Type("1");  // completes the command of before
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm0\r\nheld");
  m.hardware.instant = false;
  m.guests[0].Print("flushing, longer than the FIFO");
  m.console->OnSignals(Console::kFlushSignal);
  m.Boot();
  EXPECT_EQ(m.flushed.Taken(), 0);
  for (int i = 0; i < 100 && m.flushed.count == 0; ++i) {
    m.hardware.Transmit();
    m.PassMilliseconds(2);
  }
  EXPECT_EQ(m.flushed.Taken(), 1);
  EXPECT_EQ(m.hardware.TakeWire(), "flushing, longer than the FIFO");
}

TEST(Console, restart_repeats_notifications_that_may_be_lost) {
  ConsoleMachine m;
  m.Type("abc\x01x");
  m.guests[0].input.Taken();
  m.power_off.Taken();
  m.Boot();
  EXPECT_EQ(m.guests[0].input.Taken(), 1);
  EXPECT_EQ(m.guests[1].input.Taken(), 0);
  EXPECT_EQ(m.power_off.Taken(), 1);
}

TEST(Console, a_scribbled_journal_turns_nothing_off) {
  ConsoleMachine m;
  for (const uint32_t word : {1u, 2u, ~0u, PowerOffWish::kWanted ^ 1}) {
    (*AttachConsoleState(m.journal.span()))->power_off = word;
    m.Boot();
    EXPECT_EQ(m.power_off.Taken(), 0);
    EXPECT_NE(m.wish(), PowerOffWish::kWanted);
  }
}

TEST(Console, journal_with_impossible_guests_is_harmless) {
  ConsoleMachine m;
  auto* state = *AttachConsoleState(m.journal.span());
  state->focus = 77;
  state->line = ~0u;
  state->keys = ~0u & ~Keys{.command = true, .monitor = true}.Pack();
  m.Boot();
  m.Type("a");
  EXPECT_EQ(m.guests[0].Read(), "a");
  EXPECT_EQ(AttachConsoleState(m.journal.span().first(4)).error(), Status::kResourceExhausted);
  EXPECT_EQ(AttachConsoleState(m.journal.span().subspan(2)).error(), Status::kInvalidArgument);
}

TEST(Console, whatever_the_journal_says_the_console_works) {
  std::mt19937 random(31);
  for (int round = 0; round < 600; ++round) {
    SCOPED_TRACE(round);
    ConsoleMachine m(1 + random() % 8);
    m.Type("one");
    m.guests[0].Print("begun");
    m.Output();
    auto* const state = *AttachConsoleState(m.journal.span());
    const auto words = std::span(reinterpret_cast<uint32_t*>(state), sizeof(ConsoleState) / 4);
    const uint32_t hits = round % 4 == 0 ? 400 : 1 + random() % 12;
    for (uint32_t i = 0; i < hits; ++i) {
      uint32_t& word = words[random() % (i % 2 == 0 ? 10 : words.size())];
      word = random() % 2 == 0 ? static_cast<uint32_t>(random()) >> random() % 32
                               : word ^ 1u << random() % 32;
    }
    if (round % 2 == 0) state->format = ConsoleState::kFormat;
    for (int death = 0; death < 2; ++death) {
      m.Boot();
      m.Settle();
      m.Type("x");
      m.Log("[0.1] a line\n");
    }
    // A user who does not know where the keyboard is finds a guest again.
    m.Type(
        "\x01\x01\x01"
        "1\r");
    m.Type(
        "\x01"
        "1");
    m.hardware.TakeWire();
    m.guests[0].Read();
    m.Type("a");
    m.PassMilliseconds(50);
    m.guests[0].Print("\r\nhere\r\n");
    m.Output();
    m.PassMilliseconds(50);
    EXPECT_NE(m.hardware.TakeWire().find("here"), std::string::npos);
  }
}

TEST(Console, more_guests_than_it_has_places_are_refused) {
  ConsoleMachine m(8);
  EXPECT_EQ(m.console->AddGuest(
                {"ninth", *ConsoleLine::Attach(m.guests[8].memory.span()), m.guests[8].input}),
            Status::kResourceExhausted);
  m.Type(
      "\x01"
      "8a");
  EXPECT_EQ(m.guests[7].Read(), "a");
}

TEST(Console, PL011_65_commands_work_though_a_guest_takes_no_input) {
  ConsoleMachine m;
  const std::string paste(kRingCapacity + 1000, 'p');
  m.Type(paste + "\x01x");
  m.PassMilliseconds(4900);
  EXPECT_EQ(m.power_off.Taken(), 0);
  m.PassMilliseconds(200);
  EXPECT_EQ(m.power_off.Taken(), 1);
  EXPECT_EQ(m.guests[0].Read(), std::string(kRingCapacity, 'p'));
  m.Type("again");
  EXPECT_EQ(m.guests[0].Read(), "again");
}

TEST(Console, a_guest_that_breaks_its_rings_harms_no_other) {
  for (const uint32_t index : {0x8000'0000u, 0x7fff'ffffu, 5000u}) {
    ConsoleMachine m;
    std::memcpy(m.guests[1].memory.bytes, &index, sizeof(index));  // output: write index
    std::memcpy(m.guests[1].memory.bytes + kLineBytes / 2 + 64, &index,
                sizeof(index));  // input: read index
    m.Type(
        "\x01"
        "2");
    EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm1\r\n");
    m.Type(
        "lost\x01"
        "1fine");
    m.PassMilliseconds(5100);
    EXPECT_EQ(m.guests[0].Read(), "fine");
    m.guests[0].Print("ok\n");
    m.Output();
    EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm0\r\nok\n");
  }
}

}  // namespace
}  // namespace atoll
