// Several vCPUs: software-generated interrupts, routing, state that is in another vCPU's list registers; and
// what happens to it all when vCPUs and VM are switched, moved and reset.
#include <gtest/gtest.h>

#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

constexpr uint32_t kSpi = 40;
constexpr uint64_t kIsenabler = 0x100, kIcenabler = 0x180, kIspendr = 0x200, kIsactiver = 0x300,
                   kIcactiver = 0x380;
constexpr uint32_t kSpurious = VirtualMachine::kSpurious;
constexpr uint32_t kTimer = VirtualMachine::kTimer;

struct Sgi {
  uint32_t intid = 0;
  uint32_t targets = 0;
  uint64_t aff1 = 0, aff2 = 0, aff3 = 0;
  uint64_t range = 0;
  bool others = false;
  uint64_t value() const {
    return targets | aff1 << 16 | uint64_t{intid} << 24 | aff2 << 32 | uint64_t{others} << 40 |
           range << 44 | aff3 << 48;
  }
};

class VgicVcpus : public testing::Test {
 protected:
  VgicVcpus() { vm.TurnOn(); }
  ~VgicVcpus() override { EXPECT_EQ(vm.Violation(), ""); }
  void EnableSgi(uint32_t intid, uint32_t group = 1) {
    for (uint32_t v = 0; v < vm.vcpus(); ++v) {
      vm.Configure(intid, 0x80, v);
      vm.SetGroup(intid, group, v);
    }
  }
  // Bit n: vCPU n sees SGI `intid` pending.
  uint64_t Seen(uint32_t intid) {
    uint64_t seen = 0;
    for (uint32_t v = 0; v < vm.vcpus(); ++v) {
      if (vm.Pending(intid, v)) seen |= uint64_t{1} << v;
    }
    return seen;
  }
  void Clear(uint32_t intid) {
    for (uint32_t v = 0; v < vm.vcpus(); ++v) vm.SetBit(0x280, intid, v);
  }

  VirtualMachine vm{{.vcpus = 20}};  // affinities 0.0 to 0.15, 1.0 to 1.3
};

// ---- software-generated interrupts ------------------------------------------------------------------------

TEST_F(VgicVcpus, GIC_069_target_list_and_affinity_choose_the_targets) {
  EnableSgi(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0x8005}.value());
  EXPECT_EQ(vm.last_kicks(), 0x8005u);
  EXPECT_EQ(Seen(5), 0x8005u);
  Clear(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0xffff, .aff1 = 1}.value());
  EXPECT_EQ(Seen(5), 0xF0000u);
  Clear(5);
  for (const Sgi nowhere : {Sgi{.intid = 5, .targets = 0xffff, .aff1 = 2},
                            Sgi{.intid = 5, .targets = 0xffff, .aff2 = 1},
                            Sgi{.intid = 5, .targets = 0xffff, .aff3 = 1}, Sgi{.intid = 5}}) {
    vm.SendSgi(nowhere.value());
    EXPECT_EQ(vm.last_kicks(), 0u);
    EXPECT_EQ(Seen(5), 0u);
  }
}

TEST_F(VgicVcpus, GIC_070_a_range_selector_reaches_nobody) {
  EnableSgi(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0xffff, .range = 1}.value());
  EXPECT_EQ(Seen(5), 0u);
}

TEST_F(VgicVcpus, GIC_071_all_but_the_sender_ignores_list_and_affinity) {
  EnableSgi(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0x8, .aff1 = 7, .range = 3, .others = true}.value(), 3);
  EXPECT_EQ(Seen(5), 0xFFFF7u);
  Clear(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0x8}.value(), 3);
  EXPECT_EQ(Seen(5), 0x8u);
}

TEST_F(VgicVcpus, GIC_072_targets_that_do_not_exist_do_not_keep_others_from_theirs) {
  EnableSgi(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0xFFFF, .aff1 = 1}.value());  // 1.4 to 1.15 do not exist
  EXPECT_EQ(Seen(5), 0xF0000u);
}

TEST_F(VgicVcpus, GIC_054_GIC_072_an_sgi_for_a_vcpu_that_is_off_is_held) {
  EnableSgi(5);
  vm.Unload(2);
  vm.ResetVcpu(2);
  vm.SendSgi(Sgi{.intid = 5, .targets = 0x4}.value());
  EXPECT_TRUE(vm.Pending(5, 2));
  EXPECT_FALSE(vm.Wakes(2));  // its CPU interface is reset: everything is masked
}

