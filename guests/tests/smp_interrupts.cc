// GICv3 with all vCPUs at work: SGIs, routes, another vCPU's interrupts, timers (checklist: gicv3, timer-cpu).
#include "guests/tests/vcpus.h"

namespace bare {
namespace {

inline constexpr uint32_t kSpi = 50;  // from here on SPIs that no device owns
inline constexpr uint32_t kLastSpi = 57;
inline constexpr uint32_t kStopSgi = 15;

volatile bool stop;

void EnableSgis() {
  for (uint32_t intid = 0; intid < 16; ++intid) EnableInterrupt(intid, ThisVcpu());
}
// Sleeps and takes interrupts until `stop`, which comes with an SGI.
void TakeUntilStopped() {
  EnableSgis();
  Meet();
  SleepUntil([] { return bool{stop}; });
}
bool StartTakers() {
  stop = false;
  CountPerVcpu();
  if (!StartOthers(TakeUntilStopped)) return false;
  Meet();
  return true;
}
bool StopTakers() {
  stop = true;
  SendSgiToOthers(kStopSgi);
  return JoinAll();
}
bool Took(uint32_t vcpu, uint32_t intid, uint32_t times) {
  return Patiently([=] { return taken[vcpu][intid] >= times; });
}

// ---- SGIs --------------------------------------------------------------------------------------

// Every vCPU sends to every other one at the same time. The INTID is the sender, so that no two merge, and the next
// one is sent when this one was taken: counts are exact.
inline constexpr uint32_t kSgiRounds = 10;
TEST(GIC_069_GIC_073_GIC_096_sgis_of_all_to_all_are_neither_lost_nor_doubled) {
  CountPerVcpu();
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    EnableSgis();
    Meet();
    UnmaskInterrupts();
    for (uint32_t i = 1; i <= kSgiRounds; ++i) {
      for (uint32_t hop = 1; hop < VcpuCount(); ++hop) {
        const uint32_t target = (self + hop) % VcpuCount();
        SendSgi(self, 1u << target);
        if (!CHECK(Patiently([=] { return taken[target][self] >= i; }))) return;
      }
    }
    Meet();
    Spin(100);  // one too many would come now
    MaskInterrupts();
  }));
  for (uint32_t to = 0; to < VcpuCount(); ++to) {
    for (uint32_t from = 0; from < VcpuCount(); ++from)
      EXPECT_EQ(taken[to][from], to == from ? 0 : kSgiRounds);
  }
}

TEST(GIC_069_GIC_072_every_target_list) {
  REQUIRE(StartTakers());
  EnableSgis();
  uint32_t wanted[kMostVcpus] = {};
  const uint32_t everyone = (1u << VcpuCount()) - 1;
  for (uint32_t list = 0; list <= everyone; ++list) {
    SendSgi(5, list | 0xff00);  // 8-15 do not exist
    LetIn();
    for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
      wanted[vcpu] += list >> vcpu & 1;
      REQUIRE(EXPECT(Took(vcpu, 5, wanted[vcpu])));
    }
  }
  EXPECT(StopTakers());
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][5], wanted[vcpu]);
}

inline constexpr uint32_t kBroadcasts = 2;
TEST(GIC_071_broadcasts_reach_all_but_the_sender) {
  CountPerVcpu();
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    EnableSgis();
    for (uint32_t round = 0; round < kBroadcasts; ++round) {
      for (uint32_t sender = 0; sender < VcpuCount(); ++sender) {
        Meet();
        if (self == sender) {
          SendSgiToOthers(8 + sender);
          continue;
        }
        CHECK(Patiently([=] {
          LetIn();
          return taken[self][8 + sender] > round;
        }));
      }
    }
    Meet();
    LetIn();
  }));
  for (uint32_t to = 0; to < VcpuCount(); ++to) {
    for (uint32_t from = 0; from < VcpuCount(); ++from)
      EXPECT_EQ(taken[to][8 + from], to == from ? 0 : kBroadcasts);
  }
}

TEST(GIC_074_many_while_masked_are_one) {
  static volatile bool sent;
  for (int round = 0; round < 3; ++round) {
    sent = false;
    CountPerVcpu();
    REQUIRE(StartOthers([] {
      EnableSgis();
      Meet();
      CHECK(Patiently([] { return bool{sent}; }));
      LetIn();
      LetIn();
    }));
    Meet();
    for (int i = 0; i < 20; ++i) SendSgiToOthers(4);
    sent = true;
    EXPECT(JoinAll());
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][4], 1);
  }
}

