#include "services/vmm/kernel_image.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/images.h"

namespace atoll {
namespace {

using namespace std::string_view_literals;

// Why a file is refused; empty if it is not.
std::string Refusal(const std::vector<std::byte>& file) {
  const auto image = ParseKernelImage(file);
  return image.has_value() ? "" : std::string(image.error().text());
}

TEST(KernelImage, CPU_03_image_goes_to_its_text_offset_with_room_for_bss) {
  const auto image = ParseKernelImage(MakeImage(0x20'0000, 0x123'4000));
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->load_offset, 0x20'0000);
  EXPECT_EQ(image->memory_bytes, 0x123'4000);
}

TEST(KernelImage, text_offset_zero_is_zero) {
  const auto image = ParseKernelImage(MakeImage(0, 0x10000));
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->load_offset, 0);
}

TEST(KernelImage, file_longer_than_its_image_size_counts_whole) {
  const auto image = ParseKernelImage(MakeImage(0, 1, 0, 9000));
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->memory_bytes, 9000);
}

TEST(KernelImage, image_size_zero_means_the_default_offset) {
  const auto image = ParseKernelImage(MakeImage(0x1234, 0, 1));
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->load_offset, 0x80000);
  EXPECT_EQ(image->memory_bytes, 4096);
}

TEST(KernelImage, flags_of_page_size_and_placement_are_accepted) {
  for (uint64_t flags : {0b0000, 0b0010, 0b1010, 0b1100, 0b1110}) {
    EXPECT_TRUE(ParseKernelImage(MakeImage(0, 4096, flags)).has_value()) << flags;
  }
}

TEST(KernelImage, big_endian_image_is_refused) {
  EXPECT_NE(Refusal(MakeImage(0, 4096, 1)).find("big-endian"), std::string::npos);
}

TEST(KernelImage, text_offset_off_a_page_is_refused_and_named) {
  for (uint64_t offset : {uint64_t{1}, uint64_t{0x80004}, ~uint64_t{0}}) {
    EXPECT_NE(Refusal(MakeImage(offset, 4096)).find("text_offset 0x"), std::string::npos);
  }
  EXPECT_NE(Refusal(MakeImage(0x80004, 4096)).find("0x80004"), std::string::npos);
}

TEST(KernelImage, flat_binary_goes_to_the_default_offset) {
  for (size_t bytes : {1, 63, 64, 65, 5000}) {
    const auto image = ParseKernelImage(std::vector<std::byte>(bytes));
    ASSERT_TRUE(image.has_value());
    EXPECT_EQ(image->load_offset, 0x80000);
    EXPECT_EQ(image->memory_bytes, bytes);
  }
}

TEST(KernelImage, magic_cut_off_by_the_end_of_file_is_flat) {
  auto file = MakeImage(1, 4096, 1);
  file.resize(63);
  EXPECT_EQ(Refusal(file), "");
}

TEST(KernelImage, what_cannot_be_entered_is_refused_with_advice) {
  EXPECT_NE(Refusal({}).find("empty"), std::string::npos);
  EXPECT_NE(Refusal(MakeFile("\x1f\x8b\x08..."sv)).find("decompress it first (gunzip)"),
            std::string::npos);
  EXPECT_NE(Refusal(MakeFile("\xfd"
                             "7zXZ\0...."sv))
                .find("unxz"),
            std::string::npos);
  EXPECT_NE(Refusal(MakeFile("\x28\xb5\x2f\xfd..."sv)).find("unzstd"), std::string::npos);
  EXPECT_NE(Refusal(MakeFile("BZh9"sv)).find("bunzip2"), std::string::npos);
  EXPECT_NE(Refusal(MakeFile("MZ\0\0zimg"sv)).find("EFI"), std::string::npos);
  EXPECT_NE(Refusal(MakeFile("\x7f"
                             "ELF\2\1\1"sv))
                .find("objcopy"),
            std::string::npos);
}

TEST(KernelImage, shorter_than_a_foreign_magic_is_flat) {
  EXPECT_EQ(Refusal(MakeFile("\x1f"sv)), "");
  EXPECT_EQ(Refusal(MakeFile("MZ\0\0zim"sv)), "");
}

}  // namespace
}  // namespace atoll
