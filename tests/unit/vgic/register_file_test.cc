// GICD and GICR as the guest addresses them: the vgic service over the kernel's interrupt state.
#include "services/vgic/register_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

constexpr uint64_t kCtlr = 0x0, kTyper = 0x4, kIidr = 0x8, kTyper2 = 0xC, kStatusr = 0x10;
constexpr uint64_t kIgroupr = 0x80, kIsenabler = 0x100, kIcenabler = 0x180, kIspendr = 0x200,
                   kIcpendr = 0x280, kIsactiver = 0x300, kIcactiver = 0x380, kIpriorityr = 0x400,
                   kItargetsr = 0x800, kIcfgr = 0xC00, kIgrpmodr = 0xD00, kNsacr = 0xE00,
                   kIrouter = 0x6000, kPidr2 = 0xFFE8;
constexpr uint64_t kFields[] = {kIgroupr, kIsenabler, kIcenabler, kIspendr,
                                kIcpendr, kIsactiver, kIcactiver};

using Machine = VirtualMachine;

// Stores all ones and expects zero back.
void ExpectNothing(Machine& vm, uint64_t offset, uint32_t size = 4) {
  vm.Write(offset, ~uint64_t{0}, size);
  EXPECT_EQ(vm.Read(offset, size), 0u) << std::hex << offset << " size " << size;
}

TEST(VgicRegisters, GIC_001_ctlr_shows_one_state_and_affinity_routing) {
  Machine vm;
  EXPECT_EQ(vm.Read(kCtlr), 0x50u);
  vm.Write(kCtlr, 0);
  EXPECT_EQ(vm.Read(kCtlr), 0x50u);
}

