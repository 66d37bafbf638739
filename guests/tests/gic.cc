// GICv3 as a guest uses it (checklist: gicv3).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint32_t kSpi = 50;  // from here on SPIs that no device owns
inline constexpr uint32_t kLastSpi = 63;
inline constexpr uint32_t kSpis = kLastSpi - kSpi + 1;
inline constexpr uint32_t kMany = kSpis + 16;

// Interrupt `index` of many: those SPIs, then the SGIs. More than any CPU has list registers.
constexpr uint32_t Intid(uint32_t index) { return index < kSpis ? kSpi + index : index - kSpis; }

uintptr_t Bank(uint32_t intid, uint32_t vcpu = 0) {
  return intid < 32 ? kRedistributor + vcpu * 0x2'0000 + 0x1'0000 : kDistributor;
}
void SetBit(uint32_t intid, uint32_t offset, uint32_t vcpu = 0) {
  Store32(Bank(intid, vcpu) + offset + intid / 32 * 4, 1u << (intid % 32));
}
bool Bit(uint32_t intid, uint32_t offset, uint32_t vcpu = 0) {
  return (Load32(Bank(intid, vcpu) + offset + intid / 32 * 4) >> (intid % 32) & 1) != 0;
}
void SetPending(uint32_t intid, uint32_t vcpu = 0) { SetBit(intid, 0x200, vcpu); }
void ClearPending(uint32_t intid, uint32_t vcpu = 0) { SetBit(intid, 0x280, vcpu); }
bool IsActive(uint32_t intid, uint32_t vcpu = 0) { return Bit(intid, 0x300, vcpu); }
void SetPriority(uint32_t intid, uint8_t priority, uint32_t vcpu = 0) {
  Store<uint8_t>(Bank(intid, vcpu) + 0x400 + intid, priority);
}
void SetRoute(uint32_t intid, uint64_t route) {
  Store<uint64_t>(kDistributor + 0x6000 + 8 * intid, route);
}
uint32_t Acknowledge() { return static_cast<uint32_t>(BARE_READ("icc_iar1_el1")); }
void End(uint32_t intid) { BARE_WRITE("icc_eoir1_el1", intid); }

// All SPIs of the tests and SGIs enabled at priority 0xa0.
void EnableAll() {
  for (uint32_t intid = kSpi; intid <= kLastSpi; ++intid) {
    SetPriority(intid, 0xa0);
    EnableInterrupt(intid);
  }
  for (uint32_t intid = 0; intid < 16; ++intid) {
    SetPriority(intid, 0xa0);
    EnableInterrupt(intid);
  }
}
void DisableAll() {
  for (uint32_t intid = kSpi; intid <= kLastSpi; ++intid) {
    DisableInterrupt(intid);
    ClearPending(intid);
  }
  for (uint32_t intid = 0; intid < 16; ++intid) {
    DisableInterrupt(intid);
    ClearPending(intid);
  }
}

