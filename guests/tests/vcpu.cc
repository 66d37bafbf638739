// What a vCPU holds over exits and over turns with another vCPU on one CPU (checklist: timer-cpu, CPU and FP rows).
#include "guests/tests/test.h"

namespace bare {
namespace {

extern "C" void FillVectors(const uint64_t pattern[66]);
extern "C" void StoreVectors(uint64_t into[66]);
extern "C" void HoldGeneral(const uint64_t pattern[32], uint64_t after[32], uint64_t exit,
                            uint64_t argument);

// First of all, while nothing has been written yet.
TEST(CPU_02_CPU_03_CPU_04_state_at_boot) {
  EXPECT_EQ(BARE_READ("currentel"), 4);
  EXPECT_EQ(BARE_READ("spsel"), 1);
  EXPECT_EQ(BARE_READ("daif"), 0x3c0);
  EXPECT_EQ(BARE_READ("sctlr_el1") & 0x308'1007, 0);  // EE, E0E, WXN, I, C, A, M
  for (int i = 1; i < 4; ++i) EXPECT_EQ(boot_registers[i], 0);
  const uint64_t tree = boot_registers[0];
  EXPECT_EQ(tree % 8, 0);
  EXPECT_EQ(Load32(tree), 0xedfe'0dd0);
  EXPECT(__builtin_bswap32(Load32(tree + 4)) <= 0x20'0000);
  EXPECT_EQ(BARE_READ("mdscr_el1"), 0);
  EXPECT_EQ(BARE_READ("cntkctl_el1"), 0);
  EXPECT_EQ(BARE_READ("tcr_el1"), 0);
  EXPECT_EQ(BARE_READ("cntv_ctl_el0") & 1, 0);
  EXPECT_EQ(BARE_READ("cntp_ctl_el0") & 1, 0);
  for (const uint64_t value :
       {BARE_READ("tpidr_el0"), BARE_READ("tpidr_el1"), BARE_READ("tpidrro_el0"),
        BARE_READ("sp_el0"), BARE_READ("elr_el1"), BARE_READ("far_el1"), BARE_READ("ttbr0_el1"),
        BARE_READ("contextidr_el1"), BARE_READ("par_el1")}) {
    EXPECT_EQ(value, 0);
  }
}

// Registers that a guest at EL1 with its MMU off can hold any value in.
// clang-format off
#define HELD_REGISTERS(ROW)                                                \
  ROW(0, "ttbr0_el1") ROW(1, "ttbr1_el1") ROW(2, "tcr_el1")                \
  ROW(3, "mair_el1") ROW(4, "amair_el1") ROW(5, "par_el1")                 \
  ROW(6, "esr_el1") ROW(7, "far_el1") ROW(8, "afsr0_el1")                  \
  ROW(9, "afsr1_el1") ROW(10, "elr_el1") ROW(11, "spsr_el1")               \
  ROW(12, "sp_el0") ROW(13, "tpidr_el0") ROW(14, "tpidr_el1")              \
  ROW(15, "tpidrro_el0") ROW(16, "contextidr_el1") ROW(17, "csselr_el1")   \
  ROW(18, "cntkctl_el1") ROW(19, "cntv_cval_el0") ROW(20, "cntp_cval_el0") \
  ROW(21, "dbgbvr0_el1") ROW(22, "dbgwvr0_el1") ROW(23, "icc_pmr_el1")
// clang-format on
inline constexpr int kHeld = 24;

void WritePattern(uint64_t seed) {
#define ROW(index, name) BARE_WRITE(name, (seed + (index)) * 0x9e37'79b9'7f4a'7c15);
  HELD_REGISTERS(ROW)
#undef ROW
  BARE_WRITE("tcr_el1", BARE_READ("tcr_el1") &
                            ~(uint64_t{1} << 38 | uint64_t{1} << 37));  // TBI: harmless pointers
}
void ReadHeld(volatile uint64_t* into) {
#define ROW(index, name) into[index] = BARE_READ(name);
  HELD_REGISTERS(ROW)
#undef ROW
}

void Exits() {
  (void)Load32(kRtc);
  (void)Load32(kUart + 0x18);
  (void)Load32(kDistributor + 4);
  (void)Load32(kVirtio);
  (void)Hvc(0x8400'0000);
  (void)Smc(0x8400'0000);
  (void)BARE_READ("id_aa64pfr0_el1");
  Store32(kVirtio + 0x50, 99);
}

volatile uint32_t losses[2];
volatile bool ready[2];
volatile bool finished[2];

void HoldRegisters() {
  const uint32_t self = ThisVcpu();
  uint64_t wanted[kHeld];
  uint64_t found[kHeld];
  WritePattern(1 + self * 1000);
  ReadHeld(wanted);
  ready[self] = true;
  for (int i = 0; i < 300 || !ready[1 - self]; ++i) {
    if (i % 2 == 0) Exits();
    if (i % 16 == 0) Spin(50);
    ReadHeld(found);
    for (int r = 0; r < kHeld; ++r) {
      if (found[r] != wanted[r]) losses[self] = 1 + r;
    }
  }
  finished[self] = true;
  while (!finished[1 - self]) Exits();
}
void Together(void (*work)()) {
  for (int i = 0; i < 2; ++i) {
    losses[i] = 0;
    ready[i] = false;
    finished[i] = false;
  }
  REQUIRE(StartSecondary(work));
  work();
  EXPECT(JoinSecondary());
  EXPECT_EQ(losses[0], 0);
  EXPECT_EQ(losses[1], 0);
}
TEST(CPU_05_TIMER_14_system_registers_of_two_vcpus_in_turns) {
  const uint64_t elr = BARE_READ("elr_el1");
  Together(HoldRegisters);
  BARE_WRITE("elr_el1", elr);
  BARE_WRITE("cntkctl_el1", 0);
  BARE_WRITE("tcr_el1", 0);
  BARE_WRITE("icc_pmr_el1", 0xff);
}

void HoldVectors() {
  const uint32_t self = ThisVcpu();
  BARE_WRITE("cpacr_el1", 3 << 20);
  uint64_t pattern[66];
  uint64_t found[66];
  for (uint64_t i = 0; i < 64; ++i) pattern[i] = (i + 1 + self * 100) * 0x9e37'79b9'7f4a'7c15;
  pattern[64] =
      self == 0 ? 0x0300'0000 : 0x0140'0000;  // FPCR: rounding, flush to zero, default NaN
  pattern[65] = self == 0 ? 0x0800'001f : 0x0000'0011;  // FPSR
  FillVectors(pattern);
  ready[self] = true;
  for (int i = 0; i < 300 || !ready[1 - self]; ++i) {
    if (i % 2 == 0) Exits();
    if (i % 16 == 0) Spin(50);
    StoreVectors(found);
    for (int r = 0; r < 66; ++r) {
      if (found[r] != pattern[r]) losses[self] = 1 + r;
    }
  }
  finished[self] = true;
  while (!finished[1 - self]) Exits();
}
TEST(FP_01_vectors_of_two_vcpus_in_turns) { Together(HoldVectors); }

TEST(FP_02_traps_of_floating_point_are_the_guests) {
  const auto use = [] { asm volatile(".inst 0x1e604000"); };  // fmov d0, d0
  const auto use_at_el0 = [] {
    RunAtEl0(
        [](uint64_t) -> uint64_t {
          asm volatile(".inst 0x1e604000");
          return 0;
        },
        0);
  };
  BARE_WRITE("cpacr_el1", 0);
  Faults faults = FaultsOf(use);
  EXPECT_EQ(faults.count, 1);
  EXPECT_EQ(faults.Class(), kEcFp);
  EXPECT_EQ(faults.vector, 4);
  BARE_WRITE("cpacr_el1", 1 << 20);
  EXPECT_EQ(FaultsOf(use).count, 0);
  faults = FaultsOf(use_at_el0);
  EXPECT_EQ(faults.Class(), kEcFp);
  EXPECT_EQ(faults.vector, 8);
  BARE_WRITE("cpacr_el1", 3 << 20);
  EXPECT_EQ(FaultsOf(use).count, 0);
  EXPECT_EQ(FaultsOf(use_at_el0).count, 0);
}

// APIA, APIB, APDA, APDB, APGA: both halves.
// clang-format off
#define KEY_REGISTERS(ROW)                                             \
  ROW(0, "s3_0_c2_c1_0") ROW(1, "s3_0_c2_c1_1") ROW(2, "s3_0_c2_c1_2") \
  ROW(3, "s3_0_c2_c1_3") ROW(4, "s3_0_c2_c2_0") ROW(5, "s3_0_c2_c2_1") \
  ROW(6, "s3_0_c2_c2_2") ROW(7, "s3_0_c2_c2_3") ROW(8, "s3_0_c2_c3_0") \
  ROW(9, "s3_0_c2_c3_1")
// clang-format on

void HoldKeys() {
  const uint32_t self = ThisVcpu();
#define ROW(index, name) BARE_WRITE(name, ((index) + 1 + self * 100) * 0x9e37'79b9'7f4a'7c15);
  KEY_REGISTERS(ROW)
#undef ROW
  ready[self] = true;
  for (int i = 0; i < 300 || !ready[1 - self]; ++i) {
    Exits();
    if (i % 16 == 0) Spin(50);
#define ROW(index, name)                                                     \
  if (BARE_READ(name) != ((index) + 1 + self * 100) * 0x9e37'79b9'7f4a'7c15) \
    losses[self] = 1 + (index);
    KEY_REGISTERS(ROW)
#undef ROW
  }
  finished[self] = true;
  while (!finished[1 - self]) Exits();
}
TEST(PAUTH_01_PAUTH_02_keys_of_two_vcpus_in_turns) {
  const bool shown = (BARE_READ("id_aa64isar1_el1") & 0xff0) != 0;
  if (shown) Together(HoldKeys);
  EXPECT_EQ(READ_IS_UNDEFINED("s3_0_c2_c1_0"), !shown);
}

TEST(CPU_06_general_registers_and_flags_over_device_accesses) {
  uint64_t pattern[32];
  uint64_t after[32];
  for (uint64_t flags = 0; flags < 16; ++flags) {
    for (uint64_t i = 0; i < 31; ++i) pattern[i] = (i + 1 + flags) * 0x9e37'79b9'7f4a'7c15;
    pattern[31] = flags << 28;
    for (const uint64_t exit : {2ull, 3ull}) {
      for (const uintptr_t address :
           {kRtc + 4, kUart + 0x24, kDistributor + 0x280, kVirtio + 0x64, kVirtio + 0x50}) {
        HoldGeneral(pattern, after, exit, address);
        for (int i = 2; i < 32; ++i) EXPECT_EQ(after[i], pattern[i]);
      }
    }
  }
  Store32(kUart + 0x24, 0);
}

TEST(CPU_07_pstate_over_exits) {
  const uint64_t features = BARE_READ("id_aa64mmfr1_el1");
  for (const uint64_t daif : {0x3c0ull, 0x340ull, 0x300ull, 0x000ull}) {
    BARE_WRITE("daif", daif);
    Exits();
    EXPECT_EQ(BARE_READ("daif"), daif);
  }
  BARE_WRITE("daif", 0x3c0);
  if ((features >> 20 & 0xf) != 0) {  // PAN
    for (const uint64_t value : {uint64_t{1} << 22, uint64_t{0}}) {
      BARE_WRITE("s3_0_c4_c2_3", value);
      Exits();
      EXPECT_EQ(BARE_READ("s3_0_c4_c2_3"), value);
    }
  }
  if ((BARE_READ("id_aa64mmfr2_el1") >> 4 & 0xf) != 0) {  // UAO
    for (const uint64_t value : {uint64_t{1} << 23, uint64_t{0}}) {
      BARE_WRITE("s3_0_c4_c2_4", value);
      Exits();
      EXPECT_EQ(BARE_READ("s3_0_c4_c2_4"), value);
    }
  }
  if ((BARE_READ("id_aa64pfr1_el1") >> 4 & 0xf) == 2) {  // SSBS
    for (const uint64_t value : {uint64_t{1} << 12, uint64_t{0}}) {
      BARE_WRITE("s3_3_c4_c2_6", value);
      Exits();
      EXPECT_EQ(BARE_READ("s3_3_c4_c2_6"), value);
    }
  }
  if ((BARE_READ("id_aa64pfr0_el1") >> 48 & 0xf) != 0) {  // DIT
    BARE_WRITE("s3_3_c4_c2_5", 1 << 24);
    Exits();
    EXPECT_EQ(BARE_READ("s3_3_c4_c2_5"), 1 << 24);
    BARE_WRITE("s3_3_c4_c2_5", 0);
  }
}

TEST(CPU_09_no_stale_exclusive_store_succeeds) {
  static uint64_t word;
  uint64_t failed;
  register uint64_t r0 asm("x0") = 0x8400'0000;
  asm volatile("ldxr x9, [%2]\n\thvc #0\n\tstxr %w1, x9, [%2]"
               : "+r"(r0), "=&r"(failed)
               : "r"(&word)
               : "x1", "x2", "x3", "x9", "memory");
  EXPECT_EQ(failed, 1);
  asm volatile("ldxr x9, [%1]\n\tldr w10, [%2]\n\tstxr %w0, x9, [%1]"
               : "=&r"(failed)
               : "r"(&word), "r"(kRtc)
               : "x9", "x10", "memory");
  EXPECT_EQ(failed, 1);
  // Without an exit between they make progress.
  for (int i = 0; i < 100; ++i) {
    asm volatile("1:\n\tldxr x9, [%1]\n\tadd x9, x9, #1\n\tstxr %w0, x9, [%1]\n\tcbnz %w0, 1b"
                 : "=&r"(failed)
                 : "r"(&word)
                 : "x9", "memory");
  }
  EXPECT_EQ(word, 100);
}

TEST(CPU_10_GIC_022_big_endian_accesses) {
  constexpr uint64_t kEe = 1 << 25;
  const uint64_t sctlr = BARE_READ("sctlr_el1");
  static uint32_t word;
  word = 0x1122'3344;
  uint64_t device;
  uint64_t half;
  uint64_t memory;
  uint64_t distributor;
  uint64_t redistributor;
  uint64_t rtc = kRtc + 0xfe0;
  uint64_t match = kRtc + 4;
  auto address = reinterpret_cast<uint64_t>(&word);
  uint64_t big = sctlr | kEe;
  uint64_t little = sctlr;
  uint64_t value = 0x1122'3344;
  // No other data access happens while it is big-endian.
  asm volatile(
      "msr sctlr_el1, %5\n\tisb\n\t"
      "ldr %w0, [%3, #0]\n\t"
      "ldrh %w1, [%3, #0]\n\t"
      "ldr %w2, [%4]\n\t"
      "str %w7, [%8]\n\t"
      "ldr %w9, [%11]\n\t"
      "ldr %10, [%12]\n\t"
      "msr sctlr_el1, %6\n\tisb"
      : "=&r"(device), "=&r"(half), "=&r"(memory), "+r"(rtc), "+r"(address), "+r"(big),
        "+r"(little), "+r"(value), "+r"(match), "=&r"(distributor), "=&r"(redistributor)
      : "r"(kDistributor + 4), "r"(kRedistributor + 0x2'0008)
      : "memory");
  EXPECT_EQ(device, 0x3100'0000);
  EXPECT_EQ(half, 0x3100);
  EXPECT_EQ(memory, 0x4433'2211);
  EXPECT_EQ(Load32(kRtc + 4), 0x4433'2211);
  EXPECT_EQ(distributor, __builtin_bswap32(Load32(kDistributor + 4)));
  EXPECT_EQ(redistributor, __builtin_bswap64(Load<uint64_t>(kRedistributor + 0x2'0008)));
  Store32(kRtc + 4, 0);
}

TEST(CPU_11_aarch32_at_el0_as_shown) {
  // ldr r1, [r0]; mov r0, r1; svc #0
  static const uint32_t load[] = {0xe590'1000, 0xe1a0'0001, 0xef00'0000};
  // mrc p15, 0, r1, c9, c12, 0 (PMCR); udf #0; mov r0, #5; svc #0
  static const uint32_t undefined[] = {0xee19'1f1c, 0xe7f0'00f0, 0xe3a0'0005, 0xef00'0000};
  // The same in T32: ldr r1, [r0]; ldrb r0, [r0]; orr r0, r1; svc #0
  static const uint16_t thumb[] = {0x6801, 0x7800, 0x4308, 0xdf00};
  constexpr uint64_t kThumb = 1 << 5;
  const auto entry = [](const void* code) {
    return reinterpret_cast<El0Entry>(reinterpret_cast<uintptr_t>(code));
  };
  if ((BARE_READ("id_aa64pfr0_el1") & 0xf) == 2) {
    EXPECT_EQ(RunAtEl0(entry(load), kRtc + 0xfe0, kAarch32User) & 0xffff'ffff, 0x31);
    EXPECT_EQ(RunAtEl0(entry(thumb), kRtc + 0xfe0, kAarch32User | kThumb) & 0xffff'ffff, 0x31);
    uint64_t result = 0;
    const Faults faults = FaultsOf([&] { result = RunAtEl0(entry(undefined), 0, kAarch32User); });
    EXPECT_EQ(faults.count, 2);
    EXPECT_EQ(faults.Class(), kEcUnknown);
    EXPECT_EQ(faults.vector, 12);
    EXPECT_EQ(result & 0xffff'ffff, 5);
  } else {
    const Faults faults = FaultsOf([] {
      asm volatile(
          "mov x9, #0x1d0\n\tmsr spsr_el1, x9\n\tadr x9, 1f\n\tmsr elr_el1, "
          "x9\n\teret\n1:\n\tnop" ::
              : "x9", "memory");
    });
    EXPECT_EQ(faults.Class(), kEcIllegalState);
  }
}

}  // namespace
}  // namespace bare