TEST(GIC_075_a_message_is_there_when_its_sgi_is) {
  static volatile uint64_t message;
  static volatile uint64_t seen[kMostVcpus];
  stop = false;
  CountPerVcpu([](uint32_t) { seen[ThisVcpu()] = message; });
  REQUIRE(StartOthers(TakeUntilStopped));
  Meet();
  for (uint32_t i = 1; i <= 20; ++i) {
    message = i;
    SendSgiToOthers(2);
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
      // An SGI that overtook the message would leave the one before.
      REQUIRE(EXPECT(Patiently([=] { return seen[vcpu] == i; })));
      EXPECT_EQ(taken[vcpu][2], i);
    }
  }
  EXPECT(StopTakers());
}

TEST(TRAP_02_GIC_074_a_token_goes_round_sleeping_vcpus) {
  constexpr uint32_t kRounds = 60;
  CountPerVcpu();
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    const uint32_t next = (self + 1) % VcpuCount();
    EnableSgis();
    Meet();
    for (uint32_t i = 1; i <= kRounds; ++i) {
      if (self == 0) SendSgi(6, 1u << next);
      SleepUntil([=] { return taken[self][6] >= i; });
      if (self != 0) SendSgi(6, 1u << next);
    }
  }));
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][6], kRounds);
}

TEST(GIC_101_a_storm_from_all_sides_leaves_its_target_alive) {
  static volatile uint32_t storms[kMostVcpus];
  stop = false;
  CountPerVcpu();
  EnableSgis();
  REQUIRE(StartOthers([] {
    const uint32_t self = ThisVcpu();
    for (uint32_t i = 1; !stop; ++i) {
      SendSgi(7, 1);
      storms[self] = i;
    }
  }));
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    EXPECT(Patiently([=] {
      LetIn();
      return storms[vcpu] > 100 && taken[0][7] > vcpu;
    }));
  }
  stop = true;
  EXPECT(JoinAll());
  LetIn();
  EXPECT(!IsPending(7));
  const uint32_t settled = taken[0][7];
  LetIn();
  EXPECT_EQ(taken[0][7], settled);
}

// ---- SPIs --------------------------------------------------------------------------------------

TEST(GIC_049_GIC_053_an_spi_goes_where_it_is_routed_to) {
  REQUIRE(StartTakers());
  EnableInterrupt(kSpi);
  uint32_t total = 0;
  for (uint32_t round = 1; round <= 8; ++round) {
    for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
      SetRoute(kSpi, vcpu);
      EXPECT_EQ(Load<uint64_t>(kDistributor + 0x6000 + 8 * kSpi), vcpu);
      SetGicBit(kSetPending, kSpi);
      LetIn();
      REQUIRE(EXPECT(Took(vcpu, kSpi, round)));
      EXPECT_EQ(TakenByAll(kSpi), ++total);
    }
  }
  EXPECT(StopTakers());
  EXPECT_EQ(TakenByAll(kSpi), total);
  SetRoute(kSpi, 0);
  DisableInterrupt(kSpi);
}

TEST(GIC_053_a_pending_one_moves_with_its_route) {
  // vCPU 1 has interrupts masked, so what is listed for it must be taken away again.
  static volatile bool leave;
  leave = false;
  CountPerVcpu();
  EnableInterrupt(kSpi);
  REQUIRE(StartOne(1, [] {
    InitializeGic(1);
    while (!leave) asm volatile("wfe");
    LetIn();
  }));
  for (uint32_t i = 1; i <= 20; ++i) {
    SetRoute(kSpi, 1);
    SetGicBit(kSetPending, kSpi);
    if (i % 2 == 0) Spin(20);
    EXPECT(GicBit(kSetPending, kSpi));
    SetRoute(kSpi, 0);
    EXPECT(Patiently([=] {
      LetIn();
      return taken[0][kSpi] == i;
    }));
    EXPECT(!GicBit(kSetPending, kSpi));
  }
  leave = true;
  EXPECT(JoinAll());
  EXPECT_EQ(taken[1][kSpi], 0);
  DisableInterrupt(kSpi);
}

