// What some tests add to the sample plan.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_PLAN_ADDITIONS_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_PLAN_ADDITIONS_H_

#include <cstdlib>

#include "ipc/dma.h"
#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {

inline constexpr uint32_t kDriver = 100, kTable = 104, kDriverSignal = 105, kDriverMemory = 106;
inline constexpr uint32_t kList = 110, kSecondRam = 81, kSecondTask = 82;
inline constexpr VirtAddr kTableAddress = kGrant + 8 * kBlockSize;

inline atoll_PlanVm& FindVm(PlanBuilder& plan) {
  for (auto& record : plan.records()) {
    if (record.which_record == atoll_PlanRecord_vm_tag) return record.record.vm;
  }
  std::abort();
}

// A driver whose device accesses the VM's memory.
inline void AddDriver(PlanBuilder& plan) {
  AddTask(plan, kDriver, "blk-driver", 0);
  AddMemory(plan, kTable, kPageSize);
  AddMapping(plan, kTable, kDriver, kTableAddress, kPageSize);
  AddMemory(plan, kDriverMemory, kPageSize);
  AddObject(plan, ObjectType::kSignal, kDriverSignal, kDriver);
  plan.Add(atoll_PlanRecord_grant_tag).record.grant = {
      kDriverSignal, kOwnTask.slot, bit::kBlkDma.slot, 1, 1, false};
  auto& own = plan.Add(atoll_PlanRecord_dma_tag).record.dma;
  own.table = kTable;
  own.target = kDriverMemory;
  own.driver = kDriver;
  plan.owner = kVm;
  auto& window = plan.Add(atoll_PlanRecord_dma_tag).record.dma;
  window.table = kTable;
  window.entry = 1;
  window.target = kRam;
  window.guest_base = 0x4000'0000;
  window.vm = kVm;
  window.driver = kDriver;
  window.signal = bit::kBlkDma.slot;
  plan.owner = 0;
  plan.Add(atoll_PlanRecord_start_tag).record.start.task = kDriver;
}

inline void AddList(PlanBuilder& plan) {
  AddMemory(plan, kList, bit::kVmsBytes);
  AddMapping(plan, kList, kOwnTask.slot, bit::kVmsAddress, bit::kVmsBytes);
}

// Another VM with memory and a task, which must not notice anything.
inline void AddNeighbour(PlanBuilder& plan) {
  plan.owner = kSecondVm;
  AddObject(plan, ObjectType::kVm, kSecondVm);
  plan.owner = 0;
  auto& vm = plan.Add(atoll_PlanRecord_vm_tag).record.vm;
  vm.slot = kSecondVm;
  samples::Copy(vm.name, "second");
  plan.owner = kSecondVm;
  AddMemory(plan, kSecondRam, 4 << 20, kSecondVm).alignment = kBlockSize;
  AddMapping(plan, kSecondRam, kSecondVm, VirtAddr{0x4000'0000}, 4 << 20, 28);
  AddTask(plan, kSecondTask, "vmm.second", kSecondVm);
  plan.Add(atoll_PlanRecord_start_tag).record.start.task = kSecondTask;
  plan.owner = 0;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_PLAN_ADDITIONS_H_
