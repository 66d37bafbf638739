// What becomes of services that die, hang or do not answer, and what the user can do to them.
#include "services/runtime/faults.h"
#include "services/runtime/log.h"
#include "services/supervisor/journal.h"
#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {
namespace {

constexpr uint64_t kFailed = abi::kStartFailed;
constexpr uint64_t kBlamed = abi::kStartBlamed;  // nobody ordered the death before

std::string WithFaultTable(std::string text) {
  text.resize(64);
  const FaultTable table = {.magic = FaultTable::kMagic, .count = kFaultEntries};
  text.append(reinterpret_cast<const char*>(&table), sizeof(table));
  return text;
}

// A build of the sample service with a table of faults: `data` tells it from others.
Bytes Build(std::string_view data, uint64_t data_bytes = 0x1804) {
  const std::string text = WithFaultTable("code");
  return samples::Elf(
      {{.flags = 5, .address = 0x40'0000, .data = text, .bytes = text.size()},
       {.flags = 6, .address = 0x40'1000, .data = std::string(data), .bytes = data_bytes}});
}

class ServiceRecoveryTest : public SupervisorTest {
 protected:
  void Start(const Edit& edit = [](PlanBuilder&) {}) {
    PlanBuilder plan = SamplePlan();
    edit(plan);
    BootArchive(ArchiveBuilder()
                    .Add("plan.pb", plan.Build())
                    .Add("services/sample.elf", Build("data"))
                    .Add("new.elf", Build("newer", 0x8000))
                    .Add("no.elf", ToBytes("no ELF file"))
                    .Add("linux/kernel", Bytes(5000, std::byte{'K'}))
                    .Build());
    ASSERT_TRUE(kernel->power_offs.empty()) << kernel->log.back();
    kernel->object(kVm).vm_state = VmState::kRunning;
  }
  Operations& operations() { return supervisor->operations(); }
  size_t Starts(uint32_t task) { return kernel->object(task).starts.size(); }
  const StartTaskRequest& LastStart(uint32_t task) { return kernel->object(task).starts.back(); }
  std::string_view StateOf(std::string_view name) {
    TaskView view;
    for (size_t i = 0; operations().ReadTask(i, view); ++i) {
      if (view.name == name) return view.state;
    }
    return "none";
  }
  void Tick(uint64_t milliseconds) {
    kernel->now += milliseconds;
    supervisor->OnSignals(bit::kTimerSignal);
  }
  static std::string Why(const Checked<void>& result) {
    return result ? "" : std::string(result.error().view());
  }
};

// ---- policy ----------------------------------------------------------------------------------------------------

TEST_F(ServiceRecoveryTest, first_death_is_answered_at_once_and_more_of_them_wait_longer) {
  Start();
  Die(kUart);
  EXPECT_EQ(Starts(kUart), 2u);
  for (const uint64_t wait : {1, 2, 4, 8}) {
    const size_t starts = Starts(kUart);
    Die(kUart);
    EXPECT_EQ(Starts(kUart), starts);
    EXPECT_EQ(StateOf("pl011.linux"), "waits to start");
    EXPECT_EQ(kernel->timers.back(), kernel->now + wait);
    Tick(wait - 1);
    EXPECT_EQ(Starts(kUart), starts);
    Tick(1);
    EXPECT_EQ(Starts(kUart), starts + 1);
    EXPECT_EQ(LastStart(kUart).generation, starts | kBlamed);
  }
}

TEST_F(ServiceRecoveryTest, deaths_far_apart_do_not_wait) {
  Start();
  for (int i = 0; i < 40; ++i) {
    Die(kUart);
    kernel->now += 1001;
  }
  EXPECT_EQ(LastStart(kUart).generation, 40 | kBlamed);
}

TEST_F(ServiceRecoveryTest, service_that_is_given_up_fails_then_refuses_then_goes_on_refusing) {
  Start();
  for (int i = 0; i < 6; ++i) DieAndWait(kUart);
  EXPECT_EQ(LastStart(kUart).generation, 6 | kFailed | kBlamed);
  EXPECT_EQ(LastStart(kUart).pc, 0x40'0000u);
  EXPECT_EQ(StateOf("pl011.linux"), "failed");
  EXPECT_TRUE(kernel->Logged(
      "; given up: more than 5 deaths in 1 s; restarting as generation 6 in failed mode"));
  DieAndWait(kUart);
  EXPECT_EQ(LastStart(kUart).pc, FaultEntry(kRefuse).value);
  EXPECT_EQ(StateOf("pl011.linux"), "refusing");
  Die(kUart);
  Tick(1000);
  EXPECT_EQ(LastStart(kUart).pc, FaultEntry(kRefuse).value);
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kRunning);
  EXPECT_TRUE(kernel->power_offs.empty());
  EXPECT_EQ(Starts(kVmm), 1u);
}

TEST_F(ServiceRecoveryTest, vm_ends_with_a_vital_service) {
  Start([](PlanBuilder& plan) {
    FindTask(plan, kVmm).vital = true;
    FindTask(plan, kVmm).restart_deaths = 0;
  });
  Die(kVmm);
  EXPECT_TRUE(kernel->Logged("vmm.linux died: fault"));
  EXPECT_TRUE(kernel->Logged("given up: more than 0 deaths in 1 s; its VM ends"));
  EXPECT_TRUE(kernel->Logged("VM linux crashed"));
}

TEST_F(ServiceRecoveryTest, unlimited_deaths_wait_a_second_at_most) {
  Start([](PlanBuilder& plan) { FindTask(plan, kUart).restart_deaths = ~uint32_t{0}; });
  for (int i = 0; i < 100; ++i) DieAndWait(kUart);
  EXPECT_EQ(LastStart(kUart).generation, 100 | kBlamed);
  Die(kUart);
  EXPECT_EQ(kernel->timers.back(), kernel->now + 1000);
}

TEST_F(ServiceRecoveryTest, console_that_is_lost_leaves_the_log_to_the_kernel_and_guests_alone) {
  Start();
  for (int i = 0; i < 7; ++i) DieAndWait(kConsole);
  EXPECT_EQ(StateOf("console"), "refusing");
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kRunning);
  EXPECT_TRUE(kernel->power_offs.empty());
  EndVm(VmState::kOff);
  Settle();
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitFailed});
}

TEST_F(ServiceRecoveryTest, service_that_cannot_be_started_takes_its_vm_with_it) {
  Start();
  kernel->next_start = Status::kInternal;
  Die(kVmm);
  EXPECT_TRUE(kernel->Logged("cannot be restarted, given up: start: INTERNAL; its VM ends"));
  EXPECT_TRUE(kernel->Logged("VM linux crashed"));
}

TEST_F(ServiceRecoveryTest, who_runs) {
  Start();
  EXPECT_TRUE(operations().AreRunning("pl011.linux"));
  EXPECT_TRUE(operations().AreRunning("supervisor"));
  EXPECT_FALSE(operations().AreRunning("pl011.another"));
  Die(kUart);
  Die(kUart);  // waits now
  EXPECT_FALSE(operations().AreRunning("pl011.linux"));
  EXPECT_TRUE(operations().AreRunning("console"));
}

// ---- signs of life ---------------------------------------------------------------------------------------------

class HeartbeatTest : public ServiceRecoveryTest {
 protected:
  void SetUp() override {
    Start([](PlanBuilder& plan) {
      plan.heartbeat_ms = 1000;
      FindTask(plan, kUart).answer_within_ms = 2000;
      FindTask(plan, kUart).deadline_ms = 8;
      FindTask(plan, kUart).effects = 4096;
    });
  }
};

TEST_F(HeartbeatTest, tasks_that_take_it_live_on) {
  for (int i = 0; i < 20; ++i) Tick(1000);
  EXPECT_EQ(Starts(kUart), 1u);
  EXPECT_EQ(Starts(kConsole), 1u);
}

TEST_F(HeartbeatTest, jobs_are_limited_when_the_first_is_done) {
  using Limits = std::pair<uint32_t, uint32_t>;
  EXPECT_EQ(kernel->limits[kUart], (Limits{2000, 4096}));
  EXPECT_EQ(kernel->limits[kConsole], (Limits{0, 0}));
  EXPECT_EQ(kernel->timers.back(), kernel->now + 10);
  Tick(10);
  Tick(10);
  EXPECT_EQ(kernel->limits[kUart], (Limits{8, 4096}));
  EXPECT_EQ(kernel->timers.back(), kernel->now + 1000);
}

TEST_F(HeartbeatTest, supervisor_gives_one_itself_with_each) {
  using Own = std::pair<uint32_t, uint32_t>;
  Tick(10);
  Tick(10);
  kernel->own_limits.clear();
  Tick(500);
  EXPECT_TRUE(kernel->own_limits.empty());
  Tick(500);
  EXPECT_EQ(kernel->own_limits, std::vector<Own>{Own(10, 2000)});
}

TEST_F(HeartbeatTest, task_that_neither_takes_it_nor_runs_is_killed) {
  kernel->deaf.insert(kUart);
  for (int i = 0; i < 3; ++i) Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: heartbeat"));
  EXPECT_EQ(Starts(kUart), 2u);
}

TEST_F(HeartbeatTest, task_that_takes_it_and_does_nothing_is_killed) {
  Tick(10);
  Tick(10);
  kernel->ignorant.insert(kUart);
  Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
  Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: heartbeat"));
  kernel->ignorant.clear();
  for (int i = 0; i < 5; ++i) Tick(1000);
  EXPECT_EQ(Starts(kUart), 2u);
}

TEST_F(HeartbeatTest, supervisors_that_die_do_not_save_a_task_that_does_nothing) {
  Tick(10);
  Tick(10);
  kernel->ignorant.insert(kUart);
  Tick(1000);
  Tick(600);
  EXPECT_TRUE(kernel->killed.empty());
  for (int i = 0; i < 2 && kernel->killed.empty(); ++i) {
    supervisor = std::make_unique<Supervisor>(*kernel);
    supervisor->Recover();
    Tick(10);
    Tick(1000);
  }
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
}

TEST_F(HeartbeatTest, stub_that_refuses_all_calls_need_not_see_it) {
  kernel->ignorant.insert(kUart);
  for (int i = 0; i < 20; ++i) {
    kernel->Die(kUart);
    supervisor->OnSignals(bit::kTaskDeathSignal);
    for (int beat = 0; beat < 4 && StateOf("pl011.linux") == "waits to start"; ++beat) Tick(1000);
  }
  ASSERT_EQ(StateOf("pl011.linux"), "refusing");
  for (int i = 0; i < 5; ++i) Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_others_keep_waiting_while_they_start_is_not) {
  kernel->deaf.insert(kUart);  // so it is not limited, and the supervisor looks every 10 ms
  for (int i = 0; i < 90; ++i) Tick(10);
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_is_busy_is_not) {
  kernel->deaf.insert(kUart);
  for (int i = 0; i < 10; ++i) {
    kernel->ran[kUart] += 3;
    Tick(1000);
  }
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(HeartbeatTest, task_that_owes_an_answer_for_too_long_is_killed) {
  kernel->owed_since[kUart] = kernel->now;
  kernel->owed_since[kConsole] = kernel->now;  // which may
  Tick(1000);
  Tick(1000);
  EXPECT_TRUE(kernel->killed.empty());
  Tick(1000);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  EXPECT_TRUE(kernel->Logged("pl011.linux died: no answer"));
}

// ---- crash records ---------------------------------------------------------------------------------------------

TEST_F(ServiceRecoveryTest, record_has_registers_calls_and_the_chain_of_frames) {
  Start();
  const VirtAddr bottom = abi::kStackTop - 4 * kPageSize;
  const auto frame = [&](uint64_t at, uint64_t next, uint64_t from) {
    const uint64_t words[] = {next, from};
    std::memcpy(kernel->Look(kUart, VirtAddr{at}, sizeof(words)).data(), words, sizeof(words));
  };
  const uint64_t first = bottom.value + 0x3f00, second = bottom.value + 0x3f80;
  frame(first, second, 0x40'0020);
  frame(second, first, 0x40'0040);  // back again: the chain is broken
  kernel->died[kUart] = 77;
  auto& registers = kernel->registers[kUart];
  for (size_t i = 0; i < registers.size(); ++i) registers[i] = 100 + i;
  registers[29] = first;
  registers[30] = 0x40'0010;
  kernel->calls[kUart] = {{7, 8, 9, 10, 11, 12}};
  Die(kUart);
  ASSERT_EQ(operations().deaths(), 1u);
  const CrashRecord* const record = operations().FindCrash(1);
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->name(), "pl011.linux");
  EXPECT_EQ(record->cause, Cause::kFault);
  EXPECT_EQ(record->outcome, Outcome::kRestarted);
  EXPECT_EQ(record->pc, 0x40'0010u);
  EXPECT_EQ(record->died, 77u);
  EXPECT_EQ(record->sp, 131u);
  EXPECT_EQ(record->x[5], 105u);
  EXPECT_EQ(record->far, 0xdeadu);
  ASSERT_EQ(record->call_count, 1u);
  EXPECT_EQ(record->calls[0].words[2], 12u);
  ASSERT_EQ(record->backtrace_count, 3u);
  EXPECT_EQ(record->backtrace[0], 0x40'0010u);
  EXPECT_EQ(record->backtrace[1], 0x40'0020u);
  EXPECT_EQ(record->backtrace[2], 0x40'0040u);
  EXPECT_TRUE(kernel->Logged("; from 0x400010 0x400020 0x400040"));
  EXPECT_TRUE(kernel->space(kOwnTask.slot).empty());
}

TEST_F(ServiceRecoveryTest, chain_that_leads_anywhere_is_not_followed) {
  Start();
  const uint64_t bottom = abi::kStackTop.value - 4 * kPageSize;
  for (const uint64_t frame : {uint64_t{0}, bottom - 16, abi::kStackTop.value - 8, bottom + 1,
                               ~uint64_t{15}, abi::kStackTop.value}) {
    kernel->registers[kUart][29] = frame;
    Die(kUart);
    kernel->now += 2000;
    EXPECT_EQ(operations().FindCrash(operations().deaths())->backtrace_count, 0u) << frame;
  }
}

TEST_F(ServiceRecoveryTest, only_the_last_records_are_kept) {
  Start();
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(operations().Kill("console"));
  EXPECT_EQ(operations().deaths(), 300u);
  EXPECT_EQ(operations().FindCrash(44), nullptr);
  EXPECT_NE(operations().FindCrash(45), nullptr);
  EXPECT_EQ(operations().FindCrash(301), nullptr);
  EXPECT_EQ(operations().FindCrash(0), nullptr);
}

TEST_F(ServiceRecoveryTest, statistics_are_read_and_not_believed) {
  Start();
  Die(kUart);
  const VirtAddr page = abi::kStatisticsPage;
  auto& said = *reinterpret_cast<Statistics*>(kernel->Look(kUart, page, kPageSize).data());
  EXPECT_EQ(said.first_answer, 0u);
  said.first_answer = kernel->now + 5;  // to come
  said.first_completion = kernel->now + 1;
  said.names[3] = {'f', '\x1b', 'o'};
  said.counters[3] = 42;
  kernel->now += 2;
  const CrashRecord* const record = operations().FindCrash(1);
  EXPECT_EQ(record->first_answer, 0u);
  EXPECT_EQ(record->first_completion, kernel->now - 1);
  StatisticsView view;
  for (size_t i = 0; operations().ReadStatistics(i, view) && view.name != "pl011.linux"; ++i) {
  }
  ASSERT_EQ(view.count, 1u);
  EXPECT_STREQ(view.counters[0].name.data(), "f?o");
  EXPECT_EQ(view.counters[0].value, 42u);
  kernel->now += 1000;
  Die(kUart);
  EXPECT_EQ(said.counters[3], 0u) << "zeroed at each start";
}

// ---- orders ----------------------------------------------------------------------------------------------------

TEST_F(ServiceRecoveryTest, kills_by_the_user_do_not_count) {
  Start();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(operations().Kill("pl011.linux"));
  EXPECT_EQ(Starts(kUart), 51u);
  EXPECT_EQ(StateOf("pl011.linux"), "running");
  EXPECT_EQ(operations().FindCrash(50)->cause, Cause::kKilled);
}

TEST_F(ServiceRecoveryTest, names_choose_services) {
  Start();
  ASSERT_TRUE(operations().Kill("linux.*"));
  EXPECT_EQ(kernel->killed, (std::vector<uint32_t>{kUart, kVmm}));
  kernel->killed.clear();
  ASSERT_TRUE(operations().Kill("pl011.*"));
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kUart});
  kernel->killed.clear();
  ASSERT_TRUE(operations().Kill("all"));
  EXPECT_EQ(kernel->killed, (std::vector<uint32_t>{kConsole, kUart, kVmm}));
  for (const char* name : {"", "pl011", "pl011.", ".*", "*", "pl01.*", "linux", "none.*"}) {
    EXPECT_EQ(Why(operations().Kill(name)), "there is no service \"" + std::string(name) + "\"");
  }
}

TEST_F(ServiceRecoveryTest, supervisor_goes_into_its_own_faults) {
  Start();
  ASSERT_TRUE(operations().Kill("supervisor"));
  ASSERT_TRUE(operations().Crash("supervisor"));
  EXPECT_EQ(kernel->gone_to, (std::vector<uint64_t>{FaultEntry(Fault::kExit).value,
                                                    FaultEntry(Fault::kCrash).value}));
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(ServiceRecoveryTest, faults_are_injected_into_services_that_run) {
  Start();
  ASSERT_TRUE(operations().Hang("pl011.linux"));
  EXPECT_EQ(kernel->limits[kUart].first, 0u) << "what the plan says, at once";
  EXPECT_EQ(kernel->diverted[kUart], FaultEntry(Fault::kHang).value);
  Die(kUart, DeathCause::kDeadline);
  EXPECT_NE(operations().FindCrash(1)->ordered, 0u);
  for (int i = 0; i < 2; ++i) Die(kUart);  // its own: the second one waits
  EXPECT_EQ(Why(operations().Hang("pl011.linux")), "pl011.linux is not running");
  ASSERT_TRUE(operations().Kill("pl011.linux")) << "it is dead, as is wanted";
}

TEST_F(ServiceRecoveryTest, what_is_not_there_does_not_run) {
  Start();
  EXPECT_TRUE(operations().AreRunning("pl011.linux"));
  EXPECT_TRUE(operations().AreRunning("linux.*"));
  EXPECT_FALSE(operations().AreRunning("pl011.other"));
  EXPECT_FALSE(operations().AreRunning("other.*"));
}

TEST_F(ServiceRecoveryTest, restart_brings_back_what_was_given_up) {
  Start();
  for (int i = 0; i < 7; ++i) DieAndWait(kUart);
  ASSERT_TRUE(operations().Restart("pl011.linux"));
  EXPECT_EQ(StateOf("pl011.linux"), "running");
  EXPECT_EQ(LastStart(kUart).generation & kFailed, 0u);
  EXPECT_EQ(LastStart(kUart).pc, 0x40'0000u);
}

TEST_F(ServiceRecoveryTest, corruption_hits_what_was_named) {
  Start();
  const auto is_zero = [&](VirtAddr address, uint64_t bytes) {
    return AllZero(kernel->Look(kUart, address, bytes));
  };
  ASSERT_TRUE(operations().Corrupt("pl011.linux", CorruptPart::kJournal, 1));
  EXPECT_FALSE(is_zero(abi::kJournalBase, kPageSize));
  EXPECT_TRUE(is_zero(VirtAddr{0x40'1004}, 0x1000));
  constexpr uint64_t kUsed = 0x128;
  kernel->registers[kUart][31] = abi::kStackTop.value - kUsed;
  ASSERT_TRUE(operations().Corrupt("pl011.linux", CorruptPart::kData, 1));
  EXPECT_FALSE(is_zero(VirtAddr{0x40'1004}, 0x1ffc));
  // The stack, too, from its pointer up.
  EXPECT_TRUE(is_zero(abi::kStackTop - kPageSize, kPageSize - kUsed));
  EXPECT_FALSE(is_zero(abi::kStackTop - kUsed, kUsed));
  EXPECT_EQ(Why(operations().Corrupt("vmm.linux", CorruptPart::kJournal, 1)),
            "vmm.linux has no journal");
  ASSERT_TRUE(operations().Corrupt("vmm.linux", CorruptPart::kMessage, 1));
  EXPECT_EQ(kernel->diverted[kVmm], FaultEntry(Fault::kGarbage).value);
}

TEST_F(ServiceRecoveryTest, sweep_dies_after_each_number_of_steps) {
  Start();
  ASSERT_TRUE(operations().Sweep("pl011.linux", 3, 5));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(operations().IsStepping("pl011.linux"));
    Die(kUart, DeathCause::kKilled);
  }
  EXPECT_FALSE(operations().IsStepping("pl011.linux"));
  EXPECT_EQ(kernel->steps[kUart], (std::vector<uint32_t>{3, 4, 5}));
  EXPECT_EQ(operations().FindCrash(3)->cause, Cause::kStepped);
  EXPECT_EQ(Starts(kUart), 4u) << "steps do not count as deaths";
  EXPECT_TRUE(kernel->Logged("pl011.linux: died 3 times, the last after 5 instructions"));
  EXPECT_FALSE(operations().Sweep("pl011.linux", 5, 3));
  EXPECT_FALSE(operations().Sweep("pl011.linux", 0, 3));
  EXPECT_FALSE(operations().Sweep("linux.*", 1, 3));
}

TEST_F(ServiceRecoveryTest, steps_of_a_task_that_has_just_died_are_its_successors) {
  Start();
  kernel->Die(kUart);  // and nobody knows yet
  ASSERT_TRUE(operations().Step("pl011.linux", 7));
  EXPECT_EQ(operations().FindCrash(1)->cause, Cause::kFault);
  EXPECT_TRUE(operations().IsStepping("pl011.linux"));
  Die(kUart, DeathCause::kKilled);
  EXPECT_EQ(operations().FindCrash(2)->cause, Cause::kStepped);
  EXPECT_FALSE(operations().IsStepping("pl011.linux"));
}

TEST_F(ServiceRecoveryTest, vms_are_paused_and_stopped) {
  Start();
  VmView view;
  ASSERT_TRUE(operations().Pause("linux"));
  EXPECT_TRUE(kernel->paused[kVm]);
  ASSERT_TRUE(operations().ReadVm(0, view));
  EXPECT_EQ(view.state, "paused");
  ASSERT_TRUE(operations().Resume("linux"));
  EXPECT_FALSE(kernel->paused[kVm]);
  EXPECT_EQ(Why(operations().Pause("windows")), "there is no VM \"windows\"");
  ASSERT_TRUE(operations().Reboot("linux"));
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kReset);
  EXPECT_EQ(Why(operations().PowerOff("linux")), "VM linux does not run");
}

TEST_F(ServiceRecoveryTest, services_that_want_to_know_are_told_of_a_pause) {
  constexpr uint64_t kPause = 1 << 6, kResume = 1 << 7, kBoth = kPause | kResume;
  Start([](PlanBuilder& plan) {
    FindTask(plan, kUart).pause = kPause;
    FindTask(plan, kUart).resume = kResume;
  });
  kernel->deaf.insert(kUart);
  const auto told = [&](auto action) {
    kernel->raised[kUart] = 0;
    EXPECT_TRUE(action());
    return kernel->raised[kUart] & kBoth;
  };
  const auto dies = [&] { return operations().Kill("pl011.linux").has_value(); };
  EXPECT_EQ(told(dies), kResume);
  EXPECT_EQ(told([&] { return operations().Pause("linux").has_value(); }), kPause);
  EXPECT_EQ(told(dies), kPause) << "its successor may not know";
  EXPECT_EQ(told([&] { return operations().Resume("linux").has_value(); }), kResume);
  EXPECT_EQ(told(dies), kResume);
  EXPECT_EQ(kernel->raised[kVmm] & kBoth, 0u) << "it did not ask";
}

TEST_F(ServiceRecoveryTest, a_paused_vm_that_is_rebooted_runs) {
  Start();
  ASSERT_TRUE(operations().Pause("linux"));
  ASSERT_TRUE(operations().Reboot("linux"));
  supervisor->OnSignals(bit::kVmStateSignal);
  Settle(kernel->now + kernel->frequency);
  VmView view;
  ASSERT_TRUE(operations().ReadVm(0, view));
  EXPECT_EQ(view.state, "on");
  EXPECT_EQ(view.starts, 2u);
  EXPECT_FALSE(kernel->paused[kVm]);
}

TEST_F(ServiceRecoveryTest, vm_without_a_power_button) {
  Start();
  EXPECT_EQ(Why(operations().PressPowerButton("linux")),
            "VM linux has no power button; \"vm poweroff linux force\" turns it off at once");
  EXPECT_EQ(Why(operations().PressPowerButton("windows")), "there is no VM \"windows\"");
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kRunning);
  ASSERT_TRUE(operations().PowerOff("linux"));
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kOff);
}

// An instance may have taken the signal and died before it noted it.
TEST_F(ServiceRecoveryTest, a_press_of_the_power_button_outlives_its_service) {
  constexpr uint64_t kBit = 1 << 5;
  Start([](PlanBuilder& plan) { FindTask(plan, kUart).power_button = kBit; });
  kernel->deaf.insert(kUart);
  ASSERT_TRUE(operations().PressPowerButton("linux"));
  EXPECT_EQ(kernel->raised[kUart] & kBit, kBit);
  const auto restarted = [&] {
    kernel->raised[kUart] = 0;
    EXPECT_TRUE(operations().Kill("pl011.linux"));
    return (kernel->raised[kUart] & kBit) != 0;
  };
  EXPECT_TRUE(restarted());
  kernel->now += 2000;
  EXPECT_TRUE(restarted());
  kernel->now += 1;
  EXPECT_FALSE(restarted());
  EXPECT_FALSE(restarted());
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kRunning);
}

TEST_F(ServiceRecoveryTest, power_button_that_is_dead_or_given_up) {
  constexpr uint64_t kBit = 1 << 5;
  Start([](PlanBuilder& plan) { FindTask(plan, kUart).power_button = kBit; });
  kernel->deaf.insert(kUart);
  Die(kUart);
  Die(kUart);
  ASSERT_EQ(StateOf("pl011.linux"), "waits to start");
  kernel->raised[kUart] = 0;
  ASSERT_TRUE(operations().PressPowerButton("linux"));
  EXPECT_EQ(kernel->raised[kUart], 0u);
  Tick(1);
  EXPECT_EQ(kernel->raised[kUart] & kBit, kBit);
  for (int i = 0; i < 4; ++i) DieAndWait(kUart);
  ASSERT_EQ(StateOf("pl011.linux"), "failed");
  EXPECT_EQ(Why(operations().PressPowerButton("linux")),
            "the power button of VM linux, pl011.linux, is given up; "
            "\"vm poweroff linux force\" turns it off at once");
}

// ---- upgrade ---------------------------------------------------------------------------------------------------

TEST_F(ServiceRecoveryTest, upgrade_goes_on_with_the_other_build_and_keeps_it) {
  Start();
  const size_t pages = kernel->used_pages();
  std::ranges::fill(kernel->Look(kUart, abi::kJournalBase, kPageSize), std::byte{0x77});
  ASSERT_TRUE(operations().Upgrade("pl011.linux", "new.elf"));
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 5)), "newer");
  EXPECT_TRUE(AllZero(kernel->Look(kUart, VirtAddr{0x40'1005}, 0x7ffb)));
  EXPECT_EQ(kernel->Look(kUart, abi::kJournalBase, 1)[0], std::byte{0x77});
  EXPECT_EQ(LastStart(kUart).generation, 1u);
  EXPECT_EQ(operations().FindCrash(1)->cause, Cause::kUpgraded);
  EXPECT_EQ(kernel->used_pages(), pages + 6);
  kernel->now += 2000;
  Die(kUart);
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 5)), "newer");
  EXPECT_EQ(Text(kernel->Look(kVmm, VirtAddr{0x40'1000}, 4)), "data") << "others keep theirs";
  EndVm(VmState::kReset);
  Settle();
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 5)), "newer")
      << "also in the VM's next life";
}

TEST_F(ServiceRecoveryTest, upgrade_to_what_is_no_build_of_it_changes_nothing) {
  Start();
  EXPECT_EQ(Why(operations().Upgrade("pl011.linux", "nothing.elf")),
            "there is no file \"nothing.elf\" in the boot archive");
  EXPECT_FALSE(operations().Upgrade("pl011.linux", "no.elf"));
  EXPECT_FALSE(operations().Upgrade("pl011.linux", std::string(200, 'x')));
  EXPECT_FALSE(operations().Upgrade("supervisor", "new.elf"));
  EXPECT_EQ(Starts(kUart), 1u);
  EXPECT_TRUE(kernel->killed.empty());
}

TEST_F(ServiceRecoveryTest, build_that_refuses_the_journal_is_taken_back) {
  Start();
  ASSERT_TRUE(operations().Upgrade("pl011.linux", "new.elf"));
  kernel->Die(kUart, DeathCause::kExit);
  kernel->object(kUart).death.esr = kExitJournalRefused;
  supervisor->OnSignals(bit::kTaskDeathSignal);
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 4)), "data");
  EXPECT_EQ(StateOf("pl011.linux"), "running");
  EXPECT_TRUE(kernel->Logged("; upgrade to new.elf taken back; restarting as generation 2"));
}

TEST_F(ServiceRecoveryTest, build_that_dies_again_and_again_is_taken_back) {
  Start();
  ASSERT_TRUE(operations().Upgrade("pl011.linux", "new.elf"));
  for (int i = 0; i < 6; ++i) DieAndWait(kUart);
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 4)), "data");
  EXPECT_EQ(StateOf("pl011.linux"), "running");
}

}  // namespace
}  // namespace atoll
