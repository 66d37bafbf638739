#include "services/supervisor/elf_image.h"

#include <gtest/gtest.h>

#include "tests/unit/supervisor/samples.h"

namespace atoll {
namespace {

using samples::Bytes;
using samples::Elf;
using samples::Put;
using samples::Segment;
using samples::ServiceElf;

std::string Problem(const Bytes& file) {
  const auto image = ElfImage::Parse("x.elf", file);
  return image ? "" : std::string(image.error().view());
}

TEST(ElfImage, ReadsSegmentsAndExtent) {
  const Bytes file = ServiceElf();
  const auto image = ElfImage::Parse("x.elf", file);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->entry(), VirtAddr{0x40'0000});
  ASSERT_EQ(image->segments().size(), 2u);
  EXPECT_TRUE(image->segments()[0].execute);
  EXPECT_FALSE(image->segments()[0].write);
  EXPECT_TRUE(image->segments()[1].write);
  EXPECT_EQ(image->segments()[1].data.size(), 4u);
  EXPECT_EQ(image->first_page(), VirtAddr{0x40'0000});
  EXPECT_EQ(image->bytes(), 0x3000u);
}

TEST(ElfImage, RefusesEveryTruncation) {
  const Bytes file = ServiceElf();
  for (size_t size = 0; size < file.size(); ++size) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_NE(Problem(cut), "") << size;
  }
}

TEST(ElfImage, RefusesFilesOfOtherKinds) {
  for (const size_t offset : {0u, 1u, 4u, 5u, 6u}) {
    Bytes file = ServiceElf();
    file[offset] ^= std::byte{3};
    EXPECT_EQ(Problem(file), "x.elf: e_ident: is not a 64-bit little-endian ELF file");
  }
  Bytes file = ServiceElf();
  Put<uint16_t>(file, 16, 3);  // ET_DYN
  EXPECT_EQ(Problem(file), "x.elf: e_type: is not ET_EXEC");
  file = ServiceElf();
  Put<uint16_t>(file, 18, 62);
  EXPECT_EQ(Problem(file), "x.elf: e_machine: is not AArch64");
  file = ServiceElf();
  Put<uint16_t>(file, 54, 32);
  EXPECT_EQ(Problem(file), "x.elf: e_phentsize: is not 56");
  for (const uint64_t phoff : {uint64_t{0x1fff}, ~uint64_t{0}, ~uint64_t{0} - 55}) {
    file = ServiceElf();
    Put<uint64_t>(file, 32, phoff);
    EXPECT_EQ(Problem(file), "x.elf: e_phoff: the program headers end beyond the file") << phoff;
  }
  EXPECT_EQ(Problem({}), "x.elf: e_ident: the file is too short");
}

TEST(ElfImage, RefusesSegmentsOutsideTheFileOrTheImageArea) {
  constexpr size_t kOffset = 64 + 8, kAddress = 64 + 16, kInFile = 64 + 32, kInMemory = 64 + 40;
  for (const uint64_t offset : {uint64_t{1} << 40, ~uint64_t{0}}) {
    Bytes file = ServiceElf();
    Put<uint64_t>(file, kOffset, offset);
    EXPECT_EQ(Problem(file), "x.elf: program header 0: its data ends beyond the file");
  }
  Bytes file = ServiceElf();
  Put<uint64_t>(file, kInFile, 5);
  EXPECT_EQ(Problem(file), "x.elf: program header 0: p_filesz is above p_memsz");
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x3f'ffff}, kImageEnd.value,
                                 ~uint64_t{0} - 1, uint64_t{0xffff'0000'0040'0000}}) {
    file = ServiceElf();
    Put<uint64_t>(file, kAddress, address);
    EXPECT_EQ(Problem(file),
              "x.elf: program header 0: p_vaddr and p_memsz are not within the image area");
  }
  for (const uint64_t bytes : {~uint64_t{0}, kImageEnd - abi::kImageBase + 1}) {
    file = ServiceElf();
    Put<uint64_t>(file, kInMemory, bytes);
    EXPECT_EQ(Problem(file),
              "x.elf: program header 0: p_vaddr and p_memsz are not within the image area");
  }
}

TEST(ElfImage, RefusesWritableCode) {
  const Bytes file = Elf({{.flags = 7, .data = "code"}});
  EXPECT_EQ(Problem(file), "x.elf: program header 0: is writable and executable");
}

TEST(ElfImage, RefusesSegmentsThatShareAPage) {
  const Segment code{.flags = 5, .address = 0x40'0000, .data = "code", .bytes = 0x1001};
  for (const uint64_t address : {0x40'0000u, 0x40'0ffcu, 0x40'1004u, 0x40'1ffcu}) {
    EXPECT_EQ(Problem(Elf({code, {.flags = 6, .address = address, .data = "d", .bytes = 4}})),
              "x.elf: program header 1: shares a page with another segment")
        << address;
  }
  EXPECT_EQ(Problem(Elf({code, {.flags = 6, .address = 0x40'2000, .data = "d", .bytes = 4}})), "");
}

TEST(ElfImage, RefusesAnEntryThatIsNotCode) {
  for (const uint64_t entry :
       {uint64_t{0}, uint64_t{0x40'0004}, uint64_t{0x40'1000}, ~uint64_t{0}}) {
    Bytes file = ServiceElf();
    Put<uint64_t>(file, 24, entry);
    EXPECT_EQ(Problem(file), "x.elf: e_entry: is not in an executable segment") << entry;
  }
  EXPECT_EQ(Problem(Elf({})), "x.elf: e_entry: is not in an executable segment");
}

TEST(ElfImage, RefusesTooManySegments) {
  std::vector<Segment> segments;
  for (uint64_t i = 0; i <= ElfImage::kMaxSegments; ++i) {
    segments.push_back({.flags = 5, .address = 0x40'0000 + i * 0x1000, .data = "c", .bytes = 1});
  }
  EXPECT_EQ(Problem(Elf(segments)), "x.elf: e_phnum: more than 8 segments to load");
}

}  // namespace
}  // namespace atoll
