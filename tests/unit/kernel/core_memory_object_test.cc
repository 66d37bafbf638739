#include <gtest/gtest.h>

#include "kernel/memory_object.h"

namespace atoll {
namespace {

using Record = MappingRecords::Record;

class MappingRecordsTest : public testing::Test {
 protected:
  // As MapMemory does it. Null: no room.
  Record* Map(Memory& memory, uint64_t address, uint64_t offset, uint64_t bytes) {
    Record* const record = records_.FindForMap(memory, address, offset);
    if (record == nullptr) return nullptr;
    if (record->memory == nullptr)
      *record = {.memory = &memory, .address = address, .offset = offset};
    record->bytes += bytes;
    return record;
  }

  Memory memory_{PhysAddr(0x4000'0000), 0x10'0000, MemoryType::kNormal};
  Memory other_{PhysAddr(0x5000'0000), 0x10'0000, MemoryType::kNormal};
  MappingRecords records_;
};

TEST_F(MappingRecordsTest, NothingAtFirst) {
  EXPECT_FALSE(records_.InUse());
  EXPECT_EQ(records_.FindFront(0), nullptr);  // free records look like mappings at 0 of nothing
}

TEST_F(MappingRecordsTest, NextPieceContinuesTheRecord) {
  Record* const first = Map(memory_, 0x1000, 0x3000, 0x2000);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(Map(memory_, 0x3000, 0x5000, 0x1000), first);
  EXPECT_EQ(first->bytes, 0x3000);
  EXPECT_EQ(records_.FindFront(0x1000), first);
  EXPECT_EQ(records_.FindFront(0x3000), nullptr);
}

TEST_F(MappingRecordsTest, OnlyAnExactContinuationJoins) {
  Record* const first = Map(memory_, 0x1000, 0, 0x1000);
  EXPECT_NE(Map(memory_, 0x2000, 0x2000, 0x1000), first);  // a gap in the memory
  EXPECT_NE(Map(memory_, 0x4000, 0x1000, 0x1000), first);  // a gap in the space
  EXPECT_NE(Map(other_, 0x2000, 0x1000, 0x1000), first);   // of another memory
  EXPECT_EQ(first->bytes, 0x1000);
}

TEST_F(MappingRecordsTest, FrontMovesAsItIsUnmapped) {
  Record* const record = Map(memory_, 0x1000, 0, 0x3000);
  record->address += 0x1000;
  record->offset += 0x1000;
  record->bytes -= 0x1000;
  EXPECT_EQ(records_.FindFront(0x1000), nullptr);
  EXPECT_EQ(records_.FindFront(0x2000), record);
  EXPECT_EQ(Map(memory_, 0x4000, 0x3000, 0x1000), record);  // it still grows at its end
  *record = {};
  EXPECT_FALSE(records_.InUse());
}

TEST_F(MappingRecordsTest, AFullTableTakesContinuationsOnly) {
  for (uint64_t i = 0; i < MappingRecords::kCapacity; ++i) {
    ASSERT_NE(Map(memory_, i * 0x10000, 0, 0x1000), nullptr);
  }
  EXPECT_EQ(Map(memory_, 0x5000, 0, 0x1000), nullptr);
  EXPECT_NE(Map(memory_, 0x1000, 0x1000, 0x1000), nullptr);
  *records_.FindFront(0x3'0000) = {};
  EXPECT_NE(Map(memory_, 0x5000, 0, 0x1000), nullptr);
}

}  // namespace
}  // namespace atoll
