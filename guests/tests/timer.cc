// Both EL1 timers, the counters, WFI and WFE (checklist: timer-cpu).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint64_t kEnable = 1;
inline constexpr uint64_t kMask = 2;
inline constexpr uint64_t kDue = 4;

uint64_t Microseconds(uint64_t count) { return count * BARE_READ("cntfrq_el0") / 1'000'000; }

void ArmVirtual(uint64_t compare) {
  BARE_WRITE("cntv_cval_el0", compare);
  BARE_WRITE("cntv_ctl_el0", kEnable);
}
void ArmPhysical(uint64_t compare) {
  BARE_WRITE("cntp_cval_el0", compare);
  BARE_WRITE("cntp_ctl_el0", kEnable);
}
// A timer that is stopped while its interrupt waits to be taken may still be in a list register, which no exit tells the
// hypervisor; a look at the redistributor does.
void StopTimers() {
  BARE_WRITE("cntv_ctl_el0", 0);
  BARE_WRITE("cntp_ctl_el0", 0);
  (void)IsPending(kVirtualTimerIntid);
}
void StopTimer(uint32_t intid) {
  if (intid == kVirtualTimerIntid) BARE_WRITE("cntv_ctl_el0", 0);
  if (intid == kPhysicalTimerIntid) BARE_WRITE("cntp_ctl_el0", 0);
}
void EnableTimers() {
  EnableInterrupt(kVirtualTimerIntid);
  EnableInterrupt(kPhysicalTimerIntid);
}
void DisableTimers() {
  StopTimers();
  DisableInterrupt(kVirtualTimerIntid);
  DisableInterrupt(kPhysicalTimerIntid);
}

TEST(TIMER_01_both_timers_armed_at_once) {
  CountInterrupts(StopTimer);
  EnableTimers();
  const uint64_t now = Counter();
  ArmVirtual(now + Microseconds(200));
  ArmPhysical(now + Microseconds(100));
  Listen(50);
  EXPECT_EQ(interrupts.total, 0);
  Listen(300);
  EXPECT_EQ(interrupts.total, 2);
  EXPECT_EQ(interrupts.order[0], kPhysicalTimerIntid);
  EXPECT_EQ(interrupts.order[1], kVirtualTimerIntid);
  DisableTimers();
}

volatile uint64_t other_frequency;
volatile uint64_t other_offset;
TEST(TIMER_02_TIMER_03_frequency_and_offset_on_every_vcpu) {
  const uint64_t frequency = BARE_READ("cntfrq_el0");
  EXPECT(frequency >= 1'000'000 && frequency <= 1'000'000'000);
  EXPECT(WRITE_IS_UNDEFINED("cntfrq_el0"));
  EXPECT_EQ(BARE_READ("cntfrq_el0"), frequency);
  REQUIRE(StartSecondary([] {
    other_frequency = BARE_READ("cntfrq_el0");
    const uint64_t before = BARE_READ("cntpct_el0");
    asm volatile("isb");
    const uint64_t middle = BARE_READ("cntvct_el0");
    asm volatile("isb");
    const uint64_t after = BARE_READ("cntpct_el0");
    other_offset = before <= middle && middle <= after ? 0 : 1;
  }));
  EXPECT(JoinSecondary());
  EXPECT_EQ(other_frequency, frequency);
  EXPECT_EQ(other_offset, 0);
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = BARE_READ("cntpct_el0");
    asm volatile("isb");
    const uint64_t middle = BARE_READ("cntvct_el0");
    asm volatile("isb");
    const uint64_t after = BARE_READ("cntpct_el0");
    EXPECT(before <= middle && middle <= after);
    Spin(100);
  }
}

volatile uint64_t published;
volatile uint64_t backwards;
TEST(TIMER_04_counters_never_go_backwards) {
  published = 0;
  backwards = 0;
  REQUIRE(StartSecondary([] {
    for (int i = 0; i < 200; ++i) {
      const uint64_t seen = published;
      if (Counter() < seen) backwards = 1;
      asm volatile("isb");
      if (BARE_READ("cntpct_el0") < seen) backwards = 2;
      published = Counter();
      asm volatile("wfe");
    }
  }));
  uint64_t last = 0;
  for (int i = 0; i < 400; ++i) {
    const uint64_t seen = published;
    const uint64_t now = Counter();
    EXPECT(now >= seen && now >= last);
    last = now;
    published = now;
    asm volatile("wfe");
  }
  EXPECT(JoinSecondary());
  EXPECT_EQ(backwards, 0);
}

