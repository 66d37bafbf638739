// PPIs, the timers' among them, which the hardware deactivates by itself.
#include "tests/unit/vgic/delivery.h"

namespace atoll {
namespace {

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

}  // namespace
}  // namespace atoll
