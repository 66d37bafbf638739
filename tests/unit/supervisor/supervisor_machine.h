// The supervisor on a fake kernel with a small system: a console, and a VM with a UART and a vmm.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_SUPERVISOR_MACHINE_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_SUPERVISOR_MACHINE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/supervisor/manifest.h"
#include "services/supervisor/supervisor.h"
#include "tests/unit/supervisor/fake_kernel.h"
#include "tests/unit/supervisor/samples.h"

namespace atoll {

using samples::ArchiveBuilder;
using samples::Bytes;
using samples::PlanBuilder;
using samples::ToBytes;
namespace bit = supervisor_manifest;

// Slots of the sample plan; a task's image, private and IPC memory follow its own slot.
inline constexpr uint32_t kVm = 32, kRam = 33, kConsole = 40, kConsoleSignal = 44, kUart = 50,
                          kUartEndpoint = 54, kUartSignal = 55, kUartJournal = 56, kVmm = 60,
                          kVmmEndpoint = 64, kRing = 70, kUartRegisters = 71, kUartIrq = 72,
                          kKernel = 73, kRtc = 74, kConsoleJournal = 75, kSecondVm = 80;
inline constexpr uint64_t kRamBytes = 4 << 20;
inline constexpr uint32_t kReadWrite = 12, kReadOnly = 4;

inline void AddObject(PlanBuilder& plan, ObjectType type, uint32_t slot, uint32_t owner = 0) {
  auto& object = plan.Add(atoll_PlanRecord_object_tag).record.object;
  object.type = static_cast<uint32_t>(type);
  object.slot = slot;
  object.owner = owner;
}

inline atoll_PlanMemory& AddMemory(PlanBuilder& plan, uint32_t slot, uint64_t bytes,
                                   uint32_t vm = 0) {
  auto& memory = plan.Add(atoll_PlanRecord_memory_tag).record.memory;
  memory.slot = slot;
  memory.bytes = bytes;
  memory.alignment = kPageSize;
  memory.vm = vm;
  return memory;
}

inline void AddTask(PlanBuilder& plan, uint32_t slot, std::string_view name, uint32_t vm) {
  AddObject(plan, ObjectType::kTask, slot);
  auto& task = plan.Add(atoll_PlanRecord_task_tag).record.task;
  task.slot = slot;
  samples::Copy(task.name, name);
  samples::Copy(task.elf, "services/sample.elf");
  task.vm = vm;
  task.image_slot = slot + 1;
  task.private_slot = slot + 2;
  task.ipc_slot = slot + 3;
  task.stack_bytes = 4 * kPageSize;
  task.config_bytes = name == "pl011.linux" ? 1500 : 0;
  task.restart_deaths = 5;
  task.restart_seconds = 1;
}

inline atoll_PlanTask& FindTask(PlanBuilder& plan, uint32_t slot) {
  for (auto& record : plan.records()) {
    if (record.which_record == atoll_PlanRecord_task_tag && record.record.task.slot == slot) {
      return record.record.task;
    }
  }
  std::abort();
}

inline void AddMapping(PlanBuilder& plan, uint32_t memory, uint32_t space, VirtAddr address,
                       uint64_t bytes, uint32_t rights = kReadWrite, bool optional = false) {
  plan.Add(atoll_PlanRecord_mapping_tag).record.mapping = {memory, space,  address.value,
                                                           bytes,  rights, optional};
}

inline void AddConfig(PlanBuilder& plan, uint32_t task, uint32_t offset, uint16_t bytes) {
  auto& config = plan.Add(atoll_PlanRecord_config_tag).record.config;
  config.task = task;
  config.offset = offset;
  config.data.size = bytes;
  std::memset(config.data.bytes, 'a' + static_cast<int>(offset % 26), bytes);
}

inline constexpr VirtAddr kGrant = abi::kGrantBase;

inline PlanBuilder SamplePlan() {
  PlanBuilder plan;
  plan.owner = kVm;
  AddObject(plan, ObjectType::kVm, kVm);
  plan.owner = 0;
  auto& vm = plan.Add(atoll_PlanRecord_vm_tag).record.vm;
  vm.slot = kVm;
  samples::Copy(vm.name, "linux");
  plan.owner = kVm;
  AddMemory(plan, kRam, kRamBytes).alignment = kBlockSize;
  AddMapping(plan, kRam, kVm, VirtAddr{0x4000'0000}, kRamBytes, 28);
  plan.owner = 0;
  AddTask(plan, kConsole, "console", 0);
  AddObject(plan, ObjectType::kSignal, kConsoleSignal, kConsole);
  AddMemory(plan, kConsoleJournal, kPageSize);
  AddMapping(plan, kConsoleJournal, kConsole, abi::kJournalBase, kPageSize);
  plan.owner = kVm;
  AddTask(plan, kUart, "pl011.linux", kVm);
  AddConfig(plan, kUart, 0, 1024);
  AddConfig(plan, kUart, 1024, 476);
  AddObject(plan, ObjectType::kEndpoint, kUartEndpoint, kUart);
  AddObject(plan, ObjectType::kSignal, kUartSignal, kUart);
  AddMemory(plan, kUartJournal, kPageSize, kVm);
  AddMapping(plan, kUartJournal, kUart, abi::kJournalBase, kPageSize);
  AddTask(plan, kVmm, "vmm.linux", kVm);
  AddObject(plan, ObjectType::kEndpoint, kVmmEndpoint, kVmm);
  plan.owner = 0;  // its other end lives on
  AddMemory(plan, kRing, 2 * kPageSize);
  AddMapping(plan, kRing, kConsole, kGrant, 2 * kPageSize);
  plan.owner = kVm;
  AddMapping(plan, kRing, kUart, kGrant, 2 * kPageSize);
  plan.owner = 0;
  auto& registers = AddMemory(plan, kUartRegisters, kPageSize);
  registers.source = atoll_PlanMemory_Source_DEVICE;
  registers.resource = static_cast<uint32_t>(ResourceKind::kUart);
  AddMapping(plan, kUartRegisters, kConsole, kGrant + kBlockSize, kPageSize);
  AddObject(plan, ObjectType::kIrq, kUartIrq, kConsoleSignal);
  plan.records().back().record.object.resource = static_cast<uint32_t>(ResourceKind::kUart);
  plan.records().back().record.object.b = 1;
  auto& rtc = AddMemory(plan, kRtc, kPageSize);
  rtc.source = atoll_PlanMemory_Source_DEVICE;
  rtc.resource = static_cast<uint32_t>(ResourceKind::kRtc);
  rtc.optional = true;
  plan.owner = kVm;
  AddMapping(plan, kRtc, kUart, kGrant + kBlockSize, kPageSize, kReadOnly, true);
  plan.owner = 0;
  auto& kernel = AddMemory(plan, kKernel, 5000);
  kernel.source = atoll_PlanMemory_Source_FILE;
  samples::Copy(kernel.file, "linux/kernel");
  plan.owner = kVm;
  AddMapping(plan, kKernel, kVmm, kGrant, 2 * kPageSize, kReadOnly);
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {kConsoleSignal, kUart, 2, 1, 256, false};
  // The console's handle on the VM's UART.
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {kUartSignal, kConsole, 2, 1, 1, false};
  plan.owner = 0;
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {
      kConsoleSignal, kOwnTask.slot, bit::kConsoleFlush.slot, 1, 4, true};
  plan.owner = kVm;
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {999, kUart, 3, 1, 0, true};
  plan.Add(atoll_PlanRecord_mmio_tag).record.mmio = {kVm, 0x900'0000, kPageSize, kUartEndpoint, 0};
  plan.Add(atoll_PlanRecord_doorbell_tag).record.doorbell = {kVm, 0x900'0050, kUartSignal,
                                                             0,   1,          false};
  plan.Add(atoll_PlanRecord_hypercall_tag).record.hypercall = {kVm, kVmmEndpoint};
  for (const uint32_t task : {kConsole, kUart, kVmm}) {
    plan.owner = task == kConsole ? 0 : kVm;
    plan.Add(atoll_PlanRecord_start_tag).record.start.task = task;
  }
  plan.owner = 0;
  return plan;
}

inline Bytes SampleArchive(const Bytes& plan) {
  return ArchiveBuilder()
      .Add("plan.pb", plan)
      .Add("services/sample.elf", samples::ServiceElf())
      .Add("linux/kernel", Bytes(5000, std::byte{'K'}))
      .Build();
}

inline std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline bool AllZero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

class SupervisorTest : public testing::Test {
 protected:
  using Edit = std::function<void(PlanBuilder&)>;

  void Boot(const Edit& edit = [](PlanBuilder&) {}) {
    PlanBuilder plan = SamplePlan();
    edit(plan);
    BootArchive(SampleArchive(plan.Build()));
  }
  void BootArchive(const Bytes& archive) {
    Make(archive);
    supervisor->Boot();
  }
  void Make(const Bytes& archive) {
    kernel = std::make_unique<FakeKernel>(archive);
    supervisor = std::make_unique<Supervisor>(*kernel);
  }
  // The system runs: vmm has started a vCPU.
  void BootAndRun() {
    Boot();
    ASSERT_EQ(kernel->log, std::vector<std::string>{"started 3 services for 1 VMs"});
    kernel->object(kVm).vm_state = VmState::kRunning;
  }
  void Die(uint32_t task, DeathCause cause = DeathCause::kFault) {
    kernel->Die(task, cause);
    supervisor->OnSignals(bit::kTaskDeathSignal);
  }
  // And is started again, however long that is made to wait.
  void DieAndWait(uint32_t task, DeathCause cause = DeathCause::kFault) {
    Die(task, cause);
    if (!kernel->has(task) || kernel->object(task).task_state != TaskState::kDead) return;
    if (kernel->timers.empty() || kernel->timers.back() == VmLife::kNever) return;
    kernel->now = std::max(kernel->now, kernel->timers.back());
    supervisor->OnSignals(bit::kTimerSignal);
  }
  // Lets the timer fire until it is not set any more, or only for a time after `until`.
  void Settle(uint64_t until = ~uint64_t{0} - 1) {
    for (int i = 0; i < 1'000'000 && !kernel->timers.empty(); ++i) {
      const uint64_t deadline = kernel->timers.back();
      if (deadline > until || !kernel->power_offs.empty()) return;
      kernel->now = std::max(kernel->now, deadline);
      supervisor->OnSignals(bit::kTimerSignal);
      if (kernel->timers.back() == deadline && deadline <= kernel->now) return;
    }
  }
  void EndVm(VmState state, uint32_t vm = kVm) {
    kernel->object(vm).vm_state = state;
    supervisor->OnSignals(bit::kVmStateSignal);
  }
  // Refused with this line, and the machine is off with the status of bad input.
  void ExpectRefused(const std::string& line) {
    EXPECT_EQ(kernel->log, std::vector<std::string>{line});
    EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitBadInput});
  }

  std::unique_ptr<FakeKernel> kernel;
  std::unique_ptr<Supervisor> supervisor;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_SUPERVISOR_MACHINE_H_