TEST(GIC_001_GIC_002_GIC_006_GIC_010_identification) {
  EXPECT_EQ(Load32(kDistributor), 0x52);  // DS, ARE, EnableGrp1
  Store32(kDistributor, 0);
  EXPECT_EQ(Load32(kDistributor), 0x50);
  Store32(kDistributor, 0xffff'ffff);
  EXPECT_EQ(Load32(kDistributor), 0x53);
  Store32(kDistributor, 2);
  const uint32_t type = Load32(kDistributor + 4);
  const uint32_t lines = ((type & 31) + 1) * 32;
  REQUIRE(lines > kLastSpi);
  EXPECT_EQ(type >> 5 & 7, 0);
  EXPECT_EQ(type >> 10 & 1, 0);
  EXPECT_EQ(Load32(kDistributor + 0xffe8) >> 4 & 15, 3);
  for (uint32_t vcpu = 0; vcpu < 2; ++vcpu) {
    const uintptr_t frame = kRedistributor + vcpu * 0x2'0000;
    EXPECT_EQ(Load32(frame + 0xffe8) >> 4 & 15, 3);
    EXPECT_EQ(Load<uint64_t>(frame + 8) >> 4 & 1, vcpu);  // Last
    EXPECT_EQ(Load<uint64_t>(frame + 8) >> 8 & 0xffff, vcpu);
  }
  // Every SPI that it names works.
  CountInterrupts();
  uint32_t expected = 0;
  for (uint32_t intid = kSpi; intid < lines && intid < 1020; ++intid) {
    EnableInterrupt(intid);
    SetPending(intid);
    Listen(2);
    ++expected;
    EXPECT_EQ(interrupts.total, expected);
    DisableInterrupt(intid);
  }
}

TEST(GIC_024_GIC_023_group_0_by_fiq) {
  CountInterrupts();
  const uint32_t groups = Load32(Bank(kSpi) + 0x80 + 4);
  Store32(Bank(kSpi) + 0x80 + 4, groups & ~(1u << (kSpi % 32)));
  EnableInterrupt(kSpi);
  SetPending(kSpi);
  Listen(20);
  EXPECT_EQ(interrupts.total, 0);  // group 0 is off
  Store32(kDistributor, 3);
  BARE_WRITE("icc_igrpen0_el1", 1);
  Listen(20);  // PSTATE.F still set
  EXPECT_EQ(interrupts.total, 0);
  EXPECT_EQ(BARE_READ("icc_hppir0_el1"), kSpi);
  EXPECT_EQ(BARE_READ("isr_el1") & 0xc0, 0x40);  // F
  asm volatile("msr daifclr, #1");
  Spin(20);
  asm volatile("msr daifset, #1");
  EXPECT_EQ(interrupts.total, 1);
  EXPECT_EQ(interrupts.order[0], kSpi);
  BARE_WRITE("icc_igrpen0_el1", 0);
  Store32(kDistributor, 2);
  Store32(Bank(kSpi) + 0x80 + 4, groups);
  DisableInterrupt(kSpi);
}

TEST(GIC_005_GIC_026_GIC_076_pending_while_disabled_is_delivered_later) {
  CountInterrupts();
  SetPending(kSpi);
  SendSgi(3, 1);
  Listen(20);
  EXPECT_EQ(interrupts.total, 0);
  EnableInterrupt(kSpi);
  EnableInterrupt(3);
  Listen(20);
  EXPECT_EQ(interrupts.total, 2);
  Store32(kDistributor, 0);
  SetPending(kSpi);
  Listen(20);
  EXPECT_EQ(interrupts.total, 2);
  EXPECT(IsPending(kSpi));
  Store32(kDistributor, 2);
  Listen(20);
  EXPECT_EQ(interrupts.total, 3);
  DisableAll();
}

TEST(GIC_025_disable_keeps_pending_and_active_state) {
  EnableAll();
  SetPending(kSpi);
  EXPECT_EQ(Acknowledge(), kSpi);
  SetPending(kSpi);
  DisableInterrupt(kSpi);
  EXPECT(IsActive(kSpi));
  EXPECT(IsPending(kSpi));
  EXPECT(!Bit(kSpi, 0x100));
  End(kSpi);
  EXPECT(!IsActive(kSpi));
  EXPECT(IsPending(kSpi));
  EXPECT_EQ(Acknowledge(), 1023);
  DisableAll();
}

TEST(GIC_036_GIC_040_GIC_041_level_interrupt_has_line_and_latch) {
  // The RTC's alarm line: MR = now makes it high, ICR low.
  const uint32_t intid = kRtcIntid;
  Store32(kRtc + 0x1c, 1);
  Store32(kRtc + 0x10, 1);
  EXPECT(!IsPending(intid));
  SetPending(intid);  // the latch
  EXPECT(IsPending(intid));
  ClearPending(intid);
  EXPECT(!IsPending(intid));
  Store32(kRtc + 4, Load32(kRtc));
  EXPECT(IsPending(intid));
  ClearPending(intid);  // the line stays
  EXPECT(IsPending(intid));
  EnableInterrupt(intid);
  EXPECT_EQ(Acknowledge(), intid);
  EXPECT(IsActive(intid));
  EXPECT(IsPending(intid));  // active and pending, as the line is high
  End(intid);
  EXPECT_EQ(Acknowledge(), intid);  // GIC_038
  Store32(kRtc + 0x1c, 1);
  EXPECT(!IsPending(intid));
  End(intid);
  EXPECT_EQ(Acknowledge(), 1023);
  Store32(kRtc + 0x10, 0);
  DisableInterrupt(intid);
}

TEST(GIC_037_GIC_038_level_that_falls_before_acknowledge_is_gone) {
  EnableInterrupt(kRtcIntid);
  Store32(kRtc + 0x10, 1);
  for (int i = 0; i < 5; ++i) {
    Store32(kRtc + 4, Load32(kRtc));
    EXPECT_EQ(BARE_READ("icc_hppir1_el1"), kRtcIntid);
    Store32(kRtc + 0x1c, 1);
    EXPECT_EQ(Acknowledge(), 1023);
  }
  Store32(kRtc + 0x10, 0);
  DisableInterrupt(kRtcIntid);
}

TEST(GIC_034_GIC_035_edges_while_active_pend_once) {
  Store32(kDistributor + 0xc00 + kSpi / 16 * 4, 2u << (kSpi % 16 * 2));  // edge
  EnableAll();
  SetPending(kSpi);
  EXPECT_EQ(Acknowledge(), kSpi);
  for (int i = 0; i < 3; ++i) SetPending(kSpi);
  EXPECT_EQ(Acknowledge(), 1023);
  End(kSpi);
  EXPECT_EQ(Acknowledge(), kSpi);
  End(kSpi);
  EXPECT_EQ(Acknowledge(), 1023);
  Store32(kDistributor + 0xc00 + kSpi / 16 * 4, 0);
  DisableAll();
}

TEST(GIC_044_GIC_045_GIC_046_active_by_register) {
  EnableAll();
  for (const uint32_t intid : {kSpi, 5u}) {
    SetBit(intid, 0x300);
    EXPECT(IsActive(intid));
    SetPending(intid);
    EXPECT_EQ(Acknowledge(), 1023);
    SetBit(intid, 0x380);
    EXPECT(!IsActive(intid));
    EXPECT_EQ(Acknowledge(), intid);
    EXPECT(IsActive(intid));
    SetBit(intid, 0x380);
    EXPECT(!IsActive(intid));
    End(intid);
  }
  EXPECT_EQ(Acknowledge(), 1023);
  DisableAll();
}

TEST(GIC_081_GIC_088_GIC_091_priority_mask_and_running_priority) {
  EnableAll();
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xff);
  BARE_WRITE("icc_pmr_el1", 0xa0);
  SetPending(kSpi);  // 0xa0 is not above 0xa0
  EXPECT_EQ(Acknowledge(), 1023);
  BARE_WRITE("icc_pmr_el1", 0xff);
  EXPECT_EQ(BARE_READ("icc_pmr_el1"), 0xf8);
  EXPECT_EQ(BARE_READ("icc_hppir1_el1"), kSpi);
  BARE_WRITE("icc_igrpen1_el1", 0);
  EXPECT_EQ(Acknowledge(), 1023);
  BARE_WRITE("icc_igrpen1_el1", 1);
  EXPECT_EQ(Acknowledge(), kSpi);
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xa0);
  End(kSpi);
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xff);
  DisableAll();
}

