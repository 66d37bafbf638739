// More interrupts than list registers.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

constexpr uint64_t kIcactiver = 0x380;
constexpr uint32_t kSpurious = VirtualMachine::kSpurious;

// With every number of list registers that the architecture knows the ends of, and QEMU's.
class VgicListRegisters : public testing::TestWithParam<uint32_t> {
 protected:
  VgicListRegisters() { vm.TurnOn(); }
  ~VgicListRegisters() override { EXPECT_EQ(vm.Violation(), ""); }

  // Raises edge-triggered SPI `intid`.
  void Raise(uint32_t intid, uint32_t priority) {
    vm.Configure(intid, priority);
    vm.SetEdge(intid, true);
    vm.SetLine(intid, true);
    vm.SetLine(intid, false);
  }

  VirtualMachine vm{{.intids = 1024, .list_registers = GetParam()}};
};

INSTANTIATE_TEST_SUITE_P(Count, VgicListRegisters, testing::Values(1, 2, 4, 16));

TEST_P(VgicListRegisters, GIC_083_GIC_084_all_come_in_priority_order) {
  // 25 interrupts, raised in an order that is none.
  for (uint32_t i = 0; i < 25; ++i) Raise(32 + i, (i * 7 % 25) * 8);
  std::vector<uint32_t> priorities;
  for (uint32_t intid = vm.Acknowledge(); intid != kSpurious; intid = vm.Acknowledge()) {
    priorities.push_back(vm.cpu(0).RunningPriority());
    vm.End(intid);
  }
  EXPECT_EQ(priorities.size(), 25u);
  EXPECT_TRUE(std::ranges::is_sorted(priorities));
}

TEST_P(VgicListRegisters, GIC_083_equal_priorities_each_come_once) {
  for (uint32_t i = 0; i < 40; ++i) Raise(32 + i, 0x80);
  std::vector<uint32_t> taken = vm.Drain();
  std::ranges::sort(taken);
  ASSERT_EQ(taken.size(), 40u);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(taken[i], 32 + i);
}

TEST_P(VgicListRegisters,
       GIC_083_what_waits_comes_although_another_of_its_priority_pends_for_ever) {
  const uint32_t lines = GetParam() + 5;
  for (uint32_t i = 0; i < lines; ++i) {
    vm.Configure(32 + i, 0x80);
    vm.SetLine(32 + i, true);
  }
  // No line is ever lowered. Which list register the hardware prefers is its choice; the queue has to move on.
  std::vector<uint32_t> count(lines);
  for (uint32_t i = 0; i < 10 * lines; ++i) {
    const uint32_t intid = vm.Acknowledge();
    ASSERT_LT(intid - 32, lines);
    ++count[intid - 32];
    vm.End(intid);
  }
  for (uint32_t i = GetParam(); i < lines; ++i) EXPECT_GE(count[i], 1u) << i;
}

