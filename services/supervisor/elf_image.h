// A service's ELF file as segments to load (ELF-64 Object File Format; ELF for
// the Arm 64-bit Architecture).
#ifndef ATOLL_SERVICES_SUPERVISOR_ELF_IMAGE_H_
#define ATOLL_SERVICES_SUPERVISOR_ELF_IMAGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "services/supervisor/log_line.h"

namespace atoll {

// Where segments may lie: below the largest stack and a guard page.
inline constexpr uint64_t kMaxStackBytes = 1 << 20;
inline constexpr VirtAddr kImageEnd{abi::kStackTop.value - kMaxStackBytes - kPageSize};

struct ElfSegment {
  VirtAddr address;                 // of its first byte
  uint64_t bytes = 0;               // in memory; zeros after `data`
  std::span<const std::byte> data;  // in the file
  bool write = false;
  bool execute = false;

  VirtAddr first_page() const { return VirtAddr{AlignDown(address.value, kPageSize)}; }
  VirtAddr end_page() const { return VirtAddr{AlignUp(address.value + bytes, kPageSize)}; }
};

class ElfImage {
 public:
  static constexpr size_t kMaxSegments = 8;

  // The loadable segments of `file`, none of which share a page. The error
  // names file, field and reason.
  static Checked<ElfImage> Parse(std::string_view name, std::span<const std::byte> file);

  VirtAddr entry() const { return entry_; }
  // What program it is and with which interface it talks to its surroundings: "virtio-blk 1"; empty: it does not say.
  std::string_view identity() const { return identity_; }
  std::span<const ElfSegment> segments() const { return std::span(segments_).first(count_); }
  // The pages from the lowest segment to the end of the highest.
  VirtAddr first_page() const;
  uint64_t bytes() const;

 private:
  VirtAddr entry_;
  std::string_view identity_;
  std::array<ElfSegment, kMaxSegments> segments_{};
  size_t count_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_ELF_IMAGE_H_
