// PL031 through traps, interrupts and waits (checklist: pl031).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uint32_t kMatch = 0x04, kLoad = 0x08, kControl = 0x0c, kRtcImsc = 0x10,
                          kRtcRis = 0x14, kRtcMis = 0x18, kRtcIcr = 0x1c;

uint32_t Rtc(uint32_t offset) { return Load32(kRtc + offset); }
void Rtc(uint32_t offset, uint32_t value) { Store32(kRtc + offset, value); }

TEST(PL031_01_PL031_05_PL031_10_PL031_11_identity_by_every_width) {
  const uint8_t wanted[] = {0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  for (uint32_t i = 0; i < 8; ++i) {
    const uintptr_t address = kRtc + 0xfe0 + 4 * i;
    EXPECT_EQ(Load<uint8_t>(address), wanted[i]);
    EXPECT_EQ(Load<uint16_t>(address), wanted[i]);
    EXPECT_EQ(Load32(address), wanted[i]);
    if (i < 7) EXPECT_EQ(Load<uint64_t>(address), 0);
  }
  for (uint32_t offset = 0x20; offset < 0xfe0; offset += 4) {
    Rtc(offset, ~0u);
    EXPECT_EQ(Rtc(offset), 0);
  }
}

// Sleeps by the virtual timer.
void Sleep(uint64_t milliseconds) {
  EnableInterrupt(kVirtualTimerIntid);
  const uint64_t due = Counter() + milliseconds * (BARE_READ("cntfrq_el0") / 1000);
  BARE_WRITE("cntv_cval_el0", due);
  BARE_WRITE("cntv_ctl_el0", 1);
  while (Counter() < due) WaitForInterrupt();
  BARE_WRITE("cntv_ctl_el0", 0);
  DisableInterrupt(kVirtualTimerIntid);
}

TEST(PL031_12_PL031_13_PL031_14_PL031_22_the_clock_runs_with_the_counter) {
  EXPECT(Rtc(0) > 1'700'000'000);  // after 2023
  EXPECT_EQ(Rtc(kControl), 1);
  const uint32_t before = Rtc(0);
  Sleep(3000);
  const uint32_t passed = Rtc(0) - before;
  EXPECT(passed >= 3 && passed <= 4);
}

TEST(PL031_27_PL031_32_PL031_34_PL031_36_PL031_37_alarm_wakes_and_comes_once) {
  Rtc(kRtcIcr, 1);
  EnableInterrupt(kRtcIntid);
  CountInterrupts([](uint32_t) {
    if (Rtc(kRtcMis) != 0) Rtc(kRtcIcr, 1);
  });
  for (uint32_t round = 1; round <= 2; ++round) {
    Rtc(kMatch, Rtc(0) + 2);
    const uint32_t match = Rtc(kMatch);
    Rtc(kRtcImsc, 1);
    EXPECT_EQ(Rtc(kRtcRis), 0);
    while (interrupts.total < round) {
      WaitForInterrupt();
      UnmaskInterrupts();
      asm volatile("isb");
      MaskInterrupts();
    }
    EXPECT(Rtc(0) - match <= 1);
    Listen(100);
    EXPECT_EQ(interrupts.total, round);
    EXPECT_EQ(Rtc(kRtcRis), 0);
  }
  Rtc(kRtcImsc, 0);
  DisableInterrupt(kRtcIntid);
}

TEST(PL031_17_PL031_18_PL031_35_load_sets_the_count_and_it_wraps) {
  const uint32_t before = Rtc(0);
  Rtc(kRtcIcr, 1);
  Rtc(kLoad, 0xffff'ffff);
  EXPECT_EQ(Rtc(kLoad), 0xffff'ffff);
  EXPECT(Rtc(0) == 0xffff'ffff || Rtc(0) == 0);
  Rtc(kMatch, 1);
  Sleep(3000);
  EXPECT(Rtc(0) <= 3);
  EXPECT_EQ(Rtc(kRtcRis), 1);
  Rtc(kRtcIcr, 1);
  Rtc(kLoad, before + 3);
}

}  // namespace
}  // namespace bare
