// The supervisor dies at each of its kernel calls, is started again, and what there is in the end is what there is
// without deaths.
#include <sstream>

#include "services/supervisor/journal.h"
#include "tests/unit/supervisor/mortal_kernel.h"
#include "tests/unit/supervisor/plan_additions.h"

namespace atoll {
namespace {

constexpr uint32_t kLog = 115;

void AddLog(PlanBuilder& plan) {
  AddMemory(plan, kLog, bit::kLogBytes);
  AddMapping(plan, kLog, kOwnTask.slot, bit::kLogAddress, bit::kLogBytes);
}

// A machine whose supervisor may die at any call. Whoever else is there does what it has to.
class MortalMachine {
 public:
  explicit MortalMachine(const Bytes& archive) : kernel(archive) {}

  void Boot() {
    Live([&] { supervisor->Boot(); });
  }
  void Signal(uint64_t bits) {
    if (is_off()) return;
    JournalOf(kernel).pending = bits;  // as main.cc
    Live([&] { supervisor->OnSignals(bits); });
    JournalOf(kernel).pending = 0;
    LetDriversClose();
  }
  void Die(uint32_t task) {
    if (is_off() || !kernel.has(task)) return;
    kernel.Die(task);
    Signal(bit::kTaskDeathSignal);
  }
  void EndVm(uint32_t vm, VmState why) {
    kernel.object(vm).vm_state = why;
    Signal(bit::kVmStateSignal);
  }
  // Time passes until the supervisor waits for nothing.
  void Settle() {
    for (int i = 0;
         i < 10'000 && !is_off() && !kernel.timers.empty() && kernel.timers.back() != ~uint64_t{0};
         ++i) {
      kernel.now = std::max(kernel.now, kernel.timers.back());
      kernel.timers.push_back(~uint64_t{0});  // it has fired
      Signal(bit::kTimerSignal);
    }
  }
  bool is_off() const { return !kernel.power_offs.empty(); }

  void ExpectNothingIsLostOrDoubled() {
    if (is_off()) return;
    EXPECT_EQ(kernel.used_pages() * kPageSize + supervisor->free_bytes(), FakeKernel::kRamBytes);
    EXPECT_FALSE(kernel.Logged("missing"));
    EXPECT_FALSE(kernel.Logged("is lost"));
    EXPECT_FALSE(kernel.Logged("cannot be"));
    // Each line of the log was printed, or has come into the console's ring.
    Signal(bit::kLogSignal);
    const auto ring = ByteRingReader::Attach(kernel.Contents(kLog));
    std::string text(ring->Available(), '\0');
    (void)ring->Peek(std::as_writable_bytes(std::span(text)));
    EXPECT_EQ(kernel.uart + text, kernel.written);
  }

  FakeKernel kernel;
  MortalKernel mortal{kernel};
  std::unique_ptr<Supervisor> supervisor{std::make_unique<Supervisor>(mortal)};
  bool drivers_work = true;
  uint64_t deaths = 0;
  uint64_t next_death = MortalKernel::kNever;  // calls after the first one

