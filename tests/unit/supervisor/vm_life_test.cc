// How VMs end and start again.
#include "services/supervisor/vm_life.h"

#include "ipc/dma.h"
#include "tests/unit/supervisor/plan_additions.h"
#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {
namespace {

class VmLifeTest : public SupervisorTest {
 protected:
  void BootWith(std::initializer_list<void (*)(PlanBuilder&)> additions) {
    Boot([&](PlanBuilder& plan) {
      for (const auto add : additions) add(plan);
    });
    ASSERT_TRUE(kernel->power_offs.empty()) << kernel->log.back();
    Run();
  }
  void Run() { kernel->object(kVm).vm_state = VmState::kRunning; }
  DmaTable& Windows() {
    return *reinterpret_cast<DmaTable*>(kernel->Look(kDriver, kTableAddress, kPageSize).data());
  }
  VmList& List() { return *reinterpret_cast<VmList*>(kernel->Contents(kList).data()); }
  // The VM is on after a reset.
  void Reset() {
    EndVm(VmState::kReset);
    Settle();
    ASSERT_TRUE(kernel->has(kVmm)) << kernel->log.back();
    ASSERT_EQ(kernel->object(kVmm).task_state, TaskState::kRunning) << kernel->log.back();
    Run();
  }
};

// ---- all of it comes back -----------------------------------------------------------------------------------

TEST_F(VmLifeTest, NothingOfAVmIsLeftWhenItIsOff) {
  BootWith({AddNeighbour});
  kernel->object(kSecondVm).vm_state = VmState::kRunning;
  kernel->log.clear();
  EndVm(VmState::kOff);
  Settle();
  for (const uint32_t slot : {kVm, kRam, kUart, kUart + 1, kUart + 2, kUart + 3, kUartEndpoint,
                              kUartSignal, kUartJournal, kVmm, kVmmEndpoint}) {
    EXPECT_FALSE(kernel->has(slot)) << slot;
  }
  for (const uint32_t slot : {kConsole, kConsoleSignal, kConsoleJournal, kRing, kUartRegisters,
                              kKernel, kSecondVm, kSecondRam, kSecondTask}) {
    EXPECT_TRUE(kernel->has(slot)) << slot;
  }
  EXPECT_EQ(kernel->grant(kConsole, 2), nullptr) << "its handle on the UART's signal";
  ASSERT_EQ(kernel->log.size(), 2u);
  EXPECT_EQ(kernel->log[0], "VM linux is off");
  EXPECT_TRUE(kernel->log[1].starts_with("VM linux: "));
  EXPECT_TRUE(kernel->log[1].ends_with(" are free")) << kernel->log[1];
  EXPECT_TRUE(kernel->power_offs.empty()) << "the other one runs";
}

TEST_F(VmLifeTest, ItsMemoryIsTheSameToThePageAfterAnyNumberOfEnds) {
  BootWith({AddDriver, AddNeighbour, AddList});
  kernel->object(kSecondVm).vm_state = VmState::kRunning;
  size_t used = 0;
  std::string given_back;
  for (uint32_t round = 0; round < 20; ++round) {
    const auto end = [&] {
      EndVm(VmState::kReset);
      AcknowledgeDmaClosed(Windows()[1], 2 * round + 2);
      supervisor->OnSignals(bit::kDmaClosedSignal);
    };
    kernel->log.clear();
    end();
    Settle();
    Run();
    ASSERT_GE(kernel->log.size(), 2u);
    // The supervisor's own page tables may grow at first.
    if (round <= 1) used = kernel->used_pages();
    if (round <= 1) given_back = kernel->log[1];
    EXPECT_EQ(kernel->used_pages(), used);
    EXPECT_EQ(kernel->log[1], given_back) << "as much, and as much free";
  }
}

TEST_F(VmLifeTest, AMemoryLeakOfTheSupervisorIsSaid) {
  BootWith({AddNeighbour});
  EndVm(VmState::kOff);
  Settle();
  EXPECT_FALSE(kernel->Logged("missing"));
}

TEST_F(VmLifeTest, WhatTheKernelDoesNotGiveBackEndsTheVmForGood) {
  BootWith({AddNeighbour});
  kernel->refuse_destroy[kUartSignal] = Status::kFailedPrecondition;
  EndVm(VmState::kReset);
  Settle();
  EXPECT_TRUE(
      kernel->Logged("VM linux: object of slot 55: FAILED_PRECONDITION; its memory is lost"));
  EXPECT_TRUE(kernel->power_offs.empty());
  EXPECT_TRUE(kernel->has(kSecondVm));
}

// ---- starting again ------------------------------------------------------------------------------------------

TEST_F(VmLifeTest, AResetMakesEverythingOfTheVmAnew) {
  BootWith({});
  Die(kUart);
  std::ranges::fill(kernel->Contents(kUartJournal), std::byte{1});
  std::ranges::fill(kernel->Contents(kRing), std::byte{2});
  std::ranges::fill(kernel->Contents(kConsoleJournal), std::byte{3});
  std::ranges::fill(kernel->Contents(kRam), std::byte{4});
  std::ranges::fill(kernel->Look(kVmm, VirtAddr{0x40'1000}, 0x2000), std::byte{0xee});
  kernel->killed.clear();
  Reset();

  EXPECT_EQ(kernel->killed, (std::vector<uint32_t>{kUart, kVmm}));
  EXPECT_TRUE(AllZero(kernel->Contents(kUartJournal)));
  EXPECT_TRUE(AllZero(kernel->Contents(kRam)));
  EXPECT_EQ(kernel->Contents(kConsoleJournal)[0], std::byte{3}) << "of a service that lives on";
  EXPECT_EQ(kernel->Contents(kRing)[0], std::byte{2}) << "shared with a service that lives on";
  EXPECT_EQ(Text(kernel->Look(kVmm, VirtAddr{0x40'1000}, 4)), "data");
  EXPECT_TRUE(AllZero(kernel->Look(kVmm, VirtAddr{0x40'1004}, 0x1000)));
  EXPECT_EQ(kernel->object(kUart).starts.size(), 1u);
  EXPECT_EQ(kernel->object(kUart).starts.back().generation, 0u) << "a fresh VM";
  EXPECT_EQ(kernel->object(kConsole).starts.size(), 1u);
  ASSERT_NE(kernel->grant(kConsole, 2), nullptr);
  EXPECT_EQ(kernel->grant(kConsole, 2)->object, kUartSignal);
  EXPECT_EQ(kernel->space(kUart).at(kGrant.value).memory, kRing);
  EXPECT_EQ(kernel->bindings.size(), 6u);
  EXPECT_TRUE(kernel->Logged("VM linux resets"));
  EXPECT_TRUE(kernel->Logged("VM linux starts afresh: start 2"));
  EXPECT_TRUE(kernel->power_offs.empty());

  supervisor->OnSignals(bit::kTaskDeathSignal);  // of the kills
  EXPECT_EQ(kernel->object(kVmm).starts.size(), 1u);
  Reset();  // and again
  EXPECT_TRUE(kernel->Logged("VM linux starts afresh: start 3"));
}

TEST_F(VmLifeTest, WhatDiesAfterAResetIsRestarted) {
  BootWith({});
  Reset();
  Die(kUart);
  ASSERT_EQ(kernel->object(kUart).starts.size(), 2u);
  EXPECT_EQ(kernel->object(kUart).starts.back().generation, 1 | abi::kStartBlamed);
}

TEST_F(VmLifeTest, TheFilesOfTheArchiveStay) {
  BootWith({});
  Reset();
  EXPECT_EQ(Text(kernel->Look(kVmm, kGrant, 5000)), std::string(5000, 'K'));
}

TEST_F(VmLifeTest, StaysOffUnlessThePlanSaysOtherwise) {
  BootWith({AddNeighbour});
  EndVm(VmState::kCrashed);
  Settle();
  EXPECT_FALSE(kernel->has(kVm));
  EXPECT_TRUE(kernel->timers.empty() || kernel->timers.back() == VmLife::kNever);
}

TEST_F(VmLifeTest, StartsAgainWhenOffIfThePlanSaysSo) {
  BootWith({[](PlanBuilder& p) { FindVm(p).when_off = atoll_PlanVm_OnEnd_START_AGAIN; }});
  EndVm(VmState::kOff);
  Settle();
  EXPECT_TRUE(kernel->Logged("VM linux starts afresh: start 2"));
  Run();
  EndVm(VmState::kCrashed);
  Settle();
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitFailed});
}

TEST_F(VmLifeTest, StartsAgainASecondAfterACrash) {
  BootWith({[](PlanBuilder& p) { FindVm(p).when_crashed = atoll_PlanVm_OnEnd_START_AGAIN; }});
  const uint64_t crashed = kernel->now += 5 * kernel->frequency;
  EndVm(VmState::kCrashed);
  EXPECT_FALSE(kernel->has(kVm));
  EXPECT_EQ(kernel->timers.back(), crashed + kernel->frequency);
  supervisor->OnSignals(bit::kTimerSignal);
  EXPECT_FALSE(kernel->has(kVm));
  Settle();
  EXPECT_TRUE(kernel->has(kVm));
  EXPECT_TRUE(kernel->power_offs.empty());
}

TEST_F(VmLifeTest, ResetsInALoopAreSlowedDown) {
  BootWith({});
  kernel->now += 10 * kernel->frequency;
  const uint64_t begin = kernel->now;
  for (int i = 0; i < 9; ++i) Reset();
  EXPECT_GE(kernel->now - begin, 8 * kernel->frequency / VmLife::kStartsPerSecond);
}

TEST_F(VmLifeTest, AVmThatCannotBeStartedAgainCrashes) {
  BootWith({});
  kernel->next_start = Status::kInternal;
  EndVm(VmState::kReset);
  Settle();
  EXPECT_TRUE(kernel->Logged("VM linux cannot be started: plan.pb: record "));
  EXPECT_TRUE(kernel->Logged(": task pl011.linux: start: INTERNAL"));
  EXPECT_TRUE(kernel->Logged("VM linux crashed"));
  EXPECT_FALSE(kernel->has(kVm)) << "what was made of it is gone again";
  EXPECT_FALSE(kernel->Logged("missing"));
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitFailed});
}

TEST_F(VmLifeTest, AServiceThatIsLostForGoodEndsItsVmInTheSameWay) {
  BootWith({AddNeighbour,
            [](PlanBuilder& p) { FindVm(p).when_crashed = atoll_PlanVm_OnEnd_START_AGAIN; },
            [](PlanBuilder& p) { FindTask(p, kUart).vital = true; }});
  for (int i = 0; i < 6; ++i) DieAndWait(kUart);
  EXPECT_FALSE(kernel->has(kUart));
  Settle();
  EXPECT_TRUE(kernel->has(kUart));
  EXPECT_EQ(kernel->object(kUart).starts.size(), 1u);
  for (int i = 0; i < 5; ++i) DieAndWait(kUart);
  EXPECT_EQ(kernel->object(kUart).starts.size(), 6u) << "deaths are counted anew";
}

// ---- others see nothing of it ----------------------------------------------------------------------------------

TEST_F(VmLifeTest, WorksInPiecesWithPauses) {
  BootWith({AddNeighbour});
  kernel->frequency = 62'500'000;
  kernel->ticks_per_call = kernel->frequency / 20'000;  // 50 us
  // Loading a task is one step.
  const uint64_t most = 24;
  kernel->work = 0;
  EndVm(VmState::kReset);
  size_t pieces = 1;
  for (; !kernel->Logged("start 2"); ++pieces) {
    ASSERT_LT(pieces, 10'000u);
    ASSERT_LE(kernel->work, most);
    kernel->work = 0;
    const uint64_t end = kernel->now;
    ASSERT_GT(kernel->timers.back(), end);
    supervisor->OnSignals(bit::kTimerSignal);  // too early
    EXPECT_EQ(kernel->work, 0u) << "it rests";
    kernel->now = kernel->timers.back();
    supervisor->OnSignals(bit::kTimerSignal);
  }
  EXPECT_GT(pieces, 20u);
  EXPECT_EQ(kernel->object(kSecondTask).starts.size(), 1u);
}

TEST_F(VmLifeTest, TwoVmsMayEndAtOnce) {
  BootWith({AddNeighbour});
  kernel->frequency = 62'500'000;
  kernel->ticks_per_call = kernel->frequency / 20'000;
  kernel->object(kSecondVm).vm_state = VmState::kReset;
  EndVm(VmState::kReset);
  for (int i = 0; i < 100'000 && (!kernel->Logged("VM linux starts afresh: start 2") ||
                                  !kernel->Logged("VM second starts afresh: start 2"));
       ++i) {
    kernel->now = std::max(kernel->now, kernel->timers.back());
    supervisor->OnSignals(bit::kTimerSignal);
  }
  EXPECT_TRUE(kernel->Logged("VM linux starts afresh: start 2"));
  EXPECT_TRUE(kernel->Logged("VM second starts afresh: start 2"));
  EXPECT_EQ(Text(kernel->Look(kVmm, abi::kImageBase, 4)), "code");
  EXPECT_EQ(Text(kernel->Look(kSecondTask, abi::kImageBase, 4)), "code");
}

TEST_F(VmLifeTest, ADeathIsServedBetweenThePieces) {
  BootWith({AddNeighbour});
  kernel->frequency = 62'500'000;
  kernel->ticks_per_call = kernel->frequency / 20'000;
  EndVm(VmState::kReset);
  Die(kSecondTask);
  EXPECT_EQ(kernel->object(kSecondTask).starts.size(), 2u);
  EXPECT_FALSE(kernel->Logged("start 2"));
}

// ---- direct memory access ------------------------------------------------------------------------------------

TEST_F(VmLifeTest, OpensTheWindowsOfThePlan) {
  BootWith({AddDriver});
  const auto own = ReadDmaWindow(Windows()[0]);
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(own->physical.value, kernel->object(kDriverMemory).base());
  const auto window = ReadDmaWindow(Windows()[1]);
  ASSERT_TRUE(window.has_value());
  EXPECT_EQ(window->guest_base, 0x4000'0000u);
  EXPECT_EQ(window->bytes, kRamBytes);
  EXPECT_EQ(window->physical.value, kernel->object(kRam).base());
  EXPECT_FALSE(ReadDmaWindow(Windows()[2]).has_value());
}

TEST_F(VmLifeTest, TheDevicesOffsetInItsPageIsAdded) {
  BootWith({AddDriver, [](PlanBuilder& p) {
              for (auto& record : p.records()) {
                if (record.which_record != atoll_PlanRecord_dma_tag) continue;
                record.record.dma.resource = static_cast<uint32_t>(ResourceKind::kUart);
                break;
              }
            }});
  EXPECT_EQ(ReadDmaWindow(Windows()[0])->guest_base, 0u);
}

TEST_F(VmLifeTest, GivesNoMemoryBackBeforeTheDriverHasLetGoOfIt) {
  BootWith({AddDriver});
  kernel->signalled.clear();
  EndVm(VmState::kReset);
  EXPECT_EQ(kernel->signalled, std::vector<uint32_t>{kDriverSignal});
  EXPECT_EQ(DmaWindowToClose(Windows()[1]), 2u);
  EXPECT_TRUE(kernel->has(kRam));
  EXPECT_EQ(kernel->object(kUart).task_state, TaskState::kDead) << "killed at once";
  supervisor->OnSignals(bit::kDmaClosedSignal);  // of another window, say
  EXPECT_TRUE(kernel->has(kRam));
  AcknowledgeDmaClosed(Windows()[1], 4);  // what was not asked for
  supervisor->OnSignals(bit::kDmaClosedSignal);
  EXPECT_TRUE(kernel->has(kRam));
  AcknowledgeDmaClosed(Windows()[1], 2);
  supervisor->OnSignals(bit::kDmaClosedSignal);
  Settle(kernel->now + kernel->frequency);
  EXPECT_TRUE(kernel->Logged("start 2"));
  const auto window = ReadDmaWindow(Windows()[1]);
  ASSERT_TRUE(window.has_value()) << "open for the new one";
  EXPECT_EQ(window->generation, 3u);
  EXPECT_EQ(kernel->object(kDriver).starts.size(), 1u);
}

TEST_F(VmLifeTest, KillsADriverThatDoesNotLetGo) {
  BootWith({AddDriver});
  const uint64_t begin = kernel->now;
  EndVm(VmState::kOff);
  EXPECT_EQ(kernel->timers.back(), begin + kernel->frequency);
  kernel->killed.clear();
  kernel->now = begin + kernel->frequency;
  supervisor->OnSignals(bit::kTimerSignal);
  EXPECT_EQ(kernel->killed, std::vector<uint32_t>{kDriver});
  EXPECT_TRUE(kernel->Logged("blk-driver does not let go of VM linux's memory: killed"));
  supervisor->OnSignals(bit::kTaskDeathSignal);
  EXPECT_EQ(kernel->object(kDriver).starts.size(), 2u);
  EXPECT_TRUE(kernel->has(kRam)) << "the new instance has not reset the device yet";
  AcknowledgeDmaClosed(Windows()[1], 2);
  supervisor->OnSignals(bit::kDmaClosedSignal);
  EXPECT_FALSE(kernel->has(kRam));
}

TEST_F(VmLifeTest, ADriverThatScribblesOverTheTableGainsNothing) {
  BootWith({AddDriver});
  Windows()[1].generation = 77;
  EndVm(VmState::kReset);
  EXPECT_EQ(DmaWindowToClose(Windows()[1]), 2u) << "the supervisor's own count";
  Windows()[1].generation = 5;
  AcknowledgeDmaClosed(Windows()[1], 2);
  supervisor->OnSignals(bit::kDmaClosedSignal);
  Settle(kernel->now + kernel->frequency);
  EXPECT_EQ(ReadDmaWindow(Windows()[1])->generation, 3u);
  EXPECT_EQ(ReadDmaWindow(Windows()[1])->physical.value, kernel->object(kRam).base());
}

struct BadDma {
  const char* name;
  std::function<void(PlanBuilder&)> edit;
  const char* reason;
};
class BadDmaTest : public VmLifeTest, public testing::WithParamInterface<BadDma> {};

atoll_PlanDma& LastDma(PlanBuilder& plan) {
  for (auto record = plan.records().rbegin(); record != plan.records().rend(); ++record) {
    if (record->which_record == atoll_PlanRecord_dma_tag) return record->record.dma;
  }
  std::abort();
}

TEST_P(BadDmaTest, IsRefused) {
  Boot([](PlanBuilder& plan) {
    AddDriver(plan);
    GetParam().edit(plan);
  });
  ASSERT_EQ(kernel->log.size(), 1u);
  EXPECT_TRUE(kernel->Logged(GetParam().reason)) << kernel->log[0];
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitBadInput});
}

INSTANTIATE_TEST_SUITE_P(
    Plan, BadDmaTest,
    testing::Values(BadDma{"entry", [](PlanBuilder& p) { LastDma(p).entry = kDmaWindows; },
                           "beyond the table"},
                    BadDma{"driver", [](PlanBuilder& p) { LastDma(p).driver = 999; },
                           "dma.driver is not a task"},
                    BadDma{"table", [](PlanBuilder& p) { LastDma(p).table = 999; }, "NOT_FOUND"},
                    BadDma{"table_is_the_supervisor", [](PlanBuilder& p) { LastDma(p).table = 1; },
                           "OUT_OF_RANGE"},
                    BadDma{"table_beyond_slots", [](PlanBuilder& p) { LastDma(p).table = 1 << 30; },
                           "NOT_FOUND"},
                    BadDma{"table_of_a_vm", [](PlanBuilder& p) { LastDma(p).table = kUartJournal; },
                           "FAILED_PRECONDITION"},
                    BadDma{"target", [](PlanBuilder& p) { LastDma(p).target = 999; }, "NOT_FOUND"},
                    BadDma{"target_is_no_memory", [](PlanBuilder& p) { LastDma(p).target = kVm; },
                           "INVALID_ARGUMENT"},
                    BadDma{"no_such_device", [](PlanBuilder& p) { LastDma(p).resource = 6; },
                           "the machine has no such device"},
                    BadDma{"twice",
                           [](PlanBuilder& p) {
                             const auto again = LastDma(p);
                             p.Add(atoll_PlanRecord_dma_tag).record.dma = again;
                           },
                           "FAILED_PRECONDITION"}),
    [](const auto& test) { return std::string(test.param.name); });

// ---- schedules -------------------------------------------------------------------------------------------------

void AddSchedule(PlanBuilder& plan, uint32_t cpu, bool spread) {
  plan.owner = kVm;
  plan.Add(atoll_PlanRecord_schedule_tag).record.schedule = {
      .slot = kUart, .priority = 9, .cpu = cpu, .spread = spread, .budget = 3, .period = 10};
  plan.owner = 0;
}

TEST_F(VmLifeTest, SpreadsOverTheCpusThatThereAre) {
  Make(SampleArchive([] {
    PlanBuilder plan = SamplePlan();
    AddSchedule(plan, 7, true);
    return plan.Build();
  }()));
  kernel->resources_[0].base = 3;
  supervisor->Boot();
  ASSERT_TRUE(kernel->schedules.contains(kUart)) << kernel->log.back();
  const SetScheduleRequest first = kernel->schedules[kUart];
  EXPECT_EQ(first.cpu, 1u);
  EXPECT_EQ(first.priority, 9u);
  EXPECT_EQ(first.budget, 3u);
  EXPECT_EQ(first.period, 10u);
  kernel->schedules.clear();
  Run();
  Reset();
  EXPECT_EQ(kernel->schedules[kUart].cpu, 1u) << "again in its next life";
}

TEST_F(VmLifeTest, RefusesACpuThatIsNotThere) {
  Boot([](PlanBuilder& plan) { AddSchedule(plan, 1, false); });
  EXPECT_TRUE(kernel->Logged("schedule.cpu: CPU 1 is wanted, the machine has 1"));
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitBadInput});
}

// ---- the console's list ------------------------------------------------------------------------------------------

TEST_F(VmLifeTest, ListsStates) {
  BootWith({AddNeighbour, AddList, AddDriver});
  EXPECT_TRUE(List()[0].IsNamed("linux"));
  EXPECT_TRUE(List()[1].IsNamed("second"));
  EXPECT_EQ(List()[0].State(), ListedState::kOn);
  EXPECT_EQ(List()[0].Starts(), 1u);
  EXPECT_EQ(List()[2].State(), ListedState::kNone);
  EndVm(VmState::kReset);
  EXPECT_EQ(List()[0].State(), ListedState::kEnding);
  EXPECT_EQ(List()[1].State(), ListedState::kOn);
  AcknowledgeDmaClosed(Windows()[1], 2);
  supervisor->OnSignals(bit::kDmaClosedSignal);
  EXPECT_EQ(List()[0].State(), ListedState::kWaiting);
  Settle();
  EXPECT_EQ(List()[0].State(), ListedState::kOn);
  EXPECT_EQ(List()[0].Starts(), 2u);
  EndVm(VmState::kOff, kSecondVm);
  EXPECT_EQ(List()[1].State(), ListedState::kOff);
}

}  // namespace
}  // namespace atoll