TEST(GIC_082_GIC_083_GIC_084_more_pending_than_list_registers_in_priority_order) {
  EnableAll();
  // The highest priority last.
  for (uint32_t i = 0; i < kMany; ++i) SetPriority(Intid(i), static_cast<uint8_t>((kMany - i) * 8));
  for (uint32_t i = 0; i < kMany; ++i) SetPending(Intid(i));
  CountInterrupts();
  Listen(300);
  EXPECT_EQ(interrupts.total, kMany);
  for (uint32_t i = 0; i < kMany; ++i) EXPECT_EQ(interrupts.order[i], Intid(kMany - 1 - i));
  DisableAll();
}

volatile uint32_t nested_depth;
volatile uint32_t deepest;
inline constexpr uint32_t kLevels = 20;
TEST(GIC_085_GIC_086_GIC_087_nested_preemption_deeper_than_list_registers) {
  EnableAll();
  for (uint32_t i = 0; i < kLevels; ++i)
    SetPriority(Intid(i), static_cast<uint8_t>((kLevels + 2 - i) * 8));
  BARE_WRITE("icc_bpr1_el1", 0);
  nested_depth = 0;
  deepest = 0;
  CountInterrupts([](uint32_t) {
    nested_depth = nested_depth + 1;
    if (nested_depth > deepest) deepest = nested_depth;
    if (interrupts.total < kLevels) {
      SetPending(Intid(interrupts.total));  // of a higher priority: comes inside
      Listen(1);
    }
    nested_depth = nested_depth - 1;
  });
  SetPending(Intid(0));
  Listen(100);
  EXPECT_EQ(interrupts.total, kLevels);
  EXPECT_EQ(deepest, kLevels);
  EXPECT_EQ(nested_depth, 0);
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xff);
  for (uint32_t i = 0; i < kLevels; ++i) EXPECT(!IsActive(Intid(i)));
  DisableAll();
}

