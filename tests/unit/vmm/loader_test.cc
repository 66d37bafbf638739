#include "services/vmm/loader.h"

#include <gtest/gtest.h>
#include <libfdt.h>

#include <algorithm>

#include "tests/unit/vmm/fake_vm.h"
#include "tests/unit/vmm/images.h"
#include "tests/unit/vmm/tree_check.h"

namespace atoll {
namespace {

constexpr GuestPhys kRam{0x4000'0000};

class Loader : public testing::Test {
 protected:
  std::optional<ErrorText> Start() {
    config->initrd_bytes = initrd.size();
    return StartGuest(*config, kernel, initrd, guest_memory(), vm, powers);
  }
  GuestMemory guest_memory() { return GuestMemory(kRam, ram); }
  bool RamIsUntouched() const {
    return std::ranges::all_of(ram, [](std::byte b) { return b == std::byte{0}; });
  }
  // True if RAM holds `content` from `address` on.
  bool Holds(GuestPhys address, std::span<const std::byte> content) {
    const auto bytes = guest_memory().Range(address, content.size());
    return bytes.has_value() && std::ranges::equal(*bytes, content);
  }

  std::unique_ptr<VmmConfig> config = MakeConfig();
  std::vector<std::byte> ram = std::vector<std::byte>(16 << 20);
  std::vector<std::byte> kernel = MakeImage(0, 0x10'0000, 0, 50'001);
  std::vector<std::byte> initrd = MakeFile("an initrd");
  FakeVm vm{2};
  VmmJournal journal;
  PowerStates powers{vm, journal, 2};
};

TEST_F(Loader, CPU_03_fresh_vm_is_loaded_and_started_with_the_tree_in_x0) {
  config->ram_bytes = ram.size();
  const auto error = Start();
  ASSERT_FALSE(error.has_value()) << error->text();
  EXPECT_EQ(vm.vcpus[0].state, VcpuState::kOn);
  EXPECT_EQ(vm.vcpus[1].state, VcpuState::kOff);
  EXPECT_EQ(vm.vcpus[0].entry, kRam);
  EXPECT_TRUE(Holds(kRam, kernel));

  const GuestPhys tree_address(vm.vcpus[0].context);
  EXPECT_TRUE(tree_address.IsAligned(8));
  const auto tree = guest_memory().Range(tree_address, 64 * 1024);
  ASSERT_TRUE(tree.has_value());
  ASSERT_TRUE(IsWholeTree(*tree));
  EXPECT_LE(fdt_totalsize(tree->data()), 2u << 20);
  const int chosen = fdt_path_offset(tree->data(), "/chosen");
  const auto number = [&](const char* name) {
    const void* value = fdt_getprop(tree->data(), chosen, name, nullptr);
    return value == nullptr ? 0 : fdt64_ld(static_cast<const fdt64_t*>(value));
  };
  EXPECT_TRUE(Holds(GuestPhys(number("linux,initrd-start")), initrd));
  EXPECT_EQ(number("linux,initrd-end") - number("linux,initrd-start"), initrd.size());
}

TEST_F(Loader, flat_binary_is_entered_at_80000) {
  kernel = MakeFile("flat");
  ASSERT_FALSE(Start().has_value());
  EXPECT_EQ(vm.vcpus[0].entry, kRam + 0x80000);
  EXPECT_TRUE(Holds(kRam + 0x80000, kernel));
}

TEST_F(Loader, PSCI_58_running_or_stopped_vm_is_left_alone) {
  for (VmState state : {VmState::kRunning, VmState::kOff, VmState::kReset, VmState::kCrashed}) {
    vm.state = state;
    vm.vcpus[0].state = state == VmState::kRunning ? VcpuState::kOn : VcpuState::kOff;
    EXPECT_FALSE(Start().has_value());
    EXPECT_EQ(vm.state, state);
  }
  EXPECT_TRUE(RamIsUntouched());
  EXPECT_EQ(vm.vcpus[0].starts, 0);
}

TEST_F(Loader, a_running_vm_whose_vcpus_are_all_off_can_never_run_again) {
  vm.state = VmState::kRunning;
  EXPECT_TRUE(Start().has_value());  // and whoever asked ends it as crashed
  EXPECT_TRUE(RamIsUntouched());
}

TEST_F(Loader, dying_before_the_start_means_all_again) {
  vm.start_error = Status::kInternal;
  ASSERT_TRUE(Start().has_value());
  vm.start_error = Status::kOk;
  ram[12345] = std::byte{0xff};  // half-loaded
  ASSERT_FALSE(Start().has_value());
  EXPECT_TRUE(Holds(kRam, kernel));
  EXPECT_EQ(vm.vcpus[0].starts, 1);
}

TEST_F(Loader, bad_kernel_starts_nothing) {
  kernel = MakeFile("\x1f\x8b");
  const auto error = Start();
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->text(), "kernel: compressed with gzip; decompress it first (gunzip)");
  EXPECT_EQ(vm.state, VmState::kCreated);
  EXPECT_TRUE(RamIsUntouched());
}

TEST_F(Loader, what_does_not_fit_starts_nothing) {
  kernel = MakeImage(0, 17 << 20);
  EXPECT_EQ(Start()->text().find("kernel:"), 0);
  kernel = MakeImage(0, 4096);
  initrd.resize(16 << 20);
  EXPECT_EQ(Start()->text().find("initrd:"), 0);
  EXPECT_EQ(vm.state, VmState::kCreated);
  EXPECT_TRUE(RamIsUntouched());
}

TEST_F(Loader, vcpu_that_does_not_start_is_reported) {
  vm.start_error = Status::kOutOfRange;
  const auto error = Start();
  ASSERT_TRUE(error.has_value());
  EXPECT_NE(error->text().find("OUT_OF_RANGE"), std::string_view::npos);
}

TEST_F(Loader, features_are_hidden_field_by_field_before_the_start) {
  vm.id_registers[{4, 0}] = 0x1100'0000'1011'1111;
  config->id_registers_count = 1;
  config->id_registers[0] = {.crm = 4, .op2 = 0, .mask = 0xf000'0000, .value = 0xabcd'0000'0fff};
  ASSERT_FALSE(Start().has_value());
  EXPECT_EQ((vm.id_registers[{4, 0}]), 0x1100'0000'0011'1111);
}

TEST_F(Loader, feature_that_cannot_be_hidden_is_named) {
  config->id_registers_count = 1;
  config->id_registers[0] = {.crm = 7, .op2 = 3, .mask = 1, .value = 0};
  const auto error = Start();
  ASSERT_TRUE(error.has_value());
  EXPECT_NE(error->text().find("CRm 7, op2 3"), std::string_view::npos);
  EXPECT_EQ(vm.state, VmState::kCreated);
}

}  // namespace
}  // namespace atoll
