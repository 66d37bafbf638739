// The virtual CPU interface: masks, priorities and their groups, ends, waits for interrupts.
#include "tests/unit/vgic/delivery.h"

namespace atoll {
namespace {

TEST_F(VgicDelivery, GIC_081_only_higher_priority_than_the_mask_is_signalled) {
  vm.SetLine(kSpi, true);
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WritePmr(0x80); });
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Wakes());
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WritePmr(0x88); });
  EXPECT_TRUE(vm.Irq());
  EXPECT_TRUE(vm.Wakes());
}

TEST(VgicReset, GIC_081_GIC_087_GIC_091_reset_masks_all_and_sets_minimum_binary_points) {
  VirtualMachine vm;
  const VirtualMachineControl vmcr = vm.cpu(0).ReadMachineControl();
  EXPECT_EQ(vmcr.priority_mask(), 0u);
  EXPECT_EQ(vmcr.groups(), 0u);
  EXPECT_FALSE(vmcr.separate_deactivation());
  EXPECT_EQ(vmcr.GroupPriorityMask(0), 0xF8u);
  EXPECT_EQ(vmcr.GroupPriorityMask(1), 0xF8u);
  EXPECT_EQ(vm.cpu(0).ReadControl(), ich_hcr::kEn);
}

TEST_F(VgicDelivery, GIC_082_acknowledge_gives_the_highest_priority) {
  vm.Configure(41, 0x40);
  vm.Configure(42, 0x60);
  vm.SetLine(kSpi, true);
  vm.SetLine(41, true);
  vm.SetLine(42, true);
  EXPECT_EQ(vm.cpu(0).ReadHppir(1), 41u);
  EXPECT_EQ(vm.Acknowledge(), 41u);
  EXPECT_EQ(vm.Acknowledge(), kSpurious);  // 0x60 does not preempt 0x40
}

TEST_F(VgicDelivery, GIC_087_GIC_088_GIC_089_nesting_and_running_priority) {
  vm.Configure(41, 0x40);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x80u);
  vm.SetLine(41, true);
  EXPECT_EQ(vm.cpu(0).ReadHppir(1), 41u);
  EXPECT_EQ(vm.Acknowledge(), 41u);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x40u);
  vm.SetLine(41, false);
  vm.End(41);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x80u);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
}

TEST_F(VgicDelivery, GIC_087_binary_point_groups_priorities) {
  vm.OnCpu(
      0, [](FakeVirtualInterface& cpu) { cpu.WriteBpr(1, 7); });  // one preemption level below 0x80
  vm.SetPriority(kSpi, 0x70);
  vm.Configure(41, 0x10);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(41, true);
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Wakes());
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_TRUE(vm.Irq());
  EXPECT_TRUE(vm.Wakes());
}

TEST_F(VgicDelivery, GIC_080_common_binary_point_rules_both_groups) {
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) {
    cpu.WriteBpr(0, 6);  // [7] counts
    cpu.WriteCtlr(false, true);
  });
  vm.SetPriority(kSpi, 0x70);
  vm.Configure(41, 0x10);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(41, true);
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Wakes());
}

TEST_F(VgicDelivery, GIC_089_spurious_and_out_of_order_ends_do_no_harm) {
  vm.Configure(41, 0x40);
  vm.End(kSpi);
  vm.End(1023);
  vm.End(5);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(41, true);
  EXPECT_EQ(vm.Acknowledge(), 41u);
  vm.SetLine(kSpi, false);
  vm.SetLine(41, false);
  vm.End(kSpi);
  vm.End(41);
  for (uint32_t intid : {kSpi, 41u}) vm.SetBit(kIcactiver, intid);
  EXPECT_EQ(vm.Violation(), "");
  vm.SetLine(41, true);
  EXPECT_EQ(vm.Acknowledge(), 41u);
}

TEST_F(VgicDelivery, GIC_090_end_drops_and_deactivate_register_deactivates) {
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.End(kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
  EXPECT_TRUE(vm.Active(kSpi));
  EXPECT_FALSE(vm.Irq());
  vm.Deactivate(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
  EXPECT_TRUE(vm.Irq());  // still high
}

TEST_F(VgicDelivery, GIC_090_deactivate_register_does_nothing_with_eoi_mode_0_and_for_nonsense) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.Deactivate(kSpi);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  vm.SetBit(kIsactiver, 50);  // so that DIR is trapped
  for (uint32_t intid : {0u, 31u, 127u, 128u, 1019u, 1020u, 1023u, 8192u, 0xffffffu})
    vm.Deactivate(intid);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.Deactivate(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
}

TEST_F(VgicDelivery, GIC_091_group_enables_of_the_cpu_interface_gate_delivery) {
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(1, false); });
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Wakes());
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(1, true); });
  EXPECT_TRUE(vm.Irq());
  EXPECT_TRUE(vm.Wakes());
}

TEST_F(VgicDelivery, GIC_095_wfi_ends_for_deliverable_interrupts_only) {
  EXPECT_FALSE(vm.Wakes());
  vm.SetBit(kIcenabler, kSpi);
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Wakes());
  vm.SetBit(kIsenabler, kSpi);
  EXPECT_TRUE(vm.Wakes());
  vm.Write(0, 1);
  EXPECT_FALSE(vm.Wakes());
  vm.Write(0, 3);
  EXPECT_TRUE(vm.Wakes());
  vm.Acknowledge();
  EXPECT_FALSE(vm.Wakes());  // active
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_FALSE(vm.Wakes());
}

TEST_F(VgicDelivery, GIC_095_wakes_while_it_is_not_loaded) {
  vm.Unload(0);
  EXPECT_FALSE(vm.Wakes());
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.last_kicks(), 1u);
  EXPECT_TRUE(vm.Wakes());
  vm.SetLine(kSpi, false);
  EXPECT_FALSE(vm.Wakes());
}

}  // namespace
}  // namespace atoll
