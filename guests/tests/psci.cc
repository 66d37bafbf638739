// PSCI 1.1 and SMCCC as the guest calls them (checklist: psci-smccc).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint32_t kVersion = 0x8400'0000;
inline constexpr uint32_t kCpuSuspend = 0x8400'0001;
inline constexpr uint32_t kCpuOn = 0x8400'0003;
inline constexpr uint32_t kAffinityInfo = 0x8400'0004;
inline constexpr uint32_t kFeatures = 0x8400'000a;
inline constexpr uint32_t k64 = 0x4000'0000;
inline constexpr uint64_t kMinusOne = ~uint64_t{0};

extern "C" char StoreStartState[];  // state.S
extern "C" void HoldGeneral(const uint64_t pattern[32], uint64_t after[32], uint64_t exit,
                            uint64_t argument);

// As StoreStartState writes it.
struct StartState {
  uint64_t x[31];
  uint64_t sp;
  uint64_t currentel, spsel, daif, sctlr, cpacr, cntv_ctl, cntp_ctl, pmr, igrpen0, igrpen1, mdscr;
  uint64_t others[15];  // VBAR ... PAR, NZCV
  uint64_t unused[6];
  uint64_t vectors[64];
};
StartState start_state;

uintptr_t Secondary() { return reinterpret_cast<uintptr_t>(secondary_start); }