TEST(VgicRegisters, GIC_002_ctlr_groups_are_independent_and_nothing_else_is_writable) {
  Machine vm;
  vm.Write(kCtlr, 1);
  EXPECT_EQ(vm.Read(kCtlr), 0x51u);
  vm.Write(kCtlr, 2);
  EXPECT_EQ(vm.Read(kCtlr), 0x52u);
  vm.Write(kCtlr, 0xffff'ffff);
  EXPECT_EQ(vm.Read(kCtlr), 0x53u);
}

TEST(VgicRegisters, GIC_003_rwp_is_never_stuck) {
  Machine vm;
  vm.TurnOn();
  vm.Configure(40, 0x80);
  vm.SetLine(40, true);
  vm.Write(kCtlr, 0);
  EXPECT_EQ(vm.Read(kCtlr) >> 31, 0u);
  EXPECT_FALSE(vm.Irq());
}

TEST(VgicRegisters, GIC_006_typer_counts_interrupts_and_all_of_them_work) {
  for (uint32_t intids : {64u, 96u, 128u, 1024u}) {
    Machine vm({.intids = intids});
    const uint64_t typer = vm.Read(kTyper);
    EXPECT_EQ(typer & 0x1f, intids / 32 - 1);
    EXPECT_EQ((typer >> 5) & 7, 0u);
    EXPECT_EQ((typer >> 10) & 1, 0u);
    vm.TurnOn();
    const uint32_t end = intids < 1020 ? intids : 1020;
    for (uint32_t intid = 32; intid < end; ++intid) {
      vm.Configure(intid, 0x80);
      vm.SetLine(intid, true);
      ASSERT_EQ(vm.Acknowledge(), intid);
      vm.SetLine(intid, false);
      vm.End(intid);
    }
    EXPECT_EQ(vm.Violation(), "");
  }
}

TEST(VgicRegisters, GIC_007_GIC_104_typer_shows_no_lpis_messages_or_extended_spis) {
  Machine vm;
  const uint64_t typer = vm.Read(kTyper);
  EXPECT_GE((typer >> 19) & 0x1f, 9u);
  EXPECT_LE((typer >> 19) & 0x1f, 15u);  // ICC_CTLR_EL1.IDbits: 16 bits at least
  for (uint32_t bit : {17u, 16u, 8u, 9u, 18u}) EXPECT_EQ((typer >> bit) & 1, 0u) << bit;
  EXPECT_EQ(vm.Read(Machine::Rd(0) + 0x8) & 0xf, 0u);  // PLPIS and its like
}

TEST(VgicRegisters, GIC_008_typer_agrees_with_the_cpu_interface) {
  Machine vm;
  const uint64_t typer = vm.Read(kTyper);
  const uint32_t ctlr = vm.cpu(0).ReadCtlr();
  EXPECT_EQ((typer >> 24) & 1, (ctlr >> 15) & 1);  // A3V
  EXPECT_EQ((typer >> 26) & 1, (ctlr >> 18) & 1);  // RSS
  EXPECT_EQ((typer >> 25) & 1, 1u);                // No1N
}

TEST(VgicRegisters, GIC_009_GIC_062_identification_is_constant) {
  Machine vm;
  const uint64_t iidr = vm.Read(kIidr);
  EXPECT_NE(iidr & 0xfff, 0u);
  vm.Write(kIidr, 0);
  EXPECT_EQ(vm.Read(kIidr), iidr);
  EXPECT_EQ(vm.Read(Machine::Rd(0) + 0x4), iidr);
  ExpectNothing(vm, kTyper2);
  ExpectNothing(vm, kStatusr);
  ExpectNothing(vm, Machine::Rd(0) + 0x10);
}

TEST(VgicRegisters, GIC_010_GIC_058_architecture_revision_is_3_in_every_frame) {
  Machine vm({.vcpus = 3});
  EXPECT_EQ((vm.Read(kPidr2) >> 4) & 0xf, 3u);
  for (uint32_t v = 0; v < 3; ++v) EXPECT_EQ((vm.Read(Machine::Rd(v) + kPidr2) >> 4) & 0xf, 3u);
  for (uint64_t offset = 0xFFD0; offset < 0x10000; offset += 4) {
    const uint64_t value = vm.Read(offset);
    vm.Write(offset, ~value);
    EXPECT_EQ(vm.Read(offset), value);
  }
  EXPECT_EQ(vm.Read(0xFFF0), 0x0Du);
  EXPECT_EQ(vm.Read(0xFFFC), 0xB1u);
}

TEST(VgicRegisters, GIC_011_reserved_places_read_zero_and_ignore_stores) {
  Machine vm({.vcpus = 2});
  for (uint64_t offset : {0x14u, 0x20u, 0x3Cu, 0x50u, 0x7Cu, 0xD80u, 0xF30u, 0x1000u, 0x5FFCu,
                          0x8000u, 0xBFFCu, 0xFFCCu, 0x10000u, 0x9FFFCu}) {
    ExpectNothing(vm, offset);
  }
  const uint64_t typer = vm.Read(kTyper);
  vm.Write(kTyper, 0);
  EXPECT_EQ(vm.Read(kTyper), typer);
  for (uint64_t frame : {Machine::Rd(1), Machine::Sgi(1)}) {
    for (uint64_t offset : {0x18u, 0x60u, 0x90u + 0x3000u, 0xFFCCu})
      ExpectNothing(vm, frame + offset);
  }
}

TEST(VgicRegisters, GIC_012_GIC_050_interrupts_beyond_the_last_are_not_there) {
  Machine vm({.intids = 96});
  for (uint64_t bank : kFields) ExpectNothing(vm, bank + 96 / 8);
  ExpectNothing(vm, kIpriorityr + 96);
  ExpectNothing(vm, kIcfgr + 96 / 4);
  ExpectNothing(vm, kIrouter + 96 * 8, 8);
  Machine full({.intids = 1024});
  for (uint64_t bank : kFields) {
    full.Write(bank + 124, 0xffff'ffff);
    EXPECT_EQ(full.Read(bank + 124) >> 28, 0u) << std::hex << bank;
  }
  ExpectNothing(full, kIpriorityr + 1020);
  ExpectNothing(full, kIrouter + 1020 * 8, 8);
  EXPECT_EQ(full.Read(kIcfgr + 0xFC) >> 24, 0u);
}

TEST(VgicRegisters, GIC_013_private_interrupts_are_not_in_the_distributor) {
  Machine vm;
  for (uint64_t bank : kFields) ExpectNothing(vm, bank);
  for (uint64_t offset = 0; offset < 32; offset += 4) ExpectNothing(vm, kIpriorityr + offset);
  ExpectNothing(vm, kIcfgr);
  ExpectNothing(vm, kIcfgr + 4);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIsenabler), 0u);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIgroupr), 0u);
}

