// What a guest is told that the CPU has.
#include "kernel/vcpu/id_registers.h"

#include <gtest/gtest.h>

#include "kernel/system_register.h"
#include "kernel/vcpu/cpu_features.h"
#include "kernel/vcpu/traps_configuration.h"

namespace atoll {
namespace {

uint64_t& At(IdValues& values, IdRegister which) { return values[which.Index()]; }

// As QEMU's neoverse-n1 reads (Arm Neoverse N1 TRM).
IdValues NeoverseN1() {
  IdValues values = {};
  At(values, {1, 0}) = 0x1001'0131;
  At(values, {1, 1}) = 0x0001'0000;
  At(values, {1, 2}) = 0x0401'0088;
  At(values, id::kAa64Pfr0) = 0x1100'0000'1011'1112;
  At(values, id::kAa64Pfr1) = 0x20;
  At(values, id::kAa64Dfr0) = 0x1'1030'5408;
  At(values, id::kAa64Isar0) = 0x0000'1000'1021'1120;
  At(values, id::kAa64Isar1) = 0x0010'0001;
  At(values, id::kAa64Mmfr0) = 0x0000'0000'0010'1125;
  At(values, id::kAa64Mmfr1) = 0x1021'2122;
  At(values, id::kAa64Mmfr2) = 0x1011;
  return values;
}

// Every field of every register at its largest value that is not "not there".
IdValues Everything() {
  IdValues values;
  values.fill(0xeeee'eeee'eeee'eeee);
  return values;
}

TEST(IdRegisters, ID_04_pfr0_has_no_el2_el3_sve_ras_amu_mpam) {
  for (const IdValues& hardware : {NeoverseN1(), Everything()}) {
    const IdValues shown = Baseline(hardware);
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 4), 1u);   // EL1: AArch64
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 8), 0u);   // EL2
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 12), 0u);  // EL3
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 24), 1u);  // GIC
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 28), 0u);  // RAS
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 32), 0u);  // SVE
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 36), 0u);  // SEL2
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 40), 0u);  // MPAM
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 44), 0u);  // AMU
    EXPECT_EQ(IdField(shown, id::kAa64Pfr0, 52), 0u);  // RME
    EXPECT_LE(IdField(shown, id::kAa64Pfr0, 56), 1u);  // CSV2 without SCXTNUM_ELx
  }
}

TEST(IdRegisters, ID_04_CPU_11_aarch32_at_el0_is_shown_as_the_cpu_has_it) {
  IdValues hardware = NeoverseN1();
  EXPECT_EQ(IdField(Baseline(hardware), id::kAa64Pfr0, 0), 2u);
  At(hardware, id::kAa64Pfr0) -= 1;
  EXPECT_EQ(IdField(Baseline(hardware), id::kAa64Pfr0, 0), 1u);
}

TEST(IdRegisters, ID_05_no_mte_sme_nmi) {
  const IdValues shown = Baseline(Everything());
  EXPECT_EQ(shown[id::kAa64Pfr1.Index()] & ~uint64_t{0xf'0000'00ff}, 0u);
  EXPECT_EQ(IdField(Baseline(NeoverseN1()), id::kAa64Pfr1, 4), 2u);  // SSBS as the CPU
}

TEST(IdRegisters, ID_06_sve_and_sme_feature_registers_read_zero) {
  const IdRegisters registers(Baseline(Everything()));
  EXPECT_EQ(registers.Get(id::kAa64Zfr0), 0u);
  EXPECT_EQ(registers.Get(id::kAa64Smfr0), 0u);
}

TEST(IdRegisters, ID_07_no_pmu_trace_profiling_but_all_breakpoints) {
  const IdValues shown = Baseline(NeoverseN1());
  EXPECT_EQ(shown[id::kAa64Dfr0.Index()], 0xf0'1030'5008u);  // DoubleLock 0xf, PMUVer 0
  const IdValues all = Baseline(Everything());
  for (unsigned shift : {4, 8, 16, 24, 32, 40, 44, 48, 52, 60}) {
    EXPECT_EQ(IdField(all, id::kAa64Dfr0, shift), 0u) << shift;
  }
  EXPECT_EQ(all[id::kAa64Dfr1.Index()], 0u);
}

