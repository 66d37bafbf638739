// Breakpoints, watchpoints, software step (checklist: timer-cpu, DEBUG rows).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint64_t kMdscrStep = 1 << 0;
inline constexpr uint64_t kMdscrKernel = 1 << 13;  // KDE
inline constexpr uint64_t kMdscrEnable = 1 << 15;  // MDE
inline constexpr uint64_t kSpsrStep = 1 << 21;
inline constexpr uintptr_t kRtcMatch = kRtc + 4;

inline constexpr uint64_t kOn = 1;
inline constexpr uint64_t kAtEl1 = 1 << 1;
inline constexpr uint64_t kAtEl0 = 2 << 1;
inline constexpr uint64_t kLoads = 1 << 3;
inline constexpr uint64_t kStores = 2 << 3;
inline constexpr uint64_t kAllBytes = 0xff << 5;
inline constexpr uint64_t kInstruction = 0xf << 5;

[[gnu::noinline]] uint64_t Target(uint64_t value) {
  asm volatile("" : "+r"(value));
  return value + 1;
}

void Enable() {
  BARE_WRITE("oslar_el1", 0);
  BARE_WRITE("mdscr_el1", kMdscrEnable | kMdscrKernel);
  asm volatile("msr daifclr, #8");
}
void Disable() {
  asm volatile("msr daifset, #8");
  BARE_WRITE("mdscr_el1", 0);
  BARE_WRITE("dbgbcr0_el1", 0);
  BARE_WRITE("dbgwcr0_el1", 0);
}

volatile uint32_t hits_on_other;
TEST(DEBUG_01_hardware_breakpoint_hits_where_it_is_set) {
  const auto address = reinterpret_cast<uint64_t>(&Target);
  BARE_WRITE("dbgbvr0_el1", address);
  BARE_WRITE("dbgbcr0_el1", kOn | kAtEl1 | kInstruction);
  EXPECT_EQ(BARE_READ("dbgbvr0_el1"), address);
  Enable();
  for (int i = 0; i < 3; ++i) {
    const Faults faults = FaultsOf([] { (void)Target(1); });
    EXPECT_EQ(faults.count, 1);
    EXPECT_EQ(faults.Class(), kEcBreakpointSame);
    EXPECT_EQ(faults.elr, address);
    (void)Load32(kRtc);  // kept over exits
    (void)Hvc(0x8400'0000);
  }
  // Another vCPU has its own.
  hits_on_other = 99;
  REQUIRE(StartSecondary([] {
    Enable();
    hits_on_other = Target(1) == 2 ? 0 : 1;
    BARE_WRITE("mdscr_el1", 0);
  }));
  EXPECT(JoinSecondary());
  EXPECT_EQ(hits_on_other, 0);
  EXPECT_EQ(FaultsOf([] { (void)Target(1); }).count, 1);
  Disable();
  EXPECT_EQ(FaultsOf([] { (void)Target(1); }).count, 0);
}

TEST(DEBUG_01_as_many_as_shown) {
  const uint64_t features = BARE_READ("id_aa64dfr0_el1");
  const uint64_t breakpoints = (features >> 12 & 0xf) + 1;
  const uint64_t watchpoints = (features >> 20 & 0xf) + 1;
  EXPECT(breakpoints >= 2 && watchpoints >= 2);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c3_4"), breakpoints <= 3);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c5_4"), breakpoints <= 5);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c6_4"), breakpoints <= 6);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c15_5"), breakpoints <= 15);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c3_6"), watchpoints <= 3);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c4_6"), watchpoints <= 4);
  EXPECT_EQ(READ_IS_UNDEFINED("s2_0_c0_c15_7"), watchpoints <= 15);
}

alignas(8) volatile uint64_t watched;
TEST(DEBUG_02_watchpoints_of_loads_and_stores) {
  const auto address = reinterpret_cast<uint64_t>(&watched);
  const auto load = [] { (void)watched; };
  const auto store = [] { watched = 1; };
  BARE_WRITE("dbgwvr0_el1", address);
  Enable();
  for (const uint64_t kind : {kLoads, kStores, kLoads | kStores}) {
    BARE_WRITE("dbgwcr0_el1", kOn | kAtEl1 | kind | kAllBytes);
    const Faults on_load = FaultsOf(load);
    const Faults on_store = FaultsOf(store);
    EXPECT_EQ(on_load.count, (kind & kLoads) != 0 ? 1 : 0);
    EXPECT_EQ(on_store.count, (kind & kStores) != 0 ? 1 : 0);
    if ((kind & kLoads) != 0) {
      EXPECT_EQ(on_load.Class(), kEcWatchpointSame);
      EXPECT_EQ(on_load.far, address);
    }
  }
  // A byte of it only.
  BARE_WRITE("dbgwcr0_el1", kOn | kAtEl1 | kLoads | 1 << 5 << 4);
  EXPECT_EQ(FaultsOf([=] { (void)Load<uint8_t>(address + 3); }).count, 0);
  EXPECT_EQ(FaultsOf([=] { (void)Load<uint8_t>(address + 4); }).count, 1);
  // A device access aborts at Stage 2 first, which has priority: it is emulated, and no watchpoint seen.
  BARE_WRITE("dbgwvr0_el1", kRtcMatch & ~uint64_t{7});
  BARE_WRITE("dbgwcr0_el1", kOn | kAtEl1 | kLoads | kStores | 0xf0 << 5);
  EXPECT_EQ(FaultsOf([] { Store32(kRtcMatch, 0x5678); }).count, 0);
  Disable();
  EXPECT_EQ(Load32(kRtcMatch), 0x5678);
  Store32(kRtcMatch, 0);
}

