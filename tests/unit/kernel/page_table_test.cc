// Translation tables: bits, bounds, what is refused, and the order of changes that hardware relies
// on.
#include "kernel/memory/page_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "kernel/memory/translation_registers.h"
#include "tests/unit/kernel/fake_memory.h"

namespace atoll {
namespace {

constexpr uint32_t kMuch = 1000;
constexpr PageAttributes kReadWrite{.write = true};
constexpr PageAttributes kReadOnly{};
constexpr PageAttributes kCode{.execute = true};
constexpr PageAttributes kDevice{.write = true, .memory = PageMemory::kDevice};

// Notes what is invalidated, and what the table and the pool looked like at that moment.
template <typename Table>
class RecordingTlb final : public Tlb {
 public:
  struct Event {
    uint64_t address;
    uint64_t bytes;
    bool mapped;  // the first page of the range
    size_t pool_pages;
  };
  RecordingTlb(const Table& table, const typename Table::Pool& pool) : table_(table), pool_(pool) {}
  void Invalidate(uint64_t address, uint64_t bytes) override {
    const bool mapped = table_.Query(typename Table::Input(address)).has_value();
    events.push_back({address, bytes, mapped, pool_.count()});
  }
  std::vector<Event> events;

 private:
  const Table& table_;
  const typename Table::Pool& pool_;
};

template <typename Format>
class TableFixture : public ::testing::Test {
 protected:
  using Table = PageTable<Format, FakeMemory>;
  using Input = typename Format::Input;