TEST(TIMER_05_compare_values_and_counters_share_a_base) {
  BARE_WRITE("cntp_tval_el0", 1000);
  asm volatile("isb");
  uint64_t now = BARE_READ("cntpct_el0");
  uint64_t compare = BARE_READ("cntp_cval_el0");
  EXPECT(compare <= now + 1000 && compare + Microseconds(100) > now + 1000);
  BARE_WRITE("cntv_tval_el0", 1000);
  now = Counter();
  compare = BARE_READ("cntv_cval_el0");
  EXPECT(compare <= now + 1000 && compare + Microseconds(100) > now + 1000);
}

TEST(TIMER_06_timers_of_higher_levels_are_undefined) {
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c0_3") && WRITE_IS_UNDEFINED("s3_4_c14_c0_3"));  // CNTVOFF_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c1_0") && WRITE_IS_UNDEFINED("s3_4_c14_c1_0"));  // CNTHCTL_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c2_0") &&
         WRITE_IS_UNDEFINED("s3_4_c14_c2_0"));  // CNTHP_TVAL_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c2_1") &&
         WRITE_IS_UNDEFINED("s3_4_c14_c2_1"));  // CNTHP_CTL_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c2_2") &&
         WRITE_IS_UNDEFINED("s3_4_c14_c2_2"));  // CNTHP_CVAL_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c3_1") &&
         WRITE_IS_UNDEFINED("s3_4_c14_c3_1"));  // CNTHV_CTL_EL2
  EXPECT(READ_IS_UNDEFINED("s3_7_c14_c2_1") &&
         WRITE_IS_UNDEFINED("s3_7_c14_c2_1"));  // CNTPS_CTL_EL1
  EXPECT(READ_IS_UNDEFINED("s3_5_c14_c3_1") &&
         READ_IS_UNDEFINED("s3_5_c14_c2_1"));  // CNTV_, CNTP_CTL_EL02
}

TEST(TIMER_07_istatus_follows_the_counter_whatever_imask) {
  BARE_WRITE("cntv_cval_el0", 0);
  BARE_WRITE("cntv_ctl_el0", kEnable | kMask);
  EXPECT_EQ(BARE_READ("cntv_ctl_el0"), kEnable | kMask | kDue);
  BARE_WRITE("cntv_cval_el0", Counter() + Microseconds(1'000'000));
  EXPECT_EQ(BARE_READ("cntv_ctl_el0"), kEnable | kMask);
  BARE_WRITE("cntp_cval_el0", 0);
  BARE_WRITE("cntp_ctl_el0", kEnable | kMask);
  EXPECT_EQ(BARE_READ("cntp_ctl_el0"), kEnable | kMask | kDue);
  StopTimers();
}

TEST(TIMER_08_GIC_066_line_follows_enable_status_and_mask) {
  DisableTimers();
  EXPECT(!IsPending(kVirtualTimerIntid));
  ArmVirtual(0);
  EXPECT(IsPending(kVirtualTimerIntid));
  BARE_WRITE("cntv_cval_el0", Counter() + Microseconds(1'000'000));
  EXPECT(!IsPending(kVirtualTimerIntid));
  BARE_WRITE("cntv_tval_el0", -1);
  EXPECT(IsPending(kVirtualTimerIntid));
  BARE_WRITE("cntv_ctl_el0", kEnable | kMask);
  EXPECT(!IsPending(kVirtualTimerIntid));
  BARE_WRITE("cntv_ctl_el0", kEnable);
  EXPECT(IsPending(kVirtualTimerIntid));
  BARE_WRITE("cntv_ctl_el0", 0);
  EXPECT(!IsPending(kVirtualTimerIntid));
  ArmPhysical(0);
  EXPECT(IsPending(kPhysicalTimerIntid));
  BARE_WRITE("cntp_ctl_el0", 0);
  EXPECT(!IsPending(kPhysicalTimerIntid));
}

