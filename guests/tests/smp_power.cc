// PSCI with all vCPUs at work (checklist: psci-smccc).
#include "guests/tests/vcpus.h"

namespace bare {
namespace {

inline constexpr uint32_t kAffinityInfo = 0xc400'0004;
inline constexpr uint32_t kCpuSuspend = 0xc400'0001;
inline constexpr uint64_t kOn = 0;
inline constexpr uint32_t kWakeSgi = 3;

volatile uint32_t lives[kMostVcpus];
volatile bool released;
void Live() {
  const uint32_t self = ThisVcpu();
  lives[self] = lives[self] + 1;
}
void LiveUntilReleased() {
  Live();
  while (!released) asm volatile("wfe");
}
void ClearLives() {
  for (volatile uint32_t& number : lives) number = 0;
  released = false;
}

TEST(PSCI_11_PSCI_38_PSCI_43_each_vcpu_starts_once_and_shows_its_state) {
  ClearLives();
  REQUIRE(VcpuCount() >= 2);
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    EXPECT(IsOff(vcpu));
    EXPECT(StartVcpu(vcpu, LiveUntilReleased));
    EXPECT_EQ(Psci(kAffinityInfo, vcpu, 0), kOn);
    EXPECT_EQ(CpuOn(vcpu, reinterpret_cast<uintptr_t>(secondary_start), 0), kPsciAlreadyOn);
    static volatile uint32_t wanted;
    wanted = vcpu;
    EXPECT(Patiently([] { return lives[wanted] == 1; }));
    EXPECT_EQ(Psci(kAffinityInfo, vcpu, 0), kOn);
  }
  released = true;
  EXPECT(JoinAll());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(lives[vcpu], 1);
}

TEST(PSCI_16_PSCI_17_PSCI_39_targets_that_do_not_exist_while_all_run) {
  ClearLives();
  REQUIRE(StartOthers([] {
    while (!released) {
      for (const uint64_t target : {uint64_t{VcpuCount()}, uint64_t{0x100}, uint64_t{0x1'0001},
                                    uint64_t{1} << 32, uint64_t{0x8000'0001}, ~uint64_t{0}}) {
        CHECK(CpuOn(target, reinterpret_cast<uintptr_t>(secondary_start), 0) ==
              kPsciInvalidParameters);
        CHECK(Psci(kAffinityInfo, target, 0) == kPsciInvalidParameters);
      }
    }
  }));
  for (uint64_t target = VcpuCount(); target < 0x200; ++target)
    EXPECT_EQ(CpuOn(target, kRam + 0x8'0000, 0), kPsciInvalidParameters);
  released = true;
  EXPECT(JoinAll());
}

// All but the last race for the last one.
volatile uint32_t rounds_won[kMostVcpus];
inline constexpr uint32_t kRaces = 12;
TEST(PSCI_18_PSCI_19_PSCI_20_several_callers_start_a_vcpu_once) {
  REQUIRE(VcpuCount() >= 2);
  ClearLives();
  static volatile uint32_t round;
  static volatile uint32_t answered[kMostVcpus];
  for (volatile uint32_t& number : answered) number = 0;
  for (volatile uint32_t& number : rounds_won) number = 0;
  round = 0;
  const auto race = [] {
    const uint32_t self = ThisVcpu();
    const uint32_t last = VcpuCount() - 1;
    for (uint32_t i = 1; i <= kRaces; ++i) {
      if (self == 0) {
        round = i;
      } else if (!CHECK(Patiently([=] { return round >= i; }))) {
        return;
      }
      const int64_t answer = TryStartVcpu(last, LiveUntilReleased);
      if (answer == kPsciSuccess) rounds_won[self] = rounds_won[self] + 1;
      CHECK(answer == kPsciSuccess || answer == kPsciAlreadyOn || answer == kPsciOnPending);
      answered[self] = i;
      if (self != 0) continue;
      for (uint32_t other = 1; other < last; ++other) {
        if (!CHECK(Patiently([=] { return answered[other] >= i; }))) return;
      }
      // Nobody lets it go before all have asked, so a second start would be one too many.
      CHECK(Patiently([=] { return lives[last] >= i; }));
      released = true;
      CHECK(Patiently([=] { return IsOff(last); }));
      released = false;
    }
  };
  for (uint32_t vcpu = 1; vcpu + 1 < VcpuCount(); ++vcpu) REQUIRE(StartVcpu(vcpu, race));
  race();
  released = true;
  EXPECT(JoinAll());
  EXPECT_EQ(lives[VcpuCount() - 1], kRaces);
  uint32_t won = 0;
  for (const volatile uint32_t& number : rounds_won) won += number;
  EXPECT_EQ(won, kRaces);
}

inline constexpr uint32_t kLives = 100;
inline constexpr uint32_t kPairLives = 25;
TEST(PSCI_26_PSCI_44_every_vcpu_off_and_on_a_hundred_times) {
  ClearLives();
  for (uint32_t i = 1; i <= kLives; ++i) {
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) REQUIRE(StartVcpu(vcpu, Live));
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
      REQUIRE(Patiently([=] { return IsOff(vcpu); }));
      REQUIRE(EXPECT_EQ(lives[vcpu], i));
    }
  }
}

TEST(PSCI_26_PSCI_27_pairs_turn_each_other_on_at_the_same_time) {
  ClearLives();
  // vCPU 2n starts vCPU 2n + 1, all pairs at once.
  const auto pair = [] {
    const uint32_t mine = ThisVcpu() + 1;
    if (mine >= VcpuCount()) return;
    for (uint32_t i = 1; i <= kPairLives; ++i) {
      CHECK(StartVcpu(mine, Live));
      CHECK(Patiently([=] { return IsOff(mine); }));
      CHECK(lives[mine] == i);
    }
  };
  for (uint32_t vcpu = 2; vcpu < VcpuCount(); vcpu += 2) REQUIRE(StartOne(vcpu, pair));
  pair();
  EXPECT(JoinAll());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); vcpu += 2) EXPECT_EQ(lives[vcpu], kPairLives);
}

TEST(PSCI_27_no_instruction_runs_after_off) {
  static volatile uint64_t steps[kMostVcpus];
  static volatile bool leave;
  for (int round = 0; round < 4; ++round) {
    leave = false;
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
      steps[vcpu] = 0;
      REQUIRE(StartVcpu(vcpu, [] {
        const uint32_t self = ThisVcpu();
        while (!leave) steps[self] = steps[self] + 1;
        (void)Hvc(0x8400'0002);
        for (;;) steps[self] = steps[self] + 1;
      }));
    }
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu)
      EXPECT(Patiently([=] { return steps[vcpu] != 0; }));
    leave = true;
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
      REQUIRE(Patiently([=] { return IsOff(vcpu); }));
      const uint64_t then = steps[vcpu];
      Spin(20);
      EXPECT_EQ(steps[vcpu], then);
    }
  }
}