TEST(SMCCC_01_SMCCC_15_hvc_and_smc_reach_the_same_services) {
  for (const uint64_t function :
       {0x8400'0000ull, 0x8400'0006ull, 0x8000'0000ull, 0x8000'0001ull, 0x8400'000aull,
        0xc400'0004ull, 0x8400'0011ull, 0xdead'beefull, 0ull}) {
    for (const uint64_t x1 : {0ull, 0x8400'0000ull, 1ull})
      EXPECT_EQ(Hvc(function, x1).x0, Smc(function, x1).x0);
  }
  EXPECT_EQ(Hvc(0x8000'0000).x0, 0x1'0001);
}

TEST(SMCCC_02_returns_to_the_next_instruction) {
  uint64_t count = 0;
  register uint64_t r0 asm("x0") = kVersion;
  asm volatile("hvc #0\n\tadd %0, %0, #1\n\tadd %0, %0, #1"
               : "+r"(count), "+r"(r0)::"x1", "x2", "x3");
  r0 = kVersion;
  asm volatile("smc #0\n\tadd %0, %0, #1\n\tadd %0, %0, #1"
               : "+r"(count), "+r"(r0)::"x1", "x2", "x3");
  EXPECT_EQ(count, 4);
}

TEST(SMCCC_03_SMCCC_09_other_immediates_are_not_calls) {
#define CALL(instruction)                                                \
  [] {                                                                   \
    register uint64_t r0 asm("x0") = kVersion;                           \
    asm volatile(instruction "" : "+r"(r0)::"x1", "x2", "x3", "memory"); \
    return r0;                                                           \
  }()
  EXPECT_EQ(CALL("hvc #1"), kMinusOne);
  EXPECT_EQ(CALL("hvc #0xffff"), kMinusOne);
  EXPECT_EQ(CALL("smc #1"), kMinusOne);
  EXPECT_EQ(CALL("smc #0xabcd"), kMinusOne);
}

TEST(SMCCC_04_calls_at_el0_are_undefined) {
  const Faults faults = FaultsOf([] {
    RunAtEl0(
        [](uint64_t) -> uint64_t {
          asm volatile("mov x0, #0x84000000\n\thvc #0\n\tsmc #0" ::: "x0", "x1", "x2", "x3");
          return 0;
        },
        0);
  });
  EXPECT_EQ(faults.count, 2);
  EXPECT_EQ(faults.Class(), kEcUnknown);
  EXPECT_EQ(faults.vector, 8);
}

TEST(SMCCC_05_SMCCC_06_upper_halves_are_ignored) {
  EXPECT_EQ(Hvc(0xffff'ffff'8400'0000).x0, 0x1'0001);
  EXPECT_EQ(Hvc(kFeatures, 0xffff'ffff'8400'0000).x0, 0);
  EXPECT_EQ(Hvc(kAffinityInfo, uint64_t{1} << 32, uint64_t{1} << 32).x0, 0);
  EXPECT_EQ(Hvc(kAffinityInfo | k64, uint64_t{1} << 40, 0).x0,
            static_cast<uint64_t>(kPsciInvalidParameters));
}

TEST(SMCCC_07_CPU_06_registers_are_preserved) {
  uint64_t pattern[32];
  uint64_t after[32];
  for (uint64_t i = 0; i < 32; ++i) pattern[i] = 0x0123'4567'89ab'cdef * (i + 1);
  pattern[31] = 0xa000'0000;
  for (const uint64_t exit : {0ull, 1ull}) {
    for (const uint64_t function : {0x8400'0000ull, 0x8400'0004ull, 0x8000'0001ull, 0x1234ull}) {
      for (uint64_t& value : after) value = 0;
      HoldGeneral(pattern, after, exit, function);
      for (int i = 4; i < 32; ++i) EXPECT_EQ(after[i], pattern[i]);
      for (int i = 2; i < 4; ++i) EXPECT(after[i] == pattern[i] || after[i] == 0);  // SMCCC_08
    }
  }
}

TEST(SMCCC_10_SMCCC_11_SMCCC_12_unknown_calls_of_every_owner) {
  for (uint64_t owner = 0; owner < 64; ++owner) {
    for (const uint64_t kind : {0x8000'0000ull, 0xc000'0000ull, 0x0ull, 0x4000'0000ull}) {
      EXPECT_EQ(Hvc(kind | owner << 24 | 0x7777).x0, kMinusOne);
      EXPECT_EQ(Smc(kind | owner << 24 | 0xff00).x0, kMinusOne);
    }
  }
  for (uint32_t bit = 16; bit < 24; ++bit) EXPECT_EQ(Hvc(kVersion | 1u << bit).x0, kMinusOne);
  EXPECT_EQ(Hvc(0x0400'0000).x0, kMinusOne);
}

TEST(SMCCC_13_PSCI_02_widths_that_do_not_exist) {
  EXPECT_EQ(Hvc(kVersion | k64).x0, kMinusOne);
  EXPECT_EQ(Hvc(kFeatures | k64, kVersion).x0, kMinusOne);
  EXPECT_EQ(Hvc(0xc400'0002).x0, kMinusOne);
  EXPECT_EQ(Hvc(0xc400'0008).x0, kMinusOne);
  EXPECT_EQ(Hvc(0xc400'0009).x0, kMinusOne);
}

TEST(SMCCC_16_SMCCC_17_SMCCC_18_discovery) {
  EXPECT_EQ(Hvc(kFeatures, 0x8000'0000).x0, 0);
  EXPECT_EQ(Hvc(0x8000'0001, 0x8000'0000).x0, 0);
  EXPECT_EQ(Hvc(0x8000'0001, 0x8000'0001).x0, 0);
  EXPECT_EQ(Hvc(0x8000'0001, 0x8400'0000).x0, kMinusOne);
}

TEST(SMCCC_19_SMCCC_22_SMCCC_23_features_and_calls_agree) {
  for (const uint64_t function : {0x8000'0002ull, 0x8000'0003ull, 0x8000'8000ull, 0x8000'7fffull,
                                  0x8000'3fffull, 0xc500'0020ull, 0x8000'1234ull}) {
    const auto answer = static_cast<int64_t>(Hvc(0x8000'0001, function).x0);
    EXPECT_EQ(answer, -1);
    EXPECT_EQ(Hvc(function).x0, kMinusOne);
  }
}

TEST(SMCCC_26_SMCCC_27_SMCCC_28_SMCCC_29_SMCCC_30_SMCCC_31_nothing_that_is_not_offered) {
  for (uint64_t function = 0x8400'0050; function <= 0x8400'0053; ++function)
    EXPECT_EQ(Hvc(function).x0, kMinusOne);
  for (uint64_t function = 0x8400'0060; function <= 0x8400'00ef; ++function) {
    EXPECT_EQ(Hvc(function).x0, kMinusOne);
    EXPECT_EQ(Hvc(function | k64).x0, kMinusOne);
  }
  for (uint64_t function = 0xc400'0020; function <= 0xc400'003f; ++function)
    EXPECT_EQ(Hvc(function).x0, kMinusOne);
  EXPECT_EQ(Hvc(0xc500'0021).x0, kMinusOne);
  EXPECT_EQ(Hvc(0x8600'ff01).x0, kMinusOne);  // vendor hypervisor UID
  for (uint64_t owner = 0; owner < 8; ++owner) {
    for (const uint64_t query : {0xff00ull, 0xff01ull, 0xff03ull}) {
      EXPECT_EQ(Hvc(0x8000'0000 | owner << 24 | query).x0, kMinusOne);
    }
  }
}

volatile uint64_t features_on_other;
TEST(SMCCC_20_answers_are_the_same_on_every_vcpu) {
  REQUIRE(StartSecondary([] {
    features_on_other = Hvc(0x8000'0001, 0x8000'8000).x0 ^ Hvc(0x8000'0000).x0 << 1 ^
                        Hvc(kFeatures, kCpuSuspend).x0 << 2;
  }));
  EXPECT(JoinSecondary());
  EXPECT_EQ(features_on_other, Hvc(0x8000'0001, 0x8000'8000).x0 ^ Hvc(0x8000'0000).x0 << 1 ^
                                   Hvc(kFeatures, kCpuSuspend).x0 << 2);
}

TEST(SMCCC_33_call_flood) {
  for (uint32_t i = 0; i < 20'000; ++i) EXPECT_EQ(Hvc(0x8400'0020 + i).x0, kMinusOne);
  EXPECT_EQ(Hvc(kVersion).x0, 0x1'0001);
}

TEST(PSCI_04_PSCI_08_features_and_calls_agree) {
  // Not called: what would end this guest. CPU_SUSPEND with an argument that it refuses.
  for (uint32_t number = 0; number < 0x20; ++number) {
    for (const uint32_t width : {0u, k64}) {
      const uint32_t function = 0x8400'0000 + number + width;
      const int64_t shown = Psci(kFeatures, function);
      EXPECT(shown == 0 || shown == kPsciNotSupported);
      if (number == 2 || number == 8 || number == 9 || number == 0xa) continue;
      const int64_t answer = Psci(function, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
      EXPECT_EQ(answer == kPsciNotSupported, shown == kPsciNotSupported);
    }
  }
  EXPECT_EQ(Psci(kFeatures, kFeatures), 0);
  EXPECT_EQ(Psci(kFeatures, 0x8400'0007), kPsciNotSupported);
}

TEST(PSCI_09_PSCI_51_PSCI_53_what_linux_calls) {
  for (const uint32_t function : {kCpuOn, kCpuSuspend, kAffinityInfo}) {
    EXPECT_EQ(Psci(kFeatures, function), 0);
    EXPECT_EQ(Psci(kFeatures, function | k64), 0);
  }
  for (const uint32_t function : {0x8400'000eu, 0xc400'000eu}) {  // SYSTEM_SUSPEND
    EXPECT_EQ(Psci(kFeatures, function), kPsciNotSupported);
    EXPECT_EQ(Psci(function), kPsciNotSupported);
  }
  EXPECT_EQ(Psci(0x8400'0006), 2);
  EXPECT_EQ(Psci(0x8400'0005, 0), kPsciNotSupported);
  EXPECT_EQ(Psci(0xc400'0007), kPsciNotSupported);
}

TEST(PSCI_11_PSCI_12_PSCI_13_PSCI_14_state_of_a_started_vcpu) {
  // Its earlier life leaves patterns behind.
  REQUIRE(StartSecondary([] {
    BARE_WRITE("tpidr_el0", 0x1111);
    BARE_WRITE("tpidr_el1", 0x2222);
    BARE_WRITE("contextidr_el1", 0x3333);
    BARE_WRITE("mdscr_el1", 1 << 12);
    BARE_WRITE("cntv_cval_el0", 0);
    BARE_WRITE("cntv_ctl_el0", 1);
    BARE_WRITE("cntkctl_el1", 3);
    BARE_WRITE("icc_pmr_el1", 0xff);
    BARE_WRITE("par_el1", 0x4444);
  }));
  EXPECT(JoinSecondary());
  const auto context = reinterpret_cast<uint64_t>(&start_state);
  EXPECT_EQ(CpuOn(1, reinterpret_cast<uintptr_t>(StoreStartState), context), kPsciSuccess);
  EXPECT(JoinSecondary());
  EXPECT_EQ(start_state.x[0], context);
  for (int i = 1; i < 31; ++i) EXPECT_EQ(start_state.x[i], 0);
  EXPECT_EQ(start_state.sp, 0);
  EXPECT_EQ(start_state.currentel, 4);
  EXPECT_EQ(start_state.spsel, 1);
  EXPECT_EQ(start_state.daif, 0x3c0);
  EXPECT_EQ(start_state.sctlr & 0x308'100f, 0);  // EE, E0E, WXN, I, SA, C, A, M clear
  EXPECT_EQ(start_state.cpacr & 3 << 20, 0);
  EXPECT_EQ(start_state.cntv_ctl & 1, 0);
  EXPECT_EQ(start_state.cntp_ctl & 1, 0);
  EXPECT_EQ(start_state.pmr, 0);
  EXPECT_EQ(start_state.igrpen0, 0);
  EXPECT_EQ(start_state.igrpen1, 0);
  EXPECT_EQ(start_state.mdscr, 0);
  for (const uint64_t value : start_state.others)
    EXPECT(value == 0 || value == 0x4000'0000);                          // NZCV: Z of a test
  for (const uint64_t value : start_state.vectors) EXPECT_EQ(value, 0);  // FP_03
}

TEST(PSCI_15_memory_of_before_is_visible) {
  static volatile uint64_t given;
  static volatile uint64_t found;
  given = 0x5a5a'1234;
  REQUIRE(StartSecondary([] { found = given; }));
  EXPECT(JoinSecondary());
  EXPECT_EQ(found, 0x5a5a'1234);
}

TEST(PSCI_16_PSCI_17_PSCI_21_PSCI_22_bad_cpu_on) {
  const uintptr_t entry = Secondary();
  for (const uint64_t target : {2ull, 0x100ull, 0x1'0000ull, 0xff'ffffull, 0x8000'0001ull,
                                0x100'0001ull, 1ull << 32, 1ull << 40 | 1, 1ull << 63, ~0ull}) {
    EXPECT_EQ(CpuOn(target, entry, 0), kPsciInvalidParameters);
  }
  for (const uint64_t address : {0x0ull, 0x0900'0000ull, 0x0800'0000ull, 0x3fff'fffcull,
                                 0x4400'0000ull, 1ull << 40, ~0ull, ~0ull - 3, 0x4000'0002ull}) {
    EXPECT_EQ(CpuOn(1, address, 0), kPsciInvalidAddress);
    EXPECT(IsOff(1));
  }
}

TEST(PSCI_18_PSCI_38_already_on) {
  static volatile bool stop;
  stop = false;
  EXPECT_EQ(CpuOn(0, Secondary(), 0), kPsciAlreadyOn);
  EXPECT_EQ(Psci(kAffinityInfo, 0, 0), 0);
  EXPECT(IsOff(1));
  REQUIRE(StartSecondary([] {
    while (!stop) asm volatile("wfe");
  }));
  EXPECT_EQ(CpuOn(1, Secondary(), 0), kPsciAlreadyOn);
  EXPECT_EQ(CpuOn(1, 0, 0), kPsciInvalidAddress);
  EXPECT_EQ(Psci(kAffinityInfo, 1, 0), 0);  // PSCI_43
  stop = true;
  EXPECT(JoinSecondary());
}

TEST(PSCI_26_PSCI_43_PSCI_44_on_and_off_again_and_again) {
  static volatile uint32_t lives;
  lives = 0;
  for (uint32_t i = 1; i <= 50; ++i) {
    REQUIRE(StartSecondary([] { lives = lives + 1; }));
    REQUIRE(JoinSecondary());
    EXPECT_EQ(lives, i);
  }
}

TEST(PSCI_27_PSCI_28_off_ignores_its_arguments_and_does_not_return) {
  static volatile uint32_t after;
  after = 0;
  REQUIRE(StartSecondary([] {
    (void)Hvc(0x8400'0002, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
    after = 1;
  }));
  EXPECT(JoinSecondary());
  Spin(200);
  EXPECT_EQ(after, 0);
}

TEST(PSCI_29_interrupts_of_an_off_vcpu_do_no_harm) {
  EXPECT(IsOff(1));
  SendSgi(4, 2);
  EnableInterrupt(4, 1);
  Spin(200);
  EXPECT(IsOff(1));
  Store32(kRedistributor + 0x3'0280, 1 << 4);
}

TEST(PSCI_31_PSCI_32_PSCI_33_PSCI_35_suspend_waits_for_an_interrupt) {
  EnableInterrupt(kVirtualTimerIntid);
  for (const uint64_t state : {0ull, 0x1'0000ull, 0x1'0001ull, 0x100'0000ull, 0x30'0ull}) {
    const uint64_t due = Counter() + BARE_READ("cntfrq_el0") / 10'000;
    BARE_WRITE("cntv_cval_el0", due);
    BARE_WRITE("cntv_ctl_el0", 1);
    register uint64_t r19 asm("x19") = 0x1357;
    asm volatile("" : "+r"(r19));
    EXPECT_EQ(Psci(kCpuSuspend | k64, state, Secondary(), 7), kPsciSuccess);
    asm volatile("" : "+r"(r19));
    EXPECT_EQ(r19, 0x1357);
    EXPECT(Counter() >= due);
    EXPECT_EQ(Psci(kCpuSuspend, state, 0, 0), kPsciSuccess);  // pends already
    BARE_WRITE("cntv_ctl_el0", 0);
    EXPECT(!IsPending(kVirtualTimerIntid));
  }
  DisableInterrupt(kVirtualTimerIntid);
}

TEST(PSCI_34_PSCI_37_bad_suspend_states) {
  for (const uint64_t state :
       {0x2'0000ull, 0x400'0000ull, 0x8000'0000ull, 0x4000'0000ull, 0xffff'ffffull}) {
    EXPECT_EQ(Psci(kCpuSuspend, state, 0, 0), kPsciInvalidParameters);
  }
  EXPECT_EQ(Psci(0x8400'000f, 1), kPsciNotSupported);
}

TEST(PSCI_39_PSCI_40_PSCI_41_PSCI_42_bad_affinity_info) {
  for (const uint64_t target : {2ull, 0x8000'0000ull, 0x100'0000ull, 1ull << 40, ~0ull}) {
    EXPECT_EQ(Psci(kAffinityInfo | k64, target, 0), kPsciInvalidParameters);
  }
  for (const uint64_t level : {1ull, 3ull, 4ull, 64ull, 0xffull, 1ull << 32, 1ull << 63}) {
    EXPECT_EQ(Psci(kAffinityInfo | k64, 0, level), kPsciInvalidParameters);
  }
}

TEST(PSCI_49_system_reset2_refuses_what_is_no_warm_reset) {
  for (const uint32_t function : {0x8400'0012u, 0xc400'0012u}) {
    EXPECT_EQ(Psci(kFeatures, function), 0);
    EXPECT_EQ(Psci(function, 1), kPsciInvalidParameters);
    EXPECT_EQ(Psci(function, 0x8000'0000), kPsciInvalidParameters);
    EXPECT_EQ(Psci(function, ~uint64_t{0}), kPsciInvalidParameters);
  }
}

TEST(PSCI_10_optional_functions_are_not_there) {
  for (const uint32_t number :
       {0x0bu, 0x0cu, 0x0du, 0x0fu, 0x10u, 0x11u, 0x13u, 0x14u, 0x15u, 0x1fu}) {
    EXPECT_EQ(Psci(0x8400'0000 + number, ~0ull, ~0ull), kPsciNotSupported);
    EXPECT_EQ(Psci(0xc400'0000 + number, ~0ull, ~0ull), kPsciNotSupported);
  }
}

TEST(PSCI_47_PSCI_45_PSCI_48_one_vcpu_ends_the_machine_while_the_other_works) {
  // The runner sees the last line and that the machine powers off; here the other vCPU is left in a loop of calls.
  EXPECT(StartSecondary([] {
    for (;;) (void)Hvc(kVersion);
  }));
  Spin(100);
}

}  // namespace
}  // namespace bare
