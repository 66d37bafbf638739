// Archives, plans and files that are not what they should be: each is refused with its reason.
#include "tests/unit/supervisor/supervisor_machine.h"

namespace atoll {
namespace {

TEST_F(SupervisorTest, RefusesABadArchive) {
  BootArchive(ToBytes("not an archive"));
  ExpectRefused("boot archive: header at 0x0: the archive ends before its trailer");
  BootArchive(ArchiveBuilder().Add("plan", ToBytes("x")).Build());
  ExpectRefused("boot archive: there is no \"plan.pb\"");
}

TEST_F(SupervisorTest, RefusesAMachineWithoutArchive) {
  Make(SampleArchive(SamplePlan().Build()));
  std::erase_if(kernel->resources_, [](const auto& r) { return r.kind == ResourceKind::kArchive; });
  supervisor->Boot();
  ExpectRefused("boot archive: there is none; give it as initrd");
  Make(SampleArchive(SamplePlan().Build()));
  kernel->resources_[2].base += 16;
  supervisor->Boot();
  ExpectRefused("boot archive: its base 0x40800010 is not page aligned");
}

TEST_F(SupervisorTest, RefusesATruncatedPlan) {
  BootArchive(SampleArchive(SamplePlan().Build(kPlanVersion, 1)));
  const auto records = SamplePlan().records().size() + 1;
  ExpectRefused("plan.pb: record " + std::to_string(records) + ": the plan ends before it");
}

TEST_F(SupervisorTest, RefusesAMissingOrBrokenElf) {
  PlanBuilder plan = SamplePlan();
  BootArchive(ArchiveBuilder().Add("plan.pb", plan.Build()).Build());
  ExpectRefused(
      "plan.pb: record 6: task console: boot archive: there is no \"services/sample.elf\"");
  Bytes elf = samples::ServiceElf();
  samples::Put<uint16_t>(elf, 18, 62);
  BootArchive(
      ArchiveBuilder().Add("plan.pb", plan.Build()).Add("services/sample.elf", elf).Build());
  ExpectRefused("plan.pb: record 6: task console: services/sample.elf: e_machine: is not AArch64");
}

TEST_F(SupervisorTest, RefusesFilesThatAreNotAsPlanned) {
  const PlanBuilder plan = SamplePlan();
  const auto boot = [&](const Bytes& kernel_file, bool whole_pages) {
    BootArchive(ArchiveBuilder()
                    .Add("plan.pb", plan.Build())
                    .Add("services/sample.elf", samples::ServiceElf())
                    .Add("linux/kernel", kernel_file, whole_pages)
                    .Build());
  };
  const std::string where = "plan.pb: record 29: boot archive: file \"linux/kernel\": ";
  boot(Bytes(4000), true);
  ExpectRefused(where + "its size is not the one in the plan");
  boot(Bytes(9000), true);
  ExpectRefused(where + "its size is not the one in the plan");
  boot(Bytes(5000), false);
  ExpectRefused(where + "does not fill whole pages: write the archive with scripts/archive.py");
  BootArchive(ArchiveBuilder()
                  .Add("plan.pb", plan.Build())
                  .Add("services/sample.elf", samples::ServiceElf())
                  .Build());
  ExpectRefused(where + "is not there");
}

TEST_F(SupervisorTest, SaysHowMuchMemoryIsMissing) {
  Boot([](PlanBuilder& plan) { AddMemory(plan, 100, uint64_t{1} << 40); });
  ASSERT_EQ(kernel->log.size(), 1u);
  EXPECT_TRUE(kernel->Logged("memory.bytes: 1099511627776 are wanted, "));
  EXPECT_TRUE(kernel->Logged(" are free: give the machine more memory"));
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitBadInput});
}

struct BadRecord {
  const char* name;
  std::function<void(PlanBuilder&)> edit;
  const char* reason;  // after "plan.pb: record N: "
};

// The record appended to (or edited in) the sample plan that is refused.
class BadRecordTest : public SupervisorTest, public testing::WithParamInterface<BadRecord> {};

TEST_P(BadRecordTest, IsRefusedWithItsReason) {
  Boot(GetParam().edit);
  ASSERT_EQ(kernel->log.size(), 1u);
  const std::string& line = kernel->log[0];
  EXPECT_TRUE(line.starts_with("plan.pb: record "));
  const size_t reason = line.find(": ", sizeof("plan.pb: "));
  EXPECT_EQ(line.substr(reason + 2), GetParam().reason);
  EXPECT_EQ(kernel->power_offs, std::vector<uint32_t>{kExitBadInput});
}