TEST(IdRegisters, ID_08_physical_range_is_what_stage2_takes_and_the_hypervisors_fields_are_0) {
  const IdValues shown = Baseline(NeoverseN1());
  EXPECT_EQ(IdField(shown, id::kAa64Mmfr0, 0), 2u);  // 40 bits, not 48
  EXPECT_EQ(shown[id::kAa64Mmfr0.Index()], 0x10'1122u);
  EXPECT_EQ(shown[id::kAa64Mmfr1.Index()], 0x0020'2002u);  // HAFDBS, HPDS, PAN
  IdValues small = NeoverseN1();
  At(small, id::kAa64Mmfr0) &= ~uint64_t{0xf};
  EXPECT_EQ(IdField(Baseline(small), id::kAa64Mmfr0, 0), 0u);
}

TEST(IdRegisters, ID_08_granules_the_cpu_lacks_stay_not_there) {
  IdValues hardware = NeoverseN1();
  At(hardware, id::kAa64Mmfr0) |= 0xff00'0000;  // no 4 KiB, no 64 KiB
  const IdValues shown = Baseline(hardware);
  EXPECT_EQ(IdField(shown, id::kAa64Mmfr0, 24), 0xfu);
  EXPECT_EQ(IdField(shown, id::kAa64Mmfr0, 28), 0xfu);
}

TEST(IdRegisters, ID_09_instructions_are_shown_but_those_that_trap_or_carry_state) {
  const IdValues n1 = Baseline(NeoverseN1());
  EXPECT_EQ(n1[id::kAa64Isar0.Index()], NeoverseN1()[id::kAa64Isar0.Index()]);
  EXPECT_EQ(n1[id::kAa64Isar1.Index()], NeoverseN1()[id::kAa64Isar1.Index()]);
  EXPECT_EQ(n1[id::kAa64Mmfr2.Index()], 0x11u);  // without IESB, part of RAS
  const IdValues all = Baseline(Everything());
  EXPECT_EQ(IdField(all, id::kAa64Isar0, 24), 0u);  // TME
  EXPECT_EQ(IdField(all, id::kAa64Isar1, 60), 0u);  // LS64
  EXPECT_EQ(IdField(all, id::kAa64Isar2, 0), 0u);   // WFxT
  EXPECT_EQ(IdField(all, id::kAa64Isar2, 16), 0u);  // MOPS
  EXPECT_EQ(IdField(all, id::kAa64Mmfr2, 24), 0u);  // NV
  EXPECT_EQ(IdField(all, id::kAa64Mmfr2, 40), 0u);  // FWB
}

TEST(IdRegisters, ID_10_PAUTH_03_keys_are_open_only_to_vms_that_are_shown_them) {
  IdValues hardware = NeoverseN1();
  At(hardware, id::kAa64Isar1) |= 0x0100'0010;  // APA, GPA
  const CpuFeatures cpu = CpuFeatures::From(hardware);
  EXPECT_TRUE(cpu.pointer_auth);
  IdRegisters shown(Baseline(hardware));
  EXPECT_EQ(GuestHcr(cpu, shown) & (hcr::kApi | hcr::kApk), hcr::kApi | hcr::kApk);
  ASSERT_EQ(shown.Set(id::kAa64Isar1, 0x0010'0001), Status::kOk);
  EXPECT_EQ(GuestHcr(cpu, shown) & (hcr::kApi | hcr::kApk), 0u);
  EXPECT_EQ(
      GuestHcr(CpuFeatures::From(NeoverseN1()), IdRegisters(Baseline(NeoverseN1()))) & hcr::kApi,
      0u);
}

TEST(IdRegisters, ID_12_aarch32_registers_are_true_or_zero) {
  IdValues hardware = NeoverseN1();
  IdValues shown = Baseline(hardware);
  EXPECT_EQ(shown[id::kPfr0Aarch32.Index()], 0x0001'0131u);  // without RAS
  EXPECT_EQ(shown[id::kDfr0Aarch32.Index()], 0x0000'0088u);  // without PMU and trace
  At(hardware, id::kAa64Pfr0) -= 1;                          // no AArch32
  shown = Baseline(hardware);
  for (uint32_t crm = 1; crm < 4; ++crm) {
    for (uint32_t op2 = 0; op2 < 8; ++op2) EXPECT_EQ(shown[(IdRegister{crm, op2}.Index())], 0u);
  }
}

TEST(IdRegisters, ID_02_what_no_rule_names_reads_zero) {
  const IdRegisters registers(Baseline(Everything()));
  for (uint32_t op2 : {2u, 3u, 6u, 7u}) EXPECT_EQ(registers.Get({4, op2}), 0u);
  for (uint32_t op2 : {2u, 3u, 4u, 5u, 6u, 7u}) EXPECT_EQ(registers.Get({5, op2}), 0u);
  for (uint32_t op2 : {3u, 4u, 5u, 6u, 7u}) EXPECT_EQ(registers.Get({6, op2}), 0u);
  for (uint32_t op2 : {3u, 4u, 5u, 6u, 7u}) EXPECT_EQ(registers.Get({7, op2}), 0u);
  EXPECT_EQ(registers.Get({0, 0}), 0u);
  EXPECT_EQ(registers.Get({8, 0}), 0u);
  EXPECT_EQ(registers.Get({~0u, 0}), 0u);
  EXPECT_EQ(registers.Get({4, 8}), 0u);
}

TEST(IdRegisters, the_hardware_is_read_register_by_register) {
  EncodedRegister<3, 0, 0, 4, 0>::value = 0x1234;
  EncodedRegister<3, 0, 0, 7, 7>::value = 0x5678;
  EncodedRegister<3, 0, 0, 1, 0>::value = 0x9abc;
  const IdValues values = ReadHardwareIdRegisters();
  EXPECT_EQ(values[id::kAa64Pfr0.Index()], 0x1234u);
  EXPECT_EQ(values[(IdRegister{7, 7}.Index())], 0x5678u);
  EXPECT_EQ(values[0], 0x9abcu);
}

// ---- SetIdRegister ------------------------------------------------------------------------------

TEST(SetIdRegister, hides_a_field_and_shows_it_again) {
  IdRegisters registers(Baseline(NeoverseN1()));
  const uint64_t all = registers.Get(id::kAa64Isar0);
  const uint64_t without_aes = all & ~uint64_t{0xf0};
  EXPECT_EQ(registers.Set(id::kAa64Isar0, without_aes), Status::kOk);
  EXPECT_EQ(registers.Get(id::kAa64Isar0), without_aes);
  EXPECT_EQ(registers.Set(id::kAa64Isar0, all), Status::kOk);
  EXPECT_EQ(registers.Get(id::kAa64Isar0), all);
}

TEST(SetIdRegister, signed_fields_are_hidden_by_all_ones) {
  IdRegisters registers(Baseline(NeoverseN1()));
  const uint64_t pfr0 = registers.Get(id::kAa64Pfr0);
  EXPECT_EQ(registers.Set(id::kAa64Pfr0, pfr0 | 0xff'0000), Status::kOk);  // no FP, no AdvSIMD
  EXPECT_EQ(registers.Set(id::kAa64Pfr0, pfr0 & ~uint64_t{0xf'0000}), Status::kInvalidArgument);
}

TEST(SetIdRegister, refuses_to_add_or_change_a_feature) {
  IdRegisters registers(Baseline(NeoverseN1()));
  const uint64_t before = registers.Get(id::kAa64Isar0);
  EXPECT_EQ(registers.Set(id::kAa64Isar0, before + 0x10), Status::kInvalidArgument);
  EXPECT_EQ(registers.Set(id::kAa64Isar0, before - 0x10), Status::kInvalidArgument);  // AES 2 -> 1
  EXPECT_EQ(registers.Set(id::kAa64Pfr0, registers.Get(id::kAa64Pfr0) | 0x100),
            Status::kInvalidArgument);
  EXPECT_EQ(registers.Set({7, 7}, 1), Status::kInvalidArgument);
  EXPECT_EQ(registers.Get(id::kAa64Isar0), before);
}

TEST(SetIdRegister, refuses_to_hide_what_a_vm_cannot_be_without) {
  IdRegisters registers(Baseline(NeoverseN1()));
  EXPECT_EQ(registers.Set(id::kAa64Pfr0, registers.Get(id::kAa64Pfr0) & ~uint64_t{0xf}),
            Status::kInvalidArgument);
  EXPECT_EQ(registers.Set(id::kAa64Mmfr0, 0), Status::kInvalidArgument);  // PARange
  EXPECT_EQ(registers.Set(id::kAa64Dfr0, 0), Status::kInvalidArgument);   // breakpoints
}

TEST(SetIdRegister, refuses_registers_out_of_the_table) {
  IdRegisters registers(Baseline(NeoverseN1()));
  EXPECT_EQ(registers.Set({0, 0}, 0), Status::kInvalidArgument);
  EXPECT_EQ(registers.Set({8, 0}, 0), Status::kInvalidArgument);
  EXPECT_EQ(registers.Set({4, 8}, 0), Status::kInvalidArgument);
}

TEST(SetIdRegister, ID_01_nothing_changes_once_a_vcpu_ran) {
  IdRegisters registers(Baseline(NeoverseN1()));
  registers.Freeze();
  EXPECT_EQ(registers.Set(id::kAa64Isar0, 0), Status::kFailedPrecondition);
  EXPECT_EQ(registers.Get(id::kAa64Isar0), NeoverseN1()[id::kAa64Isar0.Index()]);
}

// ---- CPU features and trap configuration --------------------------------------------------------

TEST(CpuFeatures, are_read_from_the_right_fields) {
  const CpuFeatures n1 = CpuFeatures::From(NeoverseN1());
  EXPECT_TRUE(n1.vhe);
  EXPECT_FALSE(n1.pointer_auth);
  EXPECT_TRUE(n1.ras);
  EXPECT_TRUE(n1.ssbs);
  EXPECT_TRUE(n1.lo_regions);
  EXPECT_TRUE(n1.pmu);
  EXPECT_TRUE(n1.aarch32_el0);
  EXPECT_TRUE(n1.asid16);
  EXPECT_TRUE(n1.vmid16);
  EXPECT_FALSE(n1.mte_registers);
  EXPECT_EQ(n1.physical_range, 5u);
  EXPECT_EQ(n1.breakpoints, 6u);
  EXPECT_EQ(n1.watchpoints, 4u);
}

TEST(TrapConfiguration, ID_18_registers_of_hidden_features_trap_where_the_cpu_has_them) {
  const IdRegisters shown(Baseline(NeoverseN1()));
  const uint64_t with = GuestHcr(CpuFeatures::From(NeoverseN1()), shown);
  EXPECT_EQ(with & (hcr::kTerr | hcr::kTlor), hcr::kTerr | hcr::kTlor);
  EXPECT_EQ(GuestHcr(CpuFeatures{}, shown) & (hcr::kTerr | hcr::kTlor | hcr::kTid5), 0u);
}

TEST(TrapConfiguration, values_as_the_architecture_numbers_the_bits) {
  EXPECT_EQ(kHostHcr, 0x4'8800'0000u);
  EXPECT_EQ(kGuestHcr, 0x4'803d'663fu);
  EXPECT_EQ(kCptrEl2, 0x5010'0000u);
  EXPECT_EQ(kCnthctlEl2, 0xc03u);
  EXPECT_EQ(MdcrEl2Value(0xffff'ffe6), 0x8'4e66u);
}

}  // namespace
}  // namespace atoll