struct Steps {
  uint32_t count;
  uint64_t elr[32];
  uint64_t end;
};
Steps steps;

// brk #1 begins stepping, brk #2 ends it.
bool OnStep(Frame& frame) {
  const auto exception_class = static_cast<uint32_t>(frame.esr >> 26) & 0x3f;
  if (exception_class == kEcBrk) {
    const bool begin = (frame.esr & 0xffff) == 1;
    steps.end = frame.elr;
    BARE_WRITE("mdscr_el1", begin ? kMdscrKernel | kMdscrStep : 0);
    if (begin) frame.spsr |= kSpsrStep;
    frame.elr += 4;
    return true;
  }
  if (exception_class == kEcStepSame || exception_class == kEcStepLower) {
    if (steps.count < 32) steps.elr[steps.count] = frame.elr;
    steps.count = steps.count + 1;
    frame.spsr |= kSpsrStep;
    return true;
  }
  return false;
}

TEST(DEBUG_03_SMCCC_34_single_step_at_el1_over_trapped_instructions) {
  steps = {};
  EnableInterrupt(kVirtualTimerIntid);
  BARE_WRITE("cntv_cval_el0", 0);
  BARE_WRITE("cntv_ctl_el0", 1);  // so that WFI goes on
  SetFaultHook(OnStep);
  BARE_WRITE("oslar_el1", 0);
  uint64_t begin;
  asm volatile(
      "msr daifclr, #8\n\t"
      "adr %0, 1f\n\t"
      "brk #1\n"
      "1:\n\t"
      "nop\n\t"
      "ldr w9, [%1]\n\t"  // a device
      "str wzr, [%1]\n\t"
      "mrs x9, id_aa64pfr0_el1\n\t"  // emulated
      "mov x0, #0x84000000\n\t"
      "hvc #0\n\t"
      "mov x0, #0x84000000\n\t"
      "smc #0\n\t"
      "wfi\n\t"
      "nop\n\t"
      "brk #2\n\t"
      "msr daifset, #8"
      : "=&r"(begin)
      : "r"(kRtcMatch)
      : "x0", "x1", "x2", "x3", "x9", "memory");
  SetFaultHook(nullptr);
  Disable();
  BARE_WRITE("cntv_ctl_el0", 0);
  DisableInterrupt(kVirtualTimerIntid);
  // An exception after each of the ten, at the one that follows.
  EXPECT_EQ(steps.count, 10);
  for (uint32_t i = 0; i < 10; ++i) EXPECT_EQ(steps.elr[i], begin + 4 * (i + 1));
  EXPECT_EQ(steps.end, begin + 40);
}

TEST(DEBUG_03_single_step_of_el0) {
  steps = {};
  SetFaultHook(OnStep);
  BARE_WRITE("oslar_el1", 0);
  BARE_WRITE("mdscr_el1", kMdscrStep);
  const auto entry = [](uint64_t address) -> uint64_t {
    uint64_t value;
    asm volatile("nop\n\tldr %w0, [%1]\n\tnop" : "=&r"(value) : "r"(address) : "memory");
    return value;
  };
  const uint64_t value = RunAtEl0(entry, kRtc + 0xfe0, 0x1c0 | kSpsrStep);
  SetFaultHook(nullptr);
  BARE_WRITE("mdscr_el1", 0);
  EXPECT_EQ(value, 0x31);
  EXPECT(steps.count >= 4 && steps.count < 32);
  for (uint32_t i = 1; i < 3; ++i) EXPECT_EQ(steps.elr[i], steps.elr[i - 1] + 4);
}

TEST(DEBUG_04_brk_goes_to_el1) {
  const Faults faults = FaultsOf([] { asm volatile("brk #0x1234"); });
  EXPECT_EQ(faults.count, 1);
  EXPECT_EQ(faults.Class(), kEcBrk);
  EXPECT_EQ(faults.esr & 0xffff, 0x1234);
  EXPECT_EQ(faults.vector, 4);
  const Faults at_el0 = FaultsOf([] {
    RunAtEl0(
        [](uint64_t) -> uint64_t {
          asm volatile("brk #7");
          return 0;
        },
        0);
  });
  EXPECT_EQ(at_el0.Class(), kEcBrk);
  EXPECT_EQ(at_el0.vector, 8);
}

