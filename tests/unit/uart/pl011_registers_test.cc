// PL011 as a register file: identification, access rules, reset values, what reads back.
#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>

#include "tests/unit/uart/uart_machine.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

TEST(Pl011, PL011_01_PL011_03_PL011_04_peripheral_id) {
  UartMachine m;
  const uint64_t expected[] = {0x11, 0x10, 0x14, 0x00};
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(m.Load(0x1000 - 0x20 + 4 * i), expected[i]) << i;
  // Revision 1: 16 entries. The FIFO has them.
  m.Enable();
  EXPECT_EQ(m.ConsoleWrites("0123456789abcdef"), 16u);
  EXPECT_NE(m.Read(kFr) & kFrRxFifoFull, 0u);
}

TEST(Pl011, PL011_02_PL011_04_cell_id) {
  UartMachine m;
  const uint64_t expected[] = {0x0d, 0xf0, 0x05, 0xb1};
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(m.Load(0x1000 - 0x10 + 4 * i), expected[i]) << i;
}

TEST(Pl011, PL011_06_all_widths_reach_a_register) {
  UartMachine m;
  m.Store(0x024, 0x1234, 2);
  EXPECT_EQ(m.Load(0x024, 2), 0x1234u);
  EXPECT_EQ(m.Load(0x024, 4), 0x1234u);
  EXPECT_EQ(m.Load(0x024, 1), 0x34u);
  m.Store(0x024, 0xab, 1);  // zero-extended
  EXPECT_EQ(m.Load(0x024, 4), 0xabu);
  m.Store(0x000, 'A', 1);
  m.Store(0x000, 'B', 2);
  m.Store(0x000, 'C', 4);
  EXPECT_EQ(m.ConsoleReads(), "ABC");
  for (const uint32_t size : {1u, 2u, 4u}) {
    EXPECT_EQ(m.Load(0x018, size) & kFrTxFifoEmpty, kFrTxFifoEmpty) << size;
  }
  m.Enable();
  m.ConsoleWrites("xyz");
  EXPECT_EQ(m.Load(0x000, 1), 'x' + 0u);
  EXPECT_EQ(m.Load(0x000, 2), 'y' + 0u);
  EXPECT_EQ(m.Load(0x000, 4), 'z' + 0u);
}