TEST_F(VgicVcpus, GIC_073_several_senders_one_delivery_without_a_sender) {
  EnableSgi(5);
  vm.SendSgi(Sgi{.intid = 5, .targets = 1}.value(), 1);
  vm.SendSgi(Sgi{.intid = 5, .targets = 1}.value(), 2);
  EXPECT_EQ(vm.Acknowledge(0), 5u);
  vm.End(5);
  EXPECT_EQ(vm.Acknowledge(0), kSpurious);
}

TEST_F(VgicVcpus, GIC_074_to_itself_and_while_active) {
  EnableSgi(5);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(vm.Wakes(0));
    vm.SendSgi(Sgi{.intid = 5, .targets = 1}.value(), 0);
    EXPECT_TRUE(vm.Wakes(0));
    EXPECT_EQ(vm.Acknowledge(0), 5u);
    vm.SendSgi(Sgi{.intid = 5, .targets = 1}.value(), 0);
    EXPECT_FALSE(vm.Irq(0));
    vm.End(5);
    EXPECT_EQ(vm.Acknowledge(0), 5u);
    vm.End(5);
    EXPECT_FALSE(vm.Irq(0));
  }
}

TEST_F(VgicVcpus, GIC_076_disabled_at_the_target_it_comes_when_enabled) {
  EnableSgi(5);
  vm.SetBit(kIcenabler, 5, 1);
  vm.SendSgi(Sgi{.intid = 5, .targets = 2}.value());
  EXPECT_FALSE(vm.Irq(1));
  vm.SetBit(kIsenabler, 5, 1);
  EXPECT_EQ(vm.Acknowledge(1), 5u);
}

TEST_F(VgicVcpus, GIC_077_each_register_reaches_its_groups) {
  EnableSgi(1, 1);
  EnableSgi(2, 0);
  const auto sent = [&](uint32_t intid, SgiRegister which) {
    vm.SendSgi(Sgi{.intid = intid, .targets = 1}.value(), 0, which);
    const uint64_t seen = Seen(intid);
    Clear(intid);
    return seen == 1;
  };
  EXPECT_TRUE(sent(1, SgiRegister::kSgi1));
  EXPECT_TRUE(sent(2, SgiRegister::kSgi1));
  EXPECT_FALSE(sent(1, SgiRegister::kSgi0));
  EXPECT_TRUE(sent(2, SgiRegister::kSgi0));
  EXPECT_FALSE(sent(1, SgiRegister::kAsgi1));
}

TEST_F(VgicVcpus, GIC_078_undefined_bits_are_ignored) {
  EnableSgi(5);
  const uint64_t undefined = uint64_t{0xE} << 40 | uint64_t{0xff} << 56 | uint64_t{0xf} << 28;
  vm.SendSgi(Sgi{.intid = 5, .targets = 3}.value() | undefined);
  EXPECT_EQ(Seen(5), 3u);
}

// ---- another vCPU's list registers --------------------------------------------------------------------------

TEST_F(VgicVcpus, GIC_004_disabled_by_another_vcpu_it_is_not_taken_any_more) {
  vm.Configure(kSpi, 0x80, 1);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq(1));
  vm.SetBit(kIcenabler, kSpi);
  EXPECT_FALSE(vm.Irq(1));
  vm.SetBit(kIsenabler, kSpi);
  EXPECT_TRUE(vm.Irq(1));
  vm.Write(0, 0);
  EXPECT_FALSE(vm.Irq(1));
}

TEST_F(VgicVcpus, GIC_042_GIC_043_state_acknowledged_on_one_is_read_on_another) {
  vm.Configure(kSpi, 0x80, 1);
  vm.SetEdge(kSpi, true);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Pending(kSpi));
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
  EXPECT_FALSE(vm.Pending(kSpi));
  EXPECT_TRUE(vm.Active(kSpi));
  vm.End(kSpi, 1);
  EXPECT_FALSE(vm.Active(kSpi));
}