void AddNewTask(PlanBuilder& plan, const std::function<void(atoll_PlanTask&)>& edit) {
  AddTask(plan, 100, "new", 0);
  edit(plan.records().back().record.task);
}

INSTANTIATE_TEST_SUITE_P(
    Plan, BadRecordTest,
    testing::Values(
        BadRecord{"second_header", [](PlanBuilder& p) { p.Add(atoll_PlanRecord_header_tag); },
                  "is a second header"},
        BadRecord{"object_type",
                  [](PlanBuilder& p) { AddObject(p, static_cast<ObjectType>(9), 100); },
                  "object.type is not a kernel object other than memory"},
        BadRecord{"object_memory", [](PlanBuilder& p) { AddObject(p, ObjectType::kMemory, 100); },
                  "object.type is not a kernel object other than memory"},
        BadRecord{"object_slot_0", [](PlanBuilder& p) { AddObject(p, ObjectType::kVm, 0); },
                  "object of slot 0: OUT_OF_RANGE"},
        BadRecord{"object_slot_2048", [](PlanBuilder& p) { AddObject(p, ObjectType::kVm, 2048); },
                  "object of slot 2048: OUT_OF_RANGE"},
        BadRecord{"object_slot_taken",
                  [](PlanBuilder& p) { AddObject(p, ObjectType::kVm, kConsole); },
                  "object of slot 40: ALREADY_EXISTS"},
        BadRecord{"object_without_owner",
                  [](PlanBuilder& p) { AddObject(p, ObjectType::kSignal, 100, 101); },
                  "object of slot 100: NOT_FOUND"},
        BadRecord{"object_no_device",
                  [](PlanBuilder& p) {
                    AddObject(p, ObjectType::kIrq, 100, kConsoleSignal);
                    p.records().back().record.object.resource =
                        static_cast<uint32_t>(ResourceKind::kRtc);
                  },
                  "object.resource: the machine has no such device"},
        BadRecord{"vm_without_object",
                  [](PlanBuilder& p) { p.Add(atoll_PlanRecord_vm_tag).record.vm.slot = 100; },
                  "vm of slot 100: NOT_FOUND"},
        BadRecord{"vm_twice",
                  [](PlanBuilder& p) { p.Add(atoll_PlanRecord_vm_tag).record.vm.slot = kVm; },
                  "vm: more than 8, or the slot is there twice"},
        BadRecord{"memory_source", [](PlanBuilder& p) { AddMemory(p, 100, kPageSize).source = 7; },
                  "memory.source is none that there is"},
        BadRecord{"memory_no_page", [](PlanBuilder& p) { AddMemory(p, 100, 100); },
                  "memory of slot 100: INVALID_ARGUMENT"},
        BadRecord{"memory_alignment",
                  [](PlanBuilder& p) { AddMemory(p, 100, kPageSize).alignment = 5000; },
                  "memory of slot 100: INVALID_ARGUMENT"},
        BadRecord{"memory_no_device",
                  [](PlanBuilder& p) {
                    AddMemory(p, 100, kPageSize).source = atoll_PlanMemory_Source_DEVICE;
                  },
                  "memory.resource: the machine has no such device"},
        BadRecord{"memory_beyond_device",
                  [](PlanBuilder& p) {
                    auto& memory = AddMemory(p, 100, 2 * kPageSize);
                    memory.source = atoll_PlanMemory_Source_DEVICE;
                    memory.resource = static_cast<uint32_t>(ResourceKind::kUart);
                  },
                  "memory.bytes is more than the device has"},
        BadRecord{"file_of_no_bytes",
                  [](PlanBuilder& p) {
                    auto& memory = AddMemory(p, 100, 0);
                    memory.source = atoll_PlanMemory_Source_FILE;
                    samples::Copy(memory.file, "linux/kernel");
                  },
                  "boot archive: file \"linux/kernel\": its size is not the one in the plan"},
        BadRecord{"file_of_wrapping_bytes",
                  [](PlanBuilder& p) {
                    auto& memory = AddMemory(p, 100, ~uint64_t{0});
                    memory.source = atoll_PlanMemory_Source_FILE;
                    samples::Copy(memory.file, "linux/kernel");
                  },
                  "boot archive: file \"linux/kernel\": its size is not the one in the plan"},
        BadRecord{"task_without_object",
                  [](PlanBuilder& p) { p.Add(atoll_PlanRecord_task_tag).record.task.slot = 100; },
                  "task of slot 100: NOT_FOUND"},
        BadRecord{"task_of_no_vm",
                  [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.vm = 99; }); },
                  "task.vm is not a VM of the plan"},
        BadRecord{"task_no_stack",
                  [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.stack_bytes = 0; }); },
                  "task new: stack_bytes is not a page multiple up to 1 MiB"},
        BadRecord{
            "task_odd_stack",
            [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.stack_bytes = 4097; }); },
            "task new: stack_bytes is not a page multiple up to 1 MiB"},
        BadRecord{"task_huge_stack",
                  [](PlanBuilder& p) {
                    AddNewTask(p,
                               [](auto& task) { task.stack_bytes = kMaxStackBytes + kPageSize; });
                  },
                  "task new: stack_bytes is not a page multiple up to 1 MiB"},
        BadRecord{
            "task_huge_config",
            [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.config_bytes = 16385; }); },
            "task new: config_bytes is above 16384"},
        BadRecord{
            "task_slots_taken",
            [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.image_slot = kConsole; }); },
            "task new: image: ALREADY_EXISTS"},
        BadRecord{"task_ipc_slot",
                  [](PlanBuilder& p) { AddNewTask(p, [](auto& task) { task.ipc_slot = 5000; }); },
                  "task new: IPC page: OUT_OF_RANGE"},
        BadRecord{"config_of_no_task", [](PlanBuilder& p) { AddConfig(p, 99, 0, 4); },
                  "config.task is not a task of the plan"},
        BadRecord{"config_beyond", [](PlanBuilder& p) { AddConfig(p, kUart, 1498, 4); },
                  "config.offset and data are beyond the task's config_bytes"},
        BadRecord{"config_wrapping", [](PlanBuilder& p) { AddConfig(p, kUart, ~uint32_t{0}, 4); },
                  "config.offset and data are beyond the task's config_bytes"},
        BadRecord{"grant_of_nothing",
                  [](PlanBuilder& p) {
                    p.Add(atoll_PlanRecord_grant_tag).record.grant = {99, kUart, 4, 1, 0, false};
                  },
                  "grant of slot 99: NOT_FOUND"},
        BadRecord{
            "mapping_of_nothing",
            [](PlanBuilder& p) { AddMapping(p, 99, kUart, kGrant + 2 * kBlockSize, kPageSize); },
            "mapping of slot 99: NOT_FOUND"},
        BadRecord{"mapping_beyond",
                  [](PlanBuilder& p) {
                    AddMapping(p, kRing, kUart, kGrant + 2 * kBlockSize, 3 * kPageSize);
                  },
                  "mapping of slot 70: OUT_OF_RANGE"},
        BadRecord{"mapping_into_supervisor",
                  [](PlanBuilder& p) {
                    AddMapping(p, kRing, kOwnTask.slot, kGrant + 4 * kBlockSize, kPageSize);
                  },
                  "mapping.space is the supervisor itself"},
        BadRecord{"mapping_into_supervisor_too_small",
                  [](PlanBuilder& p) {
                    AddMapping(p, kRing, kOwnTask.slot, bit::kLogAddress, kPageSize);
                  },
                  "mapping.space is the supervisor itself"},
        BadRecord{"mmio_of_nothing",
                  [](PlanBuilder& p) {
                    p.Add(atoll_PlanRecord_mmio_tag).record.mmio = {99, 0, kPageSize, 1, 0};
                  },
                  "mmio of slot 1: NOT_FOUND"},
        BadRecord{"doorbell_of_nothing",
                  [](PlanBuilder& p) {
                    p.Add(atoll_PlanRecord_doorbell_tag).record.doorbell = {kVm, 0, 99,
                                                                            0,   1, false};
                  },
                  "doorbell of slot 99: NOT_FOUND"},
        BadRecord{"hypercall_of_nothing",
                  [](PlanBuilder& p) {
                    p.Add(atoll_PlanRecord_hypercall_tag).record.hypercall = {kVm, 99};
                  },
                  "hypercall of slot 99: NOT_FOUND"},
        BadRecord{"start_of_nothing",
                  [](PlanBuilder& p) { p.Add(atoll_PlanRecord_start_tag).record.start.task = 99; },
                  "start.task is not a task of the plan"},
        BadRecord{
            "start_twice",
            [](PlanBuilder& p) { p.Add(atoll_PlanRecord_start_tag).record.start.task = kUart; },
            "start.task is started already"}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace atoll
