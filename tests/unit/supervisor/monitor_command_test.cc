// Lines of the monitor as commands, and the sentence that says what is wrong with one.
#include "services/supervisor/monitor_command.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace atoll {
namespace {

using Verb = MonitorCommand::Verb;

std::string Problem(std::string_view line) {
  const Checked<MonitorCommand> command = ParseMonitorCommand(line);
  return command ? "none" : std::string(command.error().view());
}

std::string Text(const MonitorCommand& command) {
  return {command.text.data(), command.text_bytes};
}

TEST(MonitorCommand, every_verb) {
  const std::vector<std::pair<std::string, Verb>> lines = {
      {"", Verb::kNothing},
      {"   ", Verb::kNothing},
      {"# a comment", Verb::kNothing},
      {"help", Verb::kHelp},
      {"ps", Verb::kPs},
      {"  ps  # with a comment", Verb::kPs},
      {"stats", Verb::kStats},
      {"log", Verb::kLog},
      {"crashes", Verb::kCrashes},
      {"record 7", Verb::kRecord},
      {"vm list", Verb::kVmList},
      {"kill all", Verb::kKill},
      {"restart pl011.*", Verb::kRestart},
      {"hang a", Verb::kInject},
      {"corrupt a", Verb::kCorrupt},
      {"upgrade a b", Verb::kUpgrade},
      {"step a 0", Verb::kStep},
      {"sweep a 1 1", Verb::kSweep},
      {"vm pause a", Verb::kVmPause},
      {"vm resume a", Verb::kVmResume},
      {"vm reboot a", Verb::kVmReboot},
      {"vm poweroff a", Verb::kVmPowerOff},
      {"vm poweroff a force", Verb::kVmForceOff},
      {"vm poweroff force", Verb::kVmPowerOff},
      {"wait 1s", Verb::kWait},
      {"wait a running", Verb::kWaitRunning},
      {"wait a stepped within 1s", Verb::kWaitStepped},
      {"expect \"a\"", Verb::kExpect},
      {"power-off\r", Verb::kPowerOff},
  };
  for (const auto& [line, verb] : lines) {
    const Checked<MonitorCommand> command = ParseMonitorCommand(line);
    ASSERT_TRUE(command) << line << ": " << command.error().view();
    EXPECT_EQ(command->verb, verb) << line;
  }
}

TEST(MonitorCommand, faults_by_their_names) {
  for (size_t i = 0; i < kFaults; ++i) {
    const std::string line = "inject console " + std::string(kFaultNames[i]);
    EXPECT_EQ(ParseMonitorCommand(line)->fault, static_cast<Fault>(i));
  }
  const std::vector<std::pair<std::string, Fault>> lines = {
      {"hang a", Fault::kHang},
      {"crash a", Fault::kCrash},
      {"exit-task a", Fault::kExit},
      {"overflow a", Fault::kStackOverflow},
      {"flood a", Fault::kLogFlood},
      {"flood a log", Fault::kLogFlood},
      {"flood a signal", Fault::kSignalFlood},
      {"flood a line", Fault::kLineFlood},
  };
  for (const auto& [line, fault] : lines) {
    EXPECT_EQ(ParseMonitorCommand(line)->fault, fault) << line;
    EXPECT_EQ(ParseMonitorCommand(line)->who, "a") << line;
  }
}

TEST(MonitorCommand, arguments) {
  const std::string sweep = "sweep virtio-blk.vm0.0 3 1000000000";
  EXPECT_EQ(ParseMonitorCommand(sweep)->who, "virtio-blk.vm0.0");
  EXPECT_EQ(ParseMonitorCommand(sweep)->number, 3u);
  EXPECT_EQ(ParseMonitorCommand(sweep)->last, 1'000'000'000u);
  EXPECT_EQ(ParseMonitorCommand("wait 50us")->microseconds, 50u);
  EXPECT_EQ(ParseMonitorCommand("wait 10ms")->microseconds, 10'000u);
  EXPECT_EQ(ParseMonitorCommand("wait 2s")->microseconds, 2'000'000u);
  const std::string corrupt = "corrupt pl011.vm0 data 99";
  EXPECT_EQ(ParseMonitorCommand(corrupt)->part, CorruptPart::kData);
  EXPECT_EQ(ParseMonitorCommand(corrupt)->number, 99u);
  EXPECT_EQ(ParseMonitorCommand("corrupt a 5")->number, 5u);
  EXPECT_EQ(ParseMonitorCommand("crashes 12")->number, 12u);
  const std::string expect = R"(expect vm0 "a \"b\" \\ c\r\n" within 3s)";
  EXPECT_EQ(Text(*ParseMonitorCommand(expect)), "a \"b\" \\ c\r\n");
  EXPECT_EQ(ParseMonitorCommand(expect)->who, "vm0");
  EXPECT_EQ(ParseMonitorCommand(expect)->microseconds, 3'000'000u);
  EXPECT_EQ(ParseMonitorCommand("expect \"# two words\"")->microseconds, 60'000'000u);
  EXPECT_EQ(Text(*ParseMonitorCommand("expect \"" + std::string(80, 'x') + "\"")),
            std::string(80, 'x'));
}

TEST(MonitorCommand, what_is_wrong_is_said) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {"frob", "\"frob\" is no command; \"help\" tells what there is"},
      {"kill", "kill: needs the name of a service; \"ps\" tells them"},
      {"kill a b", "kill: does not know what to do with \"b\""},
      {"ps all", "ps: does not know what to do with \"all\""},
      {"crashes x", "crashes: \"x\" is no number of deaths up to 1000000000"},
      {"crashes 1x", "crashes: \"1x\" is no number of deaths up to 1000000000"},
      {"crashes -1", "crashes: \"-1\" is no number of deaths up to 1000000000"},
      {"record", "record: needs a number of the death"},
      {"step a", "step: needs a number of instructions"},
      {"step a 99999999999999999999",
       "step: \"99999999999999999999\" is no number of instructions up to 1000000000"},
      {"sweep a 5", "sweep: needs a last number of instructions"},
      {"sweep a 5 4", "sweep: the first number must be 1 or more and the last not less"},
      {"sweep a 0 4", "sweep: the first number must be 1 or more and the last not less"},
      {"flood a water", "flood: \"water\" is not one of log, signal, line"},
      {"inject a", "inject: \"\" is no fault, as hang or crash are"},
      {"inject a b", "inject: \"b\" is no fault, as hang or crash are"},
      {"corrupt a b", "corrupt: \"b\" is not one of journal, data, message"},
      {"upgrade a", "upgrade: needs a file of the boot archive (scripts/run --add)"},
      {"vm", "vm: \"\" is not one of list, pause, resume, reboot, poweroff"},
      {"vm poweroff a now", "vm: does not know what to do with \"now\""},
      {"vm reboot a force", "vm: does not know what to do with \"force\""},
      {"vm pause", "vm: needs the name of a VM; \"vm list\" tells them"},
      {"wait", "wait: needs a time, as 10ms, or a service"},
      {"wait 10", "wait: \"10\" is no time; 50us, 10ms, 2s are"},
      {"wait ms", "wait: \"ms\" is no time; 50us, 10ms, 2s are"},
      {"wait 1.5s", "wait: \"1.5s\" is no time; 50us, 10ms, 2s are"},
      {"wait 1000000000s", "wait: \"1000000000s\" is too long"},
      {"wait a dead", "wait: \"dead\" is not one of running, stepped"},
      {"wait a running soon", "wait: does not know what to do with \"soon\""},
      {"wait a running within", "wait: \"\" is no time; 50us, 10ms, 2s are"},
      {"expect", "expect: needs a text in quotation marks"},
      {"expect vm0", "expect: needs a text in quotation marks"},
      {"expect \"\"", "expect: the text is empty"},
      {"expect \"a", "expect: the text's second quotation mark is missing"},
      {"expect \"a\\", "expect: after a backslash comes one of n, r, \", \\"},
      {"expect \"a\\x\"", "expect: after a backslash comes one of n, r, \", \\"},
      {"expect \"a\"b", "expect: needs a space after the text"},
      {"expect \"" + std::string(81, 'x') + "\"", "expect: the text has more than 80 characters"},
      {"expect " + std::string(40, 'v') + " \"a\"",
       "expect: \"" + std::string(40, 'v') + "\" is no VM"},
      {"ps\x1b[2J", "the line has a character that is not printable ASCII"},
      {"kill \xc3\xa4", "the line has a character that is not printable ASCII"},
      {std::string(241, 'a'), "the line has more than 240 characters"},
  };
  for (const auto& [line, problem] : lines) EXPECT_EQ(Problem(line), problem) << line;
}

