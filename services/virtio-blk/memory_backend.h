// A disk in memory that is mapped into the service, and a disk that is no memory at all.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_MEMORY_BACKEND_H_
#define ATOLL_SERVICES_VIRTIO_BLK_MEMORY_BACKEND_H_

#include <cstring>

#include "services/virtio-blk/backend.h"

namespace atoll::virtio_blk {

// The content outlives the service, since it is not the service's memory: as durable as this disk
// can be, as soon as it is stored.
class MemoryBackend final : public BlockBackend {
 public:
  // read_only: `content` may be mapped without write permission.
  MemoryBackend(std::span<std::byte> content, bool read_only)
      : content_(content), read_only_(read_only) {}

  uint64_t size() const override { return content_.size(); }
  bool read_only() const override { return read_only_; }

  Status Read(uint64_t offset, std::span<std::byte> to) override {
    std::memcpy(to.data(), content_.subspan(offset, to.size()).data(), to.size());
    return Status::kOk;
  }
  Status Write(uint64_t offset, std::span<const std::byte> from) override {
    std::memcpy(content_.subspan(offset, from.size()).data(), from.data(), from.size());
    return Status::kOk;
  }
  Status Flush() override { return Status::kOk; }
  Status Discard(uint64_t offset, uint64_t bytes) override { return WriteZeroes(offset, bytes); }
  Status WriteZeroes(uint64_t offset, uint64_t bytes) override {
    std::memset(content_.subspan(offset, bytes).data(), 0, bytes);
    return Status::kOk;
  }

 private:
  std::span<std::byte> content_;
  bool read_only_;
};

// For benchmarks of everything but the data: reads leave the guest's memory as it was, writes are dropped.
class NullBackend final : public BlockBackend {
 public:
  NullBackend(uint64_t size, bool read_only) : size_(size), read_only_(read_only) {}

  uint64_t size() const override { return size_; }
  bool read_only() const override { return read_only_; }
  bool has_content() const override { return false; }

  Status Read(uint64_t offset, std::span<std::byte> to) override { return Status::kOk; }
  Status Write(uint64_t offset, std::span<const std::byte> from) override { return Status::kOk; }
  Status Flush() override { return Status::kOk; }
  Status Discard(uint64_t offset, uint64_t bytes) override { return Status::kOk; }
  Status WriteZeroes(uint64_t offset, uint64_t bytes) override { return Status::kOk; }

 private:
  uint64_t size_;
  bool read_only_;
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_MEMORY_BACKEND_H_
