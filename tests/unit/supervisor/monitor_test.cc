// The monitor: its script in guest time, its user, its lists, and its own death.
#include "services/supervisor/monitor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "services/supervisor/manifest.h"
#include "tests/unit/supervisor/fake_kernel.h"

namespace atoll {
namespace {

constexpr uint64_t kMillisecond = 1000;  // ticks

// Notes what it is asked to do. Names that begin with "no" are not there.
class FakeOperations final : public Operations {
 public:
  Checked<void> Kill(std::string_view who) override { return Do("kill", who); }
  Checked<void> Restart(std::string_view who) override { return Do("restart", who); }
  Checked<void> Inject(std::string_view who, Fault fault) override {
    return Do(kFaultNames[static_cast<size_t>(fault)], who);
  }
  Checked<void> Corrupt(std::string_view who, CorruptPart, uint64_t seed) override {
    return Do("corrupt " + std::to_string(seed), who);
  }
  Checked<void> Upgrade(std::string_view who, std::string_view file) override {
    return Do("upgrade " + std::string(file), who);
  }
  Checked<void> Step(std::string_view who, uint32_t steps) override {
    stepping = true;
    return Do("step " + std::to_string(steps), who);
  }
  Checked<void> Sweep(std::string_view who, uint32_t, uint32_t) override {
    return Do("sweep", who);
  }
  bool IsStepping(std::string_view) override { return stepping; }
  bool AreRunning(std::string_view) override { return running; }
  Checked<void> Pause(std::string_view vm) override { return Do("pause", vm); }
  Checked<void> Resume(std::string_view vm) override { return Do("resume", vm); }
  Checked<void> Reboot(std::string_view vm) override { return Do("reboot", vm); }
  Checked<void> PressPowerButton(std::string_view vm) override { return Do("press", vm); }
  Checked<void> PowerOff(std::string_view vm) override { return Do("poweroff", vm); }

  bool ReadTask(size_t index, TaskView& view) override {
    if (index >= tasks) return false;
    name = "pl011.vm" + std::to_string(index);
    view = {.name = name,
            .vm = "vm0",
            .state = "running",
            .generation = 3,
            .deaths = 2,
            .milliseconds = 17};
    return true;
  }
  bool ReadStatistics(size_t index, StatisticsView& view) override {
    if (index >= 2) return false;
    view = {};
    view.name = index == 0 ? "pl011.vm0" : "console";
    view.started = 1'500'000;
    view.first_answer = 1'500'002;
    view.longest = 900;
    view.count = 1;
    std::string_view("bytes").copy(view.counters[0].name.data(), 5);
    view.counters[0].value = 99;
    return true;
  }
  bool ReadVm(size_t index, VmView& view) override {
    if (index >= 1) return false;
    view = {.name = "vm0", .state = "on", .starts = 4};
    return true;
  }
  uint64_t deaths() const override { return records.size(); }
  const CrashRecord* FindCrash(uint64_t sequence) override {
    if (sequence == 0 || sequence > records.size() || sequence <= forgotten) return nullptr;
    return &records[sequence - 1];
  }
  void Record(std::string_view task) {
    CrashRecord record{};
    record.sequence = records.size() + 1;
    task.copy(record.task.data(), record.task.size() - 1);
    record.cause = Cause::kFault;
    record.outcome = Outcome::kRestarted;
    record.ordered = 2'000'000;
    record.died = 2'000'000;
    record.detected = 2'000'001;
    record.started = 2'000'100;
    record.pc = 0x400010;
    record.esr = 0x92000046;
    record.x[30] = 0x1234;
    record.backtrace_count = 2;
    record.backtrace[0] = 0x400020;
    record.call_count = ~0u;  // not more than there is room for
    records.push_back(record);
  }

  std::vector<std::string> done;
  std::vector<CrashRecord> records;
  uint64_t forgotten = 0;
  size_t tasks = 2;
  std::string name;
  bool stepping = false;
  bool running = false;

