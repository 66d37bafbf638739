// ParseMachine: what it finds in a good tree, and the sentence for each way in which a tree can be
// wrong.
#include "kernel/machine/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libfdt.h>

#include <array>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace atoll {
namespace {

using ::testing::HasSubstr;

// A tree that a test may change before it is parsed.
class Tree {
 public:
  Tree() {
    std::ifstream file(ATOLL_MACHINE_DTB, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    EXPECT_GE(bytes_.size(), sizeof(fdt_header));
    bytes_.resize(bytes_.size() + 4096);
    Check(fdt_open_into(bytes_.data(), bytes_.data(), static_cast<int>(bytes_.size())));
  }

  Tree& SetCells(const char* path, const char* name, std::vector<uint32_t> cells) {
    for (uint32_t& cell : cells) cell = cpu_to_fdt32(cell);
    Check(fdt_setprop(fdt(), At(path), name, cells.data(), static_cast<int>(cells.size() * 4)));
    return *this;
  }
  Tree& SetBytes(const char* path, const char* name, std::string_view bytes) {
    Check(fdt_setprop(fdt(), At(path), name, bytes.data(), static_cast<int>(bytes.size())));
    return *this;
  }
  Tree& SetString(const char* path, const char* name, const std::string& text) {
    return SetBytes(path, name, std::string_view(text.c_str(), text.size() + 1));
  }
  Tree& Delete(const char* path, const char* name) {
    Check(fdt_delprop(fdt(), At(path), name));
    return *this;
  }
  Tree& DeleteNode(const char* path) {
    Check(fdt_del_node(fdt(), At(path)));
    return *this;
  }
  Tree& Add(const char* parent, const std::string& name) {
    const int node = fdt_add_subnode(fdt(), At(parent), name.c_str());
    EXPECT_GE(node, 0);
    return *this;
  }

  void* fdt() { return bytes_.data(); }
  std::vector<char>& bytes() { return bytes_; }

  // A copy of exactly its size, so that ASan sees any read beyond it.
  std::expected<void, Line> Parse(Machine& machine) {
    const std::vector<char> exact(bytes_.begin(), bytes_.begin() + fdt_totalsize(fdt()));
    return ParseMachine(std::as_bytes(std::span(exact)), machine);
  }
  std::string Error() {
    Machine machine;
    const std::expected<void, Line> parsed = Parse(machine);
    return parsed ? "(accepted)" : std::string(parsed.error().view());
  }

 private:
  int At(const char* path) {
    const int node = fdt_path_offset(fdt(), path);
    EXPECT_GE(node, 0) << path;
    return node;
  }
  static void Check(int error) { EXPECT_GE(error, 0) << fdt_strerror(error); }

  std::vector<char> bytes_;
};

Machine Parsed(Tree tree) {
  Machine machine;
  const std::expected<void, Line> parsed = tree.Parse(machine);
  EXPECT_TRUE(parsed) << parsed.error().view();
  return machine;
}

TEST(Machine, FindsMemoryAndReservedRanges) {
  const Machine machine = Parsed(Tree());
  ASSERT_EQ(machine.memory.size(), 1u);
  EXPECT_EQ(machine.memory[0].base.value, 0x4000'0000u);
  EXPECT_EQ(machine.memory[0].bytes, 0x2000'0000u);
  ASSERT_EQ(machine.reserved.size(), 2u);
  EXPECT_EQ(machine.reserved[0].range.base.value, 0x5000'0000u);
  EXPECT_TRUE(machine.reserved[0].no_map);
  EXPECT_EQ(machine.reserved[1].range.base.value, 0x4100'0000u);
  EXPECT_FALSE(machine.reserved[1].no_map);
}

TEST(Machine, FindsEnabledCpusOnly) {
  const Machine machine = Parsed(Tree());
  ASSERT_EQ(machine.cpus.size(), 2u);
  EXPECT_EQ(machine.cpus[0], 0u);
  EXPECT_EQ(machine.cpus[1], 0x101u);
}

TEST(Machine, FindsInterruptControllerAndTimers) {
  const Machine machine = Parsed(Tree());
  EXPECT_EQ(machine.distributor.base.value, 0x0800'0000u);
  ASSERT_EQ(machine.redistributors.size(), 1u);
  EXPECT_EQ(machine.redistributors[0].base.value, 0x080a'0000u);
  EXPECT_EQ(machine.redistributors[0].bytes, 0xf6'0000u);
  EXPECT_EQ(machine.timers.physical, 30u);
  EXPECT_EQ(machine.timers.virtual_, 27u);
  EXPECT_EQ(machine.timers.hypervisor, 26u);
  EXPECT_EQ(machine.psci, PsciConduit::kSmc);
}

TEST(Machine, FindsDevicesAndPrefersTheConsoleUart) {
  const Machine machine = Parsed(Tree());
  ASSERT_TRUE(machine.uart);
  EXPECT_EQ(machine.uart->registers.base.value, 0x0900'0000u);
  EXPECT_EQ(machine.uart->registers.bytes, 0x1000u);
  EXPECT_EQ(machine.uart->intid, 33u);
  EXPECT_FALSE(machine.uart->edge);
  ASSERT_TRUE(machine.rtc);
  EXPECT_EQ(machine.rtc->intid, 34u);
  ASSERT_EQ(machine.virtio.size(), 2u);
  EXPECT_EQ(machine.virtio[0].registers.base.value, 0x0a00'0000u);
  EXPECT_EQ(machine.virtio[0].intid, 48u);
  EXPECT_TRUE(machine.virtio[0].edge);
  EXPECT_EQ(machine.virtio[1].intid, 49u);
}

TEST(Machine, TakesTheFirstEnabledUartWithoutStdoutPath) {
  const Machine machine = Parsed(Tree().Delete("/chosen", "stdout-path"));
  ASSERT_TRUE(machine.uart);
  EXPECT_EQ(machine.uart->registers.base.value, 0x0905'0000u);
}

TEST(Machine, ReadsInitrdOfOneOrTwoCellsAndBootArguments) {
  const Machine machine = Parsed(Tree());
  ASSERT_TRUE(machine.initrd);
  EXPECT_EQ(machine.initrd->base.value, 0x4800'0000u);
  EXPECT_EQ(machine.initrd->bytes, 0x40'0000u);
  EXPECT_EQ(machine.boot_arguments(), "console=atoll");
}

TEST(Machine, WorksWithoutInitrdUartRtcAndVirtio) {
  Tree tree;
  tree.DeleteNode("/chosen")
      .DeleteNode("/soc")
      .DeleteNode("/pl011@9050000")
      .DeleteNode("/pl031@9010000");
  tree.DeleteNode("/virtio_mmio@a000000").DeleteNode("/virtio_mmio@a000200");
  const Machine machine = Parsed(tree);
  EXPECT_FALSE(machine.uart);
  EXPECT_FALSE(machine.rtc);
  EXPECT_FALSE(machine.initrd);
  EXPECT_TRUE(machine.virtio.empty());
}

TEST(Machine, TrimsMemoryToPagesAndToTheDirectMap) {
  const Machine machine =
      Parsed(Tree().SetCells("/memory@40000000", "reg",
                             {0, 0x4000'0001, 0, 0x1fff'fffe, 0x3f, 0xc000'0000, 1, 0x0000'0000}));
  ASSERT_EQ(machine.memory.size(), 2u);
  EXPECT_EQ(machine.memory[0].base.value, 0x4000'1000u);
  EXPECT_EQ(machine.memory[0].end().value, 0x5fff'f000u);
  EXPECT_EQ(machine.memory[1].base.value, 0x3f'c000'0000u);
  EXPECT_EQ(machine.memory[1].bytes, 0x4000'0000u);
  EXPECT_EQ(machine.memory_ignored, 0xc000'0000u);
}

TEST(Machine, SortsMemory) {
  const Machine machine = Parsed(Tree().SetCells(
      "/memory@40000000", "reg", {0, 0x8000'0000, 0, 0x1000'0000, 0, 0x4000'0000, 0, 0x1000'0000}));
  ASSERT_EQ(machine.memory.size(), 2u);
  EXPECT_EQ(machine.memory[0].base.value, 0x4000'0000u);
  EXPECT_EQ(machine.memory[1].base.value, 0x8000'0000u);
}

TEST(Machine, CountsCpusBeyondTheLimit) {
  Tree tree;
  for (uint32_t i = 0; i < 9; ++i) {
    const std::string name = "cpu@" + std::to_string(200 + i);
    const std::string path = "/cpus/" + name;
    tree.Add("/cpus", name).SetString(path.c_str(), "device_type", "cpu");
    tree.SetCells(path.c_str(), "reg", {0x200 + i});
  }
  const Machine machine = Parsed(tree);
  EXPECT_EQ(machine.cpus.size(), kMaxMachineCpus);
  EXPECT_EQ(machine.cpus_ignored, 3u);
}

// One way to break the tree, and the words that the refusal must have: node, property, reason.
struct Bad {
  const char* name;
  void (*breaks)(Tree&);
  const char* node;
  const char* reason;
};

class BadMachine : public ::testing::TestWithParam<Bad> {};

TEST_P(BadMachine, IsRefusedWithNodeAndReason) {
  Tree tree;
  GetParam().breaks(tree);
  const std::string error = tree.Error();
  EXPECT_THAT(error, HasSubstr("device tree: "));
  EXPECT_THAT(error, HasSubstr(GetParam().node));
  EXPECT_THAT(error, HasSubstr(GetParam().reason));
}

constexpr const char* kMemory = "/memory@40000000";
constexpr const char* kGic = "/intc@8000000";
constexpr const char* kUart = "/soc/pl011@9000000";

const Bad kBad[] = {
    {"NoMemory", [](Tree& t) { t.DeleteNode(kMemory); }, "memory", "no usable memory"},
    {"MemoryWithoutReg", [](Tree& t) { t.Delete(kMemory, "reg"); }, kMemory, "reg: is missing"},
    {"MemoryRegCutOff", [](Tree& t) { t.SetCells(kMemory, "reg", {0, 0x4000'0000, 0}); }, kMemory,
     "reg: must be pairs"},
    {"MemoryRegNotCells", [](Tree& t) { t.SetBytes(kMemory, "reg", "abcde"); }, kMemory,
     "reg: must be a list of 32-bit cells"},
    {"MemoryRegEmpty", [](Tree& t) { t.SetBytes(kMemory, "reg", ""); }, kMemory,
     "reg: must be a list"},
    {"MemoryWraps", [](Tree& t) { t.SetCells(kMemory, "reg", {~0u, ~0u, ~0u, ~0u}); }, kMemory,
     "beyond 52 bits"},
    {"MemoryOfSizeZero", [](Tree& t) { t.SetCells(kMemory, "reg", {0, 0x4000'0000, 0, 0}); },
     kMemory, "empty range"},
    {"MemoryOverlaps",
     [](Tree& t) {
       t.SetCells(kMemory, "reg", {0, 0x4000'0000, 0, 0x2000'0000, 0, 0x5fff'f000, 0, 0x2000});
     },
     "memory", "overlap at 0x5ffff000"},
    {"TooManyMemoryRanges",
     [](Tree& t) {
       std::vector<uint32_t> cells;
       for (uint32_t i = 0; i < 9; ++i)
         cells.insert(cells.end(), {0, i * 0x1000'0000, 0, 0x10'0000});
       t.SetCells(kMemory, "reg", cells);
     },
     kMemory, "more ranges of memory than the 8"},
    {"TooManyReservations",
     [](Tree& t) {
       std::vector<uint32_t> cells;
       for (uint32_t i = 0; i < 17; ++i)
         cells.insert(cells.end(), {0, 0x4200'0000 + i * 0x1000, 0, 0x1000});
       t.SetCells("/reserved-memory/firmware@50000000", "reg", cells);
     },
     "/reserved-memory/firmware@50000000", "more reserved ranges than the 16"},
    {"ThreeAddressCells", [](Tree& t) { t.SetCells("/", "#address-cells", {3}); }, kMemory,
     "one to one"},
    {"AddressCellsNotACell", [](Tree& t) { t.SetBytes("/", "#address-cells", "xy"); },
     "#address-cells", "must be a list of 32-bit cells"},
    {"NoCpus", [](Tree& t) { t.DeleteNode("/cpus"); }, "/cpus", "no enabled CPU"},
    {"CpuWithoutReg", [](Tree& t) { t.Delete("/cpus/cpu@101", "reg"); }, "/cpus/cpu@101",
     "reg: is missing"},
    {"CpuWithBadAffinity", [](Tree& t) { t.SetCells("/cpus/cpu@101", "reg", {0x8000'0101}); },
     "/cpus/cpu@101", "MPIDR_EL1 affinity"},
    {"CpuTwice", [](Tree& t) { t.SetCells("/cpus/cpu@101", "reg", {0}); }, "/cpus/cpu@101",
     "another CPU's affinity"},
    {"CpuWithSize", [](Tree& t) { t.SetCells("/cpus/cpu@0", "reg", {0, 1}); }, "/cpus/cpu@0",
     "#size-cells 0"},
    {"NoGic", [](Tree& t) { t.SetString(kGic, "compatible", "arm,cortex-a15-gic"); }, "interrupt",
     "GICv3"},
    {"GicWithoutRedistributor",
     [](Tree& t) { t.SetCells(kGic, "reg", {0, 0x0800'0000, 0, 0x10000}); }, kGic,
     "each redistributor region"},
    {"GicUnaligned",
     [](Tree& t) {
       t.SetCells(kGic, "reg", {0, 0x0800'1000, 0, 0x10000, 0, 0x080a'0000, 0, 0x20000});
     },
     kGic, "multiples of 64 KiB"},
    {"GicDistributorSmall",
     [](Tree& t) {
       t.SetCells(kGic, "reg", {0, 0x0800'0000, 0, 0x1000, 0, 0x080a'0000, 0, 0x20000});
     },
     kGic, "distributor below 64 KiB"},
    {"GicRedistributorSmall",
     [](Tree& t) {
       t.SetCells(kGic, "reg", {0, 0x0800'0000, 0, 0x10000, 0, 0x080a'0000, 0, 0x10000});
     },
     kGic, "redistributors below 128 KiB"},
    {"GicWithNoRegions", [](Tree& t) { t.SetCells(kGic, "#redistributor-regions", {0}); }, kGic,
     "#redistributor-regions: must be 1 to 4"},
    {"GicWithFiveRegions", [](Tree& t) { t.SetCells(kGic, "#redistributor-regions", {5}); }, kGic,
     "#redistributor-regions: must be 1 to 4"},
    {"InterruptsOfTwoCells", [](Tree& t) { t.SetCells(kGic, "#interrupt-cells", {2}); },
     "interrupts", "#interrupt-cells (3 or 4)"},
    {"NoTimer", [](Tree& t) { t.DeleteNode("/timer"); }, "timer", "arm,armv8-timer"},
    {"TimerWithThreeInterrupts",
     [](Tree& t) { t.SetCells("/timer", "interrupts", {1, 13, 4, 1, 14, 4, 1, 11, 4}); }, "/timer",
     "one per interrupt"},
    {"TimerWithSpi",
     [](Tree& t) { t.SetCells("/timer", "interrupts", {1, 13, 4, 0, 14, 4, 1, 11, 4, 1, 10, 4}); },
     "/timer", "private interrupts"},
    {"TimersShareAnInterrupt",
     [](Tree& t) { t.SetCells("/timer", "interrupts", {1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 11, 4}); },
     "/timer", "four different"},
    {"NoPsci", [](Tree& t) { t.DeleteNode("/psci"); }, "psci", "arm,psci-1.0"},
    {"PsciMethodUnknown", [](Tree& t) { t.SetString("/psci", "method", "svc"); }, "/psci",
     "method: must be"},
    {"PsciMethodNotAString", [](Tree& t) { t.SetBytes("/psci", "method", "smc"); }, "/psci",
     "method: must be"},
    {"UartWithoutInterrupt", [](Tree& t) { t.Delete(kUart, "interrupts"); }, kUart,
     "interrupts: is missing"},
    {"UartSpiTooLarge", [](Tree& t) { t.SetCells(kUart, "interrupts", {0, 988, 4}); }, kUart,
     "below 988"},
    {"UartInterruptType", [](Tree& t) { t.SetCells(kUart, "interrupts", {7, 1, 4}); }, kUart,
     "type 0 (SPI)"},
    {"UartInterruptFlags", [](Tree& t) { t.SetCells(kUart, "interrupts", {0, 1, 0}); }, kUart,
     "flags"},
    {"UartOfAnotherController", [](Tree& t) { t.SetCells(kUart, "interrupt-parent", {0x7777}); },
     kUart, "interrupt-parent: must be the GICv3's"},
    {"UartBehindATranslatingBus",
     [](Tree& t) { t.SetCells("/soc", "ranges", {0, 0, 0, 0x0900'0000, 0x1000}); }, kUart,
     "one to one"},
    {"UartOnABusWithoutRanges", [](Tree& t) { t.Delete("/soc", "ranges"); }, kUart, "one to one"},
    {"InitrdWithoutEnd", [](Tree& t) { t.Delete("/chosen", "linux,initrd-end"); }, "/chosen",
     "linux,initrd-end: is missing"},
    {"InitrdWithoutStart", [](Tree& t) { t.Delete("/chosen", "linux,initrd-start"); }, "/chosen",
     "linux,initrd-start: is missing"},
    {"InitrdBackwards", [](Tree& t) { t.SetCells("/chosen", "linux,initrd-end", {0x4700'0000}); },
     "/chosen", "is below linux,initrd-start"},
    {"InitrdOutsideMemory", [](Tree& t) { t.SetCells("/chosen", "linux,initrd-end", {~0u, ~0u}); },
     "/chosen", "is not in memory"},
    {"InitrdOfThreeCells", [](Tree& t) { t.SetCells("/chosen", "linux,initrd-end", {0, 0, 1}); },
     "/chosen", "one or two 32-bit cells"},
    {"BootargsTooLong", [](Tree& t) { t.SetString("/chosen", "bootargs", std::string(257, 'x')); },
     "/chosen", "longer than 256"},
    {"BootargsNotAString", [](Tree& t) { t.SetBytes("/chosen", "bootargs", "abc"); }, "/chosen",
     "must be a string"},
};

INSTANTIATE_TEST_SUITE_P(Machine, BadMachine, ::testing::ValuesIn(kBad),
                         [](const auto& bad) { return std::string(bad.param.name); });

TEST(Machine, RefusesWhatIsNoTree) {
  Machine machine;
  const std::array<std::byte, 64> zeros = {};
  EXPECT_FALSE(ParseMachine(zeros, machine));
  EXPECT_FALSE(ParseMachine({}, machine));
  EXPECT_FALSE(ParseMachine(std::span(zeros).first(3), machine));
}

TEST(Machine, RefusesEveryTruncation) {
  Tree tree;
  ASSERT_EQ(fdt_pack(tree.fdt()), 0);
  const size_t size = fdt_totalsize(tree.fdt());
  for (size_t bytes = 0; bytes < size; bytes += 7) {
    const std::vector<char> part(tree.bytes().begin(),
                                 tree.bytes().begin() + static_cast<long>(bytes));
    Machine machine;
    EXPECT_FALSE(ParseMachine(std::as_bytes(std::span(part)), machine)) << bytes;
  }
}

TEST(Machine, RefusesNodesThatDoNotNest) {
  Tree tree;
  // The last FDT_END_NODE, before FDT_END, becomes a NOP.
  const uint32_t end = fdt_off_dt_struct(tree.fdt()) + fdt_size_dt_struct(tree.fdt()) - 8;
  ASSERT_EQ(fdt32_ld(reinterpret_cast<fdt32_t*>(tree.bytes().data() + end)), FDT_END_NODE);
  fdt32_st(tree.bytes().data() + end, FDT_NOP);
  EXPECT_THAT(tree.Error(), HasSubstr("damaged"));
}

TEST(Machine, RefusesMisalignedBlocks) {
  Tree reservations;
  fdt_set_off_mem_rsvmap(reservations.fdt(), fdt_off_mem_rsvmap(reservations.fdt()) + 4);
  EXPECT_THAT(reservations.Error(), HasSubstr("damaged"));
  Tree structure;
  fdt_set_off_dt_struct(structure.fdt(), fdt_off_dt_struct(structure.fdt()) + 2);
  EXPECT_THAT(structure.Error(), HasSubstr("damaged"));
}

// Damaged trees, from a fixed seed: whatever comes out, nothing is read outside of the tree (ASan)
// and what is accepted keeps its promises.
TEST(Machine, SurvivesRandomDamage) {
  std::mt19937 random(1);
  const Tree good;
  for (int round = 0; round < 4000; ++round) {
    Tree tree = good;
    const size_t size = fdt_totalsize(tree.fdt());
    for (uint32_t changes = random() % 4 + 1; changes > 0; --changes) {
      tree.bytes()[random() % size] = static_cast<char>(random());
    }
    const std::vector<char> exact(tree.bytes().begin(),
                                  tree.bytes().begin() + static_cast<long>(size));
    Machine machine;
    if (!ParseMachine(std::as_bytes(std::span(exact)), machine)) continue;
    ASSERT_FALSE(machine.memory.empty());
    ASSERT_FALSE(machine.cpus.empty());
    for (const PhysRange& range : machine.memory) {
      ASSERT_TRUE(range.base.IsAligned(kPageSize) && range.bytes % kPageSize == 0 &&
                  range.bytes > 0);
    }
    if (machine.uart) {
      ASSERT_LT(machine.uart->intid, 1020u);
    }
  }
}

TEST(MemoryMap, KeepsOutNoMapRangesOnlyFromWhatMayBeMapped) {
  const Machine machine = Parsed(Tree());
  FreeMemory mappable;
  ASSERT_TRUE(MappableMemory(machine, mappable));
  ASSERT_EQ(mappable.size(), 2u);
  EXPECT_EQ(mappable[0].end().value, 0x5000'0000u);
  EXPECT_EQ(mappable[1].base.value, 0x5010'0000u);
  EXPECT_EQ(mappable[1].end().value, 0x6000'0000u);
}

TEST(MemoryMap, KeepsOutEverythingTakenInWholePages) {
  const Machine machine = Parsed(Tree());
  const std::array taken = {PhysRange{PhysAddr(0x4000'0000), 0x20'0001},
                            PhysRange{PhysAddr(0x5fff'ffff), 0x1000}};
  FreeMemory free_memory;
  ASSERT_TRUE(UnusedMemory(machine, taken, free_memory));
  ASSERT_EQ(free_memory.size(), 3u);
  EXPECT_EQ(free_memory[0].base.value, 0x4020'1000u);
  EXPECT_EQ(free_memory[0].end().value, 0x4100'0000u);
  EXPECT_EQ(free_memory[1].base.value, 0x4100'1000u);
  EXPECT_EQ(free_memory[1].end().value, 0x5000'0000u);
  EXPECT_EQ(free_memory[2].end().value, 0x5fff'f000u);
}

TEST(MemoryMap, MayLeaveNothing) {
  const Machine machine = Parsed(Tree());
  FreeMemory free_memory;
  ASSERT_TRUE(
      UnusedMemory(machine, std::array{PhysRange{PhysAddr(0), 0x1'0000'0000}}, free_memory));
  EXPECT_TRUE(free_memory.empty());
}

}  // namespace
}  // namespace atoll
