// System registers: what is shown works, what is hidden is undefined (checklist: timer-cpu, ID rows).
#include "guests/tests/test.h"

namespace bare {
namespace {

#define FIELD(name, shift) (BARE_READ(name) >> (shift) & 0xf)

constexpr uint32_t kMrs = 0xd530'0000;
constexpr uint32_t kMsr = 0xd510'0000;
constexpr uint32_t kRet = 0xd65f'03c0;

// op0 2 and 3, all of op1, CRn, CRm, op2.
constexpr uint32_t kEncodings = 1 << 15;
constexpr uint32_t InstructionBits(uint32_t encoding) { return encoding << 5; }
constexpr uint32_t Encoding(uint32_t op0, uint32_t op1, uint32_t crn, uint32_t crm, uint32_t op2) {
  return (op0 - 2) << 14 | op1 << 11 | crn << 7 | crm << 3 | op2;
}
constexpr uint32_t Op0(uint32_t encoding) { return 2 + (encoding >> 14); }
constexpr uint32_t Op1(uint32_t encoding) { return encoding >> 11 & 7; }
constexpr uint32_t Crn(uint32_t encoding) { return encoding >> 7 & 15; }
constexpr uint32_t Crm(uint32_t encoding) { return encoding >> 3 & 15; }

struct Stub {
  uint32_t access;  // mrs x0, <encoding>, or msr <encoding>, x0
  uint32_t ret;
};
Stub reads[kEncodings];
Stub writes[kEncodings];
using Access = uint64_t (*)(uint64_t);
Access ReadStub(uint32_t encoding) { return reinterpret_cast<Access>(&reads[encoding]); }
Access WriteStub(uint32_t encoding) { return reinterpret_cast<Access>(&writes[encoding]); }

void MakeStubs() {
  // The guest traps none of these itself: FPEN, ZEN, SMEN.
  BARE_WRITE("cpacr_el1", 3 << 24 | 3 << 20 | 3 << 16);
  for (uint32_t encoding = 0; encoding < kEncodings; ++encoding) {
    reads[encoding] = {kMrs | InstructionBits(encoding), kRet};
    writes[encoding] = {kMsr | InstructionBits(encoding), kRet};
  }
  asm volatile("dsb sy\n\tic iallu\n\tdsb sy\n\tisb" ::: "memory");
}

// Its own exception is all that the guest may see: undefined, or a trap that it has configured itself.
bool IsOwnException(const Faults& faults, bool from_el0) {
  if (faults.count == 0) return true;
  const uint32_t exception_class = faults.Class();
  return faults.count == 1 && faults.vector == (from_el0 ? 8u : 4u) &&
         (exception_class == kEcUnknown || exception_class == kEcSystemRegister ||
          exception_class == kEcFp);
}

struct Outcome {
  bool own;  // no exception but the guest's own
  bool fault;
  uint64_t value;
};
Outcome TryRead(uint32_t encoding) {
  uint64_t value = 0;
  const Faults faults = FaultsOf([&] { value = ReadStub(encoding)(0); });
  return {IsOwnException(faults, false), faults.count != 0, value};
}
Outcome TryWrite(uint32_t encoding, uint64_t value) {
  const Faults faults = FaultsOf([&] { (void)WriteStub(encoding)(value); });
  return {IsOwnException(faults, false), faults.count != 0, 0};
}

// The guest cannot go on with a hostile value in these.
constexpr uint32_t kNeeded[] = {
    Encoding(3, 0, 1, 0, 0),   // SCTLR_EL1
    Encoding(3, 0, 12, 0, 0),  // VBAR_EL1
    Encoding(3, 0, 4, 2, 0),   // SPSel
    Encoding(3, 3, 4, 2, 1),   // DAIF
    Encoding(2, 0, 0, 2, 2),   // MDSCR_EL1: would step
};
bool IsNeeded(uint32_t encoding) {
  for (const uint32_t needed : kNeeded) {
    if (encoding == needed) return true;
  }
  return false;
}

void Report(std::string_view what, uint32_t encoding) {
  Print("\n");
  Print(what);
  Print(" s");
  PrintNumber(Op0(encoding));
  Print("_");
  PrintNumber(Op1(encoding));
  Print("_c");
  PrintNumber(Crn(encoding));
  Print("_c");
  PrintNumber(Crm(encoding));
  Print("_");
  PrintNumber(encoding & 7);
  Print("\n");
}

TEST(ID_21_ID_19_GIC_094_sweep_of_reads_at_el1) {
  MakeStubs();
  for (uint32_t encoding = 0; encoding < kEncodings; ++encoding) {
    const Outcome outcome = TryRead(encoding);
    if (!EXPECT(outcome.own)) Report("not its own exception:", encoding);
    // EL2, EL3, the aliases for EL2, and IMPLEMENTATION DEFINED space.
    const bool foreign =
        Op0(encoding) == 3 && (Op1(encoding) >= 4 || Crn(encoding) == 11 || Crn(encoding) == 15);
    // CBAR_EL1, where QEMU 7.2 ignores HCR_EL2.TIDCP: the address of the GIC that the guest sees.
    if (foreign && encoding != Encoding(3, 1, 15, 3, 0)) {
      if (!EXPECT(outcome.fault || outcome.value == 0)) Report("has a value:", encoding);
    }
    // ID_02: the ID space reads 0 at least.
    const bool id_space = Op0(encoding) == 3 && Op1(encoding) == 0 && Crn(encoding) == 0 &&
                          Crm(encoding) >= 1 && Crm(encoding) <= 7;
    if (id_space && !EXPECT(!outcome.fault)) Report("ID space is undefined:", encoding);
  }
}

TEST(ID_21_ID_03_sweep_of_writes_at_el1) {
  for (uint32_t encoding = 0; encoding < kEncodings; ++encoding) {
    if (IsNeeded(encoding)) continue;
    const Outcome before = TryRead(encoding);
    for (const uint64_t value : {~uint64_t{0}, uint64_t{0}, uint64_t{0x5555'5555'5555'5555}}) {
      const Outcome outcome = TryWrite(encoding, value);
      if (!EXPECT(outcome.own)) Report("not its own exception:", encoding);
      const bool id_space =
          Op0(encoding) == 3 && Op1(encoding) == 0 && Crn(encoding) == 0 && Crm(encoding) <= 7;
      if (id_space && !EXPECT(outcome.fault)) Report("ID register takes a write:", encoding);
      const bool higher = Op0(encoding) == 3 && Op1(encoding) >= 4;
      if (higher && !EXPECT(outcome.fault)) Report("takes a write at EL1:", encoding);
    }
    if (!before.fault) (void)TryWrite(encoding, before.value);
  }
  InitializeGic();
  EXPECT_EQ(BARE_READ("currentel"), 4);
}

uint64_t SweepAtEl0(uint64_t) {
  for (uint32_t encoding = 0; encoding < kEncodings; ++encoding) {
    const uint32_t before = *const_cast<volatile uint32_t*>(&recorded_faults.count);
    const uint64_t value = ReadStub(encoding)(0);
    const bool readable = *const_cast<volatile uint32_t*>(&recorded_faults.count) == before;
    (void)WriteStub(encoding)(~uint64_t{0});
    if (readable) (void)WriteStub(encoding)(value);
  }
  return 0;
}
TEST(ID_21_ID_16_sweep_at_el0) {
  const Faults faults = FaultsOf([] { RunAtEl0(SweepAtEl0, 0); });
  EXPECT(faults.count > kEncodings);
  EXPECT_EQ(faults.vector, 8);
  EXPECT_EQ(BARE_READ("currentel"), 4);
  EXPECT_EQ(Hvc(0x8400'0000).x0, 0x1'0001);
}

volatile uint64_t identity[2][8];
void ReadIdentity() {
  volatile uint64_t* const own = identity[ThisVcpu()];
  own[0] = BARE_READ("midr_el1");
  own[1] = BARE_READ("revidr_el1");
  own[2] = BARE_READ("id_aa64pfr0_el1");
  own[3] = BARE_READ("id_aa64isar0_el1");
  own[4] = BARE_READ("id_aa64mmfr0_el1");
  own[5] = BARE_READ("id_aa64dfr0_el1");
  own[6] = BARE_READ("ctr_el0");
  own[7] = BARE_READ("id_aa64mmfr2_el1");
}
TEST(ID_01_equal_on_all_vcpus) {
  ReadIdentity();
  REQUIRE(StartSecondary(ReadIdentity));
  EXPECT(JoinSecondary());
  for (int i = 0; i < 8; ++i) EXPECT_EQ(identity[1][i], identity[0][i]);
  EXPECT(identity[0][0] != 0);
}

TEST(ID_03_reads_at_el0_fault_to_the_guest) {
  const Faults faults = FaultsOf([] {
    RunAtEl0(
        [](uint64_t) -> uint64_t {
          uint64_t value = 0;
          asm volatile("mrs %0, id_aa64pfr0_el1" : "=r"(value));
          asm volatile("mrs %0, midr_el1" : "=r"(value));
          return value;
        },
        0);
  });
  EXPECT_EQ(faults.count, 2);
  EXPECT(faults.Class() == kEcUnknown || faults.Class() == kEcSystemRegister);
  EXPECT_EQ(faults.vector, 8);
}

TEST(ID_04_ID_05_ID_06_processor_features) {
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 8), 0);   // EL2
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 12), 0);  // EL3
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 24), 1);  // GIC
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 28), 0);  // RAS
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 32), 0);  // SVE
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 36), 0);  // SEL2
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 40), 0);  // MPAM
  EXPECT_EQ(FIELD("id_aa64pfr0_el1", 44), 0);  // AMU
  EXPECT_EQ(FIELD("id_aa64pfr1_el1", 8), 0);   // MTE
  EXPECT_EQ(FIELD("id_aa64pfr1_el1", 24), 0);  // SME
  EXPECT_EQ(FIELD("id_aa64pfr1_el1", 36), 0);  // NMI
  EXPECT_EQ(BARE_READ("s3_0_c0_c4_4"), 0);     // ID_AA64ZFR0_EL1
  EXPECT_EQ(BARE_READ("s3_0_c0_c4_5"), 0);     // ID_AA64SMFR0_EL1
}