TEST(GIC_048_GIC_086_GIC_090_late_deactivation_of_many) {
  EnableAll();
  BARE_WRITE("icc_ctlr_el1", 2);  // EOImode
  for (uint32_t i = 0; i < kLevels; ++i) {
    SetPending(Intid(i));
    EXPECT_EQ(Acknowledge(), Intid(i));
    End(Intid(i));  // drops the priority only
    EXPECT(IsActive(Intid(i)));
  }
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xff);
  for (uint32_t i = 0; i < kLevels; ++i) {
    SetPending(Intid(i));
    EXPECT_EQ(Acknowledge(), 1023);
  }
  for (uint32_t i = kLevels; i-- > 0;) {
    BARE_WRITE("icc_dir_el1", Intid(i));
    EXPECT(!IsActive(Intid(i)));
    EXPECT_EQ(Acknowledge(), Intid(i));
    End(Intid(i));
    BARE_WRITE("icc_dir_el1", Intid(i));
  }
  EXPECT_EQ(Acknowledge(), 1023);
  BARE_WRITE("icc_ctlr_el1", 0);
  DisableAll();
}

TEST(GIC_089_spurious_and_disordered_ends_do_no_harm) {
  EnableAll();
  End(kSpi);
  End(1023);
  End(0xff'ffff);
  BARE_WRITE("icc_eoir0_el1", 5);
  BARE_WRITE("icc_dir_el1", kSpi);
  SetPriority(kSpi + 1, 0x40);
  SetPending(kSpi);
  EXPECT_EQ(Acknowledge(), kSpi);
  SetPending(kSpi + 1);
  EXPECT_EQ(Acknowledge(), kSpi + 1);
  End(kSpi);  // the outer one first
  End(kSpi + 1);
  EXPECT_EQ(BARE_READ("icc_rpr_el1"), 0xff);
  SetBit(kSpi, 0x380);
  SetBit(kSpi + 1, 0x380);
  CountInterrupts();
  SetPending(kSpi);
  SetPending(kSpi + 1);
  Listen(20);
  EXPECT_EQ(interrupts.total, 2);
  DisableAll();
}

TEST(GIC_051_GIC_052_route_to_nobody_waits) {
  EnableAll();
  SetRoute(kSpi, 0x7);
  SetPending(kSpi);
  CountInterrupts();
  Listen(20);
  EXPECT_EQ(interrupts.total, 0);
  EXPECT(IsPending(kSpi));
  SetRoute(kSpi, 0);
  Listen(20);
  EXPECT_EQ(interrupts.total, 1);
  SetRoute(kSpi, uint64_t{1} << 31);
  EXPECT_EQ(Load<uint64_t>(kDistributor + 0x6000 + 8 * kSpi) >> 31 & 1, 0);  // No1N: IRM reads 0
  SetRoute(kSpi, 0);
  DisableAll();
}

TEST(GIC_069_GIC_070_GIC_072_GIC_078_sgi_to_self_and_to_nobody) {
  EnableAll();
  CountInterrupts();
  for (uint32_t intid = 0; intid < 16; ++intid) {
    SendSgi(intid, 1);
    Listen(5);
    EXPECT_EQ(interrupts.count[intid], 1);
  }
  const uint32_t before = interrupts.total;
  SendSgi(1, 0);
  SendSgi(1, 0xfffe);  // vCPU 1 is off, others do not exist
  BARE_WRITE("icc_sgi1r_el1", uint64_t{1} << 44 | 1 << 24 | 1);  // RS 1
  BARE_WRITE("icc_sgi1r_el1", uint64_t{1} << 40 | 1 << 24);      // all but the sender
  BARE_WRITE("icc_sgi1r_el1", uint64_t{9} << 48 | 1 << 24 | 1);  // Aff3 9
  Listen(20);
  EXPECT_EQ(interrupts.total, before);
  BARE_WRITE("icc_sgi1r_el1", uint64_t{0xff} << 56 | uint64_t{7} << 41 | uint64_t{0xf} << 28 |
                                  uint64_t{4} << 24 | 1);
  Listen(20);
  EXPECT_EQ(interrupts.total, before + 1);  // undefined bits are ignored
  EXPECT(READ_IS_UNDEFINED("s3_0_c12_c11_5") && READ_IS_UNDEFINED("s3_0_c12_c11_7"));
  ClearPending(1, 1);
  DisableAll();
}

TEST(GIC_074_sgi_wakes_wfi_and_pends_again_while_active) {
  EnableAll();
  SendSgi(2, 1);
  WaitForInterrupt();
  EXPECT_EQ(Acknowledge(), 2);
  SendSgi(2, 1);
  EXPECT_EQ(Acknowledge(), 1023);
  End(2);
  EXPECT_EQ(Acknowledge(), 2);
  End(2);
  DisableAll();
}

TEST(GIC_077_group_of_the_sgi_registers) {
  EnableAll();
  BARE_WRITE("s3_0_c12_c11_7", 6u << 24 | 1);  // ICC_SGI0R_EL1: SGI 6 is in Group 1
  EXPECT_EQ(Acknowledge(), 1023);
  BARE_WRITE("s3_0_c12_c11_6", 6u << 24 | 1);  // ICC_ASGI1R_EL1
  EXPECT_EQ(Acknowledge(), 1023);
  DisableAll();
}

TEST(GIC_079_GIC_080_GIC_092_cpu_interface_registers) {
  EXPECT_EQ(BARE_READ("icc_sre_el1"), 7);
  BARE_WRITE("icc_sre_el1", 0);
  EXPECT_EQ(BARE_READ("icc_sre_el1"), 7);
  const uint64_t control = BARE_READ("icc_ctlr_el1");
  EXPECT_EQ(control >> 8 & 7, 4);                                    // PRIbits: 5
  EXPECT_EQ(control >> 15 & 1, Load32(kDistributor + 4) >> 24 & 1);  // A3V
  EXPECT_EQ(control >> 18 & 1, Load32(kDistributor + 4) >> 26 & 1);  // RSS
  BARE_WRITE("icc_ctlr_el1", 3);
  EXPECT_EQ(BARE_READ("icc_ctlr_el1") & 3, 3);
  BARE_WRITE("icc_ctlr_el1", 0);
  EXPECT_EQ(BARE_READ("icc_ctlr_el1") & 3, 0);
  EXPECT_EQ(FaultsOf([] {
              asm volatile("mrs x0, s3_0_c12_c9_0\n\tmsr s3_0_c12_c9_0, x0" ::: "x0");
            }).count,
            0);
  EXPECT(READ_IS_UNDEFINED("s3_0_c12_c9_1"));  // ICC_AP1R1_EL1
  EXPECT(READ_IS_UNDEFINED("s3_0_c12_c9_3"));
}

TEST(GIC_094_hypervisor_interface_is_undefined) {
  EXPECT(READ_IS_UNDEFINED("s3_4_c12_c11_0") &&
         WRITE_IS_UNDEFINED("s3_4_c12_c11_0"));  // ICH_HCR_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c12_c12_0") &&
         WRITE_IS_UNDEFINED("s3_4_c12_c12_0"));                                       // ICH_LR0_EL2
  EXPECT(READ_IS_UNDEFINED("s3_4_c12_c9_5") && WRITE_IS_UNDEFINED("s3_4_c12_c9_5"));  // ICC_SRE_EL2
  EXPECT(READ_IS_UNDEFINED("s3_6_c12_c12_4"));  // ICC_CTLR_EL3
}

