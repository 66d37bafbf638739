#include "services/supervisor/archive.h"

#include <gtest/gtest.h>

#include "tests/unit/supervisor/samples.h"

namespace atoll {
namespace {

using samples::ArchiveBuilder;
using samples::Bytes;
using samples::ToBytes;

std::string Problem(const Bytes& bytes) {
  Archive archive;
  const auto opened = archive.Open(bytes);
  return opened ? "" : std::string(opened.error().view());
}

Bytes Sample() {
  return ArchiveBuilder().Add("plan.pb", ToBytes("plan")).Add("a", ToBytes("aa"), false).Build();
}

void Write(Bytes& bytes, size_t offset, std::string_view text) {
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}

constexpr size_t kFileSize = 54, kNameSize = 94;  // of the first header

TEST(Archive, FindsFilesWithPaddedAndPlainNames) {
  const Bytes bytes = Sample();
  Archive archive;
  ASSERT_TRUE(archive.Open(bytes));
  EXPECT_EQ(archive.size(), 2u);
  const auto* plan = archive.Find("plan.pb");
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(plan->offset % 4096, 0u);
  EXPECT_EQ(plan->data.size(), 4096u);
  EXPECT_EQ(std::memcmp(plan->data.data(), "plan", 5), 0);
  const auto* a = archive.Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->data.size(), 2u);
  EXPECT_EQ(archive.Find("plan"), nullptr);
  EXPECT_EQ(archive.Find("TRAILER!!!"), nullptr);
}

TEST(Archive, RefusesEveryTruncation) {
  const Bytes bytes = Sample();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // Exactly that many bytes, so that the sanitizer sees a read beyond them.
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_NE(Problem(cut), "") << size;
  }
  EXPECT_EQ(Problem(bytes), "");
}

TEST(Archive, NamesOffsetFieldAndReason) {
  Bytes bytes = Sample();
  Write(bytes, 0, "070702");
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x0: magic is not 070701 (newc)");
  bytes = Sample();
  Write(bytes, kFileSize, "0000000G");
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x0: filesize is not a hexadecimal number");
  bytes = Sample();
  Write(bytes, kFileSize, "FFFFFFFF");
  EXPECT_EQ(Problem(bytes),
            "boot archive: header at 0x0: filesize reaches beyond the end of the archive");
  for (const char* size : {"FFFFFFFF", "00000000", "00FFFFFF"}) {
    bytes = Sample();
    Write(bytes, kNameSize, size);
    EXPECT_EQ(Problem(bytes),
              "boot archive: header at 0x0: namesize reaches beyond the end of the archive");
  }
  bytes = Sample();
  Write(bytes, kNameSize, " 0000FF2");
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x0: namesize is not a hexadecimal number");
}

TEST(Archive, RefusesNamesThatAreNone) {
  Bytes bytes = Sample();
  Write(bytes, kNameSize, "00000007");  // "plan.pb" without its NUL
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x0: the name does not end with NUL");
  bytes = Sample();
  bytes[110] = std::byte{0};
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x0: the name is empty");
  bytes = ArchiveBuilder().Add("a", ToBytes("1"), false).Add("a", ToBytes("2"), false).Build();
  EXPECT_EQ(Problem(bytes), "boot archive: header at 0x74: the name is there twice");
}

TEST(Archive, RefusesTooManyFiles) {
  ArchiveBuilder builder;
  for (size_t i = 0; i <= Archive::kMaxFiles; ++i)
    builder.Add(std::to_string(i), ToBytes("x"), false);
  EXPECT_NE(Problem(builder.Build()).find("more than 256 files"), std::string::npos);
}

TEST(Archive, SurvivesEveryByteOfAHeaderChanged) {
  const Bytes good = Sample();
  for (size_t i = 0; i < 130; ++i) {
    for (const unsigned value : {0u, 0xffu, 'F' + 0u, '0' + 0u}) {
      Bytes bytes = good;
      bytes[i] = static_cast<std::byte>(value);
      Problem(bytes);  // whatever it says: no read outside
    }
  }
}

}  // namespace
}  // namespace atoll
