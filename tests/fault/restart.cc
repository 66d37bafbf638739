// What a guest sees when the service of one of its devices dies in the middle of an access: nothing but a longer wait.
#include "guests/tests/test.h"
#include "services/runtime/faults.h"
#include "tests/fault/crasher/guest.h"
#include "tests/fault/others.h"

namespace {

using namespace bare;
using atoll::Fault;
using crasher::Command;
using crasher::LetDeathsExpire;
using crasher::Read;
using crasher::Seen;

TEST(command_without_death_is_delivered_once) {
  const Seen before;
  EXPECT_EQ(before.generation, 0);
  Command(crasher::kLive);
  const Seen after;
  EXPECT_EQ(after.generation, 0);
  EXPECT_EQ(after.count, before.count + 1);
  EXPECT_EQ(after.deliveries, before.deliveries + 1);
  EXPECT_EQ(Read(crasher::kAttempt), 1);
}

TEST(command_takes_effect_once_however_and_wherever_the_service_dies) {
  LetDeathsExpire();
  for (uint32_t cause = 1; cause <= crasher::kCauses; ++cause) {
    for (const uint32_t place : {crasher::kBefore, crasher::kHalfway, crasher::kAfter}) {
      const uint32_t scratch = 0x5c00'0000 | cause << 8 | place;
      crasher::Write(crasher::kScratch, scratch);
      const Seen before;
      Command(cause | place);
      const Seen after;
      EXPECT_EQ(after.generation, before.generation + 1);
      EXPECT_EQ(after.count, before.count + 1);
      EXPECT_EQ(after.deliveries, before.deliveries + 2);
      // After the commit the first instance's work stands, and the second only answers.
      EXPECT_EQ(Read(crasher::kAttempt), place == crasher::kAfter ? 1 : 2);
      EXPECT_EQ(Read(crasher::kScratch), scratch);
    }
  }
}

// The faults that end the service soon by themselves, each of them while a command is unanswered.
TEST(faults_of_the_runtime_end_the_service_and_the_command_takes_effect_once) {
  LetDeathsExpire();
  for (const Fault fault : {Fault::kCrash, Fault::kExit, Fault::kPanic, Fault::kStackOverflow,
                            Fault::kCallEverything}) {
    const Seen before;
    Command((static_cast<uint32_t>(fault) + 1) << crasher::kFaultShift | crasher::kBefore);
    const Seen after;
    EXPECT_EQ(after.generation, before.generation + 1);
    EXPECT_EQ(after.count, before.count + 1);
    EXPECT_EQ(after.deliveries, before.deliveries + 2);
  }
}

TEST(load_gets_the_answer_of_the_next_instance) {
  LetDeathsExpire();
  const Seen before;
  for (uint32_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(Read(crasher::kDyingRead), 2);
    EXPECT_EQ(Read(crasher::kGeneration), before.generation + i);
  }
  EXPECT_EQ(Read(crasher::kCount), before.count);
}

TEST(call_that_killed_two_instances_is_an_external_abort_and_the_device_works_on) {
  LetDeathsExpire();
  for (const uint32_t place : {crasher::kBefore, crasher::kAfter}) {
    for (const uint32_t cause : {crasher::kNullWrite, crasher::kExit}) {
      crasher::Write(crasher::kScratch, place | cause);
      const Seen before;
      const Faults faults = FaultsOf([&] { Command(crasher::kAlways | place | cause); });
      EXPECT(faults.ExternalAbort());
      EXPECT_EQ(faults.far, crasher::kBase + crasher::kCommand);
      const Seen after;
      EXPECT_EQ(after.generation, before.generation + 2);
      EXPECT_EQ(after.deliveries, before.deliveries + 2);
      EXPECT_EQ(after.count, before.count + (place == crasher::kAfter ? 1 : 0));
      Command(crasher::kLive);
      EXPECT_EQ(Read(crasher::kCount), after.count + 1);
      EXPECT_EQ(Read(crasher::kGeneration), after.generation);
      EXPECT_EQ(Read(crasher::kScratch), place | cause);
    }
  }
}

// ---- the other devices --------------------------------------------------------------------------

constexpr uint32_t kDeathsInARow = 10;

crasher::OtherDevices others;
volatile bool finish;

TEST(other_devices_go_on_and_keep_their_state) {
  LetDeathsExpire();
  others.Prepare();
  finish = false;
  REQUIRE(StartSecondary([] {
    while (!finish) others.Use();
  }));
  REQUIRE(WaitUntil([] { return others.rounds() > 10; }));
  const Seen before;
  for (uint32_t i = 0; i < kDeathsInARow; ++i) {
    const uint32_t seen = others.rounds();
    Command(crasher::kNullWrite | crasher::kHalfway);
    EXPECT(WaitUntil([&] { return others.rounds() > seen + 2; }));
  }
  finish = true;
  EXPECT(JoinSecondary());
  EXPECT_EQ(others.wrong(), 0);
  const Seen after;
  EXPECT_EQ(after.generation, before.generation + kDeathsInARow);
  EXPECT_EQ(after.count, before.count + kDeathsInARow);
  others.Finish();
}

TEST(timer_that_expires_meanwhile_is_delivered_once) {
  LetDeathsExpire();
  CountInterrupts([](uint32_t) { BARE_WRITE("cntv_ctl_el0", 0); });
  EnableInterrupt(kVirtualTimerIntid);
  for (uint32_t i = 1; i <= 5; ++i) {
    BARE_WRITE("cntv_tval_el0", 100);  // less than a restart takes
    BARE_WRITE("cntv_ctl_el0", 1);
    Command(crasher::kUndefined | crasher::kBefore);
    Listen(200);
    EXPECT_EQ(interrupts.count[kVirtualTimerIntid], i);
  }
  DisableInterrupt(kVirtualTimerIntid);
}

// ---- two callers --------------------------------------------------------------------------------

volatile uint32_t others_commands;

TEST(calls_of_two_vcpus_are_each_taken_once) {
  LetDeathsExpire();
  others_commands = 0;
  finish = false;
  const Seen before;
  REQUIRE(StartSecondary([] {
    while (!finish) {
      Command(crasher::kLive);
      others_commands = others_commands + 1;
    }
  }));
  REQUIRE(WaitUntil([] { return others_commands > 10; }));
  for (uint32_t i = 0; i < kDeathsInARow; ++i) {
    const uint32_t seen = others_commands;
    Command(crasher::kExit | (i % 2 == 0 ? crasher::kAfter : crasher::kBefore));
    EXPECT(WaitUntil([&] { return others_commands > seen + 2; }));
  }
  finish = true;
  EXPECT(JoinSecondary());
  const Seen after;
  EXPECT_EQ(after.generation, before.generation + kDeathsInARow);
  EXPECT_EQ(after.count, before.count + kDeathsInARow + others_commands);
  EXPECT(after.deliveries >= before.deliveries + 2 * kDeathsInARow + others_commands);
}

}  // namespace