// ---- two vCPUs ---------------------------------------------------------------------------------

volatile uint32_t other_count;
volatile uint32_t other_last;
volatile bool other_ready;
volatile bool other_stop;
volatile uint64_t message;
volatile uint64_t seen_message;

// vCPU 1 listens until it is told to stop.
void ListenOnOther() {
  InitializeGic(1);
  for (uint32_t intid = 0; intid < 16; ++intid) EnableInterrupt(intid, 1);
  other_ready = true;
  while (!other_stop) {
    WaitForInterrupt();
    for (uint32_t intid; (intid = Acknowledge()) < 1020;) {
      seen_message = message;
      other_last = intid;
      other_count = other_count + 1;
      End(intid);
    }
  }
}
bool StartListener() {
  other_count = 0;
  other_ready = false;
  other_stop = false;
  return StartSecondary(ListenOnOther) && WaitUntil([] { return bool{other_ready}; });
}
bool StopListener() {
  other_stop = true;
  SendSgi(15, 2);
  return JoinSecondary();
}
volatile uint32_t wanted_count;
bool OtherGot(uint32_t count) {
  wanted_count = count;
  return WaitUntil([] { return other_count >= wanted_count; });
}

TEST(GIC_071_GIC_073_GIC_075_GIC_096_sgis_between_vcpus) {
  REQUIRE(StartListener());
  for (uint32_t i = 1; i <= 100; ++i) {
    message = i;
    SendSgi(i % 15, 2);
    EXPECT(OtherGot(i));
    EXPECT_EQ(other_last, i % 15);
    EXPECT_EQ(seen_message, i);
  }
  const uint32_t before = other_count;
  CountInterrupts();
  EnableAll();
  BARE_WRITE("icc_sgi1r_el1", uint64_t{1} << 40 | 3u << 24);  // all but the sender
  EXPECT(OtherGot(before + 1));
  Listen(20);
  EXPECT_EQ(interrupts.total, 0);
  EXPECT(StopListener());
  DisableAll();
}

