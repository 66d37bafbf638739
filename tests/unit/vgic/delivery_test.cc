// Pending and active state of interrupts as one vCPU sees them through its CPU interface.
#include <gtest/gtest.h>

#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

constexpr uint32_t kSpi = 40;
constexpr uint64_t kIsenabler = 0x100, kIcenabler = 0x180, kIspendr = 0x200, kIcpendr = 0x280,
                   kIsactiver = 0x300, kIcactiver = 0x380;
constexpr uint32_t kSpurious = VirtualMachine::kSpurious;
constexpr uint32_t kTimer = VirtualMachine::kTimer;

class VgicDelivery : public testing::Test {
 protected:
  VgicDelivery() {
    vm.TurnOn();
    vm.Configure(kSpi, 0x80);
  }
  ~VgicDelivery() override { EXPECT_EQ(vm.Violation(), ""); }
  void MakeEdge() { vm.SetEdge(kSpi, true); }
  void ExpectTakenOnce() {
    EXPECT_TRUE(vm.Irq());
    EXPECT_EQ(vm.Acknowledge(), kSpi);
    vm.End(kSpi);
    EXPECT_FALSE(vm.Irq());
    EXPECT_EQ(vm.Acknowledge(), kSpurious);
  }

  VirtualMachine vm;
};

// ---- groups -------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_005_pends_while_its_group_is_off_and_comes_when_it_is_on) {
  MakeEdge();
  vm.Write(0, 1);  // Group 1 off
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Pending(kSpi));
  EXPECT_FALSE(vm.Irq());
  vm.Write(0, 2);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_004_group_off_takes_it_out_of_the_list_register) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq());
  vm.Write(0, 0);
  EXPECT_FALSE(vm.Irq());
  EXPECT_EQ(vm.Acknowledge(), kSpurious);
  vm.Write(0, 3);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_023_GIC_024_group_0_comes_as_fiq_and_group_1_as_irq) {
  MakeEdge();
  vm.SetGroup(kSpi, 0);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Fiq());
  EXPECT_FALSE(vm.Irq());
  EXPECT_EQ(vm.Acknowledge(0, 1), kSpurious);
  EXPECT_EQ(vm.Acknowledge(0, 0), kSpi);
  vm.End(kSpi, 0, 0);
  EXPECT_FALSE(vm.Fiq());
  vm.SetLine(kSpi, false);
  vm.SetGroup(kSpi, 1);
  vm.SetLine(kSpi, true);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_023_group_changed_while_listed) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetGroup(kSpi, 0);
  EXPECT_FALSE(vm.Irq());
  EXPECT_TRUE(vm.Fiq());
}

// ---- enable -------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_026_disabled_and_pending_comes_when_enabled_if_still_pending) {
  vm.SetBit(kIcenabler, kSpi);
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Irq());
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetBit(kIsenabler, kSpi);
  EXPECT_TRUE(vm.Irq());
  vm.SetBit(kIcenabler, kSpi);
  EXPECT_FALSE(vm.Irq());
  vm.SetLine(kSpi, false);
  vm.SetBit(kIsenabler, kSpi);
  EXPECT_FALSE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_004_disabled_while_in_a_list_register) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetBit(kIcenabler, kSpi);
  EXPECT_EQ(vm.Acknowledge(), kSpurious);
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetBit(kIsenabler, kSpi);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_047_active_state_survives_disable_and_priority_change) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetBit(kIcenabler, kSpi);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.SetPriority(kSpi, 0x10);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
}

// ---- priority -----------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_029_priority_change_of_a_pending_interrupt_takes_effect) {
  vm.Configure(41, 0x90);
  vm.SetLine(kSpi, true);
  vm.SetLine(41, true);
  vm.SetPriority(41, 0x10);
  EXPECT_EQ(vm.Acknowledge(), 41u);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x10u);
}

TEST_F(VgicDelivery, GIC_029_priority_change_does_not_corrupt_an_active_interrupt) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetLine(kSpi, false);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetPriority(kSpi, 0x10);
  vm.SetLine(kSpi, true);  // a new edge, of the new priority once the old one is over
  EXPECT_FALSE(vm.Irq());
  vm.End(kSpi);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x10u);
  vm.End(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
}

// ---- edge ---------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_034_an_edge_latches_until_acknowledged) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetLine(kSpi, false);
  EXPECT_TRUE(vm.Pending(kSpi));
  ExpectTakenOnce();
  EXPECT_FALSE(vm.Pending(kSpi));
}

