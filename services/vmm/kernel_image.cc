#include "services/vmm/kernel_image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "ipc/address.h"

namespace atoll {
namespace {

// All fields little-endian, whatever the kernel's own endianness.
struct ImageHeader {
  uint32_t code0;
  uint32_t code1;
  uint64_t text_offset;
  uint64_t image_size;
  uint64_t flags;
  uint64_t reserved[3];
  uint32_t magic;
  uint32_t reserved_pe_offset;
};
static_assert(sizeof(ImageHeader) == 64);
static_assert(offsetof(ImageHeader, magic) == 56);

constexpr uint32_t kImageMagic = 0x644d5241;  // "ARM\x64"
constexpr uint64_t kFlagBigEndian = 1;

// Files that are kernels, but not in a form that can be entered at its first byte.
struct ForeignFormat {
  std::string_view magic;
  size_t offset;
  std::string_view message;
};
using namespace std::string_view_literals;
constexpr std::array kForeignFormats = {
    ForeignFormat{"\x1f\x8b"sv, 0, "kernel: compressed with gzip; decompress it first (gunzip)"},
    ForeignFormat{"\xfd"
                  "7zXZ\0"sv,
                  0, "kernel: compressed with xz; decompress it first (unxz)"},
    ForeignFormat{"\x28\xb5\x2f\xfd"sv, 0,
                  "kernel: compressed with zstd; decompress it first (unzstd)"},
    ForeignFormat{"BZh"sv, 0, "kernel: compressed with bzip2; decompress it first (bunzip2)"},
    ForeignFormat{"zimg"sv, 4,
                  "kernel: a compressed EFI image; give the arm64 Image that it contains"},
    ForeignFormat{"\x7f"
                  "ELF"sv,
                  0, "kernel: an ELF file; make a flat binary of it (objcopy -O binary)"},
};

bool Matches(std::span<const std::byte> file, const ForeignFormat& format) {
  return InBounds(format.offset, format.magic.size(), file.size()) &&
         std::memcmp(file.data() + format.offset, format.magic.data(), format.magic.size()) == 0;
}

}  // namespace

std::expected<KernelImage, ErrorText> ParseKernelImage(std::span<const std::byte> file) {
  if (file.empty()) return std::unexpected(ErrorText("kernel: the file is empty"));
  for (const ForeignFormat& format : kForeignFormats) {
    if (Matches(file, format)) return std::unexpected(ErrorText(format.message));
  }
  const KernelImage flat{.load_offset = kDefaultLoadOffset, .memory_bytes = file.size()};
  ImageHeader header;
  if (file.size() < sizeof(header)) return flat;
  std::memcpy(&header, file.data(), sizeof(header));
  if (header.magic != kImageMagic) return flat;

  // With image_size 0 neither text_offset nor flags are to be relied on.
  if (header.image_size == 0) return flat;
  if ((header.flags & kFlagBigEndian) != 0) {
    return std::unexpected(
        ErrorText("kernel: the Image is big-endian; only little-endian kernels are supported"));
  }
  if (header.text_offset % kPageSize != 0) {
    return std::unexpected(ErrorText("kernel: text_offset ", Hex{header.text_offset},
                                     " of the Image header is not a multiple of 0x1000"));
  }
  // A signed Image may be longer than it says; a truncated one is not told from one with a large
  // .bss.
  return KernelImage{.load_offset = header.text_offset,
                     .memory_bytes = std::max<uint64_t>(header.image_size, file.size())};
}

}  // namespace atoll