TEST(TIMER_09_GIC_039_cleared_without_exit_comes_once_and_high_comes_again) {
  CountInterrupts(StopTimer);
  EnableInterrupt(kVirtualTimerIntid);
  for (uint32_t i = 1; i <= 20; ++i) {
    ArmVirtual(Counter() + Microseconds(10));
    Listen(40);
    EXPECT_EQ(interrupts.count[kVirtualTimerIntid], i);
  }
  CountInterrupts([](uint32_t intid) {
    if (interrupts.count[kVirtualTimerIntid] == 4) StopTimer(intid);
  });
  ArmVirtual(0);
  Listen(200);
  EXPECT_EQ(interrupts.count[kVirtualTimerIntid], 4);
  DisableTimers();
}

TEST(TIMER_10_tval_is_signed_and_relative) {
  BARE_WRITE("cntv_tval_el0", 0xffff'ff9c);  // -100
  EXPECT(BARE_READ("cntv_cval_el0") < Counter());
  const auto left = static_cast<int32_t>(BARE_READ("cntv_tval_el0"));
  EXPECT(left <= -100 && left > -100 - static_cast<int32_t>(Microseconds(1000)));
  BARE_WRITE("cntv_cval_el0", 0x1234'5678'0000'0000);
  EXPECT_EQ(BARE_READ("cntv_cval_el0"), 0x1234'5678'0000'0000);
  EXPECT_EQ(BARE_READ("cntv_tval_el0") >> 32, 0);
}

TEST(TIMER_11_smallest_and_largest_compare_value) {
  CountInterrupts(StopTimer);
  EnableTimers();
  ArmVirtual(~uint64_t{0});
  ArmPhysical(~uint64_t{0});
  Listen(500);
  EXPECT_EQ(interrupts.total, 0);
  EXPECT_EQ(BARE_READ("cntv_ctl_el0"), kEnable);
  ArmVirtual(~uint64_t{0} >> 1);
  ArmPhysical(uint64_t{1} << 63);
  Listen(500);
  EXPECT_EQ(interrupts.total, 0);
  ArmVirtual(0);
  ArmPhysical(0);
  Listen(100);
  EXPECT_EQ(interrupts.count[kVirtualTimerIntid], 1);
  EXPECT_EQ(interrupts.count[kPhysicalTimerIntid], 1);
  DisableTimers();
}

volatile uint64_t delivered_at;
TEST(TIMER_12_never_early_and_boundedly_late) {
  CountInterrupts([](uint32_t) {
    delivered_at = Counter();
    StopTimers();
  });
  EnableTimers();
  uint64_t worst = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const uint64_t due = Counter() + Microseconds(20) + i * 7;
    if (i % 2 == 0) ArmVirtual(due);
    if (i % 2 == 1) ArmPhysical(due);
    delivered_at = 0;
    UnmaskInterrupts();
    const bool came = WaitUntil([] { return delivered_at != 0; }, 10);
    MaskInterrupts();
    REQUIRE(came);
    EXPECT(delivered_at >= due);
    if (delivered_at - due > worst) worst = delivered_at - due;
  }
  EXPECT(worst < Microseconds(50));
  DisableTimers();
}

volatile bool stop_spinning;
TEST(TIMER_13_fires_while_another_vcpu_keeps_the_cpu_busy) {
  stop_spinning = false;
  REQUIRE(StartSecondary([] {
    while (!stop_spinning) {
    }
  }));
  CountInterrupts(StopTimer);
  EnableTimers();
  for (uint32_t i = 1; i <= 10; ++i) {
    ArmVirtual(Counter() + Microseconds(300));
    UnmaskInterrupts();
    WaitForInterrupt();
    MaskInterrupts();
    EXPECT_EQ(interrupts.total, i);
  }
  stop_spinning = true;
  EXPECT(JoinSecondary());
  DisableTimers();
}

uint64_t ReadCounters(uint64_t) {
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  asm volatile("mrs %0, cntpct_el0" : "=r"(value));
  return value;
}
uint64_t ReadTimers(uint64_t) {
  uint64_t value;
  asm volatile("mrs %0, cntv_ctl_el0" : "=r"(value));
  asm volatile("mrs %0, cntp_cval_el0" : "=r"(value));
  return value;
}
TEST(TIMER_16_cntkctl_controls_el0) {
  const auto at_el0 = [](El0Entry entry) { return FaultsOf([entry] { RunAtEl0(entry, 0); }); };
  BARE_WRITE("cntkctl_el1", 0);
  Faults faults = at_el0(ReadCounters);
  EXPECT_EQ(faults.count, 2);
  EXPECT_EQ(faults.Class(), kEcSystemRegister);
  EXPECT_EQ(faults.vector, 8);  // from EL0, AArch64
  EXPECT_EQ(at_el0(ReadTimers).count, 2);
  BARE_WRITE("cntkctl_el1", 3);  // EL0PCTEN, EL0VCTEN
  EXPECT_EQ(at_el0(ReadCounters).count, 0);
  EXPECT_EQ(at_el0(ReadTimers).count, 2);
  BARE_WRITE("cntkctl_el1", 0x303);  // EL0PTEN, EL0VTEN
  EXPECT_EQ(at_el0(ReadTimers).count, 0);
  BARE_WRITE("cntkctl_el1", 0);
}

TEST(TIMER_17_event_stream_does_not_leave_wfe_blocked) {
  BARE_WRITE("cntkctl_el1", 1 << 2 | 4 << 4);  // EVNTEN, EVNTI
  for (int i = 0; i < 50; ++i) asm volatile("wfe");
  BARE_WRITE("cntkctl_el1", 0);
  for (int i = 0; i < 50; ++i) asm volatile("wfe");
}

TEST(TIMER_18_self_synchronised_counters_as_ecv_says) {
  const bool shown = (BARE_READ("id_aa64mmfr0_el1") >> 60 & 0xf) != 0;
  EXPECT_EQ(READ_IS_UNDEFINED("s3_3_c14_c0_5"), !shown);  // CNTPCTSS_EL0
  EXPECT_EQ(READ_IS_UNDEFINED("s3_3_c14_c0_6"), !shown);  // CNTVCTSS_EL0
  EXPECT(READ_IS_UNDEFINED("s3_4_c14_c0_6"));             // CNTPOFF_EL2
}

// ---- WFI, WFE ----------------------------------------------------------------------------------

TEST(TRAP_01_GIC_095_wfi_ends_for_a_masked_interrupt) {
  EnableInterrupt(kVirtualTimerIntid);
  for (int i = 0; i < 10; ++i) {
    const uint64_t due = Counter() + Microseconds(100);
    ArmVirtual(due);
    WaitForInterrupt();  // PSTATE.I is set
    EXPECT(Counter() >= due);
    StopTimers();
  }
  // Pending already: it does not wait.
  ArmVirtual(0);
  WaitForInterrupt();
  StopTimers();
  // Not enabled at the GIC: it does not end by it, but by the other timer.
  DisableInterrupt(kVirtualTimerIntid);
  EnableInterrupt(kPhysicalTimerIntid);
  const uint64_t due = Counter() + Microseconds(300);
  ArmVirtual(Counter() + Microseconds(10));
  ArmPhysical(due);
  WaitForInterrupt();
  EXPECT(Counter() >= due);
  DisableTimers();
}

TEST(TRAP_02_no_wake_up_is_lost) {
  CountInterrupts(StopTimer);
  EnableTimers();
  // Deadlines that fall before, into and after the way from the guest's check to the sleep.
  for (uint32_t i = 0; i < 600; ++i) {
    const uint32_t before = interrupts.total;
    if (i % 2 == 0) ArmVirtual(Counter() + i / 4);
    if (i % 2 == 1) ArmPhysical(Counter() + i / 4);
    while (interrupts.total == before) {
      WaitForInterrupt();
      UnmaskInterrupts();
      asm volatile("isb");
      MaskInterrupts();
    }
  }
  EXPECT_EQ(interrupts.total, 600);
  DisableTimers();
}

TEST(TRAP_03_wfe_ends_for_an_event) {
  asm volatile("sev");
  asm volatile("wfe");
  asm volatile("sevl");
  asm volatile("wfe");
  REQUIRE(StartSecondary([] {
    Spin(200);
    asm volatile("sev");
  }));
  asm volatile("wfe");
  EXPECT(JoinSecondary());
}

alignas(64) volatile uint32_t ticket_next;
alignas(64) volatile uint32_t ticket_owner;
volatile uint32_t guarded;
void TakeTurns() {
  for (int i = 0; i < 200; ++i) {
    uint32_t mine;
    uint32_t one = 1;
    asm volatile("ldadda %w1, %w0, [%2]" : "=r"(mine) : "r"(one), "r"(&ticket_next) : "memory");
    for (;;) {
      uint32_t owner;
      asm volatile("ldaxr %w0, [%1]" : "=r"(owner) : "r"(&ticket_owner) : "memory");
      if (owner == mine) break;
      asm volatile("wfe");
    }
    const uint32_t value = guarded;
    if (i % 8 == 0) Spin(5);
    guarded = value + 1;
    asm volatile("stlr %w0, [%1]" ::"r"(mine + 1), "r"(&ticket_owner) : "memory");
    asm volatile("sev");
  }
}
TEST(TRAP_04_ticket_lock_makes_progress_with_more_vcpus_than_cpus) {
  ticket_next = 0;
  ticket_owner = 0;
  guarded = 0;
  REQUIRE(StartSecondary(TakeTurns));
  TakeTurns();
  EXPECT(JoinSecondary());
  EXPECT_EQ(guarded, 400);
}

TEST(TRAP_05_wfi_and_wfe_at_el0_obey_sctlr) {
  constexpr uint64_t kNtwi = 1u << 16;
  constexpr uint64_t kNtwe = 1u << 18;
  const uint64_t sctlr = BARE_READ("sctlr_el1");
  const auto wait = [](uint64_t) -> uint64_t {
    asm volatile("wfi");
    asm volatile("wfe");
    return 0;
  };
  BARE_WRITE("sctlr_el1", sctlr & ~(kNtwi | kNtwe));
  Faults faults = FaultsOf([&] { RunAtEl0(wait, 0); });
  EXPECT(faults.count == 1 || faults.count == 2);  // QEMU 7.2 traps WFE nowhere
  EXPECT_EQ(faults.Class(), kEcWfx);
  EXPECT_EQ(faults.vector, 8);
  BARE_WRITE("sctlr_el1", sctlr | kNtwi | kNtwe);
  EnableInterrupt(kVirtualTimerIntid);
  ArmVirtual(Counter() + Microseconds(100));
  faults = FaultsOf([&] { RunAtEl0(wait, 0); });
  EXPECT_EQ(faults.count, 0);
  BARE_WRITE("sctlr_el1", sctlr);
  DisableTimers();
}

TEST(TRAP_06_wfit_and_wfet_are_undefined) {
  const bool shown = (BARE_READ("id_aa64isar2_el1") & 0xf) != 0;
  EXPECT(!shown);
  EXPECT(FaultsOf([] {
           asm volatile("mov x0, xzr\n\t.inst 0xd5031020" ::: "x0");
         }).Undefined());  // WFIT x0
  EXPECT(FaultsOf([] {
           asm volatile("mov x0, xzr\n\t.inst 0xd5031000" ::: "x0");
         }).Undefined());  // WFET x0
}

// With deterministic time each instruction takes a nanosecond: a CPU that did anything meanwhile would keep the test
// running for minutes.
TEST(TRAP_07_idle_vm_uses_no_cpu) {
  EnableInterrupt(kVirtualTimerIntid);
  const uint64_t due = Counter() + Microseconds(200'000'000);
  ArmVirtual(due);
  while (Counter() < due) WaitForInterrupt();
  DisableTimers();
}

}  // namespace
}  // namespace bare
