// Trapped MRS and MSR: who answers, what is undefined.
#include "kernel/vcpu/system_register_traps.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "kernel/system_register.h"

namespace atoll {
namespace {

class FakeGic final : public SystemRegisterBackend {
 public:
  void GenerateSgi(TrappedSgi which, uint64_t value) override { sgis.push_back({which, value}); }
  void DeactivateInterrupt(uint64_t value) override { deactivated.push_back(value); }
  std::vector<std::pair<TrappedSgi, uint64_t>> sgis;
  std::vector<uint64_t> deactivated;
};

constexpr uint64_t kUntouched = 0x1111'2222'3333'4444;

class SystemRegisterTest : public ::testing::Test {
 protected:
  SystemRegisterTest() {
    x.fill(kUntouched);
    IdValues values;
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0xabc000 + i;
    ids = IdRegisters(values);
    cpu.breakpoints = 6;
    cpu.watchpoints = 4;
    MdscrEl1::value = 0;
  }

  // ISS of a trapped MSR or MRS (DDI0487): Op0 [21:20], Op2 [19:17], Op1 [16:14], CRn [13:10], Rt
  // [9:5], CRm [4:1], read [0].
  static uint64_t Esr(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
                      unsigned rt, bool read) {
    return uint64_t{0x18} << 26 | 1u << 25 | op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 |
           rt << 5 | crm << 1 | (read ? 1u : 0u);
  }
  TrapOutcome Read(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
                   unsigned rt = 3, bool from_el0 = false) {
    return HandleSystemRegister(Esr(op0, op1, crn, crm, op2, rt, true), from_el0, vcpu, x);
  }
  TrapOutcome Write(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
                    uint64_t value, bool from_el0 = false) {
    x[3] = value;
    return HandleSystemRegister(Esr(op0, op1, crn, crm, op2, 3, false), from_el0, vcpu, x);
  }