TEST(GIC_047_GIC_053_an_active_one_ends_where_it_was_taken) {
  static volatile uint32_t step;
  for (uint32_t round = 0; round < 5; ++round) {
    step = 0;
    CountPerVcpu();
    SetRoute(kSpi, 1);
    EnableInterrupt(kSpi);
    SetGicBit(kSetPending, kSpi);
    REQUIRE(StartOne(1, [] {
      InitializeGic(1);
      CHECK(Patiently([] { return Acknowledge() == kSpi; }));
      step = 1;
      CHECK(Patiently([] { return step == 2; }));
      EndOfInterrupt(kSpi);
      step = 3;
    }));
    EXPECT(Patiently([] { return step == 1; }));
    SetGicBit(kSetPending, kSpi);  // again, while it is active there
    SetRoute(kSpi, 0);
    for (int i = 0; i < 10; ++i) LetIn();
    EXPECT_EQ(taken[0][kSpi], 0);
    EXPECT(GicBit(kSetActive, kSpi));
    EXPECT(GicBit(kSetPending, kSpi));
    step = 2;
    EXPECT(Patiently([] {
      LetIn();
      return taken[0][kSpi] == 1;
    }));
    EXPECT(JoinAll());
    EXPECT(!GicBit(kSetActive, kSpi));
    EXPECT_EQ(TakenByAll(kSpi), 1);
    DisableInterrupt(kSpi);
  }
}

TEST(GIC_053_no_interrupt_is_lost_while_its_route_changes) {
  // vCPU 0 makes it pend and waits until somebody took it; meanwhile vCPU 1 sends it from one to the other.
  constexpr uint32_t kTimes = 40;
  static volatile uint32_t moves;
  moves = 0;
  stop = false;
  CountPerVcpu();
  EnableInterrupt(kSpi);
  REQUIRE(StartOthers([] {
    const uint32_t self = ThisVcpu();
    EnableSgis();
    Meet();
    if (self != 1) {
      SleepUntil([] { return bool{stop}; });
      return;
    }
    Random random{7};
    UnmaskInterrupts();
    while (!stop) {
      SetRoute(kSpi, random.Below(VcpuCount()));
      moves = moves + 1;
      for (uint32_t pause = random.Below(300); pause > 0; --pause) asm volatile("");
    }
  }));
  Meet();
  UnmaskInterrupts();
  for (uint32_t i = 1; i <= kTimes; ++i) {
    const uint32_t before = moves;
    if (i % 4 == 1) EXPECT(Patiently([=] { return moves != before; }));
    SetGicBit(kSetPending, kSpi);
    REQUIRE(EXPECT(Patiently([=] { return TakenByAll(kSpi) >= i; })));
    EXPECT_EQ(TakenByAll(kSpi), i);
  }
  MaskInterrupts();
  EXPECT(StopTakers());
  EXPECT_EQ(TakenByAll(kSpi), kTimes);
  SetRoute(kSpi, 0);
  DisableInterrupt(kSpi);
}

// ---- the interrupts of another vCPU that runs ----------------------------------------------------

TEST(GIC_065_GIC_005_another_vcpus_sgi_is_disabled_and_enabled_while_it_runs) {
  REQUIRE(StartTakers());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    for (uint32_t i = 1; i <= 8; ++i) {
      SetGicBit(kClearEnable, 3, vcpu);
      EXPECT(!GicBit(kSetEnable, 3, vcpu));
      SendSgi(3, 1u << vcpu);
      Spin(10);
      EXPECT_EQ(taken[vcpu][3], i - 1);
      EXPECT(IsPending(3, vcpu));
      SetGicBit(kSetEnable, 3, vcpu);
      REQUIRE(EXPECT(Took(vcpu, 3, i)));
      EXPECT(!IsPending(3, vcpu));
    }
  }
  EXPECT(StopTakers());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][3], 8);
}

inline constexpr uint32_t kPends = 6;
TEST(GIC_065_GIC_067_each_vcpu_pends_interrupts_of_the_next_by_its_redistributor) {
  CountPerVcpu();
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    const uint32_t next = (self + 1) % VcpuCount();
    EnableSgis();
    EnableInterrupt(20, self);  // a PPI that nobody drives
    Meet();
    UnmaskInterrupts();
    for (uint32_t i = 1; i <= kPends; ++i) {
      SetGicBit(kSetPending, 12, next);
      if (!CHECK(Patiently([=] { return taken[next][12] >= i; }))) return;
      SetGicBit(kSetPending, 20, next);
      if (!CHECK(Patiently([=] { return taken[next][20] >= i; }))) return;
    }
    Meet();
    MaskInterrupts();
    DisableInterrupt(20, self);
  }));
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
    EXPECT_EQ(taken[vcpu][12], kPends);
    EXPECT_EQ(taken[vcpu][20], kPends);
  }
}

