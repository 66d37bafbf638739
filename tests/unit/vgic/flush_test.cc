// What comes to the list registers: several changes before one flush, and how little one change touches.
#include "tests/unit/vgic/delivery.h"

namespace atoll {
namespace {

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
