// What the user can do to services and VMs.
#include "tests/unit/supervisor/service_recovery_machine.h"

namespace atoll {
namespace {

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

}  // namespace
}  // namespace atoll
