// Register tables. What the compiler refuses: register_table_errors.py.
#include "services/runtime/register_table.h"

#include <gtest/gtest.h>

namespace atoll {
namespace {

constexpr RegisterTable<3, 0x100> kTable({
    {"CONTROL", 0x00, 8, RegisterMode::kReadWrite, 0x81, 0x0f},
    {"STATUS", 0x04, 32, RegisterMode::kReadOnly, 0xffff'ffff},
    {"DOORBELL", 0xfc, 16, RegisterMode::kWriteOnly, 0, 0xffff},
});

RegisterAccess At(uint64_t offset, uint32_t size, uint64_t value = 0) {
  return {.offset = offset, .size = size, .write = value != 0, .value = value};
}

TEST(RegisterTable, finds_registers_at_their_own_offset_only) {
  for (const uint32_t size : {1u, 2u, 4u}) {
    EXPECT_EQ(kTable.Find(At(0x00, size)), 0u);
    EXPECT_EQ(kTable.Find(At(0x04, size)), 1u);
    EXPECT_EQ(kTable.Find(At(0xfc, size)), 2u);
  }
  for (const uint64_t offset : {uint64_t{0x01}, uint64_t{0x02}, uint64_t{0x03}, uint64_t{0x05},
                                uint64_t{0x08}, uint64_t{0xfd}, uint64_t{0x100}, uint64_t{1} << 32,
                                uint64_t{1} << 62, ~uint64_t{0}, ~uint64_t{3}}) {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      EXPECT_EQ(kTable.Find(At(offset, size)), kTable.kReserved) << offset;
    }
  }
  for (const uint32_t size : {5u, 8u, 16u, ~0u})
    EXPECT_EQ(kTable.Find(At(0x00, size)), kTable.kReserved);
}

TEST(RegisterTable, loads_are_cut_to_register_and_access) {
  EXPECT_EQ(kTable.Loaded(1, At(0x04, 4), 0x12345678), 0x12345678u);
  EXPECT_EQ(kTable.Loaded(1, At(0x04, 2), 0x12345678), 0x5678u);
  EXPECT_EQ(kTable.Loaded(1, At(0x04, 1), 0x12345678), 0x78u);
  EXPECT_EQ(kTable.Loaded(0, At(0x00, 4), 0xffff), 0xffu);
  EXPECT_EQ(kTable.Loaded(2, At(0xfc, 4), 0xffff), 0u);  // write-only
}

TEST(RegisterTable, stores_change_writable_bits_and_are_zero_extended) {
  EXPECT_EQ(kTable.Stored(0, At(0x00, 4, 0xffff'ffff), 0x81), 0x8fu);
  EXPECT_EQ(kTable.Stored(1, At(0x04, 4, 0x1234), 0x99), 0x99u);
  EXPECT_EQ(kTable.Stored(2, At(0xfc, 1, 0xabcd), 0xffff), 0xcdu);
}

TEST(RegisterTable, reset_values_and_offsets) {
  EXPECT_EQ(kTable.reset(0), 0x81u);
  EXPECT_EQ(kTable.reset_values()[1], 0xffff'ffffu);
  EXPECT_EQ(kTable.offset(2), 0xfcu);
}

}  // namespace
}  // namespace atoll