TEST(VgicRegisters, GIC_014_GIC_015_GIC_016_registers_of_other_configurations_are_not_there) {
  Machine vm;
  for (uint64_t offset :
       {kItargetsr, kItargetsr + 32, kItargetsr + 0x3FC, uint64_t{0xF00}, uint64_t{0xF10},
        uint64_t{0xF20}, kIgrpmodr, kIgrpmodr + 4, kNsacr, kNsacr + 8, uint64_t{0x40},
        uint64_t{0x48}, uint64_t{0x54}, uint64_t{0x58}}) {
    ExpectNothing(vm, offset);
  }
  vm.TurnOn();
  vm.Configure(40, 0x80);
  vm.Write(0x40, 40);            // SETSPI_NSR
  vm.Write(0xF00, 0x0200'0001);  // SGIR
  EXPECT_FALSE(vm.Pending(40));
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIspendr), 0u);
}

TEST(VgicRegisters, GIC_017_words_work_on_every_register) {
  Machine vm;
  vm.Write(kIgroupr + 4, 0x8000'0001);
  EXPECT_EQ(vm.Read(kIgroupr + 4), 0x8000'0001u);
  vm.Write(kIsenabler + 8, 0x0F0F'0F0F);
  EXPECT_EQ(vm.Read(kIsenabler + 8), 0x0F0F'0F0Fu);
  vm.Write(kIpriorityr + 40, 0x1020'3048);
  EXPECT_EQ(vm.Read(kIpriorityr + 40), 0x1020'3048u);
  vm.Write(kIcfgr + 8, 0x8000'0002);
  EXPECT_EQ(vm.Read(kIcfgr + 8), 0x8000'0002u);
}

TEST(VgicRegisters, GIC_018_bytes_of_priorities_leave_their_neighbours_alone) {
  Machine vm;
  for (uint64_t base : {kIpriorityr + 40, Machine::Sgi(0) + kIpriorityr + 4}) {
    vm.Write(base, 0x5050'5050);
    vm.Write(base + 2, 0xA0, 1);
    EXPECT_EQ(vm.Read(base), 0x50A0'5050u);
    EXPECT_EQ(vm.Read(base + 2, 1), 0xA0u);
    EXPECT_EQ(vm.Read(base + 3, 1), 0x50u);
  }
}

TEST(VgicRegisters, GIC_019_doublewords_and_both_halves) {
  Machine vm({.vcpus = 2});
  const uint64_t router = kIrouter + 40 * 8;
  vm.Write(router, 0x12'0034'5678, 8);
  EXPECT_EQ(vm.Read(router, 8), 0x12'0034'5678u);
  EXPECT_EQ(vm.Read(router), 0x0034'5678u);
  EXPECT_EQ(vm.Read(router + 4), 0x12u);
  vm.Write(router + 4, 0x77);
  vm.Write(router, 0x0001'0203);
  EXPECT_EQ(vm.Read(router, 8), 0x77'0001'0203u);
  const uint64_t typer = vm.Read(Machine::Rd(1) + 8, 8);
  EXPECT_EQ(vm.Read(Machine::Rd(1) + 8), typer & 0xffff'ffff);
  EXPECT_EQ(vm.Read(Machine::Rd(1) + 0xC), typer >> 32);
  for (uint64_t offset : {0x70u, 0x78u}) {
    ExpectNothing(vm, Machine::Rd(0) + offset, 8);
    ExpectNothing(vm, Machine::Rd(0) + offset, 4);
    ExpectNothing(vm, Machine::Rd(0) + offset + 4, 4);
  }
}

TEST(VgicRegisters, GIC_020_other_sizes_and_unaligned_accesses_change_nothing) {
  Machine vm;
  vm.Write(kIpriorityr + 40, 0x5050'5050);
  vm.Write(kIsenabler + 4, 0xffff'0000);
  struct Odd {
    uint64_t offset;
    uint32_t size;
  };
  const uint64_t before = vm.kernel_calls();
  for (const Odd odd : {Odd{kCtlr, 1},
                        {kCtlr, 2},
                        {kCtlr, 8},
                        {kTyper, 1},
                        {kTyper, 2},
                        {kTyper, 8},
                        {kIsenabler + 4, 1},
                        {kIsenabler + 4, 2},
                        {kIsenabler, 8},
                        {kIpriorityr + 40, 2},
                        {kIpriorityr + 40, 8},
                        {kIsenabler + 6, 4},
                        {kIsenabler + 1, 4},
                        {kIrouter + 320, 1},
                        {kIrouter + 320, 2},
                        {kIrouter + 324, 8},
                        {kIrouter + 322, 4},
                        {kIcfgr + 8, 2},
                        {kPidr2, 1},
                        {kIsenabler + 4, 0},
                        {kIsenabler + 4, 3},
                        {kIpriorityr + 41, 4}}) {
    vm.Write(odd.offset, 0, odd.size);
    vm.Write(odd.offset, ~uint64_t{0}, odd.size);
    EXPECT_EQ(vm.Read(odd.offset, odd.size), 0u) << std::hex << odd.offset << " size " << odd.size;
  }
  EXPECT_EQ(vm.kernel_calls(), before);
  EXPECT_EQ(vm.Read(kIpriorityr + 40), 0x5050'5050u);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0xffff'0000u);
  EXPECT_EQ(vm.Read(kCtlr), 0x50u);
}

TEST(VgicRegisters, GIC_021_zeros_do_nothing_in_set_and_clear_registers) {
  Machine vm;
  vm.Write(kIsenabler + 4, 0x0000'00F0);
  vm.Write(kIsenabler + 4, 0x0000'0001);
  vm.Write(kIsenabler + 4, 0);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0xF1u);
  vm.Write(kIcenabler + 4, 0x10);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0xE1u);
  vm.Write(kIcenabler + 4, 0);
  EXPECT_EQ(vm.Read(kIcenabler + 4), 0xE1u);
  vm.Write(kIspendr + 4, 0x3);
  vm.Write(kIcpendr + 4, 0x1);
  EXPECT_EQ(vm.Read(kIspendr + 4), 0x2u);
  vm.Write(kIsactiver + 4, 0x3);
  vm.Write(kIcactiver + 4, 0x2);
  EXPECT_EQ(vm.Read(kIsactiver + 4), 0x1u);
}

TEST(VgicRegisters, GIC_021_one_store_is_one_kernel_call) {
  // The kernel's lock then orders stores of several vCPUs: no bit is read, changed and written back.
  Machine vm({.vcpus = 2});
  for (uint64_t offset :
       {kIsenabler + 4, kIcenabler + 4, kIspendr + 4, kIcpendr + 4, kIsactiver + 4, kIcactiver + 4,
        kIgroupr + 4, kIpriorityr + 40, kIcfgr + 8, kIrouter + 320, kCtlr}) {
    const uint64_t before = vm.kernel_calls();
    vm.Write(offset, 0x11);
    EXPECT_EQ(vm.kernel_calls(), before + 1) << std::hex << offset;
  }
}

TEST(VgicRegisters, GIC_023_groups_reset_to_0_and_are_writable) {
  Machine vm;
  for (uint64_t offset : {kIgroupr + 4, kIgroupr + 12, Machine::Sgi(0) + kIgroupr}) {
    EXPECT_EQ(vm.Read(offset), 0u);
    vm.Write(offset, 0xffff'ffff);
    EXPECT_EQ(vm.Read(offset), 0xffff'ffffu);
    vm.Write(offset, 0x5a5a'5a5a);
    EXPECT_EQ(vm.Read(offset), 0x5a5a'5a5au);
  }
}

TEST(VgicRegisters, GIC_025_enable_registers_read_one_state) {
  Machine vm;
  vm.Write(kIsenabler + 4, 0x1234'5678);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0x1234'5678u);
  EXPECT_EQ(vm.Read(kIcenabler + 4), 0x1234'5678u);
  vm.Write(kIcenabler + 4, 0x0034'0000);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0x1200'5678u);
  EXPECT_EQ(vm.Read(kIcenabler + 4), 0x1200'5678u);
}

TEST(VgicRegisters, GIC_025_disabling_keeps_pending_and_active) {
  Machine vm;
  vm.TurnOn();
  vm.Configure(40, 0x80);
  vm.Configure(41, 0x90);
  vm.SetLine(40, true);
  ASSERT_EQ(vm.Acknowledge(), 40u);
  vm.SetLine(41, true);
  vm.Write(kIcenabler + 4, 0x300);
  EXPECT_TRUE(vm.Active(40));
  EXPECT_TRUE(vm.Pending(41));
}

TEST(VgicRegisters, GIC_027_priorities_have_five_bits_as_the_cpu_interface_says) {
  Machine vm;
  vm.Write(kIpriorityr + 40, 0xff, 1);
  EXPECT_EQ(vm.Read(kIpriorityr + 40, 1), 0xF8u);
  vm.Write(Machine::Sgi(0) + kIpriorityr, 0xffff'ffff);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIpriorityr), 0xF8F8'F8F8u);
  EXPECT_EQ((vm.cpu(0).ReadCtlr() >> 8) & 7, 4u);  // PRIbits: 5 bits
}

TEST(VgicRegisters, GIC_028_a_priority_is_used_as_written) {
  Machine vm;
  vm.TurnOn();
  vm.Configure(40, 0x48);
  vm.SetLine(40, true);
  EXPECT_EQ(vm.Read(kIpriorityr + 40, 1), 0x48u);
  vm.Acknowledge();
  EXPECT_EQ(vm.cpu(0).RunningPriority(), 0x48u);
}

TEST(VgicRegisters, GIC_030_GIC_031_private_triggers_are_fixed) {
  Machine vm;
  for (uint64_t written : {0u, 0xffff'ffffu}) {
    vm.Write(Machine::Sgi(0) + kIcfgr, written);
    EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIcfgr), 0xAAAA'AAAAu);
    vm.Write(Machine::Sgi(0) + kIcfgr + 4, written);
    EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIcfgr + 4), 0u);
  }
}

TEST(VgicRegisters, GIC_032_only_the_upper_bit_of_a_trigger_is_writable) {
  Machine vm;
  EXPECT_EQ(vm.Read(kIcfgr + 8), 0u);
  vm.Write(kIcfgr + 8, 0xffff'ffff);
  EXPECT_EQ(vm.Read(kIcfgr + 8), 0xAAAA'AAAAu);
  vm.Write(kIcfgr + 8, 0x5555'5557);
  EXPECT_EQ(vm.Read(kIcfgr + 8), 0x0000'0002u);
}

TEST(VgicRegisters, GIC_049_GIC_052_irouter_has_affinity_and_no_one_of_n) {
  Machine vm;
  const uint64_t router = kIrouter + 40 * 8;
  vm.Write(router, ~uint64_t{0}, 8);
  EXPECT_EQ(vm.Read(router, 8), 0xff'00ff'ffffu);  // IRM reads 0 as GICD_TYPER.No1N is 1
}

TEST(VgicRegisters, GIC_050_private_interrupts_have_no_route) {
  Machine vm;
  for (uint64_t intid : {0u, 31u}) {
    ExpectNothing(vm, kIrouter + intid * 8, 8);
    ExpectNothing(vm, kIrouter + intid * 8, 4);
  }
}

TEST(VgicRegisters, GIC_055_GIC_056_redistributors_lie_side_by_side_and_the_last_says_so) {
  Machine vm({.vcpus = 18});
  for (uint32_t v = 0; v < 18; ++v) {
    const uint64_t typer = vm.Read(Machine::Rd(v) + 8, 8);
    EXPECT_EQ(typer >> 32, v % 16 | (v / 16) << 8);
    EXPECT_EQ((typer >> 8) & 0xffff, v);
    EXPECT_EQ((typer >> 4) & 1, v == 17 ? 1u : 0u);
  }
}

TEST(VgicRegisters, GIC_057_GIC_063_redistributors_have_no_lpis) {
  Machine vm;
  EXPECT_EQ(vm.Read(Machine::Rd(0) + 8) & 0x2f, 0u);  // PLPIS, VLPIS, Dirty, DirectLPI, DPGS
  for (uint64_t offset : {0x40u, 0x48u, 0x70u, 0x74u, 0x78u, 0x7Cu, 0xA0u, 0xB0u, 0xC0u}) {
    ExpectNothing(vm, Machine::Rd(0) + offset);
    ExpectNothing(vm, Machine::Rd(0) + (offset & ~7u), 8);
  }
}

TEST(VgicRegisters, GIC_059_GIC_060_waker_reads_awake) {
  Machine vm;
  const uint64_t waker = Machine::Rd(0) + 0x14;
  for (uint64_t value : {uint64_t{0}, uint64_t{2}, ~uint64_t{0}}) {
    vm.Write(waker, value);
    EXPECT_EQ(vm.Read(waker), 0u);
  }
}

TEST(VgicRegisters, GIC_061_redistributor_control_is_settled) {
  Machine vm;
  ExpectNothing(vm, Machine::Rd(0));
}

TEST(VgicRegisters, GIC_064_each_frame_is_its_own_vcpus) {
  Machine vm({.vcpus = 3});
  for (uint64_t bank : {kIgroupr, kIsenabler, kIspendr, kIsactiver}) {
    vm.Write(Machine::Sgi(1) + bank, 0x8000'0100);
    EXPECT_EQ(vm.Read(Machine::Sgi(1) + bank), 0x8000'0100u);
    EXPECT_EQ(vm.Read(Machine::Sgi(0) + bank), 0u);
    EXPECT_EQ(vm.Read(Machine::Sgi(2) + bank), 0u);
  }
  vm.Write(Machine::Sgi(2) + kIpriorityr + 28, 0x0810'1820);
  EXPECT_EQ(vm.Read(Machine::Sgi(2) + kIpriorityr + 28), 0x0810'1820u);
  EXPECT_EQ(vm.Read(Machine::Sgi(1) + kIpriorityr + 28), 0u);
  // Nothing of SPIs is there.
  for (uint64_t bank : kFields) ExpectNothing(vm, Machine::Sgi(1) + bank + 4);
  ExpectNothing(vm, Machine::Sgi(1) + kIpriorityr + 32);
  ExpectNothing(vm, Machine::Sgi(1) + kIcfgr + 8);
  EXPECT_EQ(vm.Read(kIsenabler + 4), 0u);
}

TEST(VgicRegisters, GIC_067_software_interrupts_can_be_set_pending_and_cleared) {
  Machine vm;
  vm.Write(Machine::Sgi(0) + kIspendr, 0x8001);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIspendr), 0x8001u);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIcpendr), 0x8001u);
  vm.Write(Machine::Sgi(0) + kIcpendr, 0x1);
  EXPECT_EQ(vm.Read(Machine::Sgi(0) + kIspendr), 0x8000u);
}

TEST(VgicRegisters, GIC_068_beyond_the_last_frame_is_nothing) {
  Machine vm({.vcpus = 2});
  for (uint64_t offset : {0xD00u, 0xE00u}) ExpectNothing(vm, Machine::Sgi(0) + offset);
  for (uint64_t offset :
       {Machine::Rd(2), Machine::Rd(2) + 8, Machine::Rd(2) + kPidr2, Machine::Sgi(2) + kIsenabler,
        Machine::Rd(64), uint64_t{1} << 40, ~uint64_t{3}}) {
    ExpectNothing(vm, offset);
  }
}

TEST(VgicRegisters, reads_of_typer_need_no_kernel_call) {
  Machine vm;
  const uint64_t before = vm.kernel_calls();
  vm.Read(kTyper);
  EXPECT_EQ(vm.kernel_calls(), before);
}

// The kernel refuses everything: the guest reads zero and goes on.
class RefusingState final : public InterruptState {
 public:
  Result<uint64_t> Get(InterruptField, uint32_t, uint32_t, uint32_t) override {
    return std::unexpected(Status::kInternal);
  }
  Status Set(InterruptField, uint32_t, uint64_t, uint64_t, uint32_t) override {
    return Status::kInternal;
  }
};

TEST(VgicRegisters, a_refusing_kernel_reads_as_zero) {
  RefusingState state;
  const std::vector<uint64_t> affinities = {0};
  RegisterFile file(state, 64, affinities);
  for (uint64_t offset : {kIsenabler + 4, kIpriorityr + 32, kIcfgr + 8, kIrouter + 256}) {
    EXPECT_EQ(file.Access({.offset = offset, .size = 4, .write = false, .value = 0}).value(), 0u);
    EXPECT_TRUE(file.Access({.offset = offset, .size = 4, .write = true, .value = 1}).has_value());
  }
}

}  // namespace
}  // namespace atoll
