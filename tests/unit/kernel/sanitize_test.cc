// Foreign state: whatever is asked for, only legal state comes out.
#include "kernel/vcpu/sanitize.h"

#include <gtest/gtest.h>

namespace atoll {
namespace {

using namespace pstate;

TEST(SanePstate, CPU_12_no_guest_runs_above_el1) {
  for (uint64_t mode = 0; mode < 32; ++mode) {
    for (bool aarch32 : {false, true}) {
      const uint64_t wanted = mode | kNzcv | kI;
      const uint64_t sane = SaneGuestPstate(wanted, aarch32);
      const bool legal =
          mode == kEl0t || mode == kEl1t || mode == kEl1h || (aarch32 && mode == kAarch32User);
      if (legal) {
        EXPECT_EQ(sane, wanted) << mode;
      } else {
        EXPECT_EQ(sane, kEl1h | kNzcv | kI | kIl) << mode;
      }
    }
  }
}

TEST(SanePstate, CPU_07_all_state_of_aarch64_is_kept_and_nothing_else) {
  EXPECT_EQ(SaneGuestPstate((~uint64_t{0} & ~kModeMask) | kEl1h, true), 0xf3f0'1fc5u);
}

TEST(SanePstate, CPU_07_CPU_11_all_state_of_aarch32_is_kept_and_nothing_else) {
  const uint64_t sane = SaneGuestPstate((~uint64_t{0} & ~kModeMask) | kAarch32User, true);
  EXPECT_EQ(sane & kModeMask, kAarch32User);
  EXPECT_EQ(sane >> 32, 0u);
  for (uint64_t kept : {kNzcv, kQ, kItLow, kItHigh, kGe, kE, kT, kIl}) EXPECT_EQ(sane & kept, kept);
}

TEST(SanePstate, CPU_12_random_values_always_land_in_el1_or_el0) {
  uint64_t value = 1;
  for (int i = 0; i < 100000; ++i) {
    value = value * 6364136223846793005 + 1442695040888963407;
    const uint64_t mode = SaneGuestPstate(value, (value >> 63) != 0) & kModeMask;
    ASSERT_TRUE(mode == kEl0t || mode == kEl1t || mode == kEl1h || mode == kAarch32User);
  }
}

TEST(SanePstate, tasks_are_at_el0_with_nothing_masked) {
  EXPECT_EQ(SaneTaskPstate(~uint64_t{0}), kNzcv | kSsbs);
  EXPECT_EQ(SaneTaskPstate(0b01001), 0u);  // EL2h
}

TEST(Entry, tasks_start_in_their_half_at_an_instruction) {
  EXPECT_TRUE(IsTaskEntry(0x40'0000));
  EXPECT_FALSE(IsTaskEntry(0x40'0002));
  EXPECT_FALSE(IsTaskEntry(uint64_t{1} << 39));
  EXPECT_FALSE(IsTaskEntry(0xffff'ff80'0000'0000));
  EXPECT_TRUE(IsTaskStack(0x1000'0000));
  EXPECT_FALSE(IsTaskStack(0x0fff'fff8));
  EXPECT_TRUE(IsTaskStack(uint64_t{1} << 39));
  EXPECT_FALSE(IsTaskStack((uint64_t{1} << 39) + 16));
}

TEST(Entry, guests_start_in_guest_physical_memory) {
  EXPECT_TRUE(IsGuestEntry(0x4008'0000));
  EXPECT_FALSE(IsGuestEntry(0x4008'0001));
  EXPECT_FALSE(IsGuestEntry(uint64_t{1} << 40));
  EXPECT_FALSE(IsGuestEntry(~uint64_t{3}));
}

TEST(Mpidr, CPU_01_bit_31_is_set_u_and_mt_are_clear) {
  EXPECT_EQ(SaneMpidr(0), 0x8000'0000u);
  EXPECT_EQ(SaneMpidr(~uint64_t{0}), 0xff'80ff'ffffu);
  EXPECT_TRUE(IsAffinity(0xff'00ff'ffff));
  EXPECT_FALSE(IsAffinity(0x4000'0000));
  EXPECT_FALSE(IsAffinity(uint64_t{1} << 40));
}

TEST(SaneDebug, DEBUG_06_DEBUG_07_no_bit_reaches_halting_debug) {
  EXPECT_EQ(SaneMdscr(~uint64_t{0}), 0xb001u);
}

TEST(SaneDebug, DEBUG_07_breakpoints_on_hypervisor_contexts_never_enable) {
  EXPECT_EQ(SaneBreakpointControl(0x1e7), 0x1e7u);
  EXPECT_EQ(SaneBreakpointControl(0x0031'01e5), 0x0031'01e5u);  // context, linked
  EXPECT_EQ(SaneBreakpointControl(0x0080'01e7) & 1, 0u);        // VMID
  EXPECT_EQ(SaneBreakpointControl(0x00f0'01e7) & 1, 0u);        // CONTEXTIDR_EL2
  EXPECT_EQ(SaneBreakpointControl(0xc1e7) & 1, 0u);             // SSC
  EXPECT_EQ(SaneWatchpointControl(0x1fff), 0x1fffu);
  EXPECT_EQ(SaneWatchpointControl(0x5ff7) & 1, 0u);
  EXPECT_EQ(SaneWatchpointControl(~uint64_t{0}) >> 29, 0u);
}

}  // namespace
}  // namespace atoll
