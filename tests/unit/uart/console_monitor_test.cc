// The console's part of the monitor: its keys, its prompt, its line, its answers; and texts that are expected.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/unit/uart/console_machine.h"

namespace atoll {
namespace {

constexpr std::string_view kEnter = "\x01m";

struct MonitorMachine : ConsoleMachine {
  explicit MonitorMachine(size_t guest_count = 2) : ConsoleMachine(guest_count) {
    Type(kEnter);
    hardware.TakeWire();
  }
};

TEST(ConsoleMonitor, key_enters_and_leaves) {
  ConsoleMachine m;
  m.Type(kEnter);
  EXPECT_EQ(m.hardware.TakeWire(),
            "\r\n[console] monitor; \"help\" tells its commands, \"exit\" or Ctrl-A m leaves "
            "it\r\natoll> ");
  m.Type("ps");
  m.Type(kEnter);
  EXPECT_EQ(m.hardware.TakeWire(), "ps\r\n[console] vm0\r\n");
  EXPECT_EQ(m.CommandLines(), "");
  m.Type("guest's");
  EXPECT_EQ(m.guests[0].Read(), "guest's");
}

TEST(ConsoleMonitor, exit_leaves) {
  MonitorMachine m;
  m.Type("exit\r");
  EXPECT_EQ(m.hardware.TakeWire(), "exit\r\n\r\n[console] vm0\r\n");
  m.Type("x");
  EXPECT_EQ(m.guests[0].Read(), "x");
}

TEST(ConsoleMonitor, a_line_goes_to_the_supervisor_and_its_answer_to_the_wire) {
  MonitorMachine m;
  m.supervisor.Taken();
  m.Type("kill pl011.vm0\r");
  EXPECT_EQ(m.CommandLines(), "kill pl011.vm0\n");
  EXPECT_GE(m.supervisor.Taken(), 1);
  EXPECT_EQ(m.hardware.TakeWire(), "kill pl011.vm0\r\n") << "no prompt while it is executed";
  m.Answer("one\n", false);
  m.Answer("two\n");
  EXPECT_EQ(m.hardware.TakeWire(), "one\r\ntwo\r\natoll> ");
  EXPECT_EQ(m.guests[0].Read(), "");
}

TEST(ConsoleMonitor, line_editing) {
  MonitorMachine m;
  m.Type("pq\x7fs\t\x1b\xff \x08\r");
  EXPECT_EQ(m.hardware.TakeWire(), "pq\b \bs \b \b\r\n");
  EXPECT_EQ(m.CommandLines(), "ps\n");
  m.Answer("");
  m.Type("nonsense\x15vm list\n");
  EXPECT_EQ(m.CommandLines(), "vm list\n");
  m.Answer("");
  m.hardware.TakeWire();
  m.Type("\x7f\x7f\x15\r");
  m.Type("  \r");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\natoll>   \r\natoll> ") << "nothing to execute";
  EXPECT_EQ(m.CommandLines(), "");
}

TEST(ConsoleMonitor, a_line_has_an_end) {
  MonitorMachine m;
  m.Type(std::string(1000, 'a') + "\r");
  EXPECT_EQ(m.CommandLines(), std::string(ConsoleState::kTypedBytes, 'a') + "\n");
}

TEST(ConsoleMonitor, what_is_typed_while_a_command_runs_is_executed_later) {
  MonitorMachine m;
  m.Type("wait 1s\r");
  m.hardware.TakeWire();
  m.Type("ps\rlo");
  EXPECT_EQ(m.hardware.TakeWire(), "atoll> ps\r\n");
  EXPECT_EQ(m.CommandLines(), "wait 1s\nps\n");
  m.Answer("");
  EXPECT_EQ(m.hardware.TakeWire(), "atoll> lo");
  m.Type("g\r");
  EXPECT_EQ(m.CommandLines(), "log\n");
}

TEST(ConsoleMonitor, a_supervisor_that_takes_no_lines_is_named_and_nothing_blocks) {
  MonitorMachine m;
  for (int i = 0; i < 10; ++i) m.Type(std::string(100, 'x') + "\r");
  EXPECT_NE(m.hardware.TakeWire().find("the supervisor does not take what you type"),
            std::string::npos);
  m.Type("\x01m");
  m.Type("a");
  EXPECT_EQ(m.guests[0].Read(), "a");
}

TEST(ConsoleMonitor, keys_of_the_console_go_on) {
  MonitorMachine m;
  m.Type("p\x01l");
  EXPECT_NE(m.hardware.TakeWire().find("1*  vm0"), std::string::npos + 1);
  m.Type("s\r");
  EXPECT_EQ(m.CommandLines(), "ps\n");
  m.Type(
      "\x01"
      "2");
  m.Type("z");
  EXPECT_EQ(m.guests[1].Read(), "z") << "the guest whose key was typed has the keyboard";
}

TEST(ConsoleMonitor, guests_output_waits_and_the_prompt_comes_again_after_a_line_of_the_log) {
  MonitorMachine m;
  m.Type("vm l");
  m.hardware.TakeWire();
  m.guests[0].Print("hidden\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "");
  m.Log("[1.0] news\n");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[1.0] news\r\natoll> vm l");
  m.Type("ist\r");
  EXPECT_EQ(m.CommandLines(), "vm list\n");
  m.Answer("");
  m.Type(kEnter);
  EXPECT_NE(m.hardware.TakeWire().find("hidden\n"), std::string::npos);
}

TEST(ConsoleMonitor, lines_of_a_script_come_between_lines) {
  ConsoleMachine m;
  m.guests[0].Print("half a ");
  m.Output();
  m.Answer("monitor: first\n", false);
  EXPECT_EQ(m.hardware.TakeWire(), "half a ");
  m.guests[0].Print("line\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "line\nmonitor: first\r\n");
}

TEST(ConsoleMonitor, answers_that_nobody_waits_for_leave_the_wire_alone) {
  ConsoleMachine m;
  m.guests[0].Print("prompt# ");
  m.Output();
  m.hardware.TakeWire();
  m.Answer("");
  m.PassMilliseconds(200);
  EXPECT_EQ(m.hardware.TakeWire(), "");
}

TEST(ConsoleMonitor, restart_keeps_the_line_and_that_a_command_runs) {
  MonitorMachine m;
  m.Type("vm l");
  m.Boot();
  m.Type("ist\r");
  EXPECT_EQ(m.CommandLines(), "vm list\n");
  m.hardware.TakeWire();
  m.Boot();
  EXPECT_EQ(m.hardware.TakeWire(), "") << "the command runs";
  m.Answer("done\n");
  EXPECT_EQ(m.hardware.TakeWire(), "done\r\natoll> ");
}

TEST(ConsoleMonitor, indices_that_make_no_sense_are_harmless) {
  MonitorMachine m;
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    for (auto& byte : m.channel.bytes) byte = static_cast<std::byte>(random());
    m.Type("ps\r");
    m.console->OnSignals(Console::kMonitorSignal);
    m.PassMilliseconds(1);
  }
  m.hardware.TakeWire();
  m.Type(
      "\x01"
      "1");
  m.Type("still");
  EXPECT_EQ(m.guests[0].Read(), "still");
}

// ---- expected texts --------------------------------------------------------------------------------------------

TEST(ConsoleExpect, text_that_comes_later) {
  ConsoleMachine m;
  m.Expect(1, "vm0", "login:");
  EXPECT_EQ(m.expectation().met, 0u);
  m.guests[0].Print("welcome\nlog");
  m.Output();
  EXPECT_EQ(m.expectation().met, 0u);
  m.supervisor.Taken();
  m.guests[0].Print("in: ");
  m.Output();
  EXPECT_EQ(m.expectation().met, 1u);
  EXPECT_EQ(m.supervisor.Taken(), 1);
}

TEST(ConsoleExpect, text_that_came_already_is_found_once) {
  ConsoleMachine m;
  m.guests[0].Print("one two one\n");
  m.Output();
  m.Expect(1, "vm0", "one");
  EXPECT_EQ(m.expectation().met, 1u);
  m.Expect(2, "vm0", "one");
  EXPECT_EQ(m.expectation().met, 2u);
  m.Expect(3, "vm0", "one");
  EXPECT_EQ(m.expectation().met, 2u);
  m.Expect(4, "vm0", "two");
  EXPECT_EQ(m.expectation().met, 2u) << "it came before what was found";
}

TEST(ConsoleExpect, of_another_guest_does_not_count_and_of_any_does) {
  ConsoleMachine m;
  m.Expect(1, "vm1", "ready");
  m.guests[0].Print("ready\n");
  m.Output();
  EXPECT_EQ(m.expectation().met, 0u);
  m.guests[1].Print("ready\n");  // waits in the ring: it has not the focus
  m.Output();
  EXPECT_EQ(m.expectation().met, 1u);
  m.Expect(2, "", "ready");
  EXPECT_EQ(m.expectation().met, 2u) << "the first guest's";
}

TEST(ConsoleExpect, over_the_end_of_the_ring_and_of_chunks) {
  ConsoleMachine m;
  const std::string text =
      "the text of eighty characters is the longest that there may be: xxxxxxxxxxxxxxxx";
  ASSERT_EQ(text.size(), Expectation::kTextBytes);
  uint32_t number = 0;
  for (int i = 0; i < 300; ++i) {
    m.Expect(++number, "vm0", text);
    m.guests[0].Print(std::string(100 + static_cast<size_t>(i) * 7 % 900, 'x') +
                      text.substr(0, 40));
    m.Output();
    EXPECT_EQ(m.expectation().met, number - 1);
    m.guests[0].Print(text.substr(40));
    m.Output();
    ASSERT_EQ(m.expectation().met, number) << i;
  }
}

TEST(ConsoleExpect, what_was_overwritten_is_not_looked_at) {
  ConsoleMachine m;
  m.guests[0].Print("early");
  m.Output();
  for (int i = 0; i < 10; ++i) {
    m.guests[0].Print(std::string(kRingCapacity / 2, '.'));
    m.Output();
  }
  m.Expect(1, "vm0", "early");
  EXPECT_EQ(m.expectation().met, 0u);
  m.guests[0].Print("early");
  m.Output();
  EXPECT_EQ(m.expectation().met, 1u);
}

TEST(ConsoleExpect, a_restart_goes_on_with_it) {
  ConsoleMachine m;
  m.guests[0].Print("a b ");
  m.Output();
  m.Expect(1, "vm0", "a b");
  m.Expect(2, "vm0", "a b c");
  m.guests[0].Print("a b");
  m.Boot();
  m.guests[0].Print(" c");
  m.Output();
  EXPECT_EQ(m.expectation().met, 2u);
}

TEST(ConsoleExpect, texts_that_make_no_sense_are_ignored) {
  ConsoleMachine m;
  m.guests[0].Print("text");
  m.Output();
  m.Expect(1, "vm0", "text");
  for (const uint32_t bytes : {0u, 81u, ~0u}) {
    m.expectation().armed = 0;
    m.expectation().text_bytes = bytes;
    m.expectation().armed = 5;
    m.guests[0].Print("text");
    m.Output();
    EXPECT_EQ(m.expectation().met, 1u);
  }
}

}  // namespace
}  // namespace atoll