TEST_F(VgicDelivery, GIC_034_an_edge_latches_until_cleared) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetBit(kIcpendr, kSpi);
  EXPECT_FALSE(vm.Pending(kSpi));
  EXPECT_FALSE(vm.Irq());
  vm.SetLine(kSpi, true);  // still high: no edge
  EXPECT_FALSE(vm.Irq());
  vm.SetLine(kSpi, false);
  vm.SetLine(kSpi, true);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_035_edges_while_active_come_once_more) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  for (int i = 0; i < 3; ++i) {
    vm.SetLine(kSpi, false);
    vm.SetLine(kSpi, true);
  }
  EXPECT_FALSE(vm.Irq());
  EXPECT_TRUE(vm.Pending(kSpi));
  EXPECT_TRUE(vm.Active(kSpi));
  vm.End(kSpi);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_034_an_edge_right_after_an_unseen_acknowledge_is_not_lost) {
  // The list register was written pending; the guest took and ended it without an exit; then a new edge.
  MakeEdge();
  for (int i = 0; i < 5; ++i) {
    vm.SetLine(kSpi, true);
    EXPECT_EQ(vm.Acknowledge(), kSpi);
    vm.SetLine(kSpi, false);
    if (i % 2 == 0) vm.End(kSpi);
    vm.SetLine(kSpi, true);
    vm.SetLine(kSpi, false);
    if (i % 2 != 0) vm.End(kSpi);
    ExpectTakenOnce();
  }
}

// ---- level --------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_036_level_pending_is_line_or_latch) {
  vm.SetBit(kIcenabler, kSpi);
  EXPECT_FALSE(vm.Pending(kSpi));
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetBit(kIspendr, kSpi);
  vm.SetLine(kSpi, false);
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetBit(kIcpendr, kSpi);
  EXPECT_FALSE(vm.Pending(kSpi));
}

TEST_F(VgicDelivery, GIC_037_a_line_that_falls_takes_it_out_of_the_list_register) {
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq());
  vm.SetLine(kSpi, false);
  EXPECT_FALSE(vm.Irq());
  EXPECT_EQ(vm.Acknowledge(), kSpurious);
  EXPECT_FALSE(vm.Pending(kSpi));
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_038_a_line_still_high_pends_again) {
  vm.SetLine(kSpi, true);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(vm.Acknowledge(), kSpi);
    EXPECT_FALSE(vm.Irq());
    vm.End(kSpi);
    EXPECT_TRUE(vm.Irq());
  }
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_FALSE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_039_a_line_lowered_in_the_handler_costs_no_maintenance) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(kSpi, false);
  const uint64_t before = vm.maintenance_interrupts();
  vm.End(kSpi);
  EXPECT_EQ(vm.maintenance_interrupts(), before);
  EXPECT_FALSE(vm.Irq());
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_038_a_line_that_fell_and_rose_while_active_pends_again) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetLine(kSpi, false);
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Irq());
  vm.End(kSpi);
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_040_a_latch_on_a_level_interrupt_is_used_up_by_the_acknowledge) {
  vm.SetBit(kIspendr, kSpi);
  ExpectTakenOnce();
  EXPECT_FALSE(vm.Pending(kSpi));
}

TEST_F(VgicDelivery, GIC_040_a_latch_written_while_active_comes_after_the_end) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.SetBit(kIspendr, kSpi);
  vm.SetLine(kSpi, false);
  EXPECT_FALSE(vm.Irq());
  vm.End(kSpi);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_041_clearing_leaves_a_high_line_pending) {
  vm.SetLine(kSpi, true);
  vm.SetBit(kIspendr, kSpi);
  vm.SetBit(kIcpendr, kSpi);
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetLine(kSpi, false);
  EXPECT_FALSE(vm.Pending(kSpi));
  EXPECT_FALSE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_033_trigger_changed_while_disabled) {
  vm.SetBit(kIcenabler, kSpi);
  MakeEdge();
  vm.SetLine(kSpi, true);
  vm.SetBit(kIcpendr, kSpi);
  EXPECT_FALSE(vm.Pending(kSpi));
  vm.SetEdge(kSpi, false);
  EXPECT_TRUE(vm.Pending(kSpi));
  vm.SetBit(kIsenabler, kSpi);
  EXPECT_TRUE(vm.Irq());
  vm.SetEdge(kSpi, true);
  EXPECT_FALSE(vm.Irq());
}

// ---- active state ---------------------------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_043_active_state_reads_true_from_the_list_register) {
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Active(kSpi));
  vm.Acknowledge();
  EXPECT_TRUE(vm.Active(kSpi));
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
}

