// Pending and active state of interrupts as one vCPU sees them through its CPU interface.
#include "tests/unit/vgic/delivery.h"

namespace atoll {
namespace {

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

}  // namespace
}  // namespace atoll
