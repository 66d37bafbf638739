#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {
namespace {

// ---- start
// ----------------------------------------------------------------------------------------

TEST_F(SupervisorTest, StartsTasksWithTheirMemory) {
  Boot();
  for (const uint32_t task : {kConsole, kUart, kVmm}) {
    ASSERT_EQ(kernel->object(task).starts.size(), 1u);
    const StartTaskRequest& start = kernel->object(task).starts[0];
    EXPECT_EQ(start.pc, 0x40'0000u);
    EXPECT_EQ(start.sp, abi::kStackTop.value);
    EXPECT_EQ(start.argument, task == kUart ? 1500u : 0u);
    EXPECT_EQ(start.generation, 0u);
    EXPECT_EQ(start.ipc_memory, task + 3);
    EXPECT_EQ(Text(kernel->Look(task, abi::kImageBase, 4)), "code");
    EXPECT_EQ(Text(kernel->Look(task, VirtAddr{0x40'1000}, 4)), "data");
    EXPECT_TRUE(AllZero(kernel->Look(task, VirtAddr{0x40'1004}, 0x1ffc)));
    EXPECT_TRUE(AllZero(kernel->Look(task, abi::kStackTop - 4 * kPageSize, 4 * kPageSize)));
    EXPECT_TRUE(kernel->Look(task, abi::kStackTop - 4 * kPageSize - 1, 1).empty()) << "guard page";
    EXPECT_TRUE(AllZero(kernel->Look(task, abi::kIpcPage, kPageSize)));
    EXPECT_EQ(kernel->space(task).at(abi::kImageBase.value).rights, 20u);
    EXPECT_EQ(kernel->space(task).at(0x40'1000).rights, kReadWrite);
  }
  EXPECT_TRUE(kernel->power_offs.empty());
}

TEST_F(SupervisorTest, LeavesNothingMappedInItself) {
  Boot();
  EXPECT_TRUE(kernel->space(kOwnTask.slot).empty());
}

TEST_F(SupervisorTest, WritesTheConfigurationReadOnly) {
  Boot();
  const auto config = kernel->Look(kUart, abi::kConfigPage, abi::kConfigBytes);
  EXPECT_EQ(Text(config.first(1500)), std::string(1024, 'a') + std::string(476, 'a' + 1024 % 26));
  EXPECT_TRUE(AllZero(config.subspan(1500)));
  EXPECT_EQ(kernel->space(kUart).at(abi::kConfigPage.value).rights, kReadOnly);
  EXPECT_TRUE(kernel->Look(kConsole, abi::kConfigPage, 1).empty());
}

TEST_F(SupervisorTest, GivesMemoryByItsSource) {
  Boot();
  EXPECT_EQ(kernel->object(kRam).base() % kBlockSize, 0u);
  EXPECT_TRUE(AllZero(kernel->Contents(kRam)));
  EXPECT_EQ(kernel->space(kVm).at(0x4000'0000).bytes, kRamBytes);
  EXPECT_TRUE(AllZero(kernel->Contents(kRing)));
  EXPECT_EQ(kernel->object(kUartRegisters).base(), 0x900'0000u);
  EXPECT_EQ(kernel->object(kUartRegisters).request.a & 3,
            static_cast<uint64_t>(MemoryType::kDevice));
  EXPECT_EQ(Text(kernel->Look(kVmm, kGrant, 5000)), std::string(5000, 'K'));
  EXPECT_TRUE(AllZero(kernel->Look(kVmm, kGrant + 5000, 2 * kPageSize - 5000)));
  EXPECT_EQ(kernel->object(kUartIrq).request.a, 33u);
}

TEST_F(SupervisorTest, GrantsBindsAndSkipsWhatIsOptional) {
  Boot();
  const auto* grant = kernel->grant(kUart, 2);
  ASSERT_NE(grant, nullptr);
  EXPECT_EQ(grant->object, kConsoleSignal);
  EXPECT_EQ(grant->badge, 256u);
  EXPECT_EQ(kernel->grant(kUart, 3), nullptr);
  EXPECT_FALSE(kernel->has(kRtc));
  EXPECT_EQ(kernel->bindings, (std::vector<std::string>{"mmio", "doorbell", "hypercall"}));
}

TEST_F(SupervisorTest, LogsNothingOfSuccessWhenQuiet) {
  PlanBuilder plan = SamplePlan();
  BootArchive(SampleArchive(plan.Build(kPlanVersion, 0, /*quiet=*/true)));
  EXPECT_EQ(kernel->object(kVmm).starts.size(), 1u);
  EXPECT_TRUE(kernel->log.empty());
}

// ---- deaths
// ---------------------------------------------------------------------------------------

TEST_F(SupervisorTest, RestartsADeadTaskWithFreshMemory) {
  BootAndRun();
  std::ranges::fill(kernel->Look(kUart, VirtAddr{0x40'1000}, 0x2000), std::byte{0xee});
  std::ranges::fill(kernel->Look(kUart, abi::kStackTop - 4 * kPageSize, 4 * kPageSize),
                    std::byte{0xee});
  std::ranges::fill(kernel->Look(kUart, abi::kIpcPage, kPageSize), std::byte{0xee});
  std::ranges::fill(kernel->Look(kUart, abi::kJournalBase, kPageSize), std::byte{0x77});
  std::ranges::fill(kernel->Look(kUart, kGrant, 2 * kPageSize), std::byte{0x66});
  Die(kUart);

  ASSERT_EQ(kernel->object(kUart).starts.size(), 2u);
  EXPECT_EQ(kernel->object(kUart).starts[1].generation, 1 | abi::kStartBlamed);
  EXPECT_EQ(kernel->object(kUart).starts[1].argument, 1500u);
  EXPECT_EQ(Text(kernel->Look(kUart, VirtAddr{0x40'1000}, 4)), "data");
  EXPECT_TRUE(AllZero(kernel->Look(kUart, VirtAddr{0x40'1004}, 0x1ffc)));
  EXPECT_TRUE(AllZero(kernel->Look(kUart, abi::kStackTop - 4 * kPageSize, 4 * kPageSize)));
  EXPECT_TRUE(AllZero(kernel->Look(kUart, abi::kIpcPage, kPageSize)));
  EXPECT_EQ(kernel->Look(kUart, abi::kJournalBase, 1)[0], std::byte{0x77})
      << "the journal outlives it";
  EXPECT_EQ(kernel->Look(kUart, kGrant, 1)[0], std::byte{0x66}) << "rings are not its own";
  EXPECT_EQ(Text(kernel->Look(kUart, abi::kConfigPage, 1)), "a");
  EXPECT_EQ(kernel->object(kVmm).starts.size(), 1u);
  EXPECT_TRUE(kernel->space(kOwnTask.slot).empty());
}

TEST_F(SupervisorTest, LogsOneLineOfADeath) {
  BootAndRun();
  kernel->log.clear();
  Die(kUart, DeathCause::kExit);
  EXPECT_EQ(kernel->log, std::vector<std::string>{
                             "pl011.linux died: exit pc 0x400010 esr 0x92000046 far 0xdead; "
                             "restarting as generation 1"});
}

TEST_F(SupervisorTest, FindsAllTasksThatShareASignal) {
  BootAndRun();
  kernel->Die(kConsole);
  kernel->Die(kVmm);
  supervisor->OnSignals(bit::kTaskDeathSignal);
  EXPECT_EQ(kernel->object(kConsole).starts.size(), 2u);
  EXPECT_EQ(kernel->object(kVmm).starts.size(), 2u);
  EXPECT_EQ(kernel->object(kUart).starts.size(), 1u);
}

TEST_F(SupervisorTest, IgnoresSignalsWithoutACause) {
  BootAndRun();
  supervisor->OnSignals(~uint64_t{0});
  for (const uint32_t task : {kConsole, kUart, kVmm})
    EXPECT_EQ(kernel->object(task).starts.size(), 1u);
  EXPECT_TRUE(kernel->power_offs.empty());
}

// ---- ends of VMs
// ----------------------------------------------------------------------------------

void AddSecondVm(PlanBuilder& plan) {
  plan.owner = kSecondVm;
  AddObject(plan, ObjectType::kVm, kSecondVm);
  plan.owner = 0;
  auto& vm = plan.Add(atoll_PlanRecord_vm_tag).record.vm;
  vm.slot = kSecondVm;
  samples::Copy(vm.name, "second");
}

TEST_F(SupervisorTest, FlushesTheConsoleAndPowersOffWhenTheVmIsOff) {
  BootAndRun();
  EndVm(VmState::kOff);
  EXPECT_TRUE(kernel->Logged("VM linux is off"));
  EXPECT_EQ(kernel->signalled, std::vector<uint32_t>{kConsoleSignal});
  EXPECT_EQ(kernel->timers, std::vector<uint64_t>{kernel->now + kernel->frequency});
  EXPECT_TRUE(kernel->power_offs.empty()) << "the console has not answered yet";
  supervisor->OnSignals(bit::kFlushedSignal);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, PowersOffAfterASecondWithoutTheConsole) {
  BootAndRun();
  EndVm(VmState::kOff);
  supervisor->OnSignals(bit::kTimerSignal);
  EXPECT_TRUE(kernel->power_offs.empty()) << "a timer's signal of before";
  Settle();
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, PowersOffAtOnceInASystemWithoutConsole) {
  Boot([](PlanBuilder& plan) {
    std::erase_if(plan.records(), [](const auto& record) {
      return record.which_record == atoll_PlanRecord_grant_tag &&
             record.record.grant.task == kOwnTask.slot;
    });
  });
  EndVm(VmState::kOff);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, AsksAgainWhenTheConsoleDiesWhileItFlushes) {
  BootAndRun();
  EndVm(VmState::kOff);
  Die(kConsole);
  EXPECT_EQ(kernel->signalled, (std::vector<uint32_t>{kConsoleSignal, kConsoleSignal}));
  EXPECT_EQ(kernel->timers.size(), 1u) << "the second is not extended";
}

// ---- the kernel's log
// -------------------------------------------------------------------------------------

constexpr uint32_t kLog = 90;

// The console and the supervisor share the memory of the log.
void AddLog(PlanBuilder& plan) {
  AddMemory(plan, kLog, bit::kLogBytes);
  AddMapping(plan, kLog, kConsole, kGrant + 2 * kBlockSize, bit::kLogBytes);
  AddMapping(plan, kLog, kOwnTask.slot, bit::kLogAddress, bit::kLogBytes);
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {
      kConsoleSignal, kOwnTask.slot, bit::kConsoleLog.slot, 1, 8, false};
}

TEST_F(SupervisorTest, WithoutAConsoleTheKernelPrints) {
  BootAndRun();
  EXPECT_EQ(kernel->uart, "started 3 services for 1 VMs\n");
  EndVm(VmState::kOff);
  EXPECT_NE(kernel->uart.find("VM linux is off\nVM linux: "), std::string::npos);
}

TEST_F(SupervisorTest, TheConsolePrintsWhatIsLogged) {
  Boot(AddLog);
  ASSERT_EQ(kernel->log_bits, bit::kLogSignal);
  ByteRingReader log =
      *ByteRingReader::Attach(kernel->Look(kConsole, kGrant + 2 * kBlockSize, bit::kLogBytes));
  kernel->Write("a service's line\n");
  supervisor->OnSignals(bit::kLogSignal);
  EXPECT_EQ(log.Available(), std::string_view("a service's line\n").size());
  EXPECT_EQ(kernel->signalled, std::vector<uint32_t>{kConsoleSignal});
  EXPECT_EQ(kernel->uart, "started 3 services for 1 VMs\n");
  // The last words come before the request to flush.
  kernel->object(kVm).vm_state = VmState::kRunning;
  EndVm(VmState::kOff);
  std::vector<std::byte> text(200);
  text.resize(log.Read(text));
  EXPECT_TRUE(Text(text).starts_with("a service's line\nVM linux is off\nVM linux: "));
  EXPECT_TRUE(Text(text).ends_with(" are free\n"));
  // What the console did not print any more, the kernel does.
  kernel->Write("late\n");
  supervisor->OnSignals(bit::kFlushedSignal);
  EXPECT_EQ(kernel->uart, "started 3 services for 1 VMs\nlate\n");
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, WaitsForTheLastVm) {
  Boot(AddSecondVm);
  EndVm(VmState::kOff);
  EXPECT_TRUE(kernel->signalled.empty());
  EndVm(VmState::kOff, kSecondVm);
  supervisor->OnSignals(bit::kFlushedSignal);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, OneCrashedVmMakesTheStatus) {
  Boot(AddSecondVm);
  EndVm(VmState::kCrashed);
  EXPECT_TRUE(kernel->Logged("VM linux crashed"));
  EndVm(VmState::kOff, kSecondVm);
  supervisor->OnSignals(bit::kFlushedSignal);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitFailed});
}

constexpr uint32_t kChannel = 91;

// The console and the supervisor share the memory of the monitor.
void AddMonitor(PlanBuilder& plan) {
  AddMemory(plan, kChannel, bit::kMonitorBytes);
  AddMapping(plan, kChannel, kConsole, kGrant + 2 * kBlockSize, bit::kMonitorBytes);
  AddMapping(plan, kChannel, kOwnTask.slot, bit::kMonitorAddress, bit::kMonitorBytes);
}

TEST_F(SupervisorTest, LeavesWhenTheConsoleAsksForItAndTheUserWants) {
  Boot([](PlanBuilder& plan) {
    AddMonitor(plan);
    AddSecondVm(plan);
  });
  kernel->object(kVm).vm_state = VmState::kRunning;
  PowerOffWish& wish =
      MonitorChannel::PowerOff(kernel->Look(kConsole, kGrant + 2 * kBlockSize, bit::kMonitorBytes));
  for (const uint32_t word : {0u, 1u, ~0u}) {
    wish.word = word;
    supervisor->OnSignals(bit::kPowerOffSignal);
    EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kRunning) << "a stray signal";
  }
  wish.word = PowerOffWish::kWanted;
  supervisor->OnSignals(bit::kPowerOffSignal);
  EXPECT_EQ(kernel->object(kVm).vm_state, VmState::kOff);
  EXPECT_TRUE(kernel->destroyed.empty()) << "all goes at once";
  EXPECT_TRUE(kernel->power_offs.empty());
  supervisor->OnSignals(bit::kVmStateSignal | bit::kFlushedSignal);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitOk});
}

TEST_F(SupervisorTest, IgnoresFlushedAndTimerWhenNothingEnds) {
  BootAndRun();
  supervisor->OnSignals(bit::kFlushedSignal | bit::kTimerSignal);
  EXPECT_TRUE(kernel->power_offs.empty());
}

}  // namespace
}  // namespace atoll
