// What becomes of services that die or do not answer: restarts, records of crashes, upgrades.
#include "tests/unit/supervisor/service_recovery_machine.h"

namespace atoll {
namespace {

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
