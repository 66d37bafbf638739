// Exceptions that the hypervisor injects, accesses to nothing, forms of device access (checklist: timer-cpu).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uintptr_t kNothing[] = {0x0,         0x0700'0000, 0x0900'1000,   0x0b00'0000,
                                         0x1000'0000, 0x3fff'fff8, 0xff'ffff'fff8};
inline constexpr uintptr_t kNowhere = 0x0b00'0000;
inline constexpr uintptr_t kRtcMatch = kRtc + 0x04;  // RTCMR, readable and writable
inline constexpr uint64_t kEsrIl = 1u << 25;
inline constexpr uint64_t kEsrWrite = 1u << 6;

// Uses a register that must be kept whatever the access does.
#define LOAD_FORM(instruction, address)                                \
  [](uintptr_t from) {                                                 \
    register uint64_t value asm("x9") = ~uint64_t{0};                  \
    asm volatile(instruction "" : "+r"(value) : "r"(from) : "memory"); \
    return value;                                                      \
  }(address)

TEST(TRAP_10_access_to_nothing_aborts) {
  for (const uintptr_t address : kNothing) {
    Faults faults = FaultsOf([=] { (void)Load32(address); });
    EXPECT(faults.ExternalAbort());
    EXPECT_EQ(faults.far, address);
    EXPECT_EQ(faults.esr & kEsrWrite, 0);
    faults = FaultsOf([=] { Store32(address, 0xdead'beef); });
    EXPECT(faults.ExternalAbort());
    EXPECT_EQ(faults.esr & kEsrWrite, kEsrWrite);
  }
  // At EL0 it is the guest's EL1 that takes it.
  const Faults faults = FaultsOf(
      [] { RunAtEl0([](uint64_t address) -> uint64_t { return Load32(address); }, kNowhere); });
  EXPECT(faults.ExternalAbort(true));
  EXPECT_EQ(faults.vector, 8);
}

TEST(TRAP_10_bounds_of_device_regions) {
  EXPECT_EQ(FaultsOf([] { (void)Load32(kUart + 0xffc); }).count, 0);
  EXPECT(FaultsOf([] { (void)Load32(kUart + 0x1000); }).ExternalAbort());
  EXPECT(FaultsOf([] { (void)Load32(kUart - 4); }).ExternalAbort());
  EXPECT_EQ(FaultsOf([] { (void)Load32(kRtc + 0xffc); }).count, 0);
  EXPECT(FaultsOf([] { (void)Load32(kRtc + 0x1000); }).ExternalAbort());
  EXPECT(FaultsOf([] { (void)Load32(kRtc - 4); }).count <=
         1);  // the UART's neighbour page is nobody's
  // Across the end of a region.
  EXPECT(FaultsOf([] { (void)Load<uint64_t>(kRtc + 0xffc); }).count <= 1);
  EXPECT_EQ(Load32(kRtc + 0xfe0), 0x31);  // both are still there
}

TEST(TRAP_11_fetch_from_nothing_or_a_device_aborts) {
  for (const uintptr_t address : {kNowhere, kUart, kDistributor, uintptr_t{0x0}}) {
    const Faults faults = FaultsOf([=] { reinterpret_cast<void (*)()>(address)(); });
    EXPECT_EQ(faults.count, 1);
    EXPECT_EQ(faults.Class(), kEcFetchSame);
    EXPECT_EQ(faults.Status(), kFaultExternal);
    EXPECT_EQ(faults.far, address);
    EXPECT_EQ(faults.elr, address);
  }
  const Faults faults = FaultsOf([] { RunAtEl0(reinterpret_cast<El0Entry>(kNowhere), 0); });
  EXPECT_EQ(faults.Class(), kEcFetchLower);
  EXPECT_EQ(faults.Status(), kFaultExternal);
}

TEST(TRAP_08_emulated_instructions_step_by_one) {
  // Each of these is trapped; the counter after it shows that it was executed once and nothing was skipped.
  uint64_t count = 0;
  register uint64_t r0 asm("x0") = 0;
  asm volatile(
      "ldr w9, [%2]\n\tadd %0, %0, #1\n\t"
      "str wzr, [%2]\n\tadd %0, %0, #1\n\t"
      "mrs x9, id_aa64pfr0_el1\n\tadd %0, %0, #1\n\t"
      "mov x0, #0x84000000\n\thvc #0\n\tadd %0, %0, #1\n\t"
      "mov x0, #0x84000000\n\tsmc #0\n\tadd %0, %0, #1\n\t"
      "msr mdscr_el1, xzr\n\tadd %0, %0, #1"
      : "+r"(count), "+r"(r0)
      : "r"(kRtcMatch)
      : "x1", "x2", "x3", "x9", "memory");
  EXPECT_EQ(count, 6);
  EXPECT_EQ(r0, 0x1'0001);
}

TEST(TRAP_09_injected_exceptions_look_as_if_taken) {
  // From EL1 with SP_EL1, flags set, IRQ unmasked: the state before in SPSR, everything masked in the handler.
  Faults faults = FaultsOf([] {
    asm volatile(
        "mov x9, #0xa0000000\n\tmsr nzcv, x9\n\tmsr daifclr, #2\n\t"
        "mrs x9, s3_4_c1_c1_0\n\t"  // HCR_EL2
        "msr daifset, #2" ::
            : "x9", "cc");
  });
  EXPECT(faults.Undefined());
  EXPECT_EQ(faults.vector, 4);
  EXPECT_EQ(faults.esr, kEsrIl);
  EXPECT_EQ(faults.spsr & 0xf000'03df, 0xa000'0345);  // NZCV = 1010, D A F masked, I not, EL1h
  EXPECT_EQ(faults.daif, 0x3c0);

  faults = FaultsOf([] {
    asm volatile("msr daifclr, #2\n\tldr w9, [%0]\n\tmsr daifset, #2" ::"r"(kNowhere) : "x9");
  });
  EXPECT(faults.ExternalAbort());
  EXPECT_EQ(faults.vector, 4);
  EXPECT_EQ(faults.esr & kEsrIl, kEsrIl);
  EXPECT_EQ(faults.spsr & 0x3df, 0x345);
  EXPECT_EQ(faults.daif, 0x3c0);

  // From EL1 with SP_EL0.
  faults = FaultsOf([] {
    asm volatile(
        "mov x9, sp\n\tmsr sp_el0, x9\n\tmsr spsel, #0\n\tldr w9, [%0]\n\tmsr spsel, #1" ::"r"(
            kNowhere)
        : "x9");
  });
  EXPECT(faults.ExternalAbort());
  EXPECT_EQ(faults.vector, 0);
  EXPECT_EQ(faults.spsr & 0xf, 4);  // EL1t

  // From EL0.
  faults = FaultsOf([] {
    RunAtEl0(
        [](uint64_t) -> uint64_t {
          uint64_t value = 0;
          asm volatile("mrs %0, s3_4_c1_c1_0" : "=r"(value));
          return value;
        },
        0);
  });
  EXPECT_EQ(faults.Class(), kEcUnknown);
  EXPECT_EQ(faults.vector, 8);
  EXPECT_EQ(faults.spsr & 0xf, 0);
}

uint64_t pan_in_handler;
TEST(TRAP_09_CPU_08_pan_follows_span) {
  constexpr uint64_t kSpan = 1u << 23;
  constexpr uint64_t kPan = 1u << 22;
  if ((BARE_READ("id_aa64mmfr1_el1") >> 20 & 0xf) == 0) return;  // no PAN on this CPU
  const uint64_t sctlr = BARE_READ("sctlr_el1");
  for (const bool span : {true, false}) {
    BARE_WRITE("sctlr_el1", span ? sctlr | kSpan : sctlr & ~kSpan);
    SetFaultHook([](Frame&) {
      pan_in_handler = BARE_READ("s3_0_c4_c2_3");
      return false;
    });
    const Faults faults = FaultsOf([] { asm volatile("mrs x9, s3_4_c1_c1_0" ::: "x9"); });
    EXPECT(faults.Undefined());
    EXPECT_EQ(faults.spsr & kPan, 0);
    EXPECT_EQ(pan_in_handler, span ? 0 : kPan);
    (void)FaultsOf([] { (void)Load32(kNowhere); });
    EXPECT_EQ(pan_in_handler, span ? 0 : kPan);
    EXPECT_EQ(BARE_READ("s3_0_c4_c2_3"), 0);  // restored
  }
  SetFaultHook(nullptr);
  BARE_WRITE("sctlr_el1", sctlr);
}

TEST(TRAP_13_load_forms) {
  Store32(kRtcMatch, 0x8765'c3a1);
  EXPECT_EQ(LOAD_FORM("ldrb %w0, [%1]", kRtcMatch), 0xa1);
  EXPECT_EQ(LOAD_FORM("ldrh %w0, [%1]", kRtcMatch), 0xc3a1);
  EXPECT_EQ(LOAD_FORM("ldr %w0, [%1]", kRtcMatch), 0x8765'c3a1);
  EXPECT_EQ(LOAD_FORM("ldrsb %w0, [%1]", kRtcMatch), 0xffff'ffa1);
  EXPECT_EQ(LOAD_FORM("ldrsb %0, [%1]", kRtcMatch), 0xffff'ffff'ffff'ffa1);
  EXPECT_EQ(LOAD_FORM("ldrsh %w0, [%1]", kRtcMatch), 0xffff'c3a1);
  EXPECT_EQ(LOAD_FORM("ldrsh %0, [%1]", kRtcMatch), 0xffff'ffff'ffff'c3a1);
  EXPECT_EQ(LOAD_FORM("ldrsw %0, [%1]", kRtcMatch), 0xffff'ffff'8765'c3a1);
  EXPECT_EQ(LOAD_FORM("ldar %w0, [%1]", kRtcMatch), 0x8765'c3a1);
  EXPECT_EQ(LOAD_FORM("ldurb %w0, [%1]", kRtcMatch), 0xa1);
  EXPECT_EQ(LOAD_FORM("ldr %w0, [%1, #-4]", kRtcMatch + 4), 0x8765'c3a1);
  // 64 bits, at a register of that width: GICR_TYPER of vCPU 1, affinity 1, last of the region.
  EXPECT_EQ(LOAD_FORM("ldr %0, [%1]", kRedistributor + 0x2'0008) >> 32, 1);
  // To the zero register: the access happens, nothing is written.
  const Faults faults =
      FaultsOf([] { asm volatile("ldr wzr, [%0]\n\tldr xzr, [%0]" ::"r"(kRtcMatch)); });
  EXPECT_EQ(faults.count, 0);
}

TEST(TRAP_13_store_forms) {
  Store32(kRtcMatch, 0xffff'ffff);
  asm volatile("str wzr, [%0]" ::"r"(kRtcMatch));
  EXPECT_EQ(Load32(kRtcMatch), 0);
  asm volatile("str %w1, [%0]" ::"r"(kRtcMatch), "r"(0x1234'5678'9abc'def0ull));
  EXPECT_EQ(Load32(kRtcMatch), 0x9abc'def0);
  asm volatile("stlr %w1, [%0]" ::"r"(kRtcMatch), "r"(0x1111'2222));
  EXPECT_EQ(Load32(kRtcMatch), 0x1111'2222);
  asm volatile("stur %w1, [%0, #-4]" ::"r"(kRtcMatch + 4), "r"(0x3333'4444));
  EXPECT_EQ(Load32(kRtcMatch), 0x3333'4444);
  // Narrow stores zero-extend (PL031-07); wide ones change nothing (PL031-11).
  asm volatile("str %1, [%0]" ::"r"(kRtcMatch + 4), "r"(~0ull));
  EXPECT_EQ(Load32(kRtcMatch), 0x3333'4444);
  // 64 bits: GICD_IROUTER of the last virtio interrupt.
  const uintptr_t route = kDistributor + 0x6000 + 8 * (kVirtioIntid + 1);
  asm volatile("str %1, [%0]" ::"r"(route), "r"(uint64_t{1}));
  EXPECT_EQ(Load<uint64_t>(route), 1);
  asm volatile("str xzr, [%0]" ::"r"(route));
  EXPECT_EQ(Load<uint64_t>(route), 0);
}

// Forms without a syndrome: an abort in the guest, the device and the address register as they were.
#define EXPECT_ABORT(...)                                                             \
  do {                                                                                \
    const Faults faults = FaultsOf([] {                                               \
      register uintptr_t address asm("x10") = kRtcMatch;                              \
      register uint64_t value asm("x11") = 0x55aa'55aa;                               \
      asm volatile(__VA_ARGS__ : "+r"(address), "+r"(value)::"x12", "x13", "memory"); \
      EXPECT_EQ(address, kRtcMatch);                                                  \
    });                                                                               \
    EXPECT(faults.ExternalAbort());                                                   \
    EXPECT_EQ(faults.far, kRtcMatch);                                                 \
    EXPECT_EQ(Load32(kRtcMatch), 0x0bad'cafe);                                        \
  } while (0)

TEST(TRAP_14_forms_without_syndrome_abort) {
  Store32(kRtcMatch, 0x0bad'cafe);
  EXPECT_ABORT("ldp w12, w13, [x10]");
  EXPECT_ABORT("stp w11, w11, [x10]");
  EXPECT_ABORT("ldr w12, [x10], #4");
  EXPECT_ABORT("str w11, [x10], #4");
  EXPECT_ABORT("ldr w12, [x10, #0]!");
  EXPECT_ABORT("ldxr w12, [x10]");
  EXPECT_ABORT("ldaxr w12, [x10]");
  EXPECT_ABORT("ldadd w11, w12, [x10]");
  EXPECT_ABORT("swp w11, w12, [x10]");
  EXPECT_ABORT("cas w11, w11, [x10]");
  EXPECT_ABORT(".inst 0xbd400140");  // ldr s0, [x10]
  EXPECT_ABORT(".inst 0xbd000140");  // str s0, [x10]
  EXPECT_ABORT(".inst 0x0d408140");  // ld1 {v0.s}[0], [x10]
  Store32(kRtcMatch, 0);
}

TEST(TRAP_15_cache_and_translation_operations_on_nothing) {
  for (const uintptr_t address : {kNowhere, kUart, kDistributor, uintptr_t{0xff'ffff'f000}}) {
    const auto harmless = [](const Faults& faults) {
      return faults.count == 0 || faults.ExternalAbort();
    };
    EXPECT(harmless(FaultsOf([=] { asm volatile("dc cvac, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("dc civac, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("dc ivac, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("dc cvau, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("ic ivau, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("dc zva, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("at s1e1r, %0" ::"r"(address)); })));
    EXPECT(harmless(FaultsOf([=] { asm volatile("prfm pldl1keep, [%0]" ::"r"(address)); })));
  }
  EXPECT_EQ(Load32(kRtc + 0xfe0), 0x31);
}

TEST(CACHE_01_set_way_operations_do_not_fault) {
  static volatile uint64_t data = 0x1234'5678'9abc'def0;
  EXPECT_EQ(
      FaultsOf([] { asm volatile("dc isw, xzr\n\tdc csw, xzr\n\tdc cisw, xzr\n\tdsb sy"); }).count,
      0);
  EXPECT_EQ(data, 0x1234'5678'9abc'def0);
}

TEST(CPU_12_TRAP_09_illegal_return_stays_in_the_guest) {
  // SPSR that names EL2 or EL3, AArch32 at EL1, or a reserved mode: PSTATE.IL, at this level.
  for (const uint64_t spsr : {0x3c9ull, 0x3c8ull, 0x3cdull, 0x3c2ull, 0x3c1ull, 0x1d3ull}) {
    static uint64_t wanted;
    wanted = spsr;
    const Faults faults = FaultsOf([] {
      asm volatile(
          "msr spsr_el1, %0\n\tadr x9, 1f\n\tmsr elr_el1, x9\n\teret\n1:\n\tnop\n\tnop" ::"r"(
              wanted)
          : "x9", "memory");
    });
    EXPECT_EQ(faults.count, 1);
    EXPECT_EQ(faults.Class(), kEcIllegalState);
    EXPECT_EQ(faults.vector, 4);
    EXPECT_EQ(BARE_READ("currentel"), 4);
  }
}

TEST(TRAP_09_hostile_vector_base_hurts_the_guest_only) {
  // Exceptions would go to a vector table in nothing: here only the base is kept, as an exception would never end.
  const uint64_t vectors = BARE_READ("vbar_el1");
  BARE_WRITE("vbar_el1", kNowhere);
  EXPECT_EQ(Load32(kRtc + 0xfe0), 0x31);  // exits and comes back
  EXPECT_EQ(BARE_READ("vbar_el1"), kNowhere);
  BARE_WRITE("vbar_el1", vectors);
}

TEST(TRAP_14_unaligned_and_wide_device_accesses) {
  Store32(kRtcMatch, 0x0bad'cafe);
  for (uintptr_t offset = 1; offset < 8; ++offset) {
    (void)FaultsOf([=] {
      Store<uint64_t>(kRtcMatch + offset, ~uint64_t{0});
      (void)Load<uint64_t>(kRtcMatch + offset);
      if (offset % 4 != 0) Store<uint16_t>(kRtcMatch + offset, 0xffff);
    });
  }
  EXPECT_EQ(Load32(kRtcMatch), 0x0bad'cafe);
  Store32(kRtcMatch, 0);
}

}  // namespace
}  // namespace bare
