// The table of DMA windows between supervisor and driver.
#include "ipc/dma.h"

#include <gtest/gtest.h>

namespace atoll {
namespace {

TEST(DmaWindow, ZeroedTableHasNothingOpenAndNothingToClose) {
  DmaTable table{};
  for (DmaWindow& window : table) {
    EXPECT_FALSE(ReadDmaWindow(window).has_value());
    EXPECT_FALSE(DmaWindowToClose(window).has_value());
  }
}

TEST(DmaWindow, OpenOneIsReadAsWritten) {
  DmaTable table{};
  OpenDmaWindow(table[3], 0x4000'0000, 0x20'0000, PhysAddr(0x8000'0000), 1);
  const auto open = ReadDmaWindow(table[3]);
  ASSERT_TRUE(open.has_value());
  EXPECT_EQ(open->generation, 1u);
  EXPECT_EQ(open->Translate(GuestPhys(0x4000'1000), 0x1000), PhysAddr(0x8000'1000));
  EXPECT_EQ(open->Translate(GuestPhys(0x4000'0000), 0x20'0000), PhysAddr(0x8000'0000));
  EXPECT_FALSE(DmaWindowToClose(table[3]).has_value());
}

TEST(DmaWindow, NothingOutsideIsTranslated) {
  const OpenDma open{
      .guest_base = 0x4000'0000, .bytes = 0x20'0000, .physical = PhysAddr(0x8000'0000)};
  EXPECT_FALSE(open.Translate(GuestPhys(0x3fff'ffff), 1).has_value());
  EXPECT_FALSE(open.Translate(GuestPhys(0x4020'0000), 1).has_value());
  EXPECT_FALSE(open.Translate(GuestPhys(0x401f'ffff), 2).has_value());
  EXPECT_FALSE(open.Translate(GuestPhys(0x4000'0000), 0x20'0001).has_value());
  EXPECT_FALSE(open.Translate(GuestPhys(0x4000'1000), ~uint64_t{0}).has_value());
  EXPECT_FALSE(open.Translate(GuestPhys(~uint64_t{0}), 2).has_value());
}

TEST(DmaWindow, CloseIsAcknowledgedOnce) {
  DmaTable table{};
  OpenDmaWindow(table[1], 0, kPageSize, PhysAddr(kPageSize), 1);
  CloseDmaWindow(table[1], 2);
  EXPECT_FALSE(ReadDmaWindow(table[1]).has_value());
  EXPECT_FALSE(IsDmaWindowClosed(table[1], 2));
  ASSERT_EQ(DmaWindowToClose(table[1]), 2u);
  AcknowledgeDmaClosed(table[1], 2);
  EXPECT_TRUE(IsDmaWindowClosed(table[1], 2));
  EXPECT_FALSE(DmaWindowToClose(table[1]).has_value());
}

TEST(DmaWindow, AcknowledgementOfAnEarlierEndIsNone) {
  DmaTable table{};
  AcknowledgeDmaClosed(table[1], 2);
  OpenDmaWindow(table[1], 0, kPageSize, PhysAddr(kPageSize), 3);
  EXPECT_TRUE(ReadDmaWindow(table[1]).has_value());
  CloseDmaWindow(table[1], 4);
  EXPECT_FALSE(IsDmaWindowClosed(table[1], 4));
  EXPECT_EQ(DmaWindowToClose(table[1]), 4u);
}

}  // namespace
}  // namespace atoll