 private:
  Checked<void> Do(std::string_view what, std::string_view who) {
    if (who.starts_with("no")) {
      return std::unexpected(LogLine("there is no service \"").Append(who).Append("\""));
    }
    done.push_back(std::string(what) + " " + std::string(who));
    return {};
  }
};

struct MonitorMachine {
  explicit MonitorMachine(std::string_view script = "", bool console = true)
      : script(script), has_console(console) {
    kernel.frequency = 1'000'000;
    kernel.now = 1'000'000;
    kernel.grants_[{kOwnTask.slot, supervisor_manifest::kConsoleMonitor.slot}] = {44, 1, 8};
    if (!script.empty()) this->script.resize(AlignUp(script.size(), kPageSize));
    Boot();
  }
  void Boot() {
    monitor = std::make_unique<Monitor>(kernel, operations);
    monitor->Start(has_console ? std::span<std::byte>(channel) : std::span<std::byte>(),
                   std::as_bytes(std::span(script)), journal);
  }
  // Lets everything happen that is due; the script's own pauses pass.
  Monitor::Wish Settle() {
    for (int i = 0; i < 100'000; ++i) {
      const Monitor::Wish wish = monitor->Work();
      if (wish != Monitor::Wish::kNone) return wish;
      const uint64_t deadline = monitor->Deadline();
      if (deadline > kernel.now + 10) return wish;
      kernel.now = std::max(kernel.now, deadline);
    }
    ADD_FAILURE() << "the monitor never comes to rest";
    return Monitor::Wish::kNone;
  }
  Monitor::Wish Pass(uint64_t milliseconds) {
    Monitor::Wish wish = Settle();
    for (; milliseconds != 0 && wish == Monitor::Wish::kNone; --milliseconds) {
      kernel.now += kMillisecond;
      wish = Settle();
    }
    return wish;
  }
  // Without the channel's control bytes.
  std::string Output() {
    std::string text;
    while (const auto byte = reader.Take()) {
      if (*byte != MonitorChannel::kAnswered) text.push_back(static_cast<char>(*byte));
      answers += *byte == MonitorChannel::kAnswered ? 1 : 0;
    }
    return text;
  }
  void Type(std::string_view line) { writer.Write(std::as_bytes(std::span(line))); }
  Expectation& expectation() { return MonitorChannel::Expected(channel); }