TEST(GIC_029_GIC_028_priorities_of_another_vcpus_pending_interrupts) {
  static volatile uint32_t step;
  static volatile uint32_t order[2];
  for (uint32_t round = 0; round < 4; ++round) {
    step = 0;
    REQUIRE(StartOne(1, [] {
      InitializeGic(1);
      EnableSgis();
      BARE_WRITE("icc_pmr_el1", 0);  // takes nothing yet
      step = 1;
      CHECK(Patiently([] { return step == 2; }));
      BARE_WRITE("icc_pmr_el1", 0xff);
      for (volatile uint32_t& intid : order) {
        intid = Acknowledge();
        EndOfInterrupt(intid);
      }
    }));
    EXPECT(Patiently([] { return step == 1; }));
    const bool swap = round % 2 == 1;
    SendSgi(1, 2);
    SendSgi(2, 2);
    SetPriority(1, swap ? 0x80 : 0x40, 1);
    SetPriority(2, swap ? 0x40 : 0x80, 1);
    EXPECT_EQ(Load<uint8_t>(BankOf(1, 1) + 0x401), swap ? 0x80 : 0x40);
    step = 2;
    EXPECT(JoinAll());
    EXPECT_EQ(order[0], swap ? 2 : 1);
    EXPECT_EQ(order[1], swap ? 1 : 2);
  }
}

TEST(GIC_043_GIC_044_GIC_045_GIC_046_active_state_of_another_vcpus_interrupt) {
  REQUIRE(StartTakers());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    for (uint32_t i = 1; i <= 5; ++i) {
      SetGicBit(kSetActive, 11, vcpu);
      EXPECT(GicBit(kSetActive, 11, vcpu));
      SendSgi(11, 1u << vcpu);
      Spin(10);
      EXPECT_EQ(taken[vcpu][11], i - 1);  // an active one is not taken again
      SetGicBit(kClearActive, 11, vcpu);
      REQUIRE(EXPECT(Took(vcpu, 11, i)));
    }
  }
  EXPECT(StopTakers());
}

TEST(GIC_021_bits_of_one_register_written_by_all_are_all_there) {
  EXPECT(RunOnAll([] {
    const uint32_t mine = kSpi + ThisVcpu();
    Meet();
    for (uint32_t i = 0; i < 60; ++i) {
      SetGicBit(kSetEnable, mine);
      CHECK(GicBit(kSetEnable, mine));
      SetPriority(mine, static_cast<uint8_t>(i % 31 * 8));
      CHECK(Load<uint8_t>(kDistributor + 0x400 + mine) == i % 31 * 8);
      SetGicBit(kSetActive, mine);
      CHECK(GicBit(kSetActive, mine));
      SetGicBit(kClearActive, mine);
      SetGicBit(kClearEnable, mine);
      CHECK(!GicBit(kSetEnable, mine) && !GicBit(kSetActive, mine));
    }
  }));
  for (uint32_t intid = kSpi; intid <= kLastSpi; ++intid) SetPriority(intid, 0xa0);
}

// ---- a device's level, timers --------------------------------------------------------------------

TEST(GIC_036_GIC_038_GIC_096_a_devices_level_comes_to_any_vcpu) {
  // The RTC's alarm: the vCPU that takes it lowers the line. MR = now raises it.
  stop = false;
  CountPerVcpu([](uint32_t intid) {
    if (intid == kRtcIntid) Store32(kRtc + 0x1c, 1);
  });
  REQUIRE(StartOthers(TakeUntilStopped));
  Meet();
  Store32(kRtc + 0x1c, 1);
  Store32(kRtc + 0x10, 1);
  EnableInterrupt(kRtcIntid);
  for (uint32_t i = 1; i <= 6; ++i) {
    for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
      SetRoute(kRtcIntid, vcpu);
      // If a second begins between load and store, the alarm is over already.
      const auto took = [=] {
        LetIn();
        return taken[vcpu][kRtcIntid] >= i;
      };
      uint32_t now;
      do {
        now = Load32(kRtc);
        Store32(kRtc + 4, now);
      } while (Load32(kRtc) != now && !WaitUntil(took, 20));
      REQUIRE(EXPECT(Patiently(took)));
      EXPECT(Patiently([] { return !GicBit(kSetPending, kRtcIntid); }));
    }
  }
  EXPECT(StopTakers());
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][kRtcIntid], 6);
  Store32(kRtc + 0x10, 0);
  SetRoute(kRtcIntid, 0);
  DisableInterrupt(kRtcIntid);
}

