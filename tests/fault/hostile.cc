// A device whose service does everything that it must not: whoever does not use it sees nothing of it. Another VM runs
// beside this one and checks all answers that it gets (guests/oracle); here the other vCPU does so.
#include "guests/tests/test.h"
#include "services/runtime/faults.h"
#include "tests/fault/crasher/guest.h"
#include "tests/fault/others.h"

namespace {

using namespace bare;
using atoll::Fault;
using crasher::LetDeathsExpire;
using crasher::Read;
using crasher::Seen;

constexpr uint32_t kScratch = 0x5c5c'1234;

crasher::OtherDevices others;
volatile bool finish;
volatile uint32_t answers, right_answers, empty_answers;

// The other vCPU: all other devices, and the one that is hostile.
void UseAll() {
  while (!finish) {
    others.Use();
    const uint32_t answer = Read(crasher::kScratch);
    if (answer == kScratch) right_answers = right_answers + 1;
    if (answer == 0) empty_answers = empty_answers + 1;
    answers = answers + 1;
    others.Use();
  }
}

// The service does what `fault` says while it owes an answer, until it ends or is ended. The next instance takes the
// command, once.
void Do(Fault fault) {
  const Seen before;
  crasher::Command((static_cast<uint32_t>(fault) + 1) << crasher::kFaultShift | crasher::kBefore);
  const Seen after;
  EXPECT_EQ(after.generation, before.generation + 1);
  if (fault == Fault::kScribble) return;
  EXPECT_EQ(after.count, before.count + 1);
  EXPECT_EQ(after.deliveries, before.deliveries + 2);
}

// Does so while the other vCPU uses everything. Afterwards all is well, the hostile device's next instance included.
void DoBesideOthers(Fault fault, uint32_t times = 3) {
  crasher::Write(crasher::kScratch, kScratch);
  others.Prepare();
  answers = 0;
  right_answers = 0;
  empty_answers = 0;
  finish = false;
  REQUIRE(StartSecondary(UseAll));
  REQUIRE(WaitUntil([] { return answers > 3; }));
  for (uint32_t i = 0; i < times; ++i) {
    const uint32_t seen = others.rounds();
    Do(fault);
    EXPECT(WaitUntil([&] { return others.rounds() > seen + 3; }));
  }
  finish = true;
  EXPECT(JoinSecondary());
  EXPECT_EQ(others.wrong(), 0);
  others.Finish();
  crasher::Write(crasher::kScratch, kScratch);
  EXPECT_EQ(Read(crasher::kScratch), kScratch);
}

TEST(garbage_goes_to_its_own_callers_only) {
  DoBesideOthers(Fault::kGarbage);
  EXPECT(right_answers != answers);
  EXPECT(right_answers != 0);
}

// The first answer, of zeros, counts; the others reach nobody, neither this access nor a later one.
TEST(second_and_third_answers_reach_nobody) {
  DoBesideOthers(Fault::kAnswerTwice);
  EXPECT(empty_answers != 0);
  EXPECT_EQ(right_answers + empty_answers, answers);
}

TEST(journal_is_scribbled_over) {
  LetDeathsExpire();
  DoBesideOthers(Fault::kScribble, 8);
  crasher::Command(crasher::kLive);
  const uint32_t count = Read(crasher::kCount);
  crasher::Command(crasher::kLive);
  EXPECT_EQ(Read(crasher::kCount), count + 1);
}

TEST(stack_is_exhausted) {
  LetDeathsExpire();
  DoBesideOthers(Fault::kStackOverflow);
  EXPECT_EQ(right_answers, answers);
}

TEST(every_call_is_made_with_handles_that_are_there_and_that_are_not) {
  DoBesideOthers(Fault::kCallEverything);
  EXPECT_EQ(right_answers, answers);
}

TEST(hang_is_ended) {
  DoBesideOthers(Fault::kHang);
  EXPECT_EQ(right_answers, answers);
}

TEST(floods_are_ended) {
  LetDeathsExpire();
  for (const Fault fault : {Fault::kLogFlood, Fault::kSignalFlood, Fault::kLineFlood}) {
    DoBesideOthers(fault);
    EXPECT_EQ(right_answers, answers);
  }
}

}  // namespace
