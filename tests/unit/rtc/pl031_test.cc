// PL031: registers, time, alarm, restart.
#include <gtest/gtest.h>

#include "tests/unit/rtc/rtc_machine.h"

namespace atoll {
namespace {

using namespace pl031;  // NOLINT: registers only

TEST(Pl031, PL031_01_PL031_02_PL031_03_PL031_05_ids_by_any_width) {
  RtcMachine m;
  const uint64_t expected[] = {0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  uint32_t id = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    for (const uint32_t size : {1u, 2u, 4u}) {
      EXPECT_EQ(m.Load(0xfe0 + 4 * i, size), expected[i]) << i << " " << size;
    }
    if (i < 4) id |= static_cast<uint32_t>(m.Load(0xfe0 + 4 * i)) << (8 * i);
  }
  EXPECT_EQ(id & 0xfffff, 0x41031u);  // as Linux matches it
}

TEST(Pl031, PL031_06_narrow_reads_give_the_low_bytes) {
  RtcMachine m;
  m.Write(kMr, 0x12345678);
  EXPECT_EQ(m.Load(0x004, 4), 0x12345678u);
  EXPECT_EQ(m.Load(0x004, 2), 0x5678u);
  EXPECT_EQ(m.Load(0x004, 1), 0x78u);
}

TEST(Pl031, PL031_07_narrow_writes_are_zero_extended) {
  RtcMachine m;
  m.Write(kMr, 0xffff'ffff);
  m.Store(0x004, 0x1234, 2);
  EXPECT_EQ(m.Read(kMr), 0x1234u);
  m.Store(0x000, 0xff, 1);
  EXPECT_EQ(m.Read(kDr), kUtc);
}

TEST(Pl031, PL031_08_icr_reads_0_without_side_effect) {
  RtcMachine m;
  m.Write(kMr, kUtc);
  ASSERT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.Read(kIcr), 0u);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_09_stores_to_read_only_registers_are_ignored) {
  RtcMachine m;
  m.Write(kMr, kUtc);
  for (const Register index : {kDr, kCr, kRis, kMis, kPeriphId0, kPeriphId1, kPeriphId2, kPeriphId3,
                               kPCellId0, kPCellId1, kPCellId2, kPCellId3}) {
    const uint32_t before = m.Read(index);
    m.Write(index, ~before);
    EXPECT_EQ(m.Read(index), before) << index;
  }
}

TEST(Pl031, PL031_10_reserved_offsets) {
  RtcMachine m;
  for (uint64_t offset = 0x020; offset < 0xfe0; offset += 4) {
    m.Store(offset, 0xffff'ffff);
    EXPECT_EQ(m.Load(offset), 0u) << offset;
  }
  EXPECT_EQ(m.Read(kDr), kUtc);
  EXPECT_EQ(m.Read(kMr), 0u);
}

TEST(Pl031, PL031_11_wide_and_unaligned_accesses_do_nothing) {
  RtcMachine m;
  m.Store(0x004, 0x1234, 8);
  for (const uint64_t offset :
       {uint64_t{0x005}, uint64_t{0x006}, uint64_t{0xfe1}, uint64_t{0x1000}, ~uint64_t{0}}) {
    m.Store(offset, 0xff);
    EXPECT_EQ(m.Load(offset), 0u);
  }
  EXPECT_EQ(m.Load(0x000, 8), 0u);
  EXPECT_EQ(m.Read(kMr), 0u);
}

TEST(Pl031, PL031_12_PL031_13_PL031_14_seconds_of_the_counter) {
  RtcMachine m;
  EXPECT_EQ(m.Read(kDr), kUtc);
  m.Pass(kSecond - 1);
  EXPECT_EQ(m.Read(kDr), kUtc);
  m.Pass(1);
  EXPECT_EQ(m.Read(kDr), kUtc + 1);
  for (uint32_t i = 1; i <= 1000; ++i) {
    m.Pass(kSecond);
    ASSERT_EQ(m.Read(kDr), kUtc + 1 + i);
  }
  m.Pass(uint64_t{86'400} * 365 * kSecond);
  EXPECT_EQ(m.Read(kDr), kUtc + 1001 + 86'400 * 365);
}

TEST(Pl031, PL031_15_restart_does_not_turn_time_back) {
  RtcMachine m;
  m.Pass(100 * kSecond + kSecond / 2);
  const uint32_t before = m.Read(kDr);
  m.Boot(/*utc=*/kUtc - 5000);  // the machine's clock was set meanwhile
  EXPECT_EQ(m.Read(kDr), before);
  m.Pass(kSecond / 2);
  EXPECT_EQ(m.Read(kDr), before + 1);
}

TEST(Pl031, PL031_16_PL031_17_match_and_load_read_back) {
  RtcMachine m;
  EXPECT_EQ(m.Read(kMr), 0u);
  EXPECT_EQ(m.Read(kLr), 0u);
  for (const uint32_t value : {1u, 0x8000'0000u, 0xffff'ffffu, 0u}) {
    m.Write(kMr, value);
    m.Write(kLr, value);
    m.Pass(10 * kSecond);
    EXPECT_EQ(m.Read(kMr), value);
    EXPECT_EQ(m.Read(kLr), value);
  }
}

TEST(Pl031, PL031_18_load_sets_the_count) {
  RtcMachine m;
  m.Pass(kSecond / 3);
  m.Write(kLr, 1000);
  EXPECT_EQ(m.Read(kDr), 1000u);
  m.Pass(kSecond);
  EXPECT_EQ(m.Read(kDr), 1001u);
  m.Pass(100 * kSecond);
  EXPECT_EQ(m.Read(kDr), 1101u);
}

TEST(Pl031, PL031_19_load_changes_this_clock_only) {
  RtcMachine a;
  RtcMachine b;
  a.Write(kLr, 5);
  EXPECT_EQ(b.Read(kDr), kUtc);
  EXPECT_EQ(a.Stored().origin_seconds, kUtc);
}

TEST(Pl031, PL031_20_PL031_40_restart_keeps_everything) {
  RtcMachine m;
  m.Write(kLr, 5000);
  m.Write(kMr, 5000);
  m.Write(kImsc, 1);
  ASSERT_TRUE(m.line.level);
  m.Write(kMr, 6000);
  m.line.level = false;  // a new instance cannot know what the line is
  m.Boot(kUtc + 99);
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.Read(kDr), 5000u);
  EXPECT_EQ(m.Read(kLr), 5000u);
  EXPECT_EQ(m.Read(kMr), 6000u);
  EXPECT_EQ(m.Read(kImsc), 1u);
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.Read(kCr), 1u);
}

TEST(Pl031, PL031_21_PL031_22_runs_from_the_start_and_does_not_stop) {
  RtcMachine m;
  EXPECT_EQ(m.Read(kCr), 1u);
  m.Write(kCr, 0);
  EXPECT_EQ(m.Read(kCr), 1u);
  m.Pass(kSecond);
  EXPECT_EQ(m.Read(kDr), kUtc + 1);
}

TEST(Pl031, PL031_23_mask_has_one_bit) {
  RtcMachine m;
  EXPECT_EQ(m.Read(kImsc), 0u);
  m.Write(kImsc, 0xffff'ffff);
  EXPECT_EQ(m.Read(kImsc), 1u);
  m.Write(kImsc, 0xffff'fffe);
  EXPECT_EQ(m.Read(kImsc), 0u);
}

TEST(Pl031, PL031_24_PL031_25_PL031_26_raw_masked_and_clear) {
  RtcMachine m;
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Write(kMr, kUtc);
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_EQ(m.Read(kMis), 0u);
  m.Write(kImsc, 1);
  EXPECT_EQ(m.Read(kMis), 1u);
  m.Write(kIcr, 0);
  m.Write(kIcr, 0xffff'fffe);
  EXPECT_EQ(m.Read(kRis), 1u);
  m.Write(kIcr, 1);
  EXPECT_EQ(m.Read(kRis), 0u);
  EXPECT_EQ(m.Read(kMis), 0u);
}

TEST(Pl031, PL031_27_PL031_36_alarm_comes_with_its_second) {
  RtcMachine m;
  m.Pass(kSecond / 4);
  m.Write(kImsc, 1);
  m.Write(kMr, kUtc + 10);
  m.Pass(10 * kSecond - kSecond / 4 - 1);
  EXPECT_FALSE(m.line.level);
  m.Pass(1);  // by the timer alone: no vCPU runs
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.Read(kDr), kUtc + 10);
}

TEST(Pl031, PL031_27_PL031_32_alarm_while_masked_shows_when_unmasked) {
  RtcMachine m;
  m.Write(kMr, kUtc + 1);
  m.Pass(5 * kSecond);
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.Read(kRis), 1u);
  m.Write(kImsc, 1);
  EXPECT_TRUE(m.line.level);
  m.Write(kImsc, 0);
  EXPECT_FALSE(m.line.level);
  m.Write(kImsc, 1);
  m.Write(kIcr, 1);
  EXPECT_FALSE(m.line.level);
}

TEST(Pl031, PL031_28_match_of_the_present_count) {
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Write(kMr, m.Read(kDr));
  EXPECT_TRUE(m.line.level);
}

TEST(Pl031, PL031_29_match_in_the_past_waits_for_the_count_to_come_round) {
  RtcMachine m;
  m.Write(kMr, kUtc - 1);
  m.Pass(1000 * kSecond);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Pass(((uint64_t{1} << 32) - 1001) * kSecond - 1);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Pass(1);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_30_load_onto_the_match_and_over_it) {
  RtcMachine m;
  m.Write(kMr, kUtc + 100);
  m.Write(kLr, kUtc + 200);
  m.Pass(10 * kSecond);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Write(kLr, kUtc + 100);
  EXPECT_EQ(m.Read(kRis), 1u);
  m.Write(kIcr, 1);
  m.Write(kLr, kUtc + 90);
  m.Pass(10 * kSecond);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_31_no_alarm_at_boot) {
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Pass(1000 * kSecond);
  EXPECT_FALSE(m.line.level);
  // Not even where the clock starts at the reset value of the match register.
  RtcMachine zero;
  zero.journal = {};
  zero.Boot(/*utc=*/0);
  EXPECT_EQ(zero.Read(kDr), 0u);
  EXPECT_EQ(zero.Read(kRis), 0u);
}

TEST(Pl031, PL031_33_raised_alarm_stays_until_cleared) {
  RtcMachine m;
  m.Write(kMr, kUtc);
  m.Write(kMr, kUtc + 1000);
  m.Write(kLr, 7);
  EXPECT_EQ(m.Read(kRis), 1u);
  m.Write(kIcr, 1);
  EXPECT_EQ(m.Read(kRis), 0u);
}

TEST(Pl031, PL031_34_PL031_37_one_alarm_each_time) {
  RtcMachine m;
  for (int round = 0; round < 5; ++round) {
    // As Linux sets an alarm: match, clear, unmask.
    m.Write(kMr, m.Read(kDr) + 3);
    m.Write(kIcr, 1);
    m.Write(kImsc, 1);
    m.Pass(3 * kSecond);
    ASSERT_TRUE(m.line.level) << round;
    EXPECT_EQ(m.Read(kMis), 1u);
    m.Write(kIcr, 1);
    EXPECT_FALSE(m.line.level);
    m.Pass(10 * kSecond);
    EXPECT_FALSE(m.line.level);
  }
}

TEST(Pl031, PL031_34_clearing_does_not_disarm) {
  RtcMachine m;
  m.Write(kMr, kUtc + 5);
  m.Write(kIcr, 1);
  m.Pass(5 * kSecond);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_35_wrap) {
  RtcMachine m;
  m.Write(kLr, 0xffff'fffe);
  m.Write(kMr, 1);
  m.Pass(2 * kSecond);
  EXPECT_EQ(m.Read(kDr), 0u);
  EXPECT_EQ(m.Read(kRis), 0u);
  m.Pass(kSecond);
  EXPECT_EQ(m.Read(kDr), 1u);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_38_far_alarms_do_not_overflow) {
  RtcMachine m;
  m.Write(kLr, 1);
  m.Write(kMr, 0xffff'ffff);
  EXPECT_GT(m.timer.deadline, m.counter.ticks);
  m.Pass(1000 * kSecond);
  EXPECT_EQ(m.Read(kRis), 0u);
  // Near the end of the counter nothing is armed that would wrap.
  RtcMachine end;
  end.journal = {};
  end.counter.ticks = ~uint64_t{0} - 1000 * kSecond;
  end.Boot();
  end.Write(kMr, kUtc + 2000);
  EXPECT_EQ(end.timer.deadline, DeadlineTimer::kNever);
  end.Write(kMr, kUtc + 10);
  end.Pass(10 * kSecond);
  EXPECT_EQ(end.Read(kRis), 1u);
}

// A VM that waits for nothing must let the machine sleep: its time may be counted in instructions.
TEST(Pl031, a_masked_alarm_arms_no_timer_but_is_found) {
  RtcMachine m;
  m.Write(kMr, kUtc + 10);
  EXPECT_EQ(m.timer.deadline, DeadlineTimer::kNever);
  m.Write(kImsc, 1);
  EXPECT_EQ(m.timer.deadline, m.counter.ticks + 10 * kSecond);
  m.Write(kImsc, 0);
  EXPECT_EQ(m.timer.deadline, DeadlineTimer::kNever);
  m.counter.ticks += 10 * kSecond;
  EXPECT_EQ(m.Read(kRis), 1u);
  EXPECT_FALSE(m.line.level);
  m.Write(kImsc, 1);
  EXPECT_TRUE(m.line.level);
}

TEST(Pl031, PL031_39_rewriting_sets_one_timer_each_time) {
  RtcMachine m;
  const int before = m.timer.sets;
  for (uint32_t i = 0; i < 1000; ++i) {
    m.Write(kMr, kUtc + i);
    m.Write(kLr, kUtc + i * 3);
  }
  EXPECT_LE(m.timer.sets - before, 2000);
  m.Write(kIcr, 1);
  m.Write(kMr, m.Read(kDr) + 2);
  m.Pass(2 * kSecond);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_41_alarm_that_fell_due_while_nobody_ran) {
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Write(kMr, kUtc + 10);
  m.counter.ticks += 60 * kSecond;  // the timer's signal went to the dead instance
  m.Boot();
  EXPECT_TRUE(m.line.level);
  EXPECT_EQ(m.Read(kDr), kUtc + 60);
  m.Write(kIcr, 1);
  EXPECT_FALSE(m.line.level);
  m.Boot();
  m.Pass(100 * kSecond);
  EXPECT_FALSE(m.line.level);  // once
}

TEST(Pl031, PL031_41_restart_before_the_alarm_arms_it_again) {
  RtcMachine m;
  m.Write(kMr, kUtc + 10);
  m.Pass(5 * kSecond);
  m.Boot();
  m.Pass(5 * kSecond);
  EXPECT_EQ(m.Read(kRis), 1u);
}

TEST(Pl031, PL031_42_reset_of_the_vm) {
  RtcMachine m;
  m.Write(kImsc, 1);
  m.Write(kMr, kUtc);
  ASSERT_TRUE(m.line.level);
  m.Pass(50 * kSecond);
  m.journal = {};
  m.Boot(kUtc + 50);
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.Read(kImsc), 0u);
  EXPECT_EQ(m.Read(kRis), 0u);
  EXPECT_EQ(m.Read(kMr), 0u);
  EXPECT_EQ(m.Read(kDr), kUtc + 50);
}

}  // namespace
}  // namespace atoll