TEST(GIC_053_GIC_054_GIC_065_routes_and_foreign_redistributors) {
  REQUIRE(StartListener());
  CountInterrupts();
  EnableInterrupt(kSpi);
  SetRoute(kSpi, 1);
  SetPending(kSpi);
  EXPECT(OtherGot(1));
  EXPECT_EQ(other_last, kSpi);
  SetPending(9, 1);  // an SGI by the redistributor of the other vCPU
  EXPECT(OtherGot(2));
  EXPECT_EQ(other_last, 9);
  EXPECT_EQ(interrupts.total, 0);
  EXPECT(StopListener());
  // It is off: the interrupt waits, and comes where it is routed to next, once.
  SetPending(kSpi);
  Listen(50);
  EXPECT(IsPending(kSpi));
  EXPECT_EQ(interrupts.total, 0);
  SetRoute(kSpi, 0);
  Listen(50);
  EXPECT_EQ(interrupts.total, 1);
  EXPECT(!IsPending(kSpi));
  DisableInterrupt(kSpi);
}

TEST(GIC_042_GIC_043_GIC_047_state_of_another_vcpu_is_seen) {
  static volatile uint32_t step;
  step = 0;
  SetPriority(kSpi, 0x80);
  EnableInterrupt(kSpi);
  SetRoute(kSpi, 1);
  SetPending(kSpi);
  REQUIRE(StartSecondary([] {
    InitializeGic(1);
    SetPriority(kSpi, 0x80);
    while (Acknowledge() != kSpi) {
    }
    step = 1;
    while (step != 2) asm volatile("wfe");
    End(kSpi);
    step = 3;
  }));
  EXPECT(WaitUntil([] { return step == 1; }));
  EXPECT(IsActive(kSpi));
  EXPECT(!IsPending(kSpi));
  SetRoute(kSpi, 0);  // while active: it ends where it is
  EXPECT(IsActive(kSpi));
  step = 2;
  EXPECT(WaitUntil([] { return step == 3; }));
  EXPECT(!IsActive(kSpi));
  EXPECT(JoinSecondary());
  CountInterrupts();
  SetPending(kSpi);
  Listen(30);
  EXPECT_EQ(interrupts.total, 1);
  DisableInterrupt(kSpi);
}