TEST_F(VgicVcpus, GIC_042_state_cannot_be_read_behind_a_running_vcpus_back) {
  vm.Configure(kSpi, 0x80, 1);
  vm.SetLine(kSpi, true);
  VirtualGic& gic = vm.gic();
  EXPECT_EQ(gic.MustSync(InterruptField::kPending, 32, 32, 0), 2u);
  EXPECT_EQ(gic.Get(InterruptField::kPending, 32, 32, 0).error(), Status::kFailedPrecondition);
  EXPECT_EQ(gic.Set(InterruptField::kEnabled, 32, 0x100, 0, 0).error(),
            Status::kFailedPrecondition);
  EXPECT_EQ(gic.Set(InterruptField::kControl, 0, 3, 0, 0).error(), Status::kFailedPrecondition);
  // Configuration is not in list registers.
  EXPECT_EQ(gic.Get(InterruptField::kEnabled, 32, 32, 0).value(), 0x100u);
}

TEST_F(VgicVcpus, GIC_046_GIC_065_another_vcpus_private_interrupts) {
  vm.Configure(20, 0x80, 3);
  vm.SetBit(kIspendr, 20, 3);
  EXPECT_EQ(vm.Acknowledge(3), 20u);
  EXPECT_TRUE(vm.Active(20, 3));
  EXPECT_FALSE(vm.Active(20, 2));
  vm.SetBit(kIcactiver, 20, 3);
  EXPECT_FALSE(vm.Active(20, 3));
  vm.Unload(4);
  vm.Configure(20, 0x80, 4);
  vm.SetBit(kIspendr, 20, 4);
  EXPECT_TRUE(vm.Wakes(4));
  vm.Load(4);
  EXPECT_EQ(vm.Acknowledge(4), 20u);
}

TEST_F(VgicVcpus, GIC_090_deactivated_by_another_vcpu_than_acknowledged) {
  for (uint32_t v : {0u, 1u}) {
    vm.OnCpu(v, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
  }
  vm.Configure(kSpi, 0x80, 1);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
  vm.End(kSpi, 1);
  vm.SetLine(kSpi, false);
  vm.Deactivate(kSpi, 0);
  EXPECT_FALSE(vm.Active(kSpi));
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
}

TEST_F(VgicVcpus, GIC_096_a_line_for_a_running_vcpu_asks_for_its_kick) {
  vm.Configure(kSpi, 0x80, 7);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.last_kicks(), uint64_t{1} << 7);
  EXPECT_TRUE(vm.Irq(7));
  vm.SetLine(kSpi, false);
  EXPECT_EQ(vm.last_kicks(), uint64_t{1} << 7);
  EXPECT_FALSE(vm.Irq(7));
}

// ---- routing --------------------------------------------------------------------------------------------------

TEST_F(VgicVcpus, GIC_051_routed_to_nowhere_it_waits) {
  vm.Configure(kSpi, 0x80);
  vm.Route(kSpi, 0x1'0000'0000);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Pending(kSpi));
  EXPECT_FALSE(vm.Irq(0));
  vm.Route(kSpi, 0x101);
  EXPECT_TRUE(vm.Irq(17));
}

TEST_F(VgicVcpus, GIC_052_one_of_n_is_not_there_and_changes_no_route) {
  vm.Configure(kSpi, 0x80, 1);
  vm.Route(kSpi, 0x8000'0001);
  vm.SetLine(kSpi, true);
  uint64_t signalled = 0;
  for (uint32_t v = 0; v < vm.vcpus(); ++v) signalled |= uint64_t{vm.Irq(v)} << v;
  EXPECT_EQ(signalled, 2u);
}

TEST_F(VgicVcpus, GIC_053_route_changed_while_pending) {
  vm.Configure(kSpi, 0x80, 0);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Irq(0));
  vm.Route(kSpi, 1);
  EXPECT_FALSE(vm.Irq(0));
  EXPECT_EQ(vm.Acknowledge(0), kSpurious);
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
}

TEST_F(VgicVcpus, GIC_047_GIC_053_route_changed_while_active) {
  for (const bool edge : {false, true}) {
    vm.Configure(kSpi, 0x80, 0);
    vm.SetEdge(kSpi, edge);
    vm.SetLine(kSpi, true);
    EXPECT_EQ(vm.Acknowledge(0), kSpi);
    vm.Route(kSpi, 1);
    vm.SetLine(kSpi, false);
    vm.SetLine(kSpi, true);
    EXPECT_TRUE(vm.Active(kSpi));
    EXPECT_FALSE(vm.Irq(1));
    vm.End(kSpi, 0);
    EXPECT_FALSE(vm.Irq(0));
    EXPECT_TRUE(vm.Irq(1)) << edge;
    EXPECT_EQ(vm.Acknowledge(1), kSpi);
    vm.SetLine(kSpi, false);
    vm.End(kSpi, 1);
    EXPECT_FALSE(vm.Irq(1));
  }
}

