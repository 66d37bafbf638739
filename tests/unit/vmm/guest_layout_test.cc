#include "services/vmm/guest_layout.h"

#include <gtest/gtest.h>

#include <string>

namespace atoll {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr GuestPhys kRam{0x4000'0000};

// Fails the test unless all three lie in RAM, aligned and apart.
void ExpectSound(const KernelImage& kernel, uint64_t initrd_bytes, GuestPhys ram, uint64_t bytes) {
  const auto layout = PlaceGuest(kernel, initrd_bytes, ram, bytes);
  ASSERT_TRUE(layout.has_value()) << layout.error().text();
  struct Part {
    uint64_t start, end;
  };
  const Part parts[] = {
      {layout->kernel.value, layout->kernel.value + kernel.memory_bytes},
      {layout->device_tree.value, layout->device_tree.value + kDeviceTreeBytes},
      {layout->initrd.value, layout->initrd.value + initrd_bytes},
  };
  for (const Part& part : parts) {
    if (part.start == part.end) continue;
    EXPECT_GE(part.start, ram.value);
    EXPECT_LE(part.end, ram.value + bytes);
    for (const Part& other : parts) {
      if (&other == &part || other.start == other.end) continue;
      EXPECT_TRUE(part.end <= other.start || other.end <= part.start)
          << std::hex << part.start << " and " << other.start << " overlap";
    }
  }
  EXPECT_EQ((layout->kernel.value - kernel.load_offset) % (2 * kMiB), 0);
  EXPECT_EQ(layout->device_tree.value / (2 * kMiB),
            (layout->device_tree.value + kDeviceTreeBytes - 1) / (2 * kMiB));
  EXPECT_TRUE(layout->initrd.IsAligned(kPageSize));
}

std::string Refusal(const KernelImage& kernel, uint64_t initrd_bytes, GuestPhys ram,
                    uint64_t bytes) {
  const auto layout = PlaceGuest(kernel, initrd_bytes, ram, bytes);
  return layout.has_value() ? "" : std::string(layout.error().text());
}

TEST(GuestLayout, CPU_03_linux_at_the_base_of_ram_tree_and_initrd_above) {
  const KernelImage kernel{.load_offset = 0, .memory_bytes = 35 * kMiB + 17};
  const auto layout = PlaceGuest(kernel, 9 * kMiB, kRam, 512 * kMiB);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->kernel, kRam);
  EXPECT_GT(layout->device_tree, kRam + kernel.memory_bytes);
  EXPECT_EQ(layout->initrd, kRam + 128 * kMiB);
  ExpectSound(kernel, 9 * kMiB, kRam, 512 * kMiB);
}

TEST(GuestLayout, CPU_03_flat_binary_with_the_tree_below_it) {
  const KernelImage kernel{.load_offset = kDefaultLoadOffset, .memory_bytes = 4096};
  const auto layout = PlaceGuest(kernel, 0, kRam, 64 * kMiB);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->kernel, kRam + 0x80000);
  EXPECT_EQ(layout->device_tree, kRam);
}

TEST(GuestLayout, parts_never_overlap_whatever_their_sizes) {
  for (uint64_t ram : {2, 4, 16, 64, 300, 4096}) {
    for (uint64_t offset : {uint64_t{0}, uint64_t{4096}, kDeviceTreeBytes, kDefaultLoadOffset}) {
      for (uint64_t kernel : {uint64_t{1}, uint64_t{4096}, kMiB + 1, ram * kMiB / 2}) {
        for (uint64_t initrd : {uint64_t{0}, uint64_t{1}, ram * kMiB / 8}) {
          if (offset + kernel + initrd + 3 * kDeviceTreeBytes > ram * kMiB) continue;
          ExpectSound({.load_offset = offset, .memory_bytes = kernel}, initrd, kRam, ram * kMiB);
        }
      }
    }
  }
}

TEST(GuestLayout, large_initrd_moves_down_to_the_kernel) {
  ExpectSound({.load_offset = 0, .memory_bytes = 10 * kMiB}, 50 * kMiB, kRam, 64 * kMiB);
}

TEST(GuestLayout, large_kernel_pushes_the_initrd_up) {
  ExpectSound({.load_offset = 0, .memory_bytes = 200 * kMiB}, 10 * kMiB, kRam, 256 * kMiB);
}

TEST(GuestLayout, ram_that_does_not_begin_at_2_mib) {
  ExpectSound({.load_offset = 0, .memory_bytes = kMiB}, kMiB, GuestPhys(0x4010'0000), 16 * kMiB);
}

TEST(GuestLayout, kernel_that_does_not_fit_is_named) {
  for (uint64_t bytes : {16 * kMiB + 1, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(
        Refusal({.load_offset = 0, .memory_bytes = bytes}, 0, kRam, 16 * kMiB).find("kernel:"), 0);
  }
  for (uint64_t offset : {16 * kMiB, uint64_t{1} << 63, ~uint64_t{0} & ~uint64_t{0xfff}}) {
    EXPECT_EQ(
        Refusal({.load_offset = offset, .memory_bytes = 4096}, 0, kRam, 16 * kMiB).find("kernel:"),
        0);
  }
  EXPECT_EQ(Refusal({.load_offset = 0, .memory_bytes = 1}, 0, GuestPhys(0x4010'0000), 0x1000)
                .find("kernel:"),
            0);
}

TEST(GuestLayout, tree_that_does_not_fit_is_named) {
  EXPECT_EQ(Refusal({.load_offset = 0, .memory_bytes = 16 * kMiB}, 0, kRam, 16 * kMiB)
                .find("device tree:"),
            0);
}

TEST(GuestLayout, initrd_that_does_not_fit_is_named) {
  const KernelImage kernel{.load_offset = 0, .memory_bytes = kMiB};
  for (uint64_t bytes : {15 * kMiB, 16 * kMiB, uint64_t{1} << 63, ~uint64_t{0}}) {
    const std::string refusal = Refusal(kernel, bytes, kRam, 16 * kMiB);
    EXPECT_EQ(refusal.find("initrd:"), 0) << std::hex << bytes;
    EXPECT_NE(refusal.find("0x41000000"), std::string::npos);  // the end of RAM
  }
}

}  // namespace
}  // namespace atoll