  TableFixture() {
    for (auto& page : FakeMemory::pages) page.fill(0xdead'beef'dead'beef);
    for (size_t i = 0; i < Table::kRootBytes / kPageSize; ++i) {
      FakeMemory::pages[i].fill(0);
    }
    Donate(16);
  }

  void Donate(size_t pages) {
    for (size_t i = 0; i < pages; ++i) pool.Give(FakeMemory::PageAt(next_page_++));
  }

  // The raw leaf descriptor, found as hardware would: no use of the code under test.
  uint64_t Descriptor(uint64_t offset) const {
    PhysAddr table_address = FakeMemory::PageAt(0);
    for (unsigned shift : {30u, 21u, 12u}) {
      size_t index = offset >> shift;
      if (shift != 30) index &= 511;
      const PhysAddr page = table_address + (index / 512) * kPageSize;  // concatenated roots
      const uint64_t entry = FakeMemory::Words(page)[index % 512];
      if ((entry & 1) == 0 || shift == 12 || (entry & 2) == 0) return entry;
      table_address = PhysAddr(entry & 0xffff'ffff'f000);
    }
    return 0;
  }

  size_t next_page_ = 2;
  BasicPagePool<FakeMemory> pool;
  Table table{FakeMemory::PageAt(0), pool};
  RecordingTlb<Table> tlb{table, pool};
};

using TaskTableTest = TableFixture<TaskFormat>;
using KernelTableTest = TableFixture<KernelFormat>;
using Stage2TableTest = TableFixture<Stage2Format>;

// ---- descriptors, bit by bit (DDI0487, VMSAv8-64 descriptors) -----------------------------------

TEST_F(TaskTableTest, page_descriptors_of_every_kind) {
  const VirtAddr at{0x1000'1000};
  struct Case {
    PageAttributes attributes;
    uint64_t expected;
  };
  // type 3, AttrIndx 1 (normal) or 0 (device), AP[1], AP[2] = read-only, SH 3, AF, nG, PXN (53),
  // UXN (54)
  const Case cases[] = {
      {kReadWrite, 0x0060'0000'0000'0f47},
      {kReadOnly, 0x0060'0000'0000'0fc7},
      {kCode, 0x0020'0000'0000'0fc7},
      {kDevice, 0x0060'0000'0000'0c43},
  };
  for (const Case& c : cases) {
    ASSERT_EQ(table.Map(at, PhysAddr(0x9'8765'4000), kPageSize, c.attributes, kMuch), kPageSize);
    EXPECT_EQ(Descriptor(at.value), c.expected | 0x9'8765'4000) << std::hex << c.expected;
    EXPECT_EQ(table.Query(at)->attributes, c.attributes);
    ASSERT_EQ(table.Unmap(at, kPageSize, kMuch, tlb), kPageSize);
  }
}

TEST_F(KernelTableTest, page_descriptors_are_global_and_never_for_el0) {
  const VirtAddr at = kDirectMapBase + 0x20'1000;
  ASSERT_TRUE(table.Map(at, PhysAddr(0x4000'0000), kPageSize, kCode, kMuch));
  EXPECT_EQ(Descriptor(0x20'1000), 0x0040'0000'4000'0787u);  // UXN, AP = 0b10, SH 3, AF, no nG
  ASSERT_TRUE(table.Map(at + kPageSize, PhysAddr(0x4000'0000), kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(Descriptor(0x20'2000), 0x0060'0000'4000'0707u);  // UXN and PXN, AP = 0b00
}

TEST_F(Stage2TableTest, MEM_07_ram_is_write_back_and_executable_devices_are_ngnre_and_not) {
  const GuestPhys ram{0x4000'1000};
  const PageAttributes guest_ram{.write = true, .execute = true};
  ASSERT_TRUE(table.Map(ram, PhysAddr(0x5000'0000), kPageSize, guest_ram, kMuch));
  EXPECT_EQ(Descriptor(ram.value), 0x0000'0000'5000'07ffu);  // MemAttr 0b1111, S2AP 0b11, SH 3, AF
  ASSERT_TRUE(table.Map(ram + kPageSize, PhysAddr(0x5000'0000), kPageSize, kReadOnly, kMuch));
  EXPECT_EQ(Descriptor(ram.value + kPageSize), 0x0040'0000'5000'077fu);  // S2AP 0b01, XN
  ASSERT_TRUE(table.Map(ram + 2 * kPageSize, PhysAddr(0x0900'0000), kPageSize, kDevice, kMuch));
  EXPECT_EQ(Descriptor(ram.value + 2 * kPageSize), 0x0040'0000'0900'04c7u);  // MemAttr 0b0001, XN
}

TEST_F(Stage2TableTest, MEM_07_no_device_memory_is_executable) {
  const PageAttributes bad{.write = true, .execute = true, .memory = PageMemory::kDevice};
  EXPECT_EQ(table.Map(GuestPhys(0), PhysAddr(0x0900'0000), kPageSize, bad, kMuch),
            std::unexpected(Status::kInvalidArgument));
  EXPECT_FALSE(table.Query(GuestPhys(0)));
}

TEST_F(TaskTableTest, nothing_is_writable_and_executable) {
  const PageAttributes bad{.write = true, .execute = true};
  EXPECT_EQ(table.Map(VirtAddr(0x40'0000), PhysAddr(0x5000'0000), kPageSize, bad, kMuch),
            std::unexpected(Status::kInvalidArgument));
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(KernelTableTest, nothing_is_writable_and_executable_in_the_kernel_either) {
  const PageAttributes bad{.write = true, .execute = true};
  EXPECT_EQ(table.Map(kDirectMapBase, PhysAddr(0x5000'0000), kPageSize, bad, kMuch),
            std::unexpected(Status::kInvalidArgument));
}

// ---- sizes --------------------------------------------------------------------------------------

TEST_F(Stage2TableTest, MEM_08_uses_blocks_where_both_sides_are_aligned) {
  // One page before the block boundary, a block, one page after it.
  const GuestPhys start{kBlockSize * 4 - kPageSize};
  const PhysAddr phys{kBlockSize * 9 - kPageSize};
  const uint64_t bytes = kBlockSize + 2 * kPageSize;
  EXPECT_EQ(table.Map(start, phys, bytes, kReadWrite, 3), bytes);  // three entries
  EXPECT_EQ(Descriptor(kBlockSize * 4) & 3, 1u);
  for (uint64_t offset = 0; offset < bytes; offset += kPageSize) {
    ASSERT_EQ(table.Query(start + offset)->phys, phys + offset) << offset;
  }
  EXPECT_EQ(table.Query(GuestPhys(kBlockSize * 4))->bytes, kBlockSize);
  EXPECT_EQ(table.Query(GuestPhys(kBlockSize * 4 + 5))->bytes, kBlockSize - 5);
  EXPECT_FALSE(table.Query(start - 1));
  EXPECT_FALSE(table.Query(start + bytes));
}

TEST_F(Stage2TableTest, no_blocks_if_the_physical_side_is_not_aligned) {
  EXPECT_EQ(table.Map(GuestPhys(0), PhysAddr(kPageSize), kBlockSize, kReadWrite, 3), 3 * kPageSize);
}

TEST_F(KernelTableTest, gigabyte_blocks_in_the_kernel_map_only) {
  constexpr uint64_t kGigabyte = uint64_t{1} << 30;
  EXPECT_EQ(
      table.Map(kDirectMapBase + kGigabyte, PhysAddr(kGigabyte), 2 * kGigabyte, kReadWrite, 2),
      2 * kGigabyte);
  EXPECT_EQ(pool.count(), 16u);
  EXPECT_EQ(table.Query(kDirectMapBase + kGigabyte + 0x12345)->phys, PhysAddr(kGigabyte + 0x12345));
}

TEST_F(TaskTableTest, no_gigabyte_blocks_for_tasks) {
  constexpr uint64_t kGigabyte = uint64_t{1} << 30;
  EXPECT_EQ(table.Map(VirtAddr(kGigabyte), PhysAddr(kGigabyte), kGigabyte, kReadWrite, 1),
            kBlockSize);
}

TEST_F(Stage2TableTest, both_concatenated_root_tables_are_used) {
  const GuestPhys last{(uint64_t{1} << 40) - kPageSize};
  ASSERT_TRUE(table.Map(last, PhysAddr(0x5000'0000), kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(FakeMemory::pages[1][511] & 3, 3u);
  EXPECT_EQ(table.Query(last + 0xfff)->phys, PhysAddr(0x5000'0fff));
}

TEST_F(TaskTableTest, budget_bounds_one_call_and_the_next_goes_on) {
  const VirtAddr start{0x1000'0000 + kPageSize};
  uint64_t done = 0;
  int calls = 0;
  while (done < 10 * kPageSize) {
    const auto step =
        table.Map(start + done, PhysAddr(0x5000'0000) + done, 10 * kPageSize - done, kReadWrite, 4);
    ASSERT_TRUE(step);
    ASSERT_LE(*step, 4 * kPageSize);
    done += *step;
    ++calls;
  }
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(table.Query(start + 9 * kPageSize)->phys, PhysAddr(0x5000'0000 + 9 * kPageSize));
}

// ---- refused ------------------------------------------------------------------------------------

TEST_F(TaskTableTest, refuses_what_is_not_aligned_empty_or_without_budget) {
  const auto invalid = std::unexpected(Status::kInvalidArgument);
  const PhysAddr phys{0x5000'0000};
  EXPECT_EQ(table.Map(VirtAddr(0x1001), phys, kPageSize, kReadWrite, kMuch), invalid);
  EXPECT_EQ(table.Map(VirtAddr(0x1000), phys + 8, kPageSize, kReadWrite, kMuch), invalid);
  EXPECT_EQ(table.Map(VirtAddr(0x1000), phys, kPageSize - 1, kReadWrite, kMuch), invalid);
  EXPECT_EQ(table.Map(VirtAddr(0x1000), phys, 0, kReadWrite, kMuch), invalid);
  EXPECT_EQ(table.Map(VirtAddr(0x1000), phys, kPageSize, kReadWrite, 0), invalid);
  EXPECT_EQ(table.Unmap(VirtAddr(0x1001), kPageSize, kMuch, tlb), invalid);
  EXPECT_EQ(table.Unmap(VirtAddr(0x1000), 0, kMuch, tlb), invalid);
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(TaskTableTest, refuses_addresses_beyond_the_space_and_wrapping_ranges) {
  const auto out = std::unexpected(Status::kOutOfRange);
  const PhysAddr phys{0x5000'0000};
  const VirtAddr end{uint64_t{1} << 39};
  EXPECT_EQ(table.Map(end, phys, kPageSize, kReadWrite, kMuch), out);
  EXPECT_EQ(table.Map(end - kPageSize, phys, 2 * kPageSize, kReadWrite, kMuch), out);
  EXPECT_EQ(table.Map(VirtAddr(kPageSize), phys, -kPageSize, kReadWrite, kMuch), out);
  EXPECT_EQ(table.Map(kDirectMapBase, phys, kPageSize, kReadWrite, kMuch), out);
  EXPECT_EQ(table.Map(VirtAddr(0), PhysAddr(uint64_t{1} << 48), kPageSize, kReadWrite, kMuch), out);
  EXPECT_EQ(table.Map(VirtAddr(0), PhysAddr((uint64_t{1} << 48) - kPageSize), 2 * kPageSize,
                      kReadWrite, kMuch),
            out);
  EXPECT_EQ(table.Unmap(end, kPageSize, kMuch, tlb), out);
  EXPECT_FALSE(table.Query(end));
  EXPECT_FALSE(table.Query(VirtAddr(~uint64_t{0})));
}

TEST_F(KernelTableTest, refuses_addresses_of_the_lower_half) {
  EXPECT_EQ(table.Map(VirtAddr(0x4000'0000), PhysAddr(0), kPageSize, kReadWrite, kMuch),
            std::unexpected(Status::kOutOfRange));
  EXPECT_EQ(table.Map(VirtAddr(~uint64_t{0xfff}), PhysAddr(0), 2 * kPageSize, kReadWrite, kMuch),
            std::unexpected(Status::kOutOfRange));
  EXPECT_EQ(table.Map(VirtAddr(~uint64_t{0xfff}), PhysAddr(0), kPageSize, kReadWrite, kMuch),
            kPageSize);
}

TEST_F(Stage2TableTest, MEM_13_refuses_addresses_above_the_ipa_range) {
  EXPECT_EQ(table.Map(GuestPhys(uint64_t{1} << 40), PhysAddr(0), kPageSize, kReadWrite, kMuch),
            std::unexpected(Status::kOutOfRange));
}

TEST_F(Stage2TableTest, MEM_11_a_page_is_mapped_once) {
  const auto exists = std::unexpected(Status::kAlreadyExists);
  const GuestPhys at{kBlockSize};
  ASSERT_TRUE(table.Map(at, PhysAddr(0x5000'0000), kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(table.Map(at, PhysAddr(0x6000'0000), kPageSize, kReadWrite, kMuch), exists);
  EXPECT_EQ(table.Map(at, PhysAddr(0x6000'0000), kBlockSize, kReadWrite, kMuch), exists);
  EXPECT_EQ(table.Query(at)->phys, PhysAddr(0x5000'0000));
  // Inside a block.
  ASSERT_TRUE(
      table.Map(GuestPhys(2 * kBlockSize), PhysAddr(0x6000'0000), kBlockSize, kReadWrite, kMuch));
  EXPECT_EQ(
      table.Map(GuestPhys(2 * kBlockSize + kPageSize), PhysAddr(0), kPageSize, kReadWrite, kMuch),
      exists);
}

TEST_F(Stage2TableTest, mapping_stops_before_what_is_mapped_and_then_says_why) {
  ASSERT_TRUE(
      table.Map(GuestPhys(3 * kPageSize), PhysAddr(0x5000'0000), kPageSize, kReadOnly, kMuch));
  EXPECT_EQ(table.Map(GuestPhys(0), PhysAddr(0x6000'0000), 8 * kPageSize, kReadWrite, kMuch),
            3 * kPageSize);
  EXPECT_EQ(
      table.Map(GuestPhys(3 * kPageSize), PhysAddr(0x6000'3000), 5 * kPageSize, kReadWrite, kMuch),
      std::unexpected(Status::kAlreadyExists));
  EXPECT_EQ(table.Query(GuestPhys(3 * kPageSize))->phys, PhysAddr(0x5000'0000));
  EXPECT_FALSE(table.Query(GuestPhys(4 * kPageSize)));
}

TEST(PageTable, an_empty_pool_leaves_nothing_behind) {
  FakeMemory::pages[0].fill(0);
  BasicPagePool<FakeMemory> pool;
  PageTable<TaskFormat, FakeMemory> table(FakeMemory::PageAt(0), pool);
  pool.Give(FakeMemory::PageAt(2));  // two are needed
  EXPECT_EQ(table.Map(VirtAddr(0x1000), PhysAddr(0x5000'0000), kPageSize, kReadWrite, kMuch),
            std::unexpected(Status::kResourceExhausted));
  EXPECT_EQ(pool.count(), 1u);
  for (uint64_t entry : FakeMemory::pages[0]) ASSERT_EQ(entry, 0u);
  pool.Give(FakeMemory::PageAt(3));
  EXPECT_EQ(table.Map(VirtAddr(0x1000), PhysAddr(0x5000'0000), kPageSize, kReadWrite, kMuch),
            kPageSize);
}

// ---- unmapping ----------------------------------------------------------------------------------

TEST_F(TaskTableTest, tables_come_back_when_they_are_empty) {
  ASSERT_TRUE(table.Map(VirtAddr(0x1000), PhysAddr(0x5000'0000), 3 * kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(pool.count(), 14u);
  EXPECT_EQ(table.Unmap(VirtAddr(0x1000), 2 * kPageSize, kMuch, tlb), 2 * kPageSize);
  EXPECT_EQ(pool.count(), 14u);
  EXPECT_EQ(table.Query(VirtAddr(0x3000))->phys, PhysAddr(0x5000'2000));
  EXPECT_EQ(table.Unmap(VirtAddr(0x3000), kPageSize, kMuch, tlb), kPageSize);
  EXPECT_EQ(pool.count(), 16u);
  for (uint64_t entry : FakeMemory::pages[0]) ASSERT_EQ(entry, 0u);
}

TEST_F(TaskTableTest, CACHE_08_tables_are_reused_only_after_the_tlbs_forgot_them) {
  ASSERT_TRUE(table.Map(VirtAddr(0x1000), PhysAddr(0x5000'0000), kPageSize, kReadWrite, kMuch));
  ASSERT_TRUE(table.Unmap(VirtAddr(0x1000), kPageSize, kMuch, tlb));
  ASSERT_EQ(tlb.events.size(), 1u);
  EXPECT_EQ(tlb.events[0].address, 0x1000u);
  EXPECT_EQ(tlb.events[0].bytes, kPageSize);
  EXPECT_FALSE(tlb.events[0].mapped);
  EXPECT_EQ(tlb.events[0].pool_pages, 14u);
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(Stage2TableTest, MEM_08_splitting_a_block_breaks_before_it_makes) {
  const PageAttributes ram{.write = true, .execute = true};
  ASSERT_TRUE(table.Map(GuestPhys(kBlockSize), PhysAddr(0x5000'0000), kBlockSize, ram, kMuch));
  const GuestPhys hole{kBlockSize + 7 * kPageSize};
  EXPECT_EQ(table.Unmap(hole, 2 * kPageSize, kMuch, tlb), 2 * kPageSize);
  ASSERT_EQ(tlb.events.size(), 2u);
  EXPECT_EQ(tlb.events[0].address, kBlockSize);  // the whole block, while nothing of it is mapped
  EXPECT_EQ(tlb.events[0].bytes, kBlockSize);
  EXPECT_FALSE(tlb.events[0].mapped);
  EXPECT_EQ(tlb.events[1].address, hole.value);  // then the two pages
  EXPECT_EQ(tlb.events[1].bytes, 2 * kPageSize);
  for (uint64_t offset = 0; offset < kBlockSize; offset += kPageSize) {
    const auto mapping = table.Query(GuestPhys(kBlockSize + offset));
    if (offset == 7 * kPageSize || offset == 8 * kPageSize) {
      ASSERT_FALSE(mapping);
    } else {
      ASSERT_EQ(mapping->phys, PhysAddr(0x5000'0000 + offset));
      ASSERT_EQ(mapping->attributes, ram);
      ASSERT_EQ(mapping->bytes, kPageSize);
    }
  }
}

TEST_F(Stage2TableTest, splitting_the_block_at_address_zero_ends) {
  ASSERT_TRUE(table.Map(GuestPhys(0), PhysAddr(0x5000'0000 & ~(kBlockSize - 1)), kBlockSize,
                        kReadWrite, kMuch));
  EXPECT_EQ(table.Unmap(GuestPhys(0), kPageSize, kMuch, tlb), kPageSize);
  EXPECT_FALSE(table.Query(GuestPhys(0)));
  EXPECT_TRUE(table.Query(GuestPhys(kPageSize)));
}

TEST_F(Stage2TableTest, a_block_that_cannot_be_split_for_want_of_a_page_stays) {
  ASSERT_TRUE(
      table.Map(GuestPhys(kBlockSize), PhysAddr(kBlockSize), kBlockSize, kReadWrite, kMuch));
  while (pool.Take()) {
  }
  EXPECT_EQ(table.Unmap(GuestPhys(kBlockSize), kPageSize, kMuch, tlb),
            std::unexpected(Status::kResourceExhausted));
  EXPECT_TRUE(tlb.events.empty());
  EXPECT_EQ(table.Query(GuestPhys(kBlockSize))->bytes, kBlockSize);
  EXPECT_EQ(table.Unmap(GuestPhys(kBlockSize), kBlockSize, kMuch, tlb), kBlockSize);
}

TEST_F(KernelTableTest, kernel_blocks_are_not_split) {
  ASSERT_TRUE(table.Map(kDirectMapBase, PhysAddr(0), kBlockSize, kReadWrite, kMuch));
  EXPECT_EQ(table.Unmap(kDirectMapBase, kPageSize, kMuch, tlb),
            std::unexpected(Status::kFailedPrecondition));
  EXPECT_TRUE(table.Query(kDirectMapBase));
}

TEST_F(TaskTableTest, unmapping_nothing_is_ok_and_large_holes_are_cheap) {
  EXPECT_EQ(table.Unmap(VirtAddr(0), uint64_t{1} << 39, 512, tlb), uint64_t{1} << 39);
  EXPECT_TRUE(tlb.events.empty());
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(TaskTableTest, unmapping_is_bounded_too) {
  ASSERT_TRUE(table.Map(VirtAddr(0), PhysAddr(0x5000'0000), 8 * kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(table.Unmap(VirtAddr(0), 8 * kPageSize, 3, tlb), 3 * kPageSize);
  EXPECT_TRUE(table.Query(VirtAddr(3 * kPageSize)));
  EXPECT_EQ(table.Unmap(VirtAddr(3 * kPageSize), 5 * kPageSize, 5, tlb), 5 * kPageSize);
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(TaskTableTest, an_empty_table_comes_back_even_if_the_budget_ends_inside_it) {
  ASSERT_TRUE(table.Map(VirtAddr(0), PhysAddr(0x5000'0000), 8 * kPageSize, kReadWrite, kMuch));
  EXPECT_EQ(table.Unmap(VirtAddr(0), 100 * kPageSize, 8, tlb), 8 * kPageSize);
  EXPECT_EQ(pool.count(), 16u);
}

TEST_F(Stage2TableTest, a_whole_space_is_torn_down_and_all_tables_come_back) {
  ASSERT_TRUE(table.Map(GuestPhys(0x0900'0000), PhysAddr(0x0900'0000), kPageSize, kDevice, kMuch));
  ASSERT_TRUE(table.Map(GuestPhys(0x4000'0000 - kPageSize), PhysAddr(0x8000'0000 - kPageSize),
                        4 * kBlockSize + 2 * kPageSize, kReadWrite, kMuch));
  ASSERT_TRUE(table.Map(GuestPhys((uint64_t{1} << 40) - kPageSize), PhysAddr(0x5000'0000),
                        kPageSize, kReadOnly, kMuch));
  EXPECT_LT(pool.count(), 16u);
  uint64_t done = 0;
  while (done < uint64_t{1} << 40) {
    const auto step = table.Unmap(GuestPhys(done), (uint64_t{1} << 40) - done, 16, tlb);
    ASSERT_TRUE(step);
    done += *step;
  }
  EXPECT_EQ(pool.count(), 16u);
  for (size_t root : {0, 1}) {
    for (uint64_t entry : FakeMemory::pages[root]) ASSERT_EQ(entry, 0u);
  }
}

// ---- against a model ----------------------------------------------------------------------------

TEST_F(Stage2TableTest, MEM_08_random_operations_agree_with_a_model) {
  constexpr uint64_t kSpacePages = 3 * kBlockSize / kPageSize;
  constexpr GuestPhys kStart{5 * kBlockSize};
  std::map<uint64_t, uint64_t> model;  // page -> physical address
  std::mt19937_64 random(20241121);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t page = random() % kSpacePages;
    const uint64_t pages = 1 + random() % (round % 3 == 0 ? kSpacePages : 20);
    const uint64_t count = std::min(pages, kSpacePages - page);
    const auto budget = static_cast<uint32_t>(1 + random() % 700);
    const GuestPhys address = kStart + page * kPageSize;
    if (random() % 2 == 0) {
      const PhysAddr phys{0x8000'0000 + (random() % 2 == 0 ? page : random() % 4096) * kPageSize};
      const auto done = table.Map(address, phys, count * kPageSize, kReadWrite, budget);
      if (!done) {
        ASSERT_EQ(done.error(), Status::kAlreadyExists);
        ASSERT_TRUE(model.contains(page));
        continue;
      }
      for (uint64_t i = 0; i < *done / kPageSize; ++i) {
        ASSERT_TRUE(model.emplace(page + i, phys.value + i * kPageSize).second);
      }
      // Stops early for two reasons only: the budget (a block counts as one entry) or a mapping
      // right there.
      ASSERT_TRUE(*done == count * kPageSize || *done >= budget * kPageSize ||
                  model.contains(page + *done / kPageSize));
    } else {
      tlb.events.clear();
      const auto done = table.Unmap(address, count * kPageSize, budget, tlb);
      ASSERT_TRUE(done);
      for (uint64_t i = 0; i < *done / kPageSize; ++i) {
        if (model.erase(page + i) == 0) continue;
        bool invalidated = false;
        const uint64_t gone = (kStart + (page + i) * kPageSize).value;
        for (const auto& event : tlb.events) {
          invalidated |= gone - event.address < event.bytes;
        }
        ASSERT_TRUE(invalidated);
      }
    }
    for (uint64_t i = 0; i < kSpacePages; ++i) {
      const auto mapping = table.Query(kStart + i * kPageSize);
      const auto expected = model.find(i);
      ASSERT_EQ(mapping.has_value(), expected != model.end()) << "round " << round << " page " << i;
      if (mapping) {
        ASSERT_EQ(mapping->phys.value, expected->second);
      }
    }
  }
  ASSERT_TRUE(table.Unmap(kStart, kSpacePages * kPageSize, 100000, tlb));
  EXPECT_EQ(pool.count(), 16u);
}

// ---- registers ----------------------------------------------------------------------------------

TEST(TranslationRegisters, MEM_13_stage2_has_forty_bits_from_level_1) {
  const uint64_t vtcr = VtcrEl2Value(kPhysicalRange48, true);
  EXPECT_EQ(vtcr & 0x3f, 24u);                      // T0SZ
  EXPECT_EQ((vtcr >> 6) & 3, 1u);                   // SL0: level 1
  EXPECT_EQ((vtcr >> 16) & 7, 5u);                  // PS
  EXPECT_EQ((vtcr >> 19) & 1, 1u);                  // 16-bit VMIDs
  EXPECT_EQ(VtcrEl2Value(6, false) >> 16 & 7, 5u);  // 52 bits need other descriptors
}

// ---- pool ---------------------------------------------------------------------------------------

TEST(PagePool, pages_come_back_cleared_and_counted) {
  BasicPagePool<FakeMemory> pool;
  EXPECT_FALSE(pool.Take());
  for (size_t i = 0; i < 3; ++i) {
    FakeMemory::pages[i].fill(~uint64_t{0});
    pool.Give(FakeMemory::PageAt(i));
  }
  EXPECT_EQ(pool.count(), 3u);
  std::map<uint64_t, int> seen;
  while (auto page = pool.Take()) {
    ++seen[page->value];
    for (size_t i = 0; i < 512; ++i) ASSERT_EQ(FakeMemory::Words(*page)[i], 0u);
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(pool.count(), 0u);
}

TEST(PagePool, a_page_in_the_pool_looks_invalid_to_a_stale_table_walk) {
  BasicPagePool<FakeMemory> pool;
  for (size_t i = 0; i < 3; ++i) {
    FakeMemory::pages[i].fill(0);
    pool.Give(FakeMemory::PageAt(i));
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(FakeMemory::pages[i][0] & descriptor::kValid, 0u);
}

}  // namespace
}  // namespace atoll