TEST_F(VgicDelivery, GIC_044_made_active_it_is_not_signalled_until_deactivated) {
  vm.SetBit(kIsactiver, kSpi);
  EXPECT_TRUE(vm.Active(kSpi));
  vm.SetLine(kSpi, true);
  EXPECT_FALSE(vm.Irq());
  vm.SetBit(kIcactiver, kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_044_made_active_while_listed_or_by_deactivate_register) {
  vm.SetLine(kSpi, true);
  vm.SetBit(kIsactiver, kSpi);
  EXPECT_FALSE(vm.Irq());
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  vm.Deactivate(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_045_deactivated_by_register_what_pends_comes) {
  vm.SetLine(kSpi, true);
  vm.Acknowledge();
  vm.SetBit(kIcactiver, kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
  // The priority is still that of the handler.
  EXPECT_FALSE(vm.Irq());
  vm.SetLine(kSpi, false);
  vm.End(kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
  vm.SetBit(kIsactiver, kSpi);
  vm.SetBit(kIspendr, kSpi);
  EXPECT_FALSE(vm.Irq());
  vm.SetBit(kIcactiver, kSpi);
  ExpectTakenOnce();
}

TEST_F(VgicDelivery, GIC_046_active_registers_work_for_every_kind) {
  for (uint32_t intid : {3u, VirtualMachine::kEmulatedPpi, kTimer, 50u}) {
    vm.Configure(intid, 0x80);
    vm.SetBit(kIsactiver, intid);
    EXPECT_TRUE(vm.Active(intid));
    vm.SetBit(kIspendr, intid);
    EXPECT_FALSE(vm.Irq()) << intid;
    vm.SetBit(kIcactiver, intid);
    EXPECT_FALSE(vm.Active(intid));
    EXPECT_EQ(vm.Acknowledge(), intid);
    vm.End(intid);
    EXPECT_FALSE(vm.Irq()) << intid;
  }
}

// ---- CPU interface ----------------------------------------------------------------------------------------

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

// ---- PPIs -----------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, timer_is_deactivated_by_the_guest_without_an_exit) {
  vm.Configure(kTimer, 0x80);
  vm.SetTimer(0, true);
  EXPECT_TRUE(vm.Irq());
  EXPECT_TRUE(vm.cpu(0).physical_active.contains(kTimer));
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.SetTimer(0, false);
  const uint64_t before = vm.maintenance_interrupts();
  vm.End(kTimer);
  EXPECT_FALSE(vm.cpu(0).physical_active.contains(kTimer));
  EXPECT_EQ(vm.maintenance_interrupts(), before);
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Active(kTimer));
}

TEST_F(VgicDelivery, timer_still_due_at_its_end_comes_again) {
  vm.Configure(kTimer, 0x80);
  vm.SetTimer(0, true);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(vm.Acknowledge(), kTimer);
    vm.End(kTimer);
    EXPECT_TRUE(vm.Irq());
  }
}

TEST_F(VgicDelivery, GIC_066_timer_level_is_pending_without_delivery) {
  vm.SetTimer(0, true);  // PPI 27 is disabled
  EXPECT_TRUE(vm.Pending(kTimer));
  EXPECT_FALSE(vm.Irq());
  vm.SetTimer(0, false);
  EXPECT_FALSE(vm.Pending(kTimer));
  EXPECT_FALSE(vm.cpu(0).physical_active.contains(kTimer));
  vm.SetTimer(0, true);
  vm.Configure(kTimer, 0x80);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
}

TEST_F(VgicDelivery, GIC_037_timer_that_falls_before_it_is_taken_is_not_pending) {
  vm.Configure(kTimer, 0x80);
  vm.SetTimer(0, true);
  vm.SetTimer(0, false);
  EXPECT_FALSE(vm.Pending(kTimer));  // the exit that reads it
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Wakes());
  vm.SetTimer(0, true);
  EXPECT_TRUE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_040_timer_made_pending_by_register) {
  vm.Configure(kTimer, 0x80);
  vm.SetBit(kIspendr, kTimer);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.SetTimer(0, true);  // due while the latched one is handled
  EXPECT_FALSE(vm.Irq());
  vm.End(kTimer);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.SetBit(kIspendr, kTimer);
  vm.SetTimer(0, false);
  vm.End(kTimer);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.End(kTimer);
  EXPECT_FALSE(vm.Irq());
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
}

TEST_F(VgicDelivery, GIC_090_timer_deactivated_by_a_trapped_register) {
  vm.Configure(kTimer, 0x80);
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  vm.SetBit(kIsactiver, 50);  // so that DIR is trapped
  vm.SetTimer(0, true);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.End(kTimer);
  EXPECT_FALSE(vm.Irq());
  vm.Deactivate(kTimer);
  EXPECT_TRUE(vm.Irq());  // still due: the physical one fired again
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.SetTimer(0, false);
  vm.End(kTimer);
  vm.Deactivate(kTimer);
  EXPECT_FALSE(vm.Irq());
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
}