TEST(GIC_004_disabled_elsewhere_is_not_taken_any_more) {
  REQUIRE(StartListener());
  EnableInterrupt(kSpi);
  SetRoute(kSpi, 1);
  for (int i = 0; i < 20; ++i) {
    SetPending(kSpi);
    DisableInterrupt(kSpi);
    EXPECT_EQ(Load32(kDistributor) >> 31, 0);  // RWP
    const uint32_t before = other_count;
    Spin(100);
    EXPECT(other_count <= before + 1);
    const uint32_t settled = other_count;
    Spin(2000);
    EXPECT_EQ(other_count, settled);
    ClearPending(kSpi);
    EnableInterrupt(kSpi);
  }
  EXPECT(StopListener());
  SetRoute(kSpi, 0);
  DisableInterrupt(kSpi);
}

TEST(GIC_098_cpu_interface_is_reset_by_off_and_on) {
  static volatile uint64_t groups;
  static volatile uint64_t mask;
  REQUIRE(StartSecondary([] {
    BARE_WRITE("icc_pmr_el1", 0xf0);
    BARE_WRITE("icc_igrpen1_el1", 1);
  }));
  EXPECT(JoinSecondary());
  EnableInterrupt(7, 1);
  SetPending(7, 1);
  REQUIRE(StartSecondary([] {
    groups = BARE_READ("icc_igrpen1_el1");
    mask = BARE_READ("icc_pmr_el1");
  }));
  EXPECT(JoinSecondary());
  EXPECT_EQ(groups, 0);
  EXPECT_EQ(mask, 0);
  EXPECT(IsPending(7, 1));  // the redistributor keeps its state
  EXPECT(Bit(7, 0x100, 1));
  ClearPending(7, 1);
}

TEST(GIC_102_GIC_011_GIC_020_random_accesses_to_all_of_the_region) {
  uint64_t random = 88172645463325252;
  for (int i = 0; i < 20'000; ++i) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const uintptr_t offset = (random >> 16) % 0x2'0000 & ~uintptr_t{7};
    const uintptr_t base =
        (random & 1) != 0 ? kDistributor + offset % 0x1'0000 : kRedistributor + offset * 2;
    const uintptr_t address = base + (random >> 40 & 7);
    const auto value = static_cast<uint32_t>(random >> 8);
    (void)FaultsOf([=] {
      switch (random >> 60) {
        case 0: Store<uint8_t>(address, static_cast<uint8_t>(value)); break;
        case 1: Store<uint16_t>(address & ~uintptr_t{1}, static_cast<uint16_t>(value)); break;
        case 2: Store<uint64_t>(address & ~uintptr_t{7}, random); break;
        case 3: (void)Load<uint8_t>(address); break;
        case 4: (void)Load<uint64_t>(address & ~uintptr_t{7}); break;
        case 5: (void)Load<uint16_t>(address); break;
        case 6: (void)Load32(address & ~uintptr_t{3}); break;
        default: Store32(address & ~uintptr_t{3}, value);
      }
    });
  }
  // It can be put in order again, and then works.
  for (uint32_t i = 0; i < 32; ++i) {
    Store32(kDistributor + 0x180 + 4 * i, ~0u);
    Store32(kDistributor + 0x280 + 4 * i, ~0u);
    Store32(kDistributor + 0x380 + 4 * i, ~0u);
  }
  for (uint32_t vcpu = 0; vcpu < 2; ++vcpu) {
    for (const uint32_t offset : {0x180, 0x280, 0x380}) Store32(Bank(0, vcpu) + offset, ~0u);
  }
  for (uint32_t intid = 32; intid < 96; ++intid) SetRoute(intid, 0);
  InitializeGic();
  EnableAll();
  CountInterrupts();
  SetPending(kSpi);
  SendSgi(1, 1);
  Listen(50);
  EXPECT_EQ(interrupts.total, 2);
  DisableAll();
}

}  // namespace
}  // namespace bare