// Pieces of commands in any order: an answer, whatever they say, and nothing beyond the line.
TEST(MonitorCommand, lines_of_chance) {
  const std::vector<std::string> words = {"kill",       "wait",
                                          "expect",     "vm",
                                          "list",       "\"",
                                          "\"a\"",      "\\",
                                          "within",     "10ms",
                                          "s",          "0",
                                          "4294967296", "#",
                                          "running",    "sweep",
                                          "step",       "corrupt",
                                          "journal",    "all",
                                          "inject",     "hang",
                                          "flood",      "upgrade",
                                          "crashes",    "record",
                                          " ",          std::string(100, 'x'),
                                          "\t",         std::string(1, '\0')};
  std::mt19937 random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string line;
    for (unsigned count = random() % 6; count != 0; --count) {
      line += words[random() % words.size()];
      if (random() % 4 != 0) line += ' ';
    }
    if (random() % 8 == 0 && !line.empty())
      line[random() % line.size()] = static_cast<char>(random());
    const std::vector<char> exact(line.begin(), line.end());  // ASan sees a byte beyond
    const Checked<MonitorCommand> command = ParseMonitorCommand({exact.data(), exact.size()});
    if (!command) {
      EXPECT_FALSE(command.error().view().empty());
    }
  }
}

}  // namespace
}  // namespace atoll
