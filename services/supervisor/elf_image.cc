#include "services/supervisor/elf_image.h"

#include <algorithm>
#include <cstring>

namespace atoll {
namespace {

// The parts of the ELF-64 file header and program header; little-endian, as
// this processor is.
struct FileHeader {
  std::array<uint8_t, 16> ident;
  uint16_t type;
  uint16_t machine;
  uint32_t version;
  uint64_t entry;
  uint64_t phoff;
  uint64_t shoff;
  uint32_t flags;
  uint16_t ehsize;
  uint16_t phentsize;
  uint16_t phnum;
  uint16_t shentsize;
  uint16_t shnum;
  uint16_t shstrndx;
};
static_assert(sizeof(FileHeader) == 64);

struct ProgramHeader {
  uint32_t type;
  uint32_t flags;
  uint64_t offset;
  uint64_t vaddr;
  uint64_t paddr;
  uint64_t filesz;
  uint64_t memsz;
  uint64_t align;
};
static_assert(sizeof(ProgramHeader) == 56);

// e_ident: magic, ELFCLASS64, ELFDATA2LSB, EV_CURRENT.
constexpr std::array<uint8_t, 7> kIdent = {0x7f, 'E', 'L', 'F', 2, 1, 1};
constexpr uint16_t kExecutable = 2;  // ET_EXEC
constexpr uint16_t kAarch64 = 183;   // EM_AARCH64
constexpr uint32_t kLoad = 1;        // PT_LOAD
constexpr uint32_t kNote = 4;        // PT_NOTE
constexpr uint32_t kFlagExecute = 1;
constexpr uint32_t kFlagWrite = 2;

std::unexpected<LogLine> Refuse(std::string_view name, std::string_view field, uint64_t index,
                                std::string_view reason) {
  LogLine line(name);
  line.Append(": ").Append(field);
  if (field == "program header") line.Append(" ").Decimal(index);
  return std::unexpected(line.Append(": ").Append(reason));
}

// The note of services/runtime/identity.S.in, if it is the first of its segment.
struct NoteHeader {
  uint32_t name_bytes;
  uint32_t text_bytes;
  uint32_t type;
  std::array<char, 8> name;
};
constexpr std::string_view kNoteName("Atoll\0", 6);

std::string_view Identity(std::span<const std::byte> note) {
  NoteHeader header;
  if (note.size() < sizeof(header)) return {};
  std::memcpy(&header, note.data(), sizeof(header));
  if (header.type != 1 || header.name_bytes != kNoteName.size() ||
      std::string_view(header.name.data(), kNoteName.size()) != kNoteName ||
      header.text_bytes > note.size() - sizeof(header)) {
    return {};
  }
  return {reinterpret_cast<const char*>(note.data()) + sizeof(header), header.text_bytes};
}

// What is wrong with a PT_LOAD header, or nothing.
std::string_view Problem(const ProgramHeader& header, uint64_t file_bytes) {
  if (!InBounds(header.offset, header.filesz, file_bytes)) return "its data ends beyond the file";
  if (header.filesz > header.memsz) return "p_filesz is above p_memsz";
  if (header.vaddr < abi::kImageBase.value ||
      !InBounds(header.vaddr - abi::kImageBase.value, header.memsz, kImageEnd - abi::kImageBase)) {
    return "p_vaddr and p_memsz are not within the image area";
  }
  if ((header.flags & kFlagWrite) != 0 && (header.flags & kFlagExecute) != 0) {
    return "is writable and executable";
  }
  return {};
}

}  // namespace

Checked<ElfImage> ElfImage::Parse(std::string_view name, std::span<const std::byte> file) {
  FileHeader header;
  if (file.size() < sizeof(header)) return Refuse(name, "e_ident", 0, "the file is too short");
  std::memcpy(&header, file.data(), sizeof(header));
  if (!std::equal(kIdent.begin(), kIdent.end(), header.ident.begin())) {
    return Refuse(name, "e_ident", 0, "is not a 64-bit little-endian ELF file");
  }
  if (header.type != kExecutable) return Refuse(name, "e_type", 0, "is not ET_EXEC");
  if (header.machine != kAarch64) return Refuse(name, "e_machine", 0, "is not AArch64");
  if (header.phentsize != sizeof(ProgramHeader)) {
    return Refuse(name, "e_phentsize", 0, "is not 56");
  }
  if (!InBounds(header.phoff, uint64_t{header.phnum} * sizeof(ProgramHeader), file.size())) {
    return Refuse(name, "e_phoff", 0, "the program headers end beyond the file");
  }

  ElfImage image;
  image.entry_ = VirtAddr{header.entry};
  bool entry_executable = false;
  for (uint64_t i = 0; i < header.phnum; ++i) {
    ProgramHeader program;
    std::memcpy(&program, file.data() + header.phoff + i * sizeof(program), sizeof(program));
    if (program.type == kNote && InBounds(program.offset, program.filesz, file.size())) {
      image.identity_ = Identity(file.subspan(program.offset, program.filesz));
    }
    if (program.type != kLoad || program.memsz == 0) continue;
    if (const auto problem = Problem(program, file.size()); !problem.empty()) {
      return Refuse(name, "program header", i, problem);
    }
    const ElfSegment segment{.address = VirtAddr{program.vaddr},
                             .bytes = program.memsz,
                             .data = file.subspan(program.offset, program.filesz),
                             .write = (program.flags & kFlagWrite) != 0,
                             .execute = (program.flags & kFlagExecute) != 0};
    for (const ElfSegment& other : image.segments()) {
      if (segment.first_page() < other.end_page() && other.first_page() < segment.end_page()) {
        return Refuse(name, "program header", i, "shares a page with another segment");
      }
    }
    if (image.count_ == kMaxSegments) {
      return Refuse(name, "e_phnum", 0, "more than 8 segments to load");
    }
    image.segments_[image.count_++] = segment;
    entry_executable |= segment.execute && segment.address <= image.entry_ &&
                        image.entry_ - segment.address < segment.bytes;
  }
  if (!entry_executable) return Refuse(name, "e_entry", 0, "is not in an executable segment");
  return image;
}

VirtAddr ElfImage::first_page() const {
  VirtAddr lowest = segments_[0].first_page();
  for (const ElfSegment& segment : segments()) lowest = std::min(lowest, segment.first_page());
  return lowest;
}

uint64_t ElfImage::bytes() const {
  VirtAddr highest = segments_[0].end_page();
  for (const ElfSegment& segment : segments()) highest = std::max(highest, segment.end_page());
  return highest - first_page();
}

}  // namespace atoll