 private:
  template <typename Work>
  void Live(const Work& work) {
    try {
      work();
    } catch (const SupervisorDied&) {
      Restart();
    }
  }
  void Restart() {
    ++deaths;
    kernel.timers.push_back(~uint64_t{0});
    supervisor = std::make_unique<Supervisor>(mortal);
    mortal.dies_at = next_death == MortalKernel::kNever ? next_death : mortal.calls + next_death;
    next_death = MortalKernel::kNever;
    if (!is_off()) Live([&] { supervisor->Recover(); });
  }
  void LetDriversClose() {
    if (is_off() || !kernel.has(kDriver)) return;
    const auto& driver = kernel.object(kDriver);
    if (driver.task_state == TaskState::kDead) return Signal(bit::kTaskDeathSignal);
    if (driver.task_state != TaskState::kRunning) return;
    // A new one resets the device before anything else.
    if (!drivers_work && driver.starts.size() == 1) return;
    const auto page = kernel.Look(kDriver, kTableAddress, kPageSize);
    if (page.empty()) return;
    bool closed = false;
    for (DmaWindow& window : *reinterpret_cast<DmaTable*>(page.data())) {
      const auto generation = DmaWindowToClose(window);
      if (!generation.has_value()) continue;
      AcknowledgeDmaClosed(window, *generation);
      closed = true;
    }
    if (closed) Signal(bit::kDmaClosedSignal);
  }
};

// All that the kernel has, without physical addresses and what only counts.
std::string Describe(FakeKernel& kernel) {
  std::ostringstream text;
  for (uint32_t slot = 1; slot < kHandleSlots; ++slot) {
    if (!kernel.has(slot)) continue;
    const auto& object = kernel.object(slot);
    text << slot << ": type " << static_cast<int>(object.request.type) << " owner "
         << object.request.owner << " b " << object.request.b << " state "
         << static_cast<int>(object.task_state) << static_cast<int>(object.vm_state) << " starts";
    for (const auto& start : object.starts)
      text << ' ' << start.generation << '/' << start.argument;
    text << '\n';
    for (const auto& [address, mapping] : kernel.space(slot)) {
      text << "  " << std::hex << address << std::dec << ": " << mapping.memory << '+'
           << mapping.offset << ' ' << mapping.bytes << ' ' << mapping.rights << '\n';
    }
  }
  for (const auto& [place, grant] : kernel.grants_) {
    text << "grant " << place.first << '.' << place.second << ": " << grant.object << ' '
         << grant.rights << ' ' << grant.badge << '\n';
  }
  text << "bindings " << kernel.bound() << " off";
  for (const uint32_t status : kernel.power_offs) text << ' ' << status;
  return text.str();
}

using Edit = void (*)(PlanBuilder&);

Bytes Archive(std::initializer_list<Edit> edits) {
  PlanBuilder plan = SamplePlan();
  for (const Edit edit : edits) edit(plan);
  return SampleArchive(plan.Build());
}

constexpr uint64_t kManyCalls = 250;

using Scenario = void (*)(MortalMachine&);

// One run for each of the kernel calls that the supervisor makes without deaths, and for the place before and after it.
void Sweep(const Bytes& archive, Scenario prepare, Scenario scenario) {
  uint64_t first = 0, last = 0;
  std::string wanted;
  {
    MortalMachine machine(archive);
    prepare(machine);
    first = machine.mortal.calls;
    scenario(machine);
    last = machine.mortal.calls;
    wanted = Describe(machine.kernel);
    machine.ExpectNothingIsLostOrDoubled();
  }
  ASSERT_GT(last, first);
  for (uint64_t call = first; call < last; ++call) {
    for (const bool after : {false, true}) {
      // In a long scenario calls of a kind come one after the other: each at one of its two places.
      if (last - first > kManyCalls && after == (call % 2 == 0)) continue;
      SCOPED_TRACE("dies at call " + std::to_string(call) + (after ? ", done" : ""));
      MortalMachine machine(archive);
      machine.mortal.dies_at = call;
      machine.mortal.dies_after = after;
      // Every third time again, somewhere in the recovery.
      if (call % 3 == 0) machine.next_death = call % 41;
      prepare(machine);
      scenario(machine);
      EXPECT_GE(machine.deaths, 1u);
      EXPECT_EQ(Describe(machine.kernel), wanted);
      machine.ExpectNothingIsLostOrDoubled();
      if (testing::Test::HasFailure()) {
        for (const auto& line : machine.kernel.log) std::cout << line << '\n';
        return;
      }
    }
  }
}

void Nothing(MortalMachine&) {}
void Boot(MortalMachine& machine) { machine.Boot(); }
void BootAndRun(MortalMachine& machine) {
  machine.Boot();
  machine.kernel.object(kVm).vm_state = VmState::kRunning;
}

TEST(RecoveryTest, OfADeathWhileTheMachineStarts) {
  Sweep(Archive({AddDriver, AddList, AddLog}), Nothing, Boot);
}

TEST(RecoveryTest, OfADeathWhileATaskIsStartedAgain) {
  Sweep(Archive({AddDriver, AddList, AddLog}), BootAndRun, [](MortalMachine& machine) {
    machine.Die(kUart);
    machine.Die(kUart);  // which makes it wait
    machine.Settle();
    machine.Die(kConsole);
  });
}

TEST(RecoveryTest, OfADeathWhileATaskIsGivenUp) {
  Sweep(Archive({AddDriver, AddList, AddLog}), BootAndRun, [](MortalMachine& machine) {
    for (int i = 0; i < 6; ++i) {
      machine.Die(kUart);
      machine.Settle();
    }
    EXPECT_NE(machine.kernel.object(kUart).starts.back().generation >> 32, 0u) << "failed mode";
  });
}

TEST(RecoveryTest, OfADeathWhileAVmIsResetOrTurnedOff) {
  Sweep(Archive({AddDriver, AddList, AddLog, AddNeighbour}), BootAndRun,
        [](MortalMachine& machine) {
          machine.EndVm(kVm, VmState::kReset);
          machine.Settle();
          EXPECT_TRUE(AllZero(machine.kernel.Contents(kRam)));
          EXPECT_EQ(Text(machine.kernel.Look(kUart, VirtAddr{0x40'1000}, 4)), "data");
          machine.kernel.object(kVm).vm_state = VmState::kRunning;
          machine.EndVm(kVm, VmState::kOff);
          machine.Settle();
        });
}

TEST(RecoveryTest, OfADeathWhileAVmCrashesAndStartsAgain) {
  const auto start_again = [](PlanBuilder& plan) {
    FindVm(plan).when_crashed = atoll_PlanVm_OnEnd_START_AGAIN;
  };
  Sweep(Archive({start_again, AddDriver, AddList, AddLog}), BootAndRun, [](MortalMachine& machine) {
    machine.drivers_work = false;  // it is killed for it
    machine.EndVm(kVm, VmState::kCrashed);
    machine.Settle();
    EXPECT_EQ(machine.kernel.object(kUart).task_state, TaskState::kRunning);
  });
}

TEST(RecoveryTest, OfADeathWhileTheMachineIsTurnedOff) {
  Sweep(Archive({AddDriver, AddList, AddLog}), BootAndRun, [](MortalMachine& machine) {
    machine.Signal(bit::kPowerOffSignal);
    machine.Signal(bit::kVmStateSignal);
    machine.Signal(bit::kFlushedSignal);
    machine.Settle();
  });
}

}  // namespace
}  // namespace atoll