TEST(DEBUG_05_os_lock) {
  BARE_WRITE("oslar_el1", 1);
  EXPECT_EQ(BARE_READ("oslsr_el1") & 2, 2);
  BARE_WRITE("dbgbvr0_el1", reinterpret_cast<uint64_t>(&Target));
  BARE_WRITE("dbgbcr0_el1", kOn | kAtEl1 | kInstruction);
  BARE_WRITE("mdscr_el1", kMdscrEnable | kMdscrKernel);
  asm volatile("msr daifclr, #8");
  EXPECT_EQ(FaultsOf([] { (void)Target(1); }).count, 0);  // locked: no debug exceptions
  BARE_WRITE("oslar_el1", 0);
  EXPECT_EQ(BARE_READ("oslsr_el1") & 2, 0);
  EXPECT_EQ(FaultsOf([] { (void)Target(1); }).count, 1);
  Disable();
  BARE_WRITE("osdlr_el1", 1);
  EXPECT_EQ(BARE_READ("osdlr_el1"), 0);
}

// QEMU 7.2 lacks some of these; else they read 0 and ignore writes.
#define IS_NOBODYS(name)                                                                     \
  [] {                                                                                       \
    volatile uint64_t value = 0;                                                             \
    const Faults faults =                                                                    \
        FaultsOf([&] { asm volatile("msr " name ", %0" ::"r"(uint64_t{0x41})); });           \
    const Faults on_read = FaultsOf([&] {                                                    \
      uint64_t found = 0;                                                                    \
      asm volatile("mrs %0, " name : "+r"(found));                                           \
      value = found;                                                                         \
    });                                                                                      \
    return (faults.count == 0 || faults.Undefined()) && (on_read.Undefined() || value == 0); \
  }()
TEST(DEBUG_06_debug_channel_is_nobodys) {
  for (int i = 0; i < 2; ++i) {
    EXPECT(IS_NOBODYS("s2_3_c0_c5_0"));   // DBGDTRRX_EL0, DBGDTRTX_EL0
    EXPECT(IS_NOBODYS("s2_3_c0_c4_0"));   // DBGDTR_EL0
    EXPECT(IS_NOBODYS("s2_3_c0_c1_0"));   // MDCCSR_EL0
    EXPECT(IS_NOBODYS("s2_0_c0_c2_0"));   // MDCCINT_EL1
    EXPECT(IS_NOBODYS("s2_0_c0_c0_2"));   // OSDTRRX_EL1
    EXPECT(IS_NOBODYS("s2_0_c0_c3_2"));   // OSDTRTX_EL1
    EXPECT(IS_NOBODYS("s2_0_c0_c6_2"));   // OSECCR_EL1
    EXPECT(IS_NOBODYS("s2_0_c7_c8_6"));   // DBGCLAIMSET_EL1
    EXPECT(IS_NOBODYS("s2_0_c7_c9_6"));   // DBGCLAIMCLR_EL1
    EXPECT(IS_NOBODYS("s2_0_c1_c0_0"));   // MDRAR_EL1
    EXPECT(IS_NOBODYS("s2_0_c7_c14_6"));  // DBGAUTHSTATUS_EL1
    EXPECT(IS_NOBODYS("s2_0_c1_c4_4"));   // DBGPRCR_EL1
  }
}

TEST(DEBUG_07_DEBUG_08_the_guests_debug_events_stay_out_of_services) {
  // Every access and fetch of EL0 in the low 2 GiB, where services run too.
  constexpr uint64_t kMask2GiB = uint64_t{31} << 24;
  BARE_WRITE("dbgwvr0_el1", 0);
  BARE_WRITE("dbgwcr0_el1", kOn | kAtEl0 | kLoads | kStores | kAllBytes | kMask2GiB);
  BARE_WRITE("dbgbvr0_el1", 0x40'0000);
  BARE_WRITE("dbgbcr0_el1", kOn | kAtEl0 | kInstruction);
  BARE_WRITE("oslar_el1", 0);
  BARE_WRITE("mdscr_el1", kMdscrEnable | kMdscrKernel | kMdscrStep);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Load32(kRtc + 0xfe0), 0x31);
    EXPECT_EQ(Load32(kUart + 0xfe0), 0x11);
    EXPECT_EQ(Load32(kVirtio), 0x7472'6976);
    EXPECT_EQ(Load32(kDistributor) & 0x10, 0x10);
    EXPECT_EQ(Hvc(0x8400'0000).x0, 0x1'0001);
  }
  EXPECT_EQ(BARE_READ("mdscr_el1"), kMdscrEnable | kMdscrKernel | kMdscrStep);
  Disable();
}

}  // namespace
}  // namespace bare