TEST(Pl011, PL011_07_bits_above_the_width) {
  UartMachine m;
  const std::pair<Register, uint32_t> widths[] = {
      {kIlpr, 0xff}, {kIbrd, 0xffff}, {kFbrd, 0x3f}, {kLcrH, 0xff},
      {kIfls, 0x3f}, {kImsc, 0x7ff},  {kDmacr, 0x7},
  };
  for (const auto& [index, mask] : widths) {
    m.Write(index, 0xffff'ffff);
    EXPECT_EQ(m.Read(index), mask) << index;
  }
}

TEST(Pl011, PL011_08_reserved_offsets_read_0_and_ignore_stores) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("k");
  for (uint64_t offset = 0; offset < kRegionBytes; offset += 4) {
    const bool reserved = (offset >= 0x008 && offset <= 0x014) || offset == 0x01c ||
                          (offset >= 0x04c && offset <= 0xfdc);
    if (!reserved) continue;
    m.Store(offset, 0xffff'ffff);
    EXPECT_EQ(m.Load(offset), 0u) << offset;
  }
  EXPECT_EQ(m.Read(kImsc), 0u);
  EXPECT_EQ(m.ConsoleReads(), "");
  EXPECT_EQ(m.DrainInput(), "k");
}

TEST(Pl011, PL011_09_stores_to_read_only_registers_are_ignored) {
  UartMachine m;
  for (const Register index : {kFr, kRis, kMis, kPeriphId0, kPeriphId1, kPeriphId2, kPeriphId3,
                               kPCellId0, kPCellId1, kPCellId2, kPCellId3}) {
    const uint32_t before = m.Read(index);
    m.Write(index, ~before);
    EXPECT_EQ(m.Read(index), before) << index;
  }
  EXPECT_FALSE(m.line.level);
}

TEST(Pl011, PL011_10_icr_reads_0_without_side_effect) {
  UartMachine m;
  m.Print("a");
  const uint32_t raised = m.Read(kRis);
  ASSERT_NE(raised, 0u);
  EXPECT_EQ(m.Read(kIcr), 0u);
  EXPECT_EQ(m.Read(kRis), raised);
}

TEST(Pl011, PL011_11_wide_and_unaligned_accesses_do_nothing) {
  UartMachine m;
  m.Enable();
  m.ConsoleWrites("q");
  m.Store(0x000, 'Z', 8);
  m.Store(0x038, 0x7ff, 8);
  for (const uint64_t offset : {0x001u, 0x002u, 0x003u, 0x039u, 0x03au, 0xffdu}) {
    for (const uint32_t size : {1u, 2u, 4u, 8u}) {
      m.Store(offset, 0xff, size);
      EXPECT_EQ(m.Load(offset, size), 0u) << offset << " " << size;
    }
  }
  EXPECT_EQ(m.Load(0x000, 8), 0u);
  EXPECT_EQ(m.Load(0xfe0, 8), 0u);
  // Offsets that no binding would let through are as harmless.
  EXPECT_EQ(m.Load(0x1000), 0u);
  EXPECT_EQ(m.Load(~uint64_t{0}), 0u);
  m.Store(~uint64_t{3}, 1);
  EXPECT_EQ(m.Read(kImsc), 0u);
  EXPECT_EQ(m.ConsoleReads(), "");
  EXPECT_EQ(m.DrainInput(), "q");
}

TEST(Pl011, PL011_17_PL011_31_PL011_36_reset_values) {
  UartMachine m;
  const std::pair<Register, uint32_t> values[] = {
      {kRsr, 0},    {kFr, 0x090 | kFrCts | kFrDsr | kFrDcd},
      {kIlpr, 0},   {kIbrd, 0},
      {kFbrd, 0},   {kLcrH, 0},
      {kCr, 0x300}, {kIfls, 0x12},
      {kImsc, 0},   {kRis, 0},
      {kMis, 0},    {kDmacr, 0},
  };
  for (const auto& [index, value] : values) EXPECT_EQ(m.Read(index), value) << index;
}

TEST(Pl011, PL011_18_PL011_58_modem_flags_are_constant) {
  UartMachine m;
  for (const uint32_t control : {0x300u, 0x301u, 0xff01u, 0xff07u, 0u}) {
    m.Write(kCr, control);
    EXPECT_EQ(m.Read(kFr) & 0x107, 0x007u) << control;
    EXPECT_EQ(m.Read(kRis) & 0xf, 0u);
  }
}

TEST(Pl011, PL011_22_PL011_41_ilpr_and_dmacr_are_kept) {
  UartMachine m;
  m.Write(kIlpr, 0x5a);
  m.Write(kDmacr, 0x7);
  EXPECT_EQ(m.Read(kIlpr), 0x5au);
  EXPECT_EQ(m.Read(kDmacr), 0x7u);
  m.Print("still prints");
  EXPECT_EQ(m.ConsoleReads(), "still prints");
}

TEST(Pl011, PL011_23_PL011_24_PL011_25_no_divisor_stops_the_uart) {
  UartMachine m;
  m.Enable();
  for (const uint32_t divisor : {0u, 1u, 13u, 0xffffu}) {
    m.Write(kIbrd, divisor);
    m.Write(kFbrd, divisor & 0x3f);
    EXPECT_EQ(m.Read(kIbrd), divisor);
    EXPECT_EQ(m.Read(kFbrd), divisor & 0x3f);
    m.Print("o");
    EXPECT_EQ(m.ConsoleReads(), "o");
    m.ConsoleWrites("i");
    EXPECT_EQ(m.DrainInput(), "i");
  }
}

TEST(Pl011, PL011_26_lcr_h_reads_back) {
  UartMachine m;
  for (uint32_t value = 0; value < 256; ++value) {
    m.Write(kLcrH, value);
    EXPECT_EQ(m.Read(kLcrH), value);
  }
}

TEST(Pl011, PL011_29_PL011_30_word_length_and_break_change_no_byte) {
  UartMachine m;
  m.Write(kLcrH, 0x01);  // BRK, five bits
  m.Print("\xff\x81");
  m.Write(kLcrH, kLcrHWordLength8);
  m.Print("\xfe");
  EXPECT_EQ(m.ConsoleReads(), "\xff\x81\xfe");
}

TEST(Pl011, PL011_32_cr_reads_back_without_reserved_bits) {
  UartMachine m;
  m.Write(kCr, 0xffff);
  EXPECT_EQ(m.Read(kCr), 0xff87u);
  m.Write(kCr, 0);
  EXPECT_EQ(m.Read(kCr), 0u);
  m.Write(kCr, 0x0301);
  EXPECT_EQ(m.Read(kCr), 0x0301u);
}

TEST(Pl011, PL011_69_reset_of_the_vm) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, 0x7ff);
  m.Write(kIbrd, 13);
  m.Write(kIfls, 0);
  m.Print("last words");
  m.ConsoleWrites("abc");
  ASSERT_TRUE(m.line.level);
  m.ResetVm();
  for (size_t i = 0; i < kRegisterCount; ++i) {
    const auto index = static_cast<Register>(i);
    const uint32_t modem = index == kFr ? kFrCts | kFrDsr | kFrDcd : 0;
    EXPECT_EQ(m.Read(index), kTable.reset(i) | modem) << i;
  }
  EXPECT_FALSE(m.line.level);
  EXPECT_EQ(m.ConsoleReads(), "last words");  // what was written before leaves all the same
}

TEST(Pl011, journal_that_is_too_small_or_unaligned_is_refused) {
  AlignedMemory<4096> journal;
  EXPECT_EQ(AttachPl011State(journal.span().first(16)).error(), Status::kResourceExhausted);
  EXPECT_EQ(AttachPl011State(journal.span().subspan(1)).error(), Status::kInvalidArgument);
  EXPECT_TRUE(AttachPl011State(journal.span()).has_value());
}

TEST(Pl011, damaged_journal_gives_no_impossible_register) {
  UartMachine m;
  std::fill(m.journal.span().begin(), m.journal.span().end(), std::byte{0xff});
  m.state->format = Pl011State::kFormat;
  m.Boot();
  EXPECT_EQ(m.Read(kPeriphId0), 0x11u);
  EXPECT_EQ(m.Read(kRis), 0x7ffu & m.Read(kRis));
  EXPECT_EQ(m.Read(kCr) & 0x78, 0u);
  EXPECT_EQ(m.state->loop_entries(), 0u);
  m.Write(kIcr, 0x7ff);
  m.Write(kCr, 0x301);
  m.Print("works");
  EXPECT_EQ(m.ConsoleReads(), "works");
  // Unknown content is no journal: everything starts from reset.
  m.state->format = 0x1234;
  m.Boot();
  EXPECT_EQ(m.Read(kCr), 0x300u);
  EXPECT_EQ(m.Read(kImsc), 0u);
}

}  // namespace
}  // namespace atoll
