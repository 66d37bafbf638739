// RAM, Stage-1 translation over Stage 2, caches and TLBs (checklist: timer-cpu, MEM and CACHE rows).
#include "guests/tests/test.h"
#include "guests/tests/translation.h"

namespace bare {
namespace {

inline constexpr uintptr_t kRamEnd = kRam + 64 * 1024 * 1024;
inline constexpr uintptr_t kNowhere = 0x0b00'0000;

Table table;
Table other_table;

uint64_t FirstNonZero(uintptr_t begin, uintptr_t end) {
  for (uintptr_t address = begin; address < end; address += 64) {
    if (Load<uint64_t>(address) != 0) return address;
  }
  return 0;
}

// First of all: nothing has been written yet but the image and the device tree.
TEST(MEM_02_MEM_03_untouched_ram_reads_zero) {
  // The tree is at the base of RAM.
  EXPECT_EQ(boot_registers[0], kRam);
  constexpr uintptr_t kImage = kRam + 0x8'0000;
  constexpr uintptr_t kTreeEnd = kRam + 0x1'0000;  // where it was built
  const uintptr_t end = (reinterpret_cast<uintptr_t>(guest_end) + 63) & ~uintptr_t{63};
  EXPECT_EQ(FirstNonZero(kTreeEnd, kImage), 0);
  EXPECT_EQ(FirstNonZero(end, kRamEnd), 0);
}

TEST(MEM_01_MEM_06_ram_begins_and_ends_as_described) {
  for (const uintptr_t address : {kRam, kRamEnd - 1}) {
    Store<uint8_t>(address, 0x5a);
    EXPECT_EQ(Load<uint8_t>(address), 0x5a);
    Store<uint8_t>(address, 0);
  }
  for (const uintptr_t address : {kRam - 1, kRamEnd, kRamEnd + 0x1000, uintptr_t{0x5000'0000},
                                  uintptr_t{0x8000'0000}, uintptr_t{0x1'0000'0000}}) {
    EXPECT(FaultsOf([=] { (void)Load<uint8_t>(address); }).ExternalAbort());
    EXPECT(FaultsOf([=] { Store<uint8_t>(address, 1); }).ExternalAbort());
  }
  // Half of it inside.
  EXPECT(FaultsOf([] { (void)Load<uint64_t>(kRamEnd - 4); }).count == 1);
}

bool IsShown(const Granule& granule) {
  const uint64_t features = BARE_READ("id_aa64mmfr0_el1");
  if (granule.tg0 == k4K.tg0) return (features >> 28 & 0xf) != 0xf;
  if (granule.tg0 == k64K.tg0) return (features >> 24 & 0xf) != 0xf;
  return (features >> 20 & 0xf) != 0;
}
TEST(MEM_09_MEM_07_guest_page_sizes_over_stage_2) {
  for (const Granule& granule : {k4K, k16K, k64K}) {
    if (!IsShown(granule)) continue;
    MapIdentity(table, granule);
    EnableMmu(table, granule);
    static volatile uint64_t word;
    word = granule.input_bits;
    EXPECT_EQ(word, granule.input_bits);
    EXPECT_EQ(Load32(kRtc + 0xfe0), 0x31);
    EXPECT_EQ(Hvc(0x8400'0000).x0, 0x1'0001);
    DisableMmu();
    EXPECT_EQ(word, granule.input_bits);
  }
}

TEST(TRAP_12_guest_tables_in_devices_or_nothing) {
  MapIdentity(table, k4K);
  const auto on_walk = [](const Faults& faults, uintptr_t address) {
    return faults.count == 1 && faults.Class() == kEcDataSame && faults.Status() >= 0x14 &&
           faults.Status() <= 0x17 && faults.far == address;
  };
  for (const uintptr_t place : {kNowhere, kUart, kDistributor, kRamEnd}) {
    table.entry[2] = place | kTableOrPage;
    constexpr uintptr_t kHigh = 0xffff'ff80'0000'0000;
    EnableMmu(table, k4K, place);
    const Faults low = FaultsOf([] { (void)Load32(0x8000'0000); });
    const Faults high = FaultsOf([] { (void)Load32(kHigh); });
    DisableMmu();
    EXPECT(on_walk(low, 0x8000'0000));
    EXPECT(on_walk(high, kHigh));
  }
}

TEST(MEM_13_output_addresses_beyond_the_guests_range) {
  MapIdentity(table, k4K);
  table.entry[2] = uint64_t{1} << 39 | kBlock | kNormalMemory;  // within 40 bits, nothing there
  table.entry[3] = uint64_t{1} << 41 | kBlock | kNormalMemory;  // beyond them
  EnableMmu(table, k4K);
  const Faults within = FaultsOf([] { (void)Load32(0x8000'0000); });
  const Faults beyond = FaultsOf([] { (void)Load32(0xc000'0000); });
  const Faults fetch = FaultsOf([] { reinterpret_cast<void (*)()>(0x8000'0000)(); });
  DisableMmu();
  EXPECT(within.ExternalAbort());
  EXPECT_EQ(beyond.count, 1);
  EXPECT_EQ(beyond.Class(), kEcDataSame);
  EXPECT(beyond.Status() <= 3 || beyond.Status() == kFaultExternal);  // address size fault
  EXPECT_EQ(fetch.Class(), kEcFetchSame);
}

TEST(TRAP_16_address_translation_result_is_kept) {
  static volatile uint64_t word;
  asm volatile("at s1e1r, %0\n\tisb" ::"r"(&word));
  EXPECT_EQ(BARE_READ("par_el1") & 1, 0);
  MapIdentity(table, k4K);
  EnableMmu(table, k4K);
  const auto translate = [](uintptr_t address) {
    asm volatile("at s1e1w, %0\n\tisb" ::"r"(address));
    return BARE_READ("par_el1");
  };
  const uint64_t found = translate(reinterpret_cast<uintptr_t>(&word));
  EXPECT_EQ(found & 1, 0);
  EXPECT_EQ(found & 0xff'ffff'f000, reinterpret_cast<uintptr_t>(&word) & ~uintptr_t{0xfff});
  (void)Load32(kRtc);
  (void)Hvc(0x8400'0000);
  EXPECT_EQ(BARE_READ("par_el1"), found);
  EXPECT_EQ(translate(0x9000'0000) & 1, 1);
  EXPECT_EQ(translate(kNowhere) & 1, 0);  // Stage 1 maps it
  asm volatile("at s1e0r, %0\n\tisb" ::"r"(&word));
  EXPECT_EQ(BARE_READ("par_el1") & 1, 1);  // not for EL0
  DisableMmu();
}

TEST(CACHE_04_written_code_runs) {
  static uint32_t code[2];
  for (uint32_t value = 1; value < 50; ++value) {
    code[0] = 0x5280'0000 | value << 5;  // mov w0, #value
    code[1] = 0xd65f'03c0;               // ret
    for (uint32_t& word : code) asm volatile("dc cvau, %0" ::"r"(&word) : "memory");
    asm volatile("dsb ish" ::: "memory");
    for (uint32_t& word : code) asm volatile("ic ivau, %0" ::"r"(&word) : "memory");
    asm volatile("dsb ish\n\tisb" ::: "memory");
    if (value % 10 == 0) (void)Load32(kRtc);
    EXPECT_EQ(reinterpret_cast<uint32_t (*)()>(code)(), value);
  }
}

TEST(CACHE_05_el0_cache_maintenance_obeys_sctlr) {
  static uint64_t word;
  const auto maintain = [](uint64_t address) -> uint64_t {
    asm volatile("dc cvac, %0\n\tic ivau, %0\n\tmrs %0, ctr_el0" : "+r"(address)::"memory");
    return address;
  };
  constexpr uint64_t kUct = 1 << 15;
  constexpr uint64_t kUci = 1 << 26;
  const uint64_t sctlr = BARE_READ("sctlr_el1");
  const auto run = [&] { RunAtEl0(maintain, reinterpret_cast<uint64_t>(&word)); };
  BARE_WRITE("sctlr_el1", sctlr & ~(kUct | kUci));
  const Faults off = FaultsOf(run);
  BARE_WRITE("sctlr_el1", sctlr | kUct | kUci);
  const Faults on = FaultsOf(run);
  BARE_WRITE("sctlr_el1", sctlr);
  EXPECT_EQ(off.count, 3);
  EXPECT_EQ(off.Class(), kEcSystemRegister);
  EXPECT_EQ(on.count, 0);
}

// ---- two vCPUs ---------------------------------------------------------------------------------

inline constexpr uintptr_t kShared = 0x8000'0000;  // what the tables map differently
volatile uint32_t step;
volatile uint64_t seen;
alignas(4096) uint64_t pages[2][512];
// Level 2 and 3 of kShared for each table.
alignas(4096) uint64_t middle[2][512];
alignas(4096) uint64_t last[2][512];

void MapShared(Table& which, uint32_t index, uint32_t page) {
  last[index][0] = reinterpret_cast<uint64_t>(pages[page]) | kTableOrPage | kNormalMemory;
  middle[index][0] = reinterpret_cast<uint64_t>(last[index]) | kTableOrPage;
  which.entry[2] = reinterpret_cast<uint64_t>(middle[index]) | kTableOrPage;
  asm volatile("dsb ishst" ::: "memory");
}

TEST(CACHE_06_broadcast_invalidation_reaches_the_other_vcpu) {
  MapIdentity(table, k4K);
  pages[0][0] = 0xaaaa;
  pages[1][0] = 0xbbbb;
  MapShared(table, 0, 0);
  step = 0;
  REQUIRE(StartSecondary([] {
    EnableMmu(table, k4K);
    seen = Load<uint64_t>(kShared);
    step = 1;
    while (step != 2) asm volatile("wfe");
    seen = Load<uint64_t>(kShared);
    DisableMmu();
    step = 3;
  }));
  EXPECT(WaitUntil([] { return step == 1; }));
  EXPECT_EQ(seen, 0xaaaa);
  last[0][0] = 0;
  asm volatile("dsb ishst\n\ttlbi vmalle1is\n\tdsb ish\n\tisb" ::: "memory");
  MapShared(table, 0, 1);
  step = 2;
  EXPECT(WaitUntil([] { return step == 3; }));
  EXPECT_EQ(seen, 0xbbbb);
  EXPECT(JoinSecondary());
}

volatile uint32_t wrong;
void ReadShared(const Table& own, uint64_t wanted) {
  EnableMmu(own, k4K);
  for (int i = 0; i < 2000; ++i) {
    if (Load<uint64_t>(kShared) != wanted) wrong = wrong + 1;
    if (i % 8 == 0) (void)Hvc(0x8400'0000);
    if (i % 64 == 0) Spin(20);
  }
  DisableMmu();
}
TEST(CACHE_07_vcpus_that_take_turns_keep_their_translations_apart) {
  MapIdentity(table, k4K);
  MapIdentity(other_table, k4K);
  pages[0][0] = 0xaaaa;
  pages[1][0] = 0xbbbb;
  MapShared(table, 0, 0);
  MapShared(other_table, 1, 1);
  wrong = 0;
  REQUIRE(StartSecondary([] { ReadShared(other_table, 0xbbbb); }));
  ReadShared(table, 0xaaaa);
  EXPECT(JoinSecondary());
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bare
