#include "services/supervisor/archive.h"

#include "ipc/address.h"

namespace atoll {
namespace {

// newc header: "070701", then 13 fields of 8 hexadecimal digits; name and data
// are padded to 4 bytes.
constexpr std::string_view kMagic = "070701";
constexpr size_t kHeaderBytes = 110;
constexpr size_t kFieldBytes = 8;
constexpr size_t kFileSizeOffset = kMagic.size() + 6 * kFieldBytes;
constexpr size_t kNameSizeOffset = kMagic.size() + 11 * kFieldBytes;
constexpr uint64_t kPadding = 4;
constexpr std::string_view kTrailer = "TRAILER!!!";

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<uint64_t> Hexadecimal(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint64_t>(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<uint64_t>(c - 'A') + 10;
    } else {
      return std::nullopt;
    }
    value = value << 4 | digit;
  }
  return value;
}

std::unexpected<LogLine> Refuse(uint64_t offset, std::string_view reason) {
  return std::unexpected(
      LogLine("boot archive: header at ").Hex(offset).Append(": ").Append(reason));
}

}  // namespace

Checked<void> Archive::Open(std::span<const std::byte> bytes) {
  count_ = 0;
  // No sum can wrap: sizes have 32 bits, offsets stay below the archive's size.
  for (uint64_t header = 0;;) {
    if (!InBounds(header, kHeaderBytes, bytes.size())) {
      return Refuse(header, "the archive ends before its trailer");
    }
    const std::string_view fields = Text(bytes.subspan(header, kHeaderBytes));
    if (!fields.starts_with(kMagic)) return Refuse(header, "magic is not 070701 (newc)");
    const auto file_bytes = Hexadecimal(fields.substr(kFileSizeOffset, kFieldBytes));
    const auto name_bytes = Hexadecimal(fields.substr(kNameSizeOffset, kFieldBytes));
    if (!file_bytes) return Refuse(header, "filesize is not a hexadecimal number");
    if (!name_bytes) return Refuse(header, "namesize is not a hexadecimal number");

    const uint64_t name_offset = header + kHeaderBytes;
    if (*name_bytes == 0 || !InBounds(name_offset, *name_bytes, bytes.size())) {
      return Refuse(header, "namesize reaches beyond the end of the archive");
    }
    const std::string_view padded = Text(bytes.subspan(name_offset, *name_bytes));
    if (padded.back() != '\0') return Refuse(header, "the name does not end with NUL");
    const std::string_view name = padded.substr(0, padded.find('\0'));
    if (name == kTrailer) return {};
    if (name.empty()) return Refuse(header, "the name is empty");

    const uint64_t data_offset = AlignUp(name_offset + *name_bytes, kPadding);
    if (!InBounds(data_offset, *file_bytes, bytes.size())) {
      return Refuse(header, "filesize reaches beyond the end of the archive");
    }
    if (Find(name) != nullptr) return Refuse(header, "the name is there twice");
    if (count_ == kMaxFiles) return Refuse(header, "more than 256 files");
    files_[count_++] = {name, data_offset, bytes.subspan(data_offset, *file_bytes)};
    header = AlignUp(data_offset + *file_bytes, kPadding);
  }
}

const Archive::File* Archive::Find(std::string_view name) const {
  for (const File& file : std::span(files_).first(count_)) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

}  // namespace atoll
