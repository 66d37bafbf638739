#include "services/supervisor/plan.h"

#include <gtest/gtest.h>

#include "tests/unit/supervisor/samples.h"

namespace atoll {
namespace {

using samples::Bytes;
using samples::PlanBuilder;

Bytes Sample(uint32_t version = kPlanVersion, uint32_t extra_records = 0) {
  PlanBuilder plan;
  auto& task = plan.Add(atoll_PlanRecord_task_tag).record.task;
  samples::Copy(task.name, "console");
  task.slot = 40;
  auto& config = plan.Add(atoll_PlanRecord_config_tag).record.config;
  config.task = 40;
  config.data.size = 1024;
  plan.Add(atoll_PlanRecord_start_tag).record.start.task = 40;
  return plan.Build(version, extra_records);
}

// Reads all records; the problem, or how many there were.
std::string ReadAll(const Bytes& file) {
  auto reader = PlanReader::Open(file);
  if (!reader) return std::string(reader.error().view());
  atoll_PlanRecord record;
  for (int count = 0;; ++count) {
    const auto more = reader->Next(record);
    if (!more) return std::string(more.error().view());
    if (!*more) return std::to_string(count) + " records";
  }
}

TEST(Plan, ReadsRecordsInOrder) {
  const Bytes file = Sample();
  auto reader = PlanReader::Open(file);
  ASSERT_TRUE(reader);
  atoll_PlanRecord record;
  ASSERT_TRUE(reader->Next(record).value());
  EXPECT_EQ(record.which_record, atoll_PlanRecord_task_tag);
  EXPECT_STREQ(record.record.task.name, "console");
  EXPECT_EQ(reader->index(), 1u);
  ASSERT_TRUE(reader->Next(record).value());
  EXPECT_EQ(record.record.config.data.size, 1024u);
  ASSERT_TRUE(reader->Next(record).value());
  EXPECT_EQ(record.record.start.task, 40u);
  EXPECT_FALSE(reader->Next(record).value());
}

TEST(Plan, IgnoresThePaddingOfTheArchiveOnly) {
  Bytes file = Sample();
  file.resize(4096);
  EXPECT_EQ(ReadAll(file), "3 records");
  file.back() = std::byte{1};
  EXPECT_EQ(ReadAll(file), "plan.pb: record 4: is one more than header.records says");
}

TEST(Plan, NoticesEveryTruncation) {
  const Bytes file = Sample();
  for (size_t size = 0; size < file.size(); ++size) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(ReadAll(cut).starts_with("plan.pb: record ")) << size;
  }
  EXPECT_EQ(ReadAll(Sample(kPlanVersion, 1)), "plan.pb: record 4: the plan ends before it");
  EXPECT_EQ(ReadAll({}), "plan.pb: record 0: the plan ends before it");
}

TEST(Plan, RefusesOtherVersionsAndMissingHeaders) {
  EXPECT_EQ(ReadAll(Sample(9)), "plan.pb: record 0: header.version is 9, this supervisor reads 1");
  atoll_PlanRecord start = atoll_PlanRecord_init_zero;
  start.which_record = atoll_PlanRecord_start_tag;
  EXPECT_EQ(ReadAll(PlanBuilder::Encode(start)), "plan.pb: record 0: is not the header");
}

TEST(Plan, RefusesRecordsOfNoKnownKind) {
  Bytes file = PlanBuilder().Build(kPlanVersion, 1);
  const Bytes unknown = {std::byte{3}, std::byte{0xf2}, std::byte{0x01}, std::byte{0}};  // field 30
  file.insert(file.end(), unknown.begin(), unknown.end());
  EXPECT_EQ(ReadAll(file), "plan.pb: record 1: is of no known kind");
}

TEST(Plan, SaysWhatIsWrongWithARecord) {
  // A name longer than its bound in proto/plan.options.
  Bytes file = PlanBuilder().Build(kPlanVersion, 1);
  Bytes record = {std::byte{62}, std::byte{0x12}, std::byte{60}, std::byte{0x12}, std::byte{58}};
  record.resize(63, std::byte{'x'});
  file.insert(file.end(), record.begin(), record.end());
  EXPECT_EQ(ReadAll(file), "plan.pb: record 1: string overflow");
  file = PlanBuilder().Build(kPlanVersion, 1);
  const Bytes huge = {std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                      std::byte{0x7f}};
  file.insert(file.end(), huge.begin(), huge.end());
  EXPECT_EQ(ReadAll(file), "plan.pb: record 1: the plan ends before it");
}

TEST(Plan, SurvivesEveryByteChanged) {
  const Bytes good = Sample();
  for (size_t i = 0; i < good.size(); ++i) {
    for (const unsigned value : {0u, 1u, 0x7fu, 0x80u, 0xffu}) {
      Bytes file = good;
      file[i] = static_cast<std::byte>(value);
      ReadAll(file);  // whatever it says: no read outside
    }
  }
}

}  // namespace
}  // namespace atoll