TEST(ID_07_ID_08_ID_09_debug_and_memory_features) {
  EXPECT_EQ(FIELD("id_aa64dfr0_el1", 8), 0);     // PMUVer
  EXPECT_EQ(FIELD("id_aa64dfr0_el1", 4), 0);     // TraceVer
  EXPECT_EQ(FIELD("id_aa64dfr0_el1", 32), 0);    // PMSVer
  EXPECT_EQ(FIELD("id_aa64dfr0_el1", 44), 0);    // TraceBuffer
  EXPECT_EQ(FIELD("id_aa64dfr0_el1", 36), 0xf);  // DoubleLock
  EXPECT_EQ(FIELD("id_aa64mmfr1_el1", 4), 0);    // VMIDBits
  EXPECT_EQ(FIELD("id_aa64mmfr1_el1", 8), 0);    // VH
  EXPECT_EQ(FIELD("id_aa64mmfr2_el1", 24), 0);   // NV
  EXPECT(FIELD("id_aa64mmfr0_el1", 0) <= 2);     // PARange: 40 bits
}

TEST(ID_10_PAUTH_03_pointer_authentication_keys_as_shown) {
  const uint64_t isar1 = BARE_READ("id_aa64isar1_el1");
  const uint64_t isar2 = BARE_READ("id_aa64isar2_el1");
  const bool shown = (isar1 & 0xff0) != 0 || (isar2 >> 12 & 0xf) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_0_c2_c1_0"), !shown);   // APIAKeyLo_EL1
  EXPECT_EQ(WRITE_IS_UNDEFINED("s3_0_c2_c1_3"), !shown);  // APIBKeyHi_EL1
  // Hint forms execute either way; with SCTLR.EnIA = 0 they change nothing.
  uint64_t pointer = 0x4008'0000;
  asm volatile("mov x17, %0\n\thint #8\n\tmov %0, x17" : "+r"(pointer)::"x16", "x17");  // PACIA1716
  EXPECT_EQ(pointer, 0x4008'0000);
}

TEST(ID_11_zeroing_by_the_size_shown) {
  const uint64_t dczid = BARE_READ("dczid_el0");
  EXPECT_EQ(dczid >> 4 & 1, 0);  // DZP
  const uint64_t bytes = 4ull << (dczid & 0xf);
  static uint8_t block[4096] __attribute__((aligned(2048)));
  REQUIRE(bytes <= 1024);
  for (uint8_t& byte : block) byte = 0xff;
  const Faults faults = FaultsOf([&] {
    asm volatile("dc zva, %0" ::"r"(&block[bytes]) : "memory");
  });
  if (faults.count ==
      0) {  // memory is Device while the MMU is off: an alignment fault is right too
    EXPECT_EQ(block[bytes - 1], 0xff);
    for (uint64_t i = 0; i < bytes; ++i) EXPECT_EQ(block[bytes + i], 0);
    EXPECT_EQ(block[2 * bytes], 0xff);
  }
  // Cache geometry: each level that CLIDR_EL1 names has a CCSIDR_EL1.
  const uint64_t clidr = BARE_READ("clidr_el1");
  for (uint64_t level = 0; level < 7 && (clidr >> (3 * level) & 7) != 0; ++level) {
    BARE_WRITE("csselr_el1", level << 1);
    EXPECT(BARE_READ("ccsidr_el1") != 0);
  }
  EXPECT((BARE_READ("ctr_el0") & 0xf) >= 4);
}

TEST(ID_12_aarch32_id_registers_are_readable) {
  EXPECT_EQ(FaultsOf([] {
              asm volatile(
                  "mrs x0, id_pfr0_el1\n\tmrs x0, id_dfr0_el1\n\tmrs x0, id_isar0_el1\n\tmrs x0, "
                  "mvfr0_el1\n\t"
                  "mrs x0, mvfr2_el1\n\tmrs x0, id_mmfr4_el1" ::
                      : "x0");
            }).count,
            0);
}

TEST(ID_13_shown_instructions_execute) {
  if (FIELD("id_aa64isar0_el1", 20) >= 2) {  // Atomic
    uint64_t word = 5;
    uint64_t old = 0;
    asm volatile("ldadd %2, %0, [%1]" : "=r"(old) : "r"(&word), "r"(uint64_t{3}) : "memory");
    EXPECT_EQ(old, 5);
    EXPECT_EQ(word, 8);
  }
  if (FIELD("id_aa64isar0_el1", 16) != 0) {  // CRC32
    uint64_t crc = 0;
    asm volatile(".arch_extension crc\n\tcrc32w %w0, %w1, %w2"
                 : "=r"(crc)
                 : "r"(0xffff'ffff), "r"(0));
    EXPECT_EQ(crc, 0xdebb'20e3);
  }
  if (FIELD("id_aa64isar0_el1", 4) != 0)
    EXPECT_EQ(FaultsOf([] { asm volatile(".inst 0x4e284800"); }).count, 0);  // AESE
  if (FIELD("id_aa64isar0_el1", 12) != 0)
    EXPECT_EQ(FaultsOf([] { asm volatile(".inst 0x5e282800"); }).count, 0);  // SHA256SU0
  const bool random = FIELD("id_aa64isar0_el1", 60) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_3_c2_c4_0"), !random);  // RNDR
  const bool ssbs = FIELD("id_aa64pfr1_el1", 4) == 2;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_3_c4_c2_6"), !ssbs);  // SSBS
  const bool dit = FIELD("id_aa64pfr0_el1", 48) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_3_c4_c2_5"), !dit);  // DIT
  const bool uao = FIELD("id_aa64mmfr2_el1", 4) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_0_c4_c2_4"), !uao);  // UAO
  const bool pan = FIELD("id_aa64mmfr1_el1", 20) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_0_c4_c2_3"), !pan);  // PAN
}

TEST(ID_14_hidden_vector_extensions_are_undefined) {
  EXPECT(READ_IS_UNDEFINED("s3_0_c1_c2_0") && WRITE_IS_UNDEFINED("s3_0_c1_c2_0"));  // ZCR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c1_c2_6") && WRITE_IS_UNDEFINED("s3_0_c1_c2_6"));  // SMCR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_3_c4_c2_2") && WRITE_IS_UNDEFINED("s3_3_c4_c2_2"));  // SVCR
  EXPECT(FaultsOf([] { asm volatile(".inst 0x04bf5000"); }).Undefined());           // rdvl x0, #0
}

TEST(ID_15_hidden_memory_tagging_is_undefined) {
  EXPECT(READ_IS_UNDEFINED("s3_0_c1_c0_6") && WRITE_IS_UNDEFINED("s3_0_c1_c0_6"));  // GCR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c1_c0_5") && WRITE_IS_UNDEFINED("s3_0_c1_c0_5"));  // RGSR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c5_c6_0") && WRITE_IS_UNDEFINED("s3_0_c5_c6_0"));  // TFSR_EL1
}

TEST(ID_16_ID_17_no_performance_monitors_profiling_or_trace) {
  EXPECT(READ_IS_UNDEFINED("pmcr_el0") && WRITE_IS_UNDEFINED("pmcr_el0"));
  EXPECT(READ_IS_UNDEFINED("pmccntr_el0") && READ_IS_UNDEFINED("pmuserenr_el0"));
  EXPECT(READ_IS_UNDEFINED("pmcntenset_el0") && READ_IS_UNDEFINED("pmintenset_el1"));
  EXPECT(READ_IS_UNDEFINED("s3_3_c14_c8_0") &&
         READ_IS_UNDEFINED("s3_3_c14_c15_7"));  // PMEVCNTR0_EL0, PMCCFILTR_EL0
  EXPECT(READ_IS_UNDEFINED("s3_0_c9_c9_0") &&
         READ_IS_UNDEFINED("s3_0_c9_c10_0"));  // PMSCR_EL1, PMBLIMITR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c9_c11_0"));  // TRBLIMITR_EL1
  EXPECT(READ_IS_UNDEFINED("s2_1_c0_c1_0") &&
         READ_IS_UNDEFINED("s2_1_c9_c0_0"));  // TRCPRGCTLR, BRBCR_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c1_c2_1"));  // TRFCR_EL1
}

TEST(ID_18_no_ras_activity_monitors_or_regions) {
  EXPECT(READ_IS_UNDEFINED("s3_0_c5_c3_0") && READ_IS_UNDEFINED("s3_0_c5_c4_0"));  // ERRIDR, ERXFR
  EXPECT(READ_IS_UNDEFINED("s3_3_c13_c2_0") &&
         READ_IS_UNDEFINED("s3_3_c13_c4_0"));  // AMCR, AMEVCNTR00
  EXPECT(READ_IS_UNDEFINED("s3_0_c10_c4_0") && READ_IS_UNDEFINED("s3_0_c10_c4_3"));  // LORSA, LORC
  EXPECT(READ_IS_UNDEFINED("s3_0_c10_c5_0"));                                        // MPAM1
}

TEST(ID_20_implementation_defined_registers_are_not_the_real_ones) {
  EXPECT_EQ(BARE_READ("actlr_el1"), 0);
  BARE_WRITE("actlr_el1", ~uint64_t{0});
  EXPECT_EQ(BARE_READ("actlr_el1"), 0);
  EXPECT(READ_IS_UNDEFINED("s3_0_c15_c1_4"));  // CPUECTLR_EL1 of several cores
  EXPECT(READ_IS_UNDEFINED("s3_0_c15_c0_0") && WRITE_IS_UNDEFINED("s3_0_c15_c0_0"));
}

TEST(CPU_01_affinity_is_unique_and_agrees_with_the_redistributors) {
  static volatile uint64_t other;
  REQUIRE(StartSecondary([] { other = BARE_READ("mpidr_el1"); }));
  EXPECT(JoinSecondary());
  const uint64_t own = BARE_READ("mpidr_el1");
  for (const uint64_t mpidr : {own, uint64_t{other}})
    EXPECT_EQ(mpidr >> 30 & 3, 2);  // bit 31, U = 0
  EXPECT(own != other);
  EXPECT_EQ(Load<uint64_t>(kRedistributor + 8) >> 32, own & 0xff'ffff);
  EXPECT_EQ(Load<uint64_t>(kRedistributor + 0x2'0008) >> 32, other & 0xff'ffff);
}

}  // namespace
}  // namespace bare
