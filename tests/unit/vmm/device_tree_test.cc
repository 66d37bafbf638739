#include "services/vmm/device_tree.h"

#include <gtest/gtest.h>
#include <libfdt.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "services/vmm/guest_layout.h"
#include "tests/unit/vmm/images.h"
#include "tests/unit/vmm/tree_check.h"

namespace atoll {
namespace {

constexpr GuestPhys kInitrd{0x4800'0000};

// The most that a repeated field of the configuration holds.
template <typename T, size_t count>
constexpr pb_size_t Count(const T (&)[count]) {
  return count;
}

class DeviceTree : public testing::Test {
 protected:
  void Build() {
    const auto error = BuildDeviceTree(*config, kInitrd, buffer);
    ASSERT_FALSE(error.has_value()) << error->text();
    ASSERT_TRUE(IsWholeTree(buffer));
  }
  const void* tree() const { return buffer.data(); }

  bool Exists(const std::string& path) const { return fdt_path_offset(tree(), path.c_str()) >= 0; }
  // The bytes of a property; the test fails if it is missing.
  std::string Bytes(const std::string& path, const char* name) const {
    int length = 0;
    const void* value = fdt_getprop(tree(), fdt_path_offset(tree(), path.c_str()), name, &length);
    EXPECT_NE(value, nullptr) << path << " has no " << name;
    return value == nullptr ? "missing" : std::string(static_cast<const char*>(value), length);
  }
  bool Has(const std::string& path, const char* name) const {
    return fdt_getprop(tree(), fdt_path_offset(tree(), path.c_str()), name, nullptr) != nullptr;
  }
  std::vector<uint32_t> Cells(const std::string& path, const char* name) const {
    const std::string bytes = Bytes(path, name);
    std::vector<uint32_t> cells(bytes.size() / 4);
    for (size_t i = 0; i < cells.size(); ++i) {
      for (size_t j = 0; j < 4; ++j) {
        cells[i] = cells[i] << 8 | static_cast<unsigned char>(bytes[4 * i + j]);
      }
    }
    return cells;
  }
  // A list of strings, each with a '|' behind it.
  std::string Strings(const std::string& path, const char* name) const {
    std::string bytes = Bytes(path, name);
    for (char& c : bytes) c = c == '\0' ? '|' : c;
    return bytes;
  }
  using Words = std::vector<uint32_t>;

  std::unique_ptr<VmmConfig> config = MakeConfig();
  alignas(8) std::array<std::byte, kDeviceTreeBytes> buffer{};
};

TEST_F(DeviceTree, root) {
  Build();
  EXPECT_EQ(Cells("/", "#address-cells"), Words{2});
  EXPECT_EQ(Cells("/", "#size-cells"), Words{2});
  EXPECT_EQ(Cells("/", "interrupt-parent"), Cells("/interrupt-controller@8000000", "phandle"));
}

TEST_F(DeviceTree, CPU_03_chosen_names_command_line_and_initrd) {
  config->initrd_bytes = 0x12'3456;
  Build();
  EXPECT_EQ(Strings("/chosen", "bootargs"), "console=ttyAMA0 quiet|");
  EXPECT_EQ(Cells("/chosen", "linux,initrd-start"), (Words{0, 0x4800'0000}));
  EXPECT_EQ(Cells("/chosen", "linux,initrd-end"), (Words{0, 0x4812'3456}));
}

TEST_F(DeviceTree, chosen_leaves_out_what_there_is_not) {
  config->command_line[0] = '\0';
  config->devices_count = 0;
  Build();
  for (const char* name : {"bootargs", "stdout-path", "linux,initrd-start", "linux,initrd-end",
                           "rng-seed", "kaslr-seed"}) {
    EXPECT_FALSE(Has("/chosen", name)) << name;
  }
}

TEST_F(DeviceTree, seeds) {
  config->rng_seed.size = 32;
  for (size_t i = 0; i < 32; ++i) config->rng_seed.bytes[i] = static_cast<pb_byte_t>(i + 100);
  config->kaslr_seed = 0x1234'5678'9abc'def0;
  Build();
  EXPECT_EQ(Bytes("/chosen", "rng-seed"),
            std::string(reinterpret_cast<const char*>(config->rng_seed.bytes), 32));
  EXPECT_EQ(Cells("/chosen", "kaslr-seed"), (Words{0x1234'5678, 0x9abc'def0}));
}

TEST_F(DeviceTree, memory_above_4_gib) {
  config->ram_bytes = 0x2'0000'0000;
  Build();
  EXPECT_EQ(Strings("/memory@40000000", "device_type"), "memory|");
  EXPECT_EQ(Cells("/memory@40000000", "reg"), (Words{0, 0x4000'0000, 2, 0}));
}

TEST_F(DeviceTree, PSCI_03_psci_node_and_enable_method_of_every_cpu) {
  Build();
  EXPECT_EQ(Strings("/psci", "compatible"), "arm,psci-1.0|arm,psci-0.2|");
  EXPECT_EQ(Strings("/psci", "method"), "hvc|");
  for (uint32_t i = 0; i < 2; ++i) {
    const std::string path = "/cpus/cpu@" + std::to_string(i);
    EXPECT_EQ(Strings(path, "enable-method"), "psci|");
    EXPECT_EQ(Strings(path, "device_type"), "cpu|");
    EXPECT_EQ(Cells(path, "reg"), Words{i});
  }
  EXPECT_FALSE(Exists("/cpus/cpu@2"));
}

TEST_F(DeviceTree, cpus_with_aff3_have_two_cells) {
  config->vcpu_affinity[1] = 0x12'0003'0201;
  Build();
  EXPECT_EQ(Cells("/cpus", "#address-cells"), Words{2});
  EXPECT_EQ(Cells("/cpus/cpu@0", "reg"), (Words{0, 0}));
  EXPECT_EQ(Cells("/cpus/cpu@1200030201", "reg"), (Words{0x12, 0x3'0201}));
}

TEST_F(DeviceTree, TIMER_19_four_level_ppis_in_order) {
  Build();
  EXPECT_EQ(Strings("/timer", "compatible"), "arm,armv8-timer|");
  EXPECT_EQ(Cells("/timer", "interrupts"), (Words{1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4}));
  EXPECT_TRUE(Has("/timer", "always-on"));
}

TEST_F(DeviceTree, GIC_103_gic_node) {
  config = MakeConfig(5);
  Build();
  const std::string path = "/interrupt-controller@8000000";
  EXPECT_EQ(Strings(path, "compatible"), "arm,gic-v3|");
  EXPECT_EQ(Cells(path, "#interrupt-cells"), Words{3});
  EXPECT_TRUE(Has(path, "interrupt-controller"));
  EXPECT_EQ(Cells(path, "reg"),
            (Words{0, 0x0800'0000, 0, 0x1'0000, 0, 0x080a'0000, 0, 5 * 0x2'0000}));
}

TEST_F(DeviceTree, vm_without_gic_has_no_interrupts) {
  config->gic_distributor = 0;
  Build();
  EXPECT_FALSE(Has("/", "interrupt-parent"));
  EXPECT_FALSE(Exists("/timer"));
  EXPECT_FALSE(Exists("/interrupt-controller@0"));
  EXPECT_FALSE(Has("/pl011@9000000", "interrupts"));
}

TEST_F(DeviceTree, PL011_05_uart_node_with_clocks_and_stdout_path) {
  Build();
  const std::string path = "/pl011@9000000";
  EXPECT_EQ(Strings("/chosen", "stdout-path"), path + "|");
  EXPECT_EQ(Strings(path, "compatible"), "arm,pl011|arm,primecell|");
  EXPECT_EQ(Strings(path, "clock-names"), "uartclk|apb_pclk|");
  const uint32_t clock = Cells("/clock", "phandle").at(0);
  EXPECT_EQ(Cells(path, "clocks"), (Words{clock, clock}));
  EXPECT_GT(Cells("/clock", "clock-frequency").at(0), 0);
  EXPECT_EQ(Cells(path, "reg"), (Words{0, 0x0900'0000, 0, 0x1000}));
  EXPECT_EQ(Cells(path, "interrupts"), (Words{0, 1, 4}));
}

TEST_F(DeviceTree, PL031_04_rtc_node_with_clock_and_interrupt) {
  Build();
  const std::string path = "/pl031@9010000";
  EXPECT_EQ(Strings(path, "compatible"), "arm,pl031|arm,primecell|");
  EXPECT_EQ(Strings(path, "clock-names"), "apb_pclk|");
  EXPECT_EQ(Cells(path, "clocks"), Cells("/clock", "phandle"));
  EXPECT_EQ(Cells(path, "reg"), (Words{0, 0x0901'0000, 0, 0x1000}));
  EXPECT_EQ(Cells(path, "interrupts"), (Words{0, 2, 4}));
}

TEST_F(DeviceTree, MMIO_33_virtio_nodes_are_dma_coherent) {
  Build();
  for (uint32_t i = 0; i < 2; ++i) {
    const std::string path = "/virtio_mmio@a00" + std::to_string(i) + "000";
    EXPECT_EQ(Strings(path, "compatible"), "virtio,mmio|");
    EXPECT_EQ(Cells(path, "reg"), (Words{0, 0x0a00'0000 + 0x1000 * i, 0, 0x1000}));
    EXPECT_EQ(Cells(path, "interrupts"), (Words{0, 16 + i, 4}));
    EXPECT_EQ(Bytes(path, "dma-coherent"), "");
    EXPECT_FALSE(Has(path, "clocks"));
  }
}

TEST_F(DeviceTree, device_without_interrupt_and_with_a_property_of_its_own) {
  auto& device = config->devices[0];
  device.intid = 0;
  device.properties_count = 1;
  std::strcpy(device.properties[0].name, "current-speed");
  device.properties[0].value.size = 4;
  device.properties[0].value.bytes[1] = 1;
  device.properties[0].value.bytes[2] = 0xc2;
  Build();
  EXPECT_FALSE(Has("/pl011@9000000", "interrupts"));
  EXPECT_EQ(Cells("/pl011@9000000", "current-speed"), Words{115200});
}

TEST_F(DeviceTree, nodes_within_and_beside_a_device) {
  const uint32_t depths[] = {0, 1, 2, 1, 0};
  const char* const names[] = {"controller", "port", "lamp", "other", "keys"};
  config->devices_count = 5;
  for (size_t i = 0; i < 5; ++i) {
    auto& device = config->devices[i];
    device = {};
    std::strcpy(device.name, names[i]);
    device.depth = depths[i];
    device.properties_count = 1;
    std::strcpy(device.properties[0].name, "number");
    device.properties[0].value.size = 4;
    device.properties[0].value.bytes[3] = static_cast<uint8_t>(i);
  }
  config->devices[0].address = 0x0a00'0000;
  config->devices[0].bytes = 0x1000;
  Build();
  const char* const paths[] = {"/controller@a000000", "/controller@a000000/port",
                               "/controller@a000000/port/lamp", "/controller@a000000/other",
                               "/keys"};
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(Cells(paths[i], "number"), Words{i});
    EXPECT_EQ(Has(paths[i], "reg"), i == 0);
    EXPECT_FALSE(Has(paths[i], "compatible"));
  }
}

TEST_F(DeviceTree, largest_configuration_fits) {
  config = MakeConfig(std::size(config->vcpu_affinity));
  for (uint64_t& affinity : config->vcpu_affinity) affinity |= 0xff'0012'3400;
  std::memset(config->command_line, 'x', sizeof(config->command_line) - 1);
  config->rng_seed.size = sizeof(config->rng_seed.bytes);
  config->devices_count = Count(config->devices);
  for (size_t i = 0; i < config->devices_count; ++i) {
    auto& device = config->devices[i];
    const auto fill = [](auto& text) { std::memset(text, 'n', sizeof(text) - 1); };
    fill(device.name);
    device.address = (uint64_t{1} << 39) + i * 0x1000;
    device.bytes = 0x1000;
    device.intid = 1019;
    device.compatible_count = Count(device.compatible);
    for (auto& text : device.compatible) fill(text);
    device.clock_names_count = Count(device.clock_names);
    for (auto& text : device.clock_names) fill(text);
    device.properties_count = Count(device.properties);
    for (size_t j = 0; j < device.properties_count; ++j) {
      auto& property = device.properties[j];
      fill(property.name);  // names of their own, so that the string block is as long as can be
      property.name[0] = static_cast<char>('a' + i % 26);
      property.name[1] = static_cast<char>('a' + i / 26);
      property.name[2] = static_cast<char>('a' + j);
      property.value.size = sizeof(property.value.bytes);
    }
  }
  Build();
  EXPECT_TRUE(Exists("/cpus/cpu@ff0012343f"));
}

TEST_F(DeviceTree, too_small_a_buffer_is_reported_and_not_overrun) {
  for (size_t bytes = 0; bytes < 2048; bytes += 8) {
    alignas(8) std::array<std::byte, 2049> room;
    room.fill(std::byte{0xa5});
    const auto error = BuildDeviceTree(*config, kInitrd, std::span(room).first(bytes));
    ASSERT_TRUE(error.has_value() || bytes > 1024) << bytes;
    if (error.has_value()) {
      EXPECT_EQ(error->text().find("device tree: FDT_ERR_NOSPACE"), 0);
    }
    for (size_t i = bytes; i < room.size(); ++i) ASSERT_EQ(room[i], std::byte{0xa5});
  }
}

// The reference compiler has nothing to say against the tree.
TEST_F(DeviceTree, dtc_reads_it_without_a_warning) {
  if (std::system("command -v dtc > /dev/null") != 0) GTEST_SKIP() << "dtc is not installed";
  config->initrd_bytes = 4096;
  Build();
  char path[] = "/tmp/atoll-dtb-XXXXXX";
  const int file = mkstemp(path);
  ASSERT_GE(file, 0);
  const size_t bytes = fdt_totalsize(tree());
  ASSERT_EQ(write(file, tree(), bytes), static_cast<ssize_t>(bytes));
  close(file);
  const std::string command = std::string("dtc -I dtb -O dts -o /dev/null ") + path + " 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe))
    output.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(output, "");
  unlink(path);
}

}  // namespace
}  // namespace atoll