TEST_P(VgicListRegisters, GIC_048_an_end_that_another_exit_overtakes_is_not_forgotten) {
  for (uint32_t level = 18; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  for (uint32_t level = 1; level <= 17; ++level) vm.End(32 + level);
  EXPECT_TRUE(vm.Active(50));
  const uint32_t lines = GetParam() + 3;
  for (uint32_t i = 0; i < lines; ++i) {
    vm.Configure(100 + i, 0x80);
    vm.SetEdge(100 + i, true);
  }
  vm.cpu(0).WriteEoir(1, 50);  // ended, but before its maintenance interrupt is taken ...
  for (uint32_t i = 0; i < lines; ++i) vm.gic().SetLine(100 + i, true);
  vm.Exit(0);  // ... the vCPU leaves and enters for another reason, which changes ICH_HCR_EL2
  EXPECT_FALSE(vm.Active(50));
  EXPECT_EQ(vm.Drain().size(), lines);
}

TEST_P(VgicListRegisters, GIC_043_GIC_048_an_end_not_yet_reported_is_read) {
  Raise(70, 0xA0);  // in another register than those that push it out
  ASSERT_EQ(vm.Acknowledge(), 70u);
  for (uint32_t level = 17; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  for (uint32_t level = 1; level <= 17; ++level) vm.End(32 + level);
  EXPECT_TRUE(vm.Active(70));
  vm.cpu(0).WriteEoir(1, 70);
  EXPECT_FALSE(vm.Active(70));
}

TEST_P(VgicListRegisters, GIC_085_a_higher_priority_preempts_full_list_registers) {
  for (uint32_t i = 0; i < 20; ++i) Raise(32 + i, 0x80);
  Raise(100, 0x10);
  EXPECT_EQ(vm.Acknowledge(), 100u);
  Raise(101, 0x08);
  EXPECT_EQ(vm.Acknowledge(), 101u);
  vm.End(101);
  vm.End(100);
  EXPECT_EQ(vm.Drain().size(), 20u);
}

TEST_P(VgicListRegisters, GIC_086_nesting_deeper_than_list_registers) {
  // 20 levels, each preempting the one before; each list register is needed anew.
  for (uint32_t level = 20; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  for (uint32_t level = 1; level <= 20; ++level) EXPECT_TRUE(vm.Active(32 + level));
  for (uint32_t level = 1; level <= 20; ++level) {
    EXPECT_EQ(vm.cpu(0).RunningPriority(), level * 8);
    vm.End(32 + level);
    EXPECT_FALSE(vm.Active(32 + level)) << level;
    for (uint32_t outer = level + 1; outer <= 20; ++outer) EXPECT_TRUE(vm.Active(32 + outer));
  }
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0xffu);
  EXPECT_EQ(vm.cpu(0).ReadControl(), ich_hcr::kEn | (vm.cpu(0).ReadControl() & ich_hcr::kTrapDir));
}

TEST_P(VgicListRegisters, GIC_048_GIC_086_an_evicted_interrupt_that_pends_again_comes_again) {
  for (uint32_t level = 18; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  vm.SetLine(50, true);  // the outermost again, an edge while active
  vm.SetLine(50, false);
  EXPECT_TRUE(vm.Pending(50));
  for (uint32_t level = 1; level <= 18; ++level) vm.End(32 + level);
  EXPECT_EQ(vm.Drain(), std::vector<uint32_t>{50});
}

TEST_P(VgicListRegisters, GIC_048_evicted_and_deactivated_by_register) {
  for (uint32_t level = 18; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  vm.SetBit(kIcactiver, 50);
  EXPECT_FALSE(vm.Active(50));
  vm.SetLine(50, true);
  EXPECT_TRUE(vm.Pending(50));
  for (uint32_t level = 1; level <= 17; ++level) {
    vm.End(32 + level);
    EXPECT_FALSE(vm.Active(32 + level));
  }
}

TEST_P(VgicListRegisters, GIC_048_GIC_086_late_deactivation_in_any_order) {
  for (const bool quirk : {false, true}) {
    vm.cpu(0).counts_eoi_in_mode_1 = quirk;
    vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(true, false); });
    for (uint32_t i = 0; i < 20; ++i) {
      Raise(32 + i, 0x80);
      ASSERT_EQ(vm.Acknowledge(), 32 + i);
      vm.End(32 + i);
    }
    for (uint32_t i = 0; i < 20; ++i) EXPECT_TRUE(vm.Active(32 + i)) << i;
    for (uint32_t i = 0; i < 20; ++i) {
      const uint32_t intid = 32 + i * 7 % 20;
      vm.Deactivate(intid);
      EXPECT_FALSE(vm.Active(intid));
    }
    EXPECT_TRUE(vm.Drain().empty());
  }
}

TEST_P(VgicListRegisters, GIC_037_GIC_084_a_queued_line_that_falls_does_not_come) {
  for (uint32_t i = 0; i < 20; ++i) {
    vm.Configure(32 + i, 0x80);
    vm.SetLine(32 + i, true);
  }
  for (uint32_t i = 0; i < 20; i += 2) vm.SetLine(32 + i, false);
  std::vector<uint32_t> taken = vm.Drain(0, true);
  std::ranges::sort(taken);
  ASSERT_EQ(taken.size(), 10u);
  for (uint32_t i = 0; i < 10; ++i) EXPECT_EQ(taken[i], 33 + 2 * i);
}

TEST_P(VgicListRegisters, GIC_084_GIC_091_a_masked_group_does_not_block_the_other) {
  // Group 1 is off in the CPU interface and fills the list registers; Group 0, of lower priority, is on.
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(1, false); });
  for (uint32_t i = 0; i < 20; ++i) Raise(32 + i, 0x10);
  for (uint32_t i = 0; i < 20; ++i) {
    vm.SetGroup(60 + i, 0);
    vm.SetPriority(60 + i, 0x80);
    vm.SetEdge(60 + i, true);
    vm.SetBit(0x100, 60 + i);
    vm.SetLine(60 + i, true);
  }
  for (uint32_t i = 0; i < 10; ++i) {
    const uint32_t intid = vm.Acknowledge(0, 0);
    ASSERT_GE(intid, 60u);
    ASSERT_LT(intid, 80u);
    vm.End(intid, 0, 0);
  }
  // On again: the higher priority comes first, all of it.
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(1, true); });
  for (uint32_t i = 0; i < 20; ++i) {
    const uint32_t intid = vm.Acknowledge(0, 1);
    ASSERT_LT(intid, 52u);
    vm.End(intid);
  }
  // And off while Group 0 is queued.
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(0, false); });
  EXPECT_EQ(vm.Acknowledge(0, 0), kSpurious);
  Raise(40, 0x80);
  EXPECT_EQ(vm.Drain(), std::vector<uint32_t>{40});
  vm.OnCpu(0, [](FakeVirtualInterface& cpu) { cpu.WriteGroupEnable(0, true); });
  EXPECT_EQ(vm.Drain().size(), 10u);
}