  std::array<uint64_t, 31> x;
  IdRegisters ids;
  DebugRegisters debug;
  FakeGic gic;
  CpuFeatures cpu;
  TrappedVcpu vcpu{cpu, ids, debug, gic};
};

constexpr TrapOutcome kDone = TrapOutcome::kCompleted;
constexpr TrapOutcome kUndefined = TrapOutcome::kUndefined;

TEST_F(SystemRegisterTest, ID_02_the_whole_id_space_reads_from_the_vms_table) {
  for (unsigned crm = 1; crm < 8; ++crm) {
    for (unsigned op2 = 0; op2 < 8; ++op2) {
      ASSERT_EQ(Read(3, 0, 0, crm, op2), kDone);
      EXPECT_EQ(x[3], 0xabc000 + (crm - 1) * 8 + op2);
    }
  }
}

TEST_F(SystemRegisterTest, ID_03_id_registers_are_neither_written_nor_read_at_el0) {
  EXPECT_EQ(Write(3, 0, 0, 4, 0, 0), kUndefined);
  x[3] = kUntouched;
  EXPECT_EQ(Read(3, 0, 0, 4, 0, 3, true), kUndefined);
  EXPECT_EQ(x[3], kUntouched);
}

TEST_F(SystemRegisterTest, revision_is_the_cpus_and_auxiliary_id_is_hidden) {
  EncodedRegister<3, 0, 0, 0, 6>::value = 0x77;
  EXPECT_EQ(Read(3, 0, 0, 0, 6), kDone);
  EXPECT_EQ(x[3], 0x77u);
  EXPECT_EQ(Read(3, 1, 0, 0, 7), kDone);
  EXPECT_EQ(x[3], 0u);
}

TEST_F(SystemRegisterTest, reads_into_xzr_change_no_register) {
  EXPECT_EQ(Read(3, 0, 0, 4, 0, 31), kDone);
  for (uint64_t value : x) EXPECT_EQ(value, kUntouched);
}

TEST_F(SystemRegisterTest, writes_from_xzr_are_zero) {
  EXPECT_EQ(HandleSystemRegister(Esr(3, 0, 12, 11, 5, 31, false), false, vcpu, x), kDone);
  ASSERT_EQ(gic.sgis.size(), 1u);
  EXPECT_EQ(gic.sgis[0].second, 0u);
}

TEST_F(SystemRegisterTest, GIC_077_each_sgi_register_is_told_apart) {
  EXPECT_EQ(Write(3, 0, 12, 11, 5, 0x0100'0001), kDone);
  EXPECT_EQ(Write(3, 0, 12, 11, 6, 0x0200'0002), kDone);
  EXPECT_EQ(Write(3, 0, 12, 11, 7, 0x0300'0003), kDone);
  const std::vector<std::pair<TrappedSgi, uint64_t>> expected = {
      {TrappedSgi::kGroup1, 0x0100'0001},
      {TrappedSgi::kAliasGroup1, 0x0200'0002},
      {TrappedSgi::kGroup0, 0x0300'0003}};
  EXPECT_EQ(gic.sgis, expected);
}

TEST_F(SystemRegisterTest, GIC_078_sgi_registers_are_write_only_and_not_for_el0) {
  for (unsigned op2 : {5u, 6u, 7u}) {
    EXPECT_EQ(Read(3, 0, 12, 11, op2), kUndefined);
    EXPECT_EQ(Write(3, 0, 12, 11, op2, 1, true), kUndefined);
  }
  EXPECT_TRUE(gic.sgis.empty());
}

TEST_F(SystemRegisterTest, GIC_090_deactivation_reaches_the_gic) {
  EXPECT_EQ(Write(3, 0, 12, 11, 1, 42), kDone);
  EXPECT_EQ(gic.deactivated, std::vector<uint64_t>{42});
  EXPECT_EQ(Read(3, 0, 12, 11, 1), kUndefined);
}

TEST_F(SystemRegisterTest, GIC_079_system_registers_are_enabled_for_good) {
  EXPECT_EQ(Write(3, 0, 12, 12, 5, 0), kDone);
  EXPECT_EQ(Read(3, 0, 12, 12, 5), kDone);
  EXPECT_EQ(x[3], 7u);
}

TEST_F(SystemRegisterTest, ID_20_actlr_reads_zero_and_ignores_writes) {
  EXPECT_EQ(Write(3, 0, 1, 0, 1, ~uint64_t{0}), kDone);
  EXPECT_EQ(Read(3, 0, 1, 0, 1), kDone);
  EXPECT_EQ(x[3], 0u);
}

TEST_F(SystemRegisterTest, ID_16_ID_17_ID_18_ID_19_ID_20_hidden_registers_are_undefined) {
  struct Register {
    unsigned op0, op1, crn, crm, op2;
    const char* name;
  };
  const Register hidden[] = {
      {3, 3, 9, 12, 0, "PMCR_EL0"},       {3, 3, 9, 13, 0, "PMCCNTR_EL0"},
      {3, 3, 9, 14, 0, "PMUSERENR_EL0"},  {3, 0, 9, 14, 1, "PMINTENSET_EL1"},
      {3, 3, 14, 15, 7, "PMCCFILTR_EL0"}, {3, 0, 9, 9, 0, "PMSCR_EL1"},
      {3, 0, 9, 11, 0, "TRBLIMITR_EL1"},  {2, 1, 0, 0, 1, "TRACEIDR"},
      {2, 1, 9, 0, 0, "BRBCR_EL1"},       {3, 0, 1, 2, 1, "TRFCR_EL1"},
      {3, 0, 5, 3, 0, "ERRIDR_EL1"},      {3, 0, 5, 4, 0, "ERXFR_EL1"},
      {3, 0, 10, 4, 7, "LORID_EL1"},      {3, 0, 10, 4, 0, "LORSA_EL1"},
      {3, 0, 13, 0, 7, "SCXTNUM_EL1"},    {3, 1, 0, 0, 4, "GMID_EL1"},
      {3, 0, 1, 2, 0, "ZCR_EL1"},         {3, 0, 1, 0, 5, "RGSR_EL1"},
      {3, 4, 1, 1, 0, "HCR_EL2"},         {3, 5, 1, 0, 0, "SCTLR_EL12"},
      {3, 6, 1, 1, 0, "SCR_EL3"},         {3, 0, 15, 0, 0, "IMPDEF"},
      {3, 7, 11, 3, 2, "IMPDEF"},         {3, 3, 13, 2, 0, "AMCR_EL0"},
      {3, 0, 0, 0, 1, "unallocated"},     {2, 4, 0, 7, 0, "DBGVCR32_EL2"},
      {3, 0, 0, 8, 0, "unallocated"},
  };
  for (const Register& r : hidden) {
    x[3] = kUntouched;
    EXPECT_EQ(Read(r.op0, r.op1, r.crn, r.crm, r.op2), kUndefined) << r.name;
    EXPECT_EQ(x[3], kUntouched) << r.name;
    EXPECT_EQ(Write(r.op0, r.op1, r.crn, r.crm, r.op2, 1), kUndefined) << r.name;
  }
}

// Every encoding, read and write, at EL1 and EL0: no crash, nothing but x[3] changes, EL0 gets no
// EL1 register.
TEST_F(SystemRegisterTest, ID_21_sweep_over_all_encodings) {
  size_t completed = 0;
  for (unsigned encoding = 0; encoding < 1u << 16; ++encoding) {
    const unsigned op0 = encoding >> 14;
    const unsigned op1 = (encoding >> 11) & 7;
    for (bool read : {false, true}) {
      for (bool el0 : {false, true}) {
        x.fill(kUntouched);
        const uint64_t esr =
            Esr(op0, op1, (encoding >> 7) & 0xf, (encoding >> 3) & 0xf, encoding & 7, 3, read);
        const TrapOutcome outcome = HandleSystemRegister(esr, el0, vcpu, x);
        completed += outcome == kDone;
        for (size_t i = 0; i < x.size(); ++i) {
          if (i == 3 && read && outcome == kDone) continue;
          ASSERT_EQ(x[i], kUntouched) << encoding;
        }
        if (el0 && outcome == kDone) {
          ASSERT_EQ(op1, 3u) << encoding;
        }
        if (outcome == kDone) {
          ASSERT_TRUE(op0 == 2 || op0 == 3) << encoding;
        }
      }
    }
  }
  EXPECT_GT(completed, 100u);
  EXPECT_LT(completed, 250u);
}

// ---- debug --------------------------------------------------------------------------------------

TEST_F(SystemRegisterTest, DEBUG_01_as_many_breakpoints_as_dfr0_shows_each_kept) {
  for (unsigned n = 0; n < 6; ++n) {
    EXPECT_EQ(Write(2, 0, 0, n, 4, 0x1000 + n * 4), kDone);
    EXPECT_EQ(Write(2, 0, 0, n, 5, 0x1e5 + (n & 1)), kDone);
  }
  for (unsigned n = 0; n < 6; ++n) {
    EXPECT_EQ(Read(2, 0, 0, n, 4), kDone);
    EXPECT_EQ(x[3], 0x1000 + n * 4);
  }
  EXPECT_EQ(Read(2, 0, 0, 6, 4), kUndefined);
  EXPECT_EQ(Write(2, 0, 0, 15, 5, 1), kUndefined);
}

TEST_F(SystemRegisterTest, DEBUG_02_as_many_watchpoints_as_dfr0_shows) {
  EXPECT_EQ(Write(2, 0, 0, 3, 6, 0x4000'0008), kDone);
  EXPECT_EQ(Write(2, 0, 0, 3, 7, 0x1fff), kDone);
  EXPECT_EQ(Read(2, 0, 0, 3, 7), kDone);
  EXPECT_EQ(x[3], 0x1fffu);
  EXPECT_EQ(Read(2, 0, 0, 4, 6), kUndefined);
  EXPECT_EQ(Write(2, 0, 0, 4, 7, 1), kUndefined);
}

TEST_F(SystemRegisterTest, DEBUG_05_os_lock_starts_open_and_can_be_shut) {
  EXPECT_EQ(Read(2, 0, 1, 1, 4), kDone);
  EXPECT_EQ(x[3], 0x8u);
  EXPECT_EQ(Write(2, 0, 1, 0, 4, 1), kDone);
  EXPECT_EQ(Read(2, 0, 1, 1, 4), kDone);
  EXPECT_EQ(x[3], 0xau);
  EXPECT_EQ(Read(2, 0, 1, 0, 4), kUndefined);      // OSLAR is write-only
  EXPECT_EQ(Write(2, 0, 1, 1, 4, 0), kUndefined);  // OSLSR is read-only
  EXPECT_EQ(Write(2, 0, 1, 3, 4, 1), kDone);       // OSDLR: ignored
  EXPECT_EQ(Read(2, 0, 1, 3, 4), kDone);
  EXPECT_EQ(x[3], 0u);
  EXPECT_EQ(Write(2, 0, 1, 4, 4, 1), kDone);  // DBGPRCR
}

TEST_F(SystemRegisterTest, DEBUG_05_nothing_is_active_while_the_os_lock_is_shut) {
  EXPECT_EQ(Write(2, 0, 0, 2, 2, 0xa000), kDone);  // MDE, KDE
  EXPECT_TRUE(debug.IsActive());
  EXPECT_EQ(MdscrEl1::value, 0xa000u);
  EXPECT_EQ(Write(2, 0, 1, 0, 4, 1), kDone);
  EXPECT_FALSE(debug.IsActive());
  EXPECT_EQ(MdscrEl1::value, 0u);
  EXPECT_EQ(Write(2, 0, 1, 0, 4, 0), kDone);
  EXPECT_EQ(MdscrEl1::value, 0xa000u);
}

TEST_F(SystemRegisterTest, DEBUG_06_mdscr_is_kept_without_bits_of_external_debug) {
  EXPECT_EQ(Write(2, 0, 0, 2, 2, ~uint64_t{0}), kDone);
  EXPECT_EQ(Read(2, 0, 0, 2, 2), kDone);
  EXPECT_EQ(x[3], 0xb001u);  // SS, TDCC, KDE, MDE
}

TEST_F(SystemRegisterTest, DEBUG_06_the_debug_channel_is_dead) {
  for (auto [op1, crm, op2] :
       {std::array{0u, 2u, 0u}, {0u, 0u, 2u}, {0u, 3u, 2u}, {3u, 4u, 0u}, {3u, 5u, 0u}}) {
    EXPECT_EQ(Write(2, op1, 0, crm, op2, 0x55), kDone);
    EXPECT_EQ(Read(2, op1, 0, crm, op2), kDone);
    EXPECT_EQ(x[3], 0u);
  }
  EXPECT_EQ(Read(2, 3, 0, 1, 0, 3, true), kDone);  // MDCCSR_EL0, from EL0 too
  EXPECT_EQ(x[3], 0u);
}

}  // namespace
}  // namespace atoll