TEST_F(VgicVcpus, GIC_054_routed_to_a_vcpu_that_is_off) {
  vm.Unload(6);
  vm.Configure(kSpi, 0x80, 6);
  vm.SetLine(kSpi, true);
  EXPECT_TRUE(vm.Pending(kSpi));
  for (uint32_t v = 0; v < vm.vcpus(); ++v) {
    EXPECT_EQ(vm.Acknowledge(v), kSpurious);
  }
  vm.Load(6);
  EXPECT_TRUE(vm.Irq(6));
}

// ---- switch, move, reset ------------------------------------------------------------------------------------------

TEST_F(VgicVcpus, GIC_093_cpu_interface_moves_with_its_vcpu) {
  vm.Configure(kSpi, 0x80);
  vm.Configure(41, 0x40);
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) {
    cpu.WritePmr(0xC0);
    cpu.WriteBpr(0, 4);
    cpu.WriteBpr(1, 5);
    cpu.WriteCtlr(true, false);
  });
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(0), kSpi);
  vm.SetLine(41, true);
  const uint64_t vmcr = vm.cpu(0).vmcr();
  const uint32_t active = vm.cpu(0).ReadActivePriority(1);
  vm.Move(0);
  EXPECT_EQ(vm.cpu(0).vmcr(), vmcr);
  EXPECT_EQ(vm.cpu(0).ReadActivePriority(1), active);
  EXPECT_EQ(vm.cpu(0).ReadActivePriority(0), 0u);
  EXPECT_TRUE(vm.Active(kSpi));
  EXPECT_EQ(vm.Acknowledge(0), 41u);
  vm.Move(0);
  vm.SetLine(kSpi, false);
  vm.SetLine(41, false);
  vm.End(41);
  vm.End(kSpi);
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
  vm.Deactivate(kSpi);
  vm.Deactivate(41);
  EXPECT_FALSE(vm.Active(kSpi));
  EXPECT_FALSE(vm.Active(41));
}

TEST_F(VgicVcpus, GIC_047_GIC_093_timer_moves_pending_and_active) {
  vm.Configure(kTimer, 0x80);
  vm.SetTimer(0, true);
  vm.Move(0);
  EXPECT_TRUE(vm.cpu(0).physical_active.contains(kTimer));
  EXPECT_EQ(vm.Acknowledge(0), kTimer);
  vm.Unload(0);
  vm.SetTimer(0, false);
  vm.Load(0);
  EXPECT_TRUE(vm.cpu(0).physical_active.contains(kTimer));
  vm.End(kTimer);
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
  EXPECT_FALSE(vm.Irq(0));
}

TEST_F(VgicVcpus, timer_expires_while_its_vcpu_is_not_loaded) {
  vm.Configure(kTimer, 0x80);
  vm.Unload(0);
  EXPECT_FALSE(vm.Wakes(0));
  vm.SetTimer(0, true);
  EXPECT_TRUE(vm.Wakes(0));
  vm.Load(0);
  EXPECT_EQ(vm.Acknowledge(0), kTimer);
  vm.SetTimer(0, false);
  vm.End(kTimer);
  EXPECT_FALSE(vm.Irq(0));
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
}

