// Where a block device's sectors live.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_BACKEND_H_
#define ATOLL_SERVICES_VIRTIO_BLK_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/status.h"

namespace atoll::virtio_blk {

// Offsets and sizes are in bytes; the caller keeps every access within size(). An operation that is
// repeated from its start after it was cut short gives the same result. On failure any part of the
// range may have been changed.
class BlockBackend {
 public:
  virtual uint64_t size() const = 0;  // does not change
  virtual bool read_only() const = 0;
  // False: neither Read nor Write does anything, so that they need not be called.
  virtual bool has_content() const { return true; }

  virtual Status Read(uint64_t offset, std::span<std::byte> to) = 0;
  virtual Status Write(uint64_t offset, std::span<const std::byte> from) = 0;
  // Everything written before is durable when this returns OK.
  virtual Status Flush() = 0;
  // The content is of no use any more; it reads as anything that this disk held before, or zero.
  virtual Status Discard(uint64_t offset, uint64_t bytes) = 0;
  virtual Status WriteZeroes(uint64_t offset, uint64_t bytes) = 0;

 protected:
  ~BlockBackend() = default;
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_BACKEND_H_