TEST(TIMER_01_TIMER_12_TIMER_13_both_timers_of_all_vcpus_at_once) {
  constexpr uint32_t kTicks = 30;
  static volatile uint64_t due[kMostVcpus][2];
  static volatile uint32_t early[kMostVcpus];
  CountPerVcpu([](uint32_t intid) {
    const uint32_t self = ThisVcpu();
    const uint64_t step = BARE_READ("cntfrq_el0") / 5000;
    const uint32_t which = intid == kPhysicalTimerIntid ? 1 : 0;
    if (intid != kVirtualTimerIntid && intid != kPhysicalTimerIntid) return;
    if (Counter() < due[self][which]) early[self] = early[self] + 1;
    due[self][which] = Counter() + step;
    if (taken[self][intid] >= kTicks) {
      if (which == 1) {
        BARE_WRITE("cntp_ctl_el0", 0);
      } else {
        BARE_WRITE("cntv_ctl_el0", 0);
      }
    } else if (which == 1) {
      BARE_WRITE("cntp_cval_el0", due[self][which]);
    } else {
      BARE_WRITE("cntv_cval_el0", due[self][which]);
    }
  });
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    EnableInterrupt(kVirtualTimerIntid, self);
    EnableInterrupt(kPhysicalTimerIntid, self);
    for (volatile uint64_t& time : due[self]) time = Counter();
    early[self] = 0;
    Meet();
    BARE_WRITE("cntv_cval_el0", due[self][0]);
    BARE_WRITE("cntp_cval_el0", due[self][1]);
    BARE_WRITE("cntv_ctl_el0", 1);
    BARE_WRITE("cntp_ctl_el0", 1);
    SleepUntil([=] {
      return taken[self][kVirtualTimerIntid] >= kTicks &&
             taken[self][kPhysicalTimerIntid] >= kTicks;
    });
    CHECK(early[self] == 0);
    DisableInterrupt(kVirtualTimerIntid, self);
    DisableInterrupt(kPhysicalTimerIntid, self);
  }));
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
    EXPECT_EQ(taken[vcpu][kVirtualTimerIntid], kTicks);
    EXPECT_EQ(taken[vcpu][kPhysicalTimerIntid], kTicks);
  }
}

TEST(GIC_066_another_vcpus_timer_shows_at_its_redistributor) {
  static volatile bool leave;
  leave = false;
  REQUIRE(StartOthers([] {
    BARE_WRITE("cntv_cval_el0", 0);
    BARE_WRITE("cntv_ctl_el0", 1);
    Meet();
    CHECK(Patiently([] { return bool{leave}; }));
    BARE_WRITE("cntv_ctl_el0", 0);
    Meet();
  }));
  Meet();
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu)
    EXPECT(Patiently([=] { return IsPending(kVirtualTimerIntid, vcpu); }));
  EXPECT(!IsPending(kVirtualTimerIntid, 0));
  leave = true;
  Meet();
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu)
    EXPECT(Patiently([=] { return !IsPending(kVirtualTimerIntid, vcpu); }));
  EXPECT(JoinAll());
}

TEST(GIC_102_random_stores_of_all_vcpus_do_no_harm) {
  EXPECT(RunOnAll([] {
    Random random{ThisVcpu() + 1000};
    Meet();
    for (int i = 0; i < 300; ++i) {
      // One-bit banks and priorities of SPIs that nobody owns, of all SGIs, and routes.
      const uint32_t bank = kSetEnable + 0x80 * random.Below(6);
      const uint32_t vcpu = random.Below(VcpuCount());
      switch (random.Below(4)) {
        case 0: SetGicBit(bank, kSpi + random.Below(8)); break;
        case 1: SetGicBit(bank, random.Below(16), vcpu); break;
        case 2: SetRoute(kSpi + random.Below(8), random.Below(kMostVcpus)); break;
        default: SetPriority(random.Below(16), static_cast<uint8_t>(random.Below(256)), vcpu);
      }
    }
  }));
  // It can be put in order again, and then works.
  for (uint32_t intid = kSpi; intid <= kLastSpi; ++intid) {
    for (const uint32_t bank : {kClearEnable, kClearPending, kClearActive}) SetGicBit(bank, intid);
    SetRoute(intid, 0);
  }
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
    for (const uint32_t bank : {kClearEnable, kClearPending, kClearActive})
      Store32(BankOf(0, vcpu) + bank, 0xffff);
    InitializeGic(vcpu);
  }
  REQUIRE(StartTakers());
  SendSgiToOthers(1);
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) EXPECT(Took(vcpu, 1, 1));
  EXPECT(StopTakers());
}

}  // namespace
}  // namespace bare