TEST_F(VgicDelivery, emulated_ppi_follows_its_level) {
  const uint32_t ppi = VirtualMachine::kEmulatedPpi;
  vm.Configure(ppi, 0x80);
  vm.SetPrivateLine(0, ppi, true);
  EXPECT_EQ(vm.Acknowledge(), ppi);
  vm.End(ppi);
  EXPECT_TRUE(vm.Irq());
  vm.SetPrivateLine(0, ppi, false);
  EXPECT_FALSE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_046_timer_deactivated_while_its_vcpu_is_not_loaded) {
  vm.Configure(kTimer, 0x80);
  vm.SetTimer(0, true);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
  vm.Unload(0);
  vm.SetTimer(0, false);
  EXPECT_TRUE(vm.gic().Set(InterruptField::kActive, 0, 1u << kTimer, 0, 0).has_value());
  EXPECT_FALSE(vm.gic().vcpu(0).PhysicalActive(kTimer));
  vm.Load(0);
  vm.End(kTimer);
  vm.SetTimer(0, true);
  EXPECT_EQ(vm.Acknowledge(), kTimer);
}

TEST_F(VgicDelivery, GIC_048_GIC_098_active_over_a_reset_of_the_cpu_interface) {
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.ResetVcpu(0);
  vm.TurnOn();
  EXPECT_TRUE(vm.Active(kSpi));
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  vm.Deactivate(kSpi);
  EXPECT_FALSE(vm.Active(kSpi));
}

TEST_F(VgicDelivery, GIC_005_GIC_095_a_group_turned_on_wakes_a_vcpu_that_is_not_loaded) {
  vm.Write(0, 1);
  vm.SetLine(kSpi, true);
  vm.Unload(0);
  EXPECT_FALSE(vm.gic().vcpu(0).HasDeliverable());
  EXPECT_EQ(vm.gic().Set(InterruptField::kControl, 0, 3, 3, 0).value(), 1u);
  EXPECT_TRUE(vm.gic().vcpu(0).HasDeliverable());
}

// ---- several changes before one flush -------------------------------------------------------------------

TEST_F(VgicDelivery, GIC_037_GIC_040_line_pulse_after_a_latch_was_used_up_unseen) {
  vm.SetBit(kIspendr, kSpi);
  EXPECT_EQ(vm.Acknowledge(), kSpi);
  vm.End(kSpi);
  vm.gic().SetLine(kSpi, true);
  vm.gic().SetLine(kSpi, false);
  vm.Exit(0);
  EXPECT_FALSE(vm.Irq());
}

TEST_F(VgicDelivery, GIC_037_line_pulse_before_a_flush_leaves_nothing) {
  vm.gic().SetLine(kSpi, true);
  vm.gic().SetLine(kSpi, false);
  vm.Exit(0);
  EXPECT_FALSE(vm.Irq());
  EXPECT_FALSE(vm.Pending(kSpi));
}

TEST_F(VgicDelivery, several_interrupts_marked_before_one_flush) {
  for (uint32_t intid : {40u, 41u, 42u}) {
    vm.Configure(intid, 0x80);
    vm.SetEdge(intid, true);
  }
  for (int round = 0; round < 3; ++round) {
    for (uint32_t intid : {40u, 41u, 42u}) {
      vm.gic().SetLine(intid, true);
      vm.gic().SetLine(intid, false);
    }
    vm.Exit(0);
    EXPECT_EQ(vm.Drain().size(), 3u);
  }
}

TEST_F(VgicDelivery, GIC_097_reset_of_a_loaded_vm_reaches_the_hardware) {
  vm.Configure(kTimer, 0x40);
  vm.SetLine(kSpi, true);
  vm.SetTimer(0, true);
  EXPECT_TRUE(vm.Irq());
  vm.gic().Reset();
  vm.Exit(0);
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
  EXPECT_FALSE(vm.cpu(0).list_register(1).valid());
  EXPECT_FALSE(vm.cpu(0).list_register(0).valid());
  EXPECT_EQ(vm.cpu(0).vmcr(), VirtualMachineControl::Reset(5).value);
  vm.TurnOn();
  vm.Configure(kSpi, 0x80);
  EXPECT_TRUE(vm.Irq());
}

// ---- cost -----------------------------------------------------------------------------------------------

TEST_F(VgicDelivery, raising_a_line_touches_one_list_register) {
  MakeEdge();
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Drain().size(), 1u);
  vm.SetLine(kSpi, false);
  for (int i = 0; i < 3; ++i) {
    const uint32_t reads = vm.cpu(0).list_register_reads;
    const uint32_t writes = vm.cpu(0).list_register_writes;
    vm.SetLine(kSpi, true);
    EXPECT_LE(vm.cpu(0).list_register_reads - reads, 1u);
    EXPECT_EQ(vm.cpu(0).list_register_writes - writes, 1u);
    EXPECT_EQ(vm.Drain().size(), 1u);
    vm.SetLine(kSpi, false);
  }
}

}  // namespace
}  // namespace atoll