TEST(PSCI_13_a_timer_that_ran_at_off_is_silent_at_on) {
  const auto arm = [] {
    EnableInterrupt(kVirtualTimerIntid, ThisVcpu());
    BARE_WRITE("cntv_cval_el0", Counter() + BARE_READ("cntfrq_el0") / 2000);
    BARE_WRITE("cntv_ctl_el0", 1);
  };
  REQUIRE(StartOthers(arm));
  EXPECT(JoinAll());
  Spin(2000);
  CountPerVcpu();
  REQUIRE(StartOthers([] {
    CHECK((BARE_READ("cntv_ctl_el0") & 1) == 0);
    LetIn();
    CHECK(taken[ThisVcpu()][kVirtualTimerIntid] == 0);
    CHECK(!IsPending(kVirtualTimerIntid, ThisVcpu()));
  }));
  EXPECT(JoinAll());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) DisableInterrupt(kVirtualTimerIntid, vcpu);
}

volatile uint32_t told[kMostVcpus];
volatile uint32_t woken[kMostVcpus];
inline constexpr uint32_t kWakes = 25;
TEST(PSCI_31_PSCI_33_suspend_ends_by_sgi_whenever_it_comes) {
  for (volatile uint32_t& number : told) number = 0;
  for (volatile uint32_t& number : woken) number = 0;
  CountPerVcpu();
  REQUIRE(StartOthers([] {
    const uint32_t self = ThisVcpu();
    EnableInterrupt(kWakeSgi, self);
    for (uint32_t i = 1; i <= kWakes; ++i) {
      while (taken[self][kWakeSgi] < i) {
        CHECK(Psci(kCpuSuspend, 0, 0, 0) == kPsciSuccess);
        LetIn();
      }
      woken[self] = i;
    }
  }));
  Random random{42};
  for (uint32_t i = 1; i <= kWakes; ++i) {
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
      for (uint32_t pause = random.Below(1000); pause > 0; --pause) asm volatile("");
      SendSgi(kWakeSgi, 1u << vcpu);
    }
    for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu)
      REQUIRE(EXPECT(Patiently([=] { return woken[vcpu] >= i; })));
  }
  EXPECT(JoinAll());
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) EXPECT_EQ(taken[vcpu][kWakeSgi], kWakes);
}

