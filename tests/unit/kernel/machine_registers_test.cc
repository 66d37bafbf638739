// The GICv3 driver against memory that stands for its registers, the kernel's boot tables, and the
// log's parts.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "kernel/boot/table_builder.h"
#include "kernel/log/line.h"
#include "kernel/log/log_ring.h"
#include "kernel/log/syndrome.h"
#include "kernel/machine/gicv3.h"
#include "kernel/machine/timer.h"

namespace atoll {
namespace {

// 64 KiB frames of plain memory: stores can be seen, set and clear registers do not interact.
class Frames {
 public:
  explicit Frames(size_t count) : words_(count * 0x10000 / 4) {}
  VirtAddr base() { return VirtAddr(reinterpret_cast<uintptr_t>(words_.data())); }
  uint32_t& At(size_t offset) { return words_[offset / 4]; }

 private:
  std::vector<uint32_t> words_;  // operator new aligns to 16
};

TEST(Gicv3, DistributorKnowsItsInterrupts) {
  Frames frames(1);
  const GicDistributor distributor(frames.base());
  frames.At(0x4) = 7;
  EXPECT_EQ(distributor.SpiEnd(), 256u);
  EXPECT_TRUE(distributor.HasSpi(255));
  EXPECT_FALSE(distributor.HasSpi(256));
  EXPECT_FALSE(distributor.HasSpi(31));
  frames.At(0x4) = 31;
  EXPECT_EQ(distributor.SpiEnd(), 1020u);
}

TEST(Gicv3, InitializeDisablesEverythingThenRoutesByAffinity) {
  Frames frames(1);
  frames.At(0x4) = 2;
  GicDistributor(frames.base()).Initialize();
  EXPECT_EQ(frames.At(0x0), 0x12u);  // ARE, EnableGrp1
  EXPECT_EQ(frames.At(0x180), 0u);   // SGIs and PPIs belong to the redistributor
  EXPECT_EQ(frames.At(0x184), ~0u);  // ICENABLER1
  EXPECT_EQ(frames.At(0x188), ~0u);
  EXPECT_EQ(frames.At(0x18c), 0u);           // beyond the last
  EXPECT_EQ(frames.At(0x84), ~0u);           // Group 1
  EXPECT_EQ(frames.At(0x420), 0xa0a0a0a0u);  // IPRIORITYR8
  EXPECT_EQ(frames.At(0x400 + 92), 0xa0a0a0a0u);
  EXPECT_EQ(frames.At(0x400 + 96), 0u);
}

TEST(Gicv3, TouchesOneInterruptOnly) {
  Frames frames(1);
  const GicDistributor distributor(frames.base());
  distributor.interrupts().Enable(33);
  EXPECT_EQ(frames.At(0x104), 2u);
  distributor.interrupts().Disable(64);
  EXPECT_EQ(frames.At(0x188), 1u);
  distributor.interrupts().SetActive(95);
  EXPECT_EQ(frames.At(0x308), 0x8000'0000u);
  EXPECT_TRUE(distributor.interrupts().IsActive(95));
  EXPECT_FALSE(distributor.interrupts().IsActive(94));
  distributor.interrupts().ClearActive(95);
  EXPECT_EQ(frames.At(0x388), 0x8000'0000u);
  distributor.interrupts().SetPriority(34, 0x40);
  EXPECT_EQ(frames.At(0x420), 0x0040'0000u);
  frames.At(0xc08) = ~0u;
  distributor.interrupts().SetEdge(33, false);
  EXPECT_EQ(frames.At(0xc08), 0xffff'fff7u);
  distributor.interrupts().SetEdge(33, true);
  EXPECT_EQ(frames.At(0xc08), ~0u);
  distributor.Route(40, 0x01'8102'0304);
  EXPECT_EQ(frames.At(0x6000 + 40 * 8), 0x0002'0304u);
  EXPECT_EQ(frames.At(0x6000 + 40 * 8 + 4), 0x01u);
}

TEST(Gicv3, FindsARedistributorByAffinity) {
  Frames frames(10);
  frames.At(0x0008) = 1 << 1;  // TYPER.VLPIS: four frames
  frames.At(0x000c) = 0x0000'0000;
  frames.At(0x40008) = 0;
  frames.At(0x4000c) = 0x0100'0102;  // Aff3.Aff2.Aff1.Aff0
  frames.At(0x60008) = 1 << 4;       // TYPER.Last
  frames.At(0x6000c) = 0x3;
  frames.At(0x8000c) = 0x4;  // after the last
  const auto find = [&](uint64_t affinity) {
    return GicRedistributor::Find(frames.base(), 10 * 0x10000, affinity);
  };
  const Result<GicRedistributor> found = find(0x01'0000'0102);
  ASSERT_TRUE(found);
  found->interrupts().Enable(26);
  EXPECT_EQ(frames.At(0x50100), 1u << 26);
  EXPECT_TRUE(find(3));
  EXPECT_EQ(find(4).error(), Status::kNotFound);
  EXPECT_EQ(GicRedistributor::Find(frames.base(), 0x40000, 3).error(), Status::kNotFound);
}

TEST(Gicv3, SaysWhenARedistributorDoesNotWake) {
  Frames frames(2);
  const Result<GicRedistributor> redistributor = GicRedistributor::Find(frames.base(), 0x20000, 0);
  ASSERT_TRUE(redistributor);
  frames.At(0x14) = 1 << 1;  // asleep, its children not
  EXPECT_EQ(redistributor->Initialize(), Status::kOk);
  EXPECT_EQ(frames.At(0x14), 0u);
  EXPECT_EQ(frames.At(0x10180), ~0u);
  frames.At(0x14) = 1 << 2;
  EXPECT_EQ(redistributor->Initialize(), Status::kDeadlineExceeded);
}

// ---- boot tables

constexpr PhysAddr kPool{0x8000'0000};
constexpr size_t kTables = 8;

struct Tables {
  std::unique_ptr<boot::TranslationTable> root = std::make_unique<boot::TranslationTable>();
  std::unique_ptr<std::array<boot::TranslationTable, kTables>> pool =
      std::make_unique<std::array<boot::TranslationTable, kTables>>();
  size_t used = 0;
  boot::TableBuilder builder{*pool, kPool, used};

  Status Map(uint64_t address, uint64_t physical, uint64_t bytes,
             boot::Access access = boot::Access::kReadWrite) {
    return builder.Map(*root, VirtAddr(address), PhysAddr(physical), bytes,
                       MemoryAttribute::kNormalWriteBack, access);
  }
  // The leaf descriptor for an address, 0 if none.
  uint64_t Walk(uint64_t address) const {
    const boot::TranslationTable* table = root.get();
    for (unsigned shift : {30u, 21u, 12u}) {
      const uint64_t entry = table->entries[(address >> shift) & 511];
      if (shift == 12 || (entry & 2) == 0) return entry;
      table = &(*pool)[((entry & 0xffff'ffff'f000) - kPool.value) / kPageSize];
    }
    return 0;
  }
};

constexpr uint64_t kReadOnlyBit = 1u << 7;
constexpr uint64_t kPxnBit = uint64_t{1} << 53;
constexpr uint64_t kUxnBit = uint64_t{1} << 54;

TEST(BootTables, UseTheLargestBlocks) {
  Tables tables;
  // One page, then blocks of 2 MiB, then one of 1 GiB.
  constexpr uint64_t kFirst = 0x3fdf'f000;
  constexpr uint64_t kVirtual = 0xffff'ff80'0000'0000;
  ASSERT_EQ(tables.Map(kVirtual + kFirst, kFirst, 0x8000'0000 - kFirst), Status::kOk);
  EXPECT_EQ(tables.used, 2u);
  EXPECT_EQ(tables.Walk(kVirtual + kFirst) & 0xffff'ffff'f003, kFirst | 3);
  EXPECT_EQ(tables.Walk(kVirtual + kFirst - kPageSize), 0u);
  EXPECT_EQ(tables.Walk(kVirtual + 0x3fe0'0000) & 0xffff'ffff'f003, 0x3fe0'0001u);
  EXPECT_EQ(tables.Walk(kVirtual + 0x7fff'f000) & 0xffff'ffff'f003, 0x4000'0001u);
  EXPECT_EQ(tables.Walk(kVirtual + 0x8000'0000), 0u);
}

TEST(BootTables, AreNeverWritableAndExecutableNorForTasks) {
  Tables tables;
  ASSERT_EQ(tables.Map(0x0000, 0, kPageSize, boot::Access::kExecute), Status::kOk);
  ASSERT_EQ(tables.Map(0x1000, 0, kPageSize, boot::Access::kReadOnly), Status::kOk);
  ASSERT_EQ(tables.Map(0x2000, 0, kPageSize, boot::Access::kReadWrite), Status::kOk);
  constexpr uint64_t kRights = kReadOnlyBit | kPxnBit | kUxnBit | (1u << 6);  // AP[1]: EL0
  EXPECT_EQ(tables.Walk(0x0000) & kRights, kReadOnlyBit | kUxnBit);
  EXPECT_EQ(tables.Walk(0x1000) & kRights, kReadOnlyBit | kPxnBit | kUxnBit);
  EXPECT_EQ(tables.Walk(0x2000) & kRights, kPxnBit | kUxnBit);
}

TEST(BootTables, RefuseToMapTwice) {
  Tables tables;
  ASSERT_EQ(tables.Map(0x20'0000, 0, 0x20'0000), Status::kOk);
  EXPECT_EQ(tables.Map(0x20'0000, 0, 0x20'0000), Status::kAlreadyExists);
  EXPECT_EQ(tables.Map(0x20'1000, 0x1000, kPageSize), Status::kAlreadyExists);
  ASSERT_EQ(tables.Map(0x1000, 0x1000, kPageSize), Status::kOk);
  EXPECT_EQ(tables.Map(0x0, 0x0, 0x20'0000), Status::kAlreadyExists);
}

TEST(BootTables, SayWhenThePoolIsEmpty) {
  Tables tables;
  Status status = Status::kOk;
  uint64_t i = 0;
  for (; i < kTables && status == Status::kOk; ++i) status = tables.Map(i << 30, 0, kPageSize);
  EXPECT_EQ(status, Status::kResourceExhausted);
  EXPECT_EQ(i, kTables / 2 + 1);
}

TEST(BootTables, RefuseWhatIsNotPages) {
  Tables tables;
  EXPECT_EQ(tables.Map(0x800, 0, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(tables.Map(0, 0x800, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(tables.Map(0, 0, 0x800), Status::kInvalidArgument);
}

// ---- log

std::string Text(const Line& line) { return std::string(line.view()); }

TEST(Line, FormatsNumbers) {
  Line line;
  line << "a" << ' ' << 0 << ' ' << ~uint64_t{0} << ' ' << -7 << ' ' << INT64_MIN << ' '
       << uint8_t{200};
  EXPECT_EQ(Text(line), "a 0 18446744073709551615 -7 -9223372036854775808 200");
  Line hex;
  hex << Hex(0) << ' ' << Hex(0xabc) << ' ' << Hex(0xabc, 8) << ' ' << Hex(~uint64_t{0}, 16) << ' '
      << Hex(5, 0);
  EXPECT_EQ(Text(hex), "0x0 0xabc 0x00000abc 0xffffffffffffffff 0x5");
}

TEST(Line, CutsWhatDoesNotFit) {
  Line line;
  line << std::string(Line::kBytes, 'x');
  EXPECT_EQ(Text(line), std::string(Line::kBytes, 'x'));
  line << 'y';
  EXPECT_EQ(Text(line), std::string(Line::kBytes - 3, 'x') + "...");
  line << Hex(1) << "more";
  EXPECT_EQ(line.view().size(), Line::kBytes);
}

TEST(LogRing, KeepsTheLastBytes) {
  LogRing<8> ring;
  std::array<char, 16> out;
  uint64_t from = 0;
  EXPECT_EQ(ring.Read(from, out), 0u);
  ring.Append("abc");
  EXPECT_EQ(ring.Read(from, out), 3u);
  EXPECT_EQ(from, 3u);
  ring.Append("defghijklm");
  EXPECT_EQ(ring.Read(from, std::span(out).first(5)), 5u);  // "de" is lost
  EXPECT_EQ(std::string(out.data(), 5), "fghij");
  EXPECT_EQ(ring.Read(from, out), 3u);
  EXPECT_EQ(std::string(out.data(), 3), "klm");
  from = 1000;  // a reader's nonsense
  EXPECT_EQ(ring.Read(from, out), 0u);
  EXPECT_EQ(from, ring.written());
}

TEST(Syndrome, SaysWhatHappened) {
  const auto describe = [](uint64_t esr) {
    Line line;
    DescribeSyndrome(line, esr);
    return Text(line);
  };
  EXPECT_EQ(describe(0x9600'0047), "data abort, translation fault at level 3, write");
  EXPECT_EQ(describe(0x9600'000d), "data abort, permission fault at level 1, read");
  EXPECT_EQ(describe(0x8600'000f), "instruction abort, permission fault at level 3");
  EXPECT_EQ(describe(0x9600'0010), "data abort, synchronous external abort, read");
  EXPECT_EQ(describe(0x9600'0021), "data abort, alignment fault, read");
  EXPECT_EQ(describe(0x0200'0000), "undefined instruction");
  EXPECT_EQ(describe(0xbe00'0000), "SError interrupt");
  EXPECT_EQ(describe(0xfc00'0000), "exception");
}

TEST(Timer, ConvertsWithoutOverflow) {
  constexpr uint64_t kHz = 62'500'000;
  EXPECT_EQ(TicksToNanoseconds(1, kHz), 16u);
  EXPECT_EQ(NanosecondsToTicks(16, kHz), 1u);
  EXPECT_EQ(NanosecondsToTicks(15, kHz), 0u);
  constexpr uint64_t kYears = uint64_t{500} * 365 * 24 * 3600;
  EXPECT_EQ(TicksToNanoseconds(kYears * kHz, kHz), kYears * kNanosecondsPerSecond);
  EXPECT_EQ(TicksToNanoseconds(0xffff'ffff, 0xffff'ffff), kNanosecondsPerSecond);
}

}  // namespace
}  // namespace atoll