  FakeKernel kernel{std::vector<std::byte>(16)};
  FakeOperations operations;
  std::string script;
  bool has_console;
  MonitorJournal journal{};
  alignas(64) std::array<std::byte, MonitorChannel::kBytes> channel{};
  ByteRingReader reader = *ByteRingReader::Attach(MonitorChannel::Output(channel));
  ByteRingWriter writer = *ByteRingWriter::Attach(MonitorChannel::Input(channel));
  int answers = 0;
  std::unique_ptr<Monitor> monitor;
};

using Strings = std::vector<std::string>;

// ---- scripts ---------------------------------------------------------------------------------------------------

TEST(MonitorScript, lines_in_order_with_their_times) {
  MonitorMachine m(
      "# a script\r\n\nkill pl011.vm0\n wait 5ms\ncrash console\nvm reboot vm0\nvm poweroff "
      "vm0\nvm poweroff vm1 force");
  EXPECT_FALSE(m.monitor->script_done());
  EXPECT_EQ(m.Settle(), Monitor::Wish::kNone);
  EXPECT_EQ(m.operations.done, Strings{"kill pl011.vm0"});
  EXPECT_EQ(m.Pass(4), Monitor::Wish::kNone);
  EXPECT_EQ(m.operations.done.size(), 1u);
  m.Pass(2);
  EXPECT_EQ(m.operations.done, (Strings{"kill pl011.vm0", "crash console", "reboot vm0",
                                        "press vm0", "poweroff vm1"}));
  EXPECT_TRUE(m.monitor->script_done());
  EXPECT_EQ(m.monitor->Deadline(), Monitor::kNever);
  EXPECT_EQ(m.Output(),
            "monitor: 1.000020 kill pl011.vm0\nmonitor: 1.005040 crash console\n"
            "monitor: 1.005050 vm reboot vm0\nmonitor: 1.005060 vm poweroff vm0\n"
            "monitor: 1.005070 vm poweroff vm1 force\nmonitor: the script has ended\n");
}

TEST(MonitorScript, a_line_that_fails_is_named_and_ends_the_machine) {
  const std::vector<std::pair<std::string, std::string>> scripts = {
      {"\nfrob\nkill a", "line 2: \"frob\" is no command; \"help\" tells what there is"},
      {"kill none", "line 1: there is no service \"none\""},
      {"wait 1ms\nwait console running within 2ms", "line 2: wait: it did not happen in time"},
      {"expect \"login\" within 3ms", "line 1: expect: \"login\" did not come in time"},
      {"expect vm7 \"login\"", "line 1: expect: there is no VM \"vm7\""},
      {"record 1", "line 1: record: there is no death 1; \"crashes\" tells them"},
      {"ps\n" + std::string(300, 'x'), "line 2: the line has more than 240 characters"},
  };
  for (const auto& [script, problem] : scripts) {
    MonitorMachine m(script);
    EXPECT_EQ(m.Pass(10), Monitor::Wish::kFail) << script;
    EXPECT_NE(m.Output().find("monitor: " + problem + "\n"), std::string::npos) << script;
    EXPECT_TRUE(m.monitor->script_done());
    EXPECT_EQ(m.operations.done, Strings{});
  }
}

TEST(MonitorScript, a_line_with_a_minus_may_fail) {
  MonitorMachine m(
      "-kill none\n-expect \"x\" within 2ms\n-wait console running within 1ms\nkill a\n");
  EXPECT_EQ(m.Pass(10), Monitor::Wish::kNone);
  EXPECT_EQ(m.operations.done, Strings{"kill a"});
  EXPECT_TRUE(m.monitor->script_done());
  MonitorMachine bad("-frob\n");
  EXPECT_EQ(bad.Pass(10), Monitor::Wish::kFail) << "it is no command";
}

TEST(MonitorScript, expect_goes_on_when_the_console_has_found_the_text) {
  MonitorMachine m("expect vm0 \"log\\\"in\" within 1s\nkill a\nexpect \"x\"\n");
  m.Pass(5);
  EXPECT_EQ(m.operations.done, Strings{});
  Expectation& expected = m.expectation();
  ASSERT_NE(expected.armed, 0u);
  EXPECT_EQ(std::string(expected.text.data(), expected.text_bytes), "log\"in");
  EXPECT_STREQ(expected.vm.data(), "vm0");
  expected.met = expected.armed - 1;  // of something else
  m.Pass(5);
  EXPECT_EQ(m.operations.done, Strings{});
  const uint32_t first = expected.armed;
  expected.met = first;
  m.Pass(1);
  EXPECT_EQ(m.operations.done, Strings{"kill a"});
  EXPECT_NE(expected.armed, first);
  EXPECT_NE(expected.armed, 0u);
  EXPECT_STREQ(expected.vm.data(), "");
}

TEST(MonitorScript, waits_for_services) {
  MonitorMachine m("step a 5\nwait a stepped\nwait a running\npower-off");
  m.Pass(5);
  m.operations.stepping = false;
  m.Pass(5);
  EXPECT_FALSE(m.monitor->script_done());
  m.operations.running = true;
  EXPECT_EQ(m.Pass(5), Monitor::Wish::kPowerOff);
}

TEST(MonitorScript, ten_thousand_lines_leave_the_others_room) {
  std::string script;
  for (int i = 0; i < 10'000; ++i) script += "kill a\n";
  MonitorMachine m(script);
  const uint64_t begin = m.kernel.now;
  for (int i = 0; i < 1'000'000 && !m.monitor->script_done(); ++i) {
    ASSERT_EQ(m.Settle(), Monitor::Wish::kNone);
    m.Output();
    m.kernel.now += 10;
  }
  EXPECT_EQ(m.operations.done.size(), 10'000u);
  EXPECT_GE(m.kernel.now - begin, 10'000u * 10) << "10 us between two of them";
}

TEST(MonitorScript, a_console_that_takes_nothing_delays_it_and_does_not_stop_it) {
  std::string script;
  for (int i = 0; i < 300; ++i) script += "kill a\n";
  MonitorMachine m(script);
  m.Pass(10);
  EXPECT_LT(m.operations.done.size(), 300u);
  m.Pass(1000);
  EXPECT_EQ(m.operations.done.size(), 300u);
  EXPECT_TRUE(m.monitor->script_done());
}

TEST(MonitorScript, without_a_console_its_lines_go_to_the_log) {
  MonitorMachine m("kill a\nexpect \"x\"", false);
  EXPECT_EQ(m.Pass(1), Monitor::Wish::kFail);
  EXPECT_EQ(m.kernel.log,
            (Strings{"monitor: 1.000000 kill a", "monitor: line 2: expect: there is no console"}));
}

// A new instance of the supervisor after every turn of the monitor.
TEST(MonitorScript, survives_its_supervisor_at_any_turn) {
  MonitorMachine m(
      "kill supervisor\nwait 3ms\nkill b\nexpect \"x\" within 1s\nkill c\nps\nkill d\n");
  std::string output;
  for (int i = 0; i < 20'000 && !m.monitor->script_done(); ++i) {
    ASSERT_EQ(m.monitor->Work(), Monitor::Wish::kNone);
    output += m.Output();
    m.kernel.now += 10;
    if (i == 5000) m.expectation().met = m.expectation().armed;
    m.Boot();
  }
  EXPECT_EQ(m.operations.done, (Strings{"kill supervisor", "kill b", "kill c", "kill d"}));
  EXPECT_TRUE(m.monitor->script_done());
}

TEST(MonitorScript, a_wait_ends_when_it_would_have_ended) {
  MonitorMachine m("wait 100ms\nkill a\n");
  m.Pass(60);
  m.Boot();
  m.Pass(39);
  EXPECT_EQ(m.operations.done, Strings{});
  m.Pass(3);
  EXPECT_EQ(m.operations.done, Strings{"kill a"});
}

// ---- the user --------------------------------------------------------------------------------------------------

TEST(MonitorUser, commands_and_answers) {
  MonitorMachine m;
  m.Output();
  m.answers = 0;
  m.Type("kill pl011.vm0\n");
  m.Settle();
  EXPECT_EQ(m.operations.done, Strings{"kill pl011.vm0"});
  EXPECT_EQ(m.Output(), "");
  EXPECT_EQ(m.answers, 1);
  m.Type("ki");
  m.Settle();
  m.Type("ll none\nfrob\nvm list\n");
  m.Settle();
  EXPECT_EQ(m.Output(),
            "there is no service \"none\"\n\"frob\" is no command; \"help\" tells what there is\n"
            "vm0                      on             start 4\n");
  EXPECT_EQ(m.answers, 4);
  m.Type("power-off\n");
  EXPECT_EQ(m.Settle(), Monitor::Wish::kPowerOff);
}

TEST(MonitorUser, lists) {
  MonitorMachine m;
  m.operations.Record("virtio-blk.vm0.0");
  m.operations.Record("console");
  m.kernel.Write("[1.0] a line\n[2.0] another\n");
  m.Type("ps\n");
  m.Settle();
  EXPECT_EQ(m.Output(),
            "NAME                    STATE           GENERATION  DEATHS      RAN MS\n"
            "pl011.vm0                running        3           2           17\n"
            "pl011.vm1                running        3           2           17\n");
  m.Type("stats pl011\nlog\ncrashes 1\n");
  m.Settle();
  EXPECT_EQ(m.Output(),
            "pl011.vm0: started at 1.500000000, answered +2000, completed -, "
            "longest batch of signals +900000 ns\n"
            "  bytes                   99\n"
            "[1.0] a line\n[2.0] another\n"
            "#2 2.000000000 console generation 0: fault pc 0x400010 esr 0x92000046 far 0x0; "
            "died +0, detected +1000, started +100000, answered -, completed - ns; restarted\n");
  // The longest that comes in practice is told whole.
  CrashRecord& last = m.operations.records.back();
  std::string_view("virtio-console.phoenix.31").copy(last.task.data(), last.task.size() - 1);
  last.sequence = 99'999;
  last.far = 0xffff'ffff'ffff'fff0;
  for (uint64_t* time :
       {&last.died, &last.detected, &last.started, &last.first_answer, &last.first_completion}) {
    *time = last.ordered + 1'234'567;
  }
  m.Type("crashes 1\n");
  m.Settle();
  EXPECT_TRUE(m.Output().ends_with(", completed +1234567000 ns; restarted\n"));
  m.Type("record 1\n");
  m.Settle();
  const std::string record = m.Output();
  EXPECT_NE(record.find("virtio-blk.vm0.0"), std::string::npos);
  EXPECT_NE(record.find(" x30 0x1234\n"), std::string::npos);
  EXPECT_NE(record.find("  backtrace 0x400020 0x0\n"), std::string::npos) << record;
  EXPECT_EQ(std::ranges::count(record, '\n'), 1 + 8 + 1 + 4 + 1);
}

TEST(MonitorUser, a_list_waits_for_room) {
  MonitorMachine m;
  m.operations.tasks = 500;
  m.Type("ps\nkill a\n");
  size_t lines = 0;
  for (int i = 0; i < 100; ++i) {
    m.Settle();
    const std::string output = m.Output();
    lines += static_cast<size_t>(std::ranges::count(output, '\n'));
  }
  EXPECT_EQ(lines, 501u);
  EXPECT_EQ(m.operations.done, Strings{"kill a"}) << "after the list";
}

TEST(MonitorUser, records_that_are_overwritten_meanwhile_are_left_out) {
  MonitorMachine m;
  for (int i = 0; i < 100; ++i) m.operations.Record("console");
  m.operations.forgotten = 10;
  m.Type("crashes\n");
  m.Settle();
  EXPECT_EQ(m.Output().substr(0, 4), "#11 ");
  m.operations.forgotten = 100;
  m.Settle();
  m.Output();
  m.Type("ps\n");
  m.Settle();
  EXPECT_NE(m.Output().find("pl011.vm0"), std::string::npos);
}

TEST(MonitorUser, a_command_is_forgotten_with_the_supervisor_and_not_executed_again) {
  MonitorMachine m;
  m.Type("kill supervisor\n");
  m.Settle();
  m.Type("wait 10s\n");
  m.Settle();
  m.Output();
  m.answers = 0;
  m.Boot();
  m.Settle();
  EXPECT_EQ(m.Output(), "");
  EXPECT_EQ(m.answers, 1) << "the prompt comes again";
  EXPECT_EQ(m.operations.done, Strings{"kill supervisor"});
}

TEST(MonitorUser, two_texts_are_not_expected_at_a_time) {
  MonitorMachine m("expect \"a\"\n");
  m.Settle();
  m.Type("expect \"b\"\n");
  m.Settle();
  EXPECT_EQ(m.Output(), "expect: another text is expected at the moment\n");
  EXPECT_EQ(m.expectation().text[0], 'a');
}

TEST(MonitorUser, a_console_that_writes_anything_is_harmless) {
  MonitorMachine m("wait 1000s\n");
  uint32_t random = 1;
  for (int i = 0; i < 300; ++i) {
    for (auto& byte : m.channel) {
      random = random * 1'664'525 + 1'013'904'223;
      byte = static_cast<std::byte>(random >> 24);
    }
    if (i % 3 == 0) m.Boot();
    m.Settle();
    m.kernel.now += kMillisecond;
  }
  EXPECT_EQ(m.operations.done, Strings{});
  EXPECT_FALSE(m.monitor->script_done());
}

}  // namespace
}  // namespace atoll