TEST(PSCI_31_PSCI_33_suspend_ends_by_each_vcpus_own_timer) {
  CountPerVcpu([](uint32_t intid) {
    if (intid == kVirtualTimerIntid) BARE_WRITE("cntv_ctl_el0", 0);
  });
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    EnableInterrupt(kVirtualTimerIntid, self);
    for (uint32_t i = 1; i <= 20; ++i) {
      const uint64_t due = Counter() + BARE_READ("cntfrq_el0") / 10'000 * (1 + (i + self) % 4);
      BARE_WRITE("cntv_cval_el0", due);
      BARE_WRITE("cntv_ctl_el0", 1);
      while (taken[self][kVirtualTimerIntid] < i) {
        CHECK(Psci(kCpuSuspend, 0, 0, 0) == kPsciSuccess);
        LetIn();
      }
      CHECK(Counter() >= due);
    }
    DisableInterrupt(kVirtualTimerIntid, self);
  }));
  EXPECT_EQ(TakenByAll(kVirtualTimerIntid), 20 * VcpuCount());
}

TEST(PSCI_29_PSCI_26_off_and_on_in_the_middle_of_load) {
  // vCPU 1 dies and lives while all others send it interrupts, and load and store device registers.
  static volatile bool stop;
  stop = false;
  ClearLives();
  CountPerVcpu();
  EnableInterrupt(9, 1);
  const auto load = [] {
    InitializeGic(ThisVcpu());
    while (!stop) {
      SendSgi(9, 2);
      CHECK(Load32(kRtc + 0xfe0) == 0x31);
      (void)Load32(kUart + 0x18);
      SetGicBit(kSetPending, 10, 1);
      SetGicBit(kClearPending, 10, 1);
    }
  };
  for (uint32_t vcpu = 2; vcpu < VcpuCount(); ++vcpu) REQUIRE(StartOne(vcpu, load));
  for (uint32_t i = 1; i <= 8; ++i) {
    REQUIRE(StartVcpu(1, [] {
      InitializeGic(1);
      lives[1] = lives[1] + 1;
      CHECK(Load32(kRtc + 0xfe0) == 0x31);
      LetIn();
    }));
    SendSgi(9, 2);
    REQUIRE(Patiently([] { return IsOff(1); }));
    EXPECT_EQ(lives[1], i);
  }
  stop = true;
  EXPECT(JoinAll());
  // What came while it was off waits for it.
  SetGicBit(kClearPending, 9, 1);
  SendSgi(9, 2);
  EXPECT(IsPending(9, 1));
  CountPerVcpu();
  REQUIRE(StartVcpu(1, [] {
    InitializeGic(1);
    LetIn();
  }));
  EXPECT(JoinAll());
  EXPECT_EQ(taken[1][9], 1);
}

TEST(SMCCC_33_SMCCC_20_calls_of_all_at_once_are_answered_each_for_itself) {
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    for (uint32_t i = 0; i < 200; ++i) {
      CHECK(Hvc(0x8400'0000).x0 == 0x1'0001);
      CHECK(Smc(0x8000'0000).x0 == 0x1'0001);
      const SmcccResult result = Hvc(0xdead'0000 + self, self, i, ~uint64_t{0} - self);
      CHECK(result.x0 == ~uint64_t{0} && result.x1 == self && result.x2 == i &&
            result.x3 == ~uint64_t{0} - self);
    }
  }));
}

TEST(PSCI_45_PSCI_47_one_ends_the_machine_while_the_others_do_anything) {
  // The runner sees the last line and that the machine powers off.
  static volatile uint32_t ready[kMostVcpus];
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    EXPECT(StartVcpu(vcpu, [] {
      const uint32_t self = ThisVcpu();
      InitializeGic(self);
      ready[self] = 1;
      for (;;) {
        switch (self % 4) {
          case 1: (void)Load32(kRtc); break;
          case 2: WaitForInterrupt(); break;
          case 3: (void)Hvc(0x8400'0000); break;
          default: break;  // spins with interrupts masked
        }
      }
    }));
    EXPECT(Patiently([=] { return ready[vcpu] != 0; }));
  }
}

}  // namespace
}  // namespace bare