TEST_F(VgicVcpus, GIC_097_reset_leaves_high_lines_only) {
  EnableSgi(5);
  vm.Configure(kTimer, 0x80);
  for (uint32_t i = 0; i < 12; ++i) {
    vm.Configure(kSpi + i, 0x08 * i, i % 3);
    vm.SetEdge(kSpi + i, i % 2 == 0);
    vm.SetLine(kSpi + i, true);
  }
  vm.SendSgi(Sgi{.intid = 5, .others = true}.value());
  vm.SetTimer(0, true);
  vm.Acknowledge(0);
  vm.Acknowledge(1);
  vm.SetBit(kIsactiver, 60);
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteBpr(1, 7); });
  vm.ResetAll();

  EXPECT_EQ(vm.Read(0), 0x50u);
  for (uint64_t bank : {0x80u, 0x100u, 0x300u}) {
    for (uint64_t word = 4; word < 16; word += 4) EXPECT_EQ(vm.Read(bank + word), 0u);
    for (uint32_t v = 0; v < vm.vcpus(); ++v) EXPECT_EQ(vm.Read(VirtualMachine::Sgi(v) + bank), 0u);
  }
  EXPECT_EQ(vm.Read(0x204), 0xFFF00u);  // all lines are high, all level-triggered again
  EXPECT_EQ(vm.Read(VirtualMachine::Sgi(0) + 0x200), 0u);
  EXPECT_EQ(vm.Read(0x400 + kSpi + 4), 0u);
  EXPECT_EQ(vm.Read(0x6000 + 8 * kSpi, 8), 0u);
  EXPECT_EQ(vm.Read(0xC00 + 8), 0u);
  for (uint32_t v = 0; v < vm.vcpus(); ++v) {
    EXPECT_EQ(vm.cpu(v).vmcr(), VirtualMachineControl::Reset(5).value);
    EXPECT_EQ(vm.cpu(v).RunningPriority(), 0xffu);
    EXPECT_TRUE(vm.cpu(v).physical_active.empty());
    for (uint32_t i = 0; i < 4; ++i) EXPECT_FALSE(vm.cpu(v).list_register(i).valid());
  }
  vm.TurnOn();
  vm.Configure(kSpi, 0x80, 2);
  EXPECT_TRUE(vm.Irq(2));
}

TEST_F(VgicVcpus, GIC_098_cpu_off_and_on_resets_the_cpu_interface_only) {
  vm.Configure(kSpi, 0x80, 1);
  vm.Configure(41, 0x40, 1);
  EnableSgi(5);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
  vm.SetEdge(41, true);
  vm.SetLine(41, true);
  vm.SendSgi(Sgi{.intid = 5, .targets = 2}.value());
  vm.ResetVcpu(1);
  EXPECT_EQ(vm.cpu(1).vmcr(), VirtualMachineControl::Reset(5).value);
  EXPECT_EQ(vm.cpu(1).RunningPriority(), 0xffu);
  EXPECT_TRUE(vm.Active(kSpi));
  EXPECT_TRUE(vm.Pending(41));
  EXPECT_TRUE(vm.Pending(5, 1));
  EXPECT_EQ(vm.Read(VirtualMachine::Sgi(1) + kIsenabler), 0x20u);
  vm.TurnOn();
  EXPECT_EQ(vm.Acknowledge(1), 41u);
  vm.End(41, 1);
  EXPECT_EQ(vm.Acknowledge(1), 5u);
  vm.End(5, 1);
  EXPECT_EQ(vm.Acknowledge(1), kSpurious);
  vm.SetBit(kIcactiver, kSpi);
  EXPECT_EQ(vm.Acknowledge(1), kSpi);
}

TEST_F(VgicVcpus, GIC_099_a_line_keeps_its_level_until_it_is_set_again) {
  vm.Configure(kSpi, 0x80);
  vm.SetLine(kSpi, true);
  EXPECT_EQ(vm.Acknowledge(0), kSpi);
  vm.SetLine(kSpi, true);  // a new instance says what is so already
  EXPECT_EQ(vm.last_kicks(), 0u);
  vm.End(kSpi);
  EXPECT_TRUE(vm.Irq(0));
  vm.SetLine(kSpi, false);
  EXPECT_FALSE(vm.Irq(0));
}

TEST_F(VgicVcpus, GIC_100_lines_reach_shared_interrupts_of_the_vm_only) {
  EnableSgi(5);
  vm.Configure(kTimer, 0x80);
  for (uint32_t intid : {0u, 5u, 27u, 31u, 128u, 1019u, 1020u, 1023u, 1u << 31, ~0u}) {
    vm.SetLine(intid, true);
    EXPECT_EQ(vm.last_kicks(), 0u) << intid;
  }
  EXPECT_EQ(Seen(5), 0u);
  EXPECT_FALSE(vm.Pending(kTimer));
  for (uint64_t word = 4; word < 16; word += 4) EXPECT_EQ(vm.Read(kIspendr + word), 0u);
  vm.Configure(50, 0x80);
  vm.SetBit(kIspendr, 50);
  EXPECT_EQ(vm.Acknowledge(0), 50u);
}

}  // namespace
}  // namespace atoll
