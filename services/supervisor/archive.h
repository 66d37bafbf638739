// The boot archive: a cpio archive in the "newc" format (cpio(5)), as
// scripts/archive.py writes it.
#ifndef ATOLL_SERVICES_SUPERVISOR_ARCHIVE_H_
#define ATOLL_SERVICES_SUPERVISOR_ARCHIVE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/supervisor/log_line.h"

namespace atoll {

// An index of the archive's files. It keeps views into the archive's bytes,
// which must outlive it.
class Archive {
 public:
  static constexpr size_t kMaxFiles = 256;

  struct File {
    std::string_view name;
    uint64_t offset = 0;  // of the data in the archive
    std::span<const std::byte> data;
  };

  // Reads all headers. The error names the offset in the archive, the field and
  // what is wrong with it.
  Checked<void> Open(std::span<const std::byte> bytes);

  const File* Find(std::string_view name) const;
  size_t size() const { return count_; }

 private:
  std::array<File, kMaxFiles> files_{};
  size_t count_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_ARCHIVE_H_
