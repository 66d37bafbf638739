// A supervisor whose services die, hang or do not answer: builds of the sample service, and what tests look at.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_SERVICE_RECOVERY_MACHINE_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_SERVICE_RECOVERY_MACHINE_H_

#include "services/runtime/faults.h"
#include "services/runtime/log.h"
#include "services/supervisor/journal.h"
#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {

inline constexpr uint64_t kFailed = abi::kStartFailed;
inline constexpr uint64_t kBlamed = abi::kStartBlamed;  // nobody ordered the death before

inline std::string WithFaultTable(std::string text) {
  text.resize(64);
  const FaultTable table = {.magic = FaultTable::kMagic, .count = kFaultEntries};
  text.append(reinterpret_cast<const char*>(&table), sizeof(table));
  return text;
}

// A build of the sample service with a table of faults: `data` tells it from others.
inline Bytes Build(std::string_view data, uint64_t data_bytes = 0x1804) {
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

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_SERVICE_RECOVERY_MACHINE_H_