TEST_P(VgicListRegisters,
       GIC_005_GIC_084_a_group_that_is_off_in_the_distributor_takes_no_list_register) {
  vm.Write(0, 1);
  for (uint32_t i = 0; i < 20; ++i) Raise(32 + i, 0x10);
  for (uint32_t i = 0; i < GetParam(); ++i) EXPECT_FALSE(vm.cpu(0).list_register(i).valid());
  vm.Write(0, 3);
  EXPECT_EQ(vm.Drain().size(), 20u);
}

TEST_P(VgicListRegisters, GIC_086_evicted_timer_is_deactivated_in_hardware) {
  vm.Configure(VirtualMachine::kTimer, 0xA0);
  vm.SetTimer(0, true);
  EXPECT_EQ(vm.Acknowledge(), VirtualMachine::kTimer);
  for (uint32_t level = 17; level > 0; --level) {
    Raise(32 + level, level * 8);
    ASSERT_EQ(vm.Acknowledge(), 32 + level);
  }
  for (uint32_t level = 1; level <= 17; ++level) vm.End(32 + level);
  vm.SetTimer(0, false);
  vm.End(VirtualMachine::kTimer);
  EXPECT_TRUE(vm.cpu(0).physical_active.empty());
  EXPECT_FALSE(vm.Active(VirtualMachine::kTimer));
  vm.SetTimer(0, true);
  EXPECT_EQ(vm.Acknowledge(), VirtualMachine::kTimer);
}

TEST_P(VgicListRegisters, GIC_101_work_for_each_interrupt_of_a_storm_is_bounded) {
  for (uint32_t i = 32; i < 1020; ++i) Raise(i, i % 31 * 8);
  const uint32_t accesses = vm.cpu(0).list_register_reads + vm.cpu(0).list_register_writes;
  const uint64_t maintenance = vm.maintenance_interrupts();
  EXPECT_EQ(vm.Drain().size(), 988u);
  const uint32_t spent = vm.cpu(0).list_register_reads + vm.cpu(0).list_register_writes - accesses;
  EXPECT_LE(spent, 988 * 8u + 64);
  // Each refill finds the list register of the interrupt just acknowledged occupied. With one register in all,
  // that interrupt is evicted, and its end is a second exit.
  const uint64_t exits = GetParam() == 1 ? 2 * 988 : 988 / (GetParam() - 1) + 2;
  EXPECT_LE(vm.maintenance_interrupts() - maintenance, exits);
}

}  // namespace
}  // namespace atoll
