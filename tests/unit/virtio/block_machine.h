// A guest with a block device, and a disk that can fail, be slow to harden, and lose power.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_BLOCK_MACHINE_H_
#define ATOLL_TESTS_UNIT_VIRTIO_BLOCK_MACHINE_H_

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/virtio-blk/block_device.h"
#include "services/virtio-blk/memory_backend.h"
#include "services/virtio-blk/memory_executor.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio_blk {

using virtio::Buffer;

inline constexpr uint64_t kBlockFeatures =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx |
    kFeatureSegMax | kFeatureBlkSize | kFeatureFlush | kFeatureDiscard | kFeatureWriteZeroes;

// The content is volatile until a flush; Durable() is what a power loss leaves.
class TestDisk final : public BlockBackend {
 public:
  explicit TestDisk(uint64_t bytes) : content(bytes), durable(bytes) {
    for (uint64_t i = 0; i < bytes; ++i) content[i] = PatternAt(i);
    durable = content;
  }
  static std::byte PatternAt(uint64_t offset) {
    return static_cast<std::byte>(offset / kSectorBytes * 7 + offset % 251 + 1);
  }

  uint64_t size() const override { return content.size(); }
  bool read_only() const override { return is_read_only; }
  Status Read(uint64_t offset, std::span<std::byte> to) override {
    if (!Allowed(offset, to.size())) return Status::kUnavailable;
    std::memcpy(to.data(), &content.at(offset), to.size());
    return Status::kOk;
  }
  Status Write(uint64_t offset, std::span<const std::byte> from) override {
    if (!Allowed(offset, from.size())) return Status::kUnavailable;
    std::memcpy(&content.at(offset), from.data(), from.size());
    return Status::kOk;
  }
  Status Flush() override {
    ++flushes;
    if (fail_flush) return Status::kUnavailable;
    durable = content;
    return Status::kOk;
  }
  Status Discard(uint64_t offset, uint64_t bytes) override { return WriteZeroes(offset, bytes); }
  Status WriteZeroes(uint64_t offset, uint64_t bytes) override {
    if (!Allowed(offset, bytes)) return Status::kUnavailable;
    std::memset(&content.at(offset), 0, bytes);
    return Status::kOk;
  }

  std::vector<std::byte> content;
  std::vector<std::byte> durable;
  std::optional<uint64_t> bad_offset;  // whatever touches this byte fails
  bool fail_flush = false;
  bool is_read_only = false;
  int operations = 0;  // but flushes
  int flushes = 0;

 private:
  bool Allowed(uint64_t offset, uint64_t bytes) {
    ++operations;
    (void)content.at(offset + bytes - 1);  // throws beyond the end: the device must not get here
    return !bad_offset || *bad_offset < offset || *bad_offset >= offset + bytes;
  }
};

using BlockBase = virtio::Machine<BlockDevice, BlockState, kMaxQueues>;
using BlockQueue = virtio::DriverQueue<BlockBase>;

// The parts of the journal that change while only the first `requests` records are in use, and of
// them only a few segments: what MemoryStates has to watch.
inline std::vector<std::span<std::byte>> JournalInUse(BlockBase& m, uint32_t requests) {
  constexpr uint32_t kSegments = 8;
  const std::span all = m.journal_bytes();
  const auto offset = [&all](const void* at) {
    return static_cast<size_t>(static_cast<const std::byte*>(at) - all.data());
  };
  BlockState& state = m.journal().device;
  std::vector<std::span<std::byte>> parts = {all.first(offset(&state.requests[0]))};
  for (RequestRecord& record : std::span(state.requests).first(requests)) {
    auto& segments = record.held.chain.segments;
    const size_t start = offset(&record);
    parts.push_back(all.subspan(start, offset(&segments[kSegments]) - start));
    const size_t tail = offset(segments.data() + segments.size());
    parts.push_back(all.subspan(tail, offset(&record + 1) - tail));
  }
  parts.push_back(all.subspan(offset(&state.disk)));
  return parts;
}

class BlockMachine : public BlockBase {
 public:
  explicit BlockMachine(BlockBackend& disk, uint32_t queues = 1, std::string id = "disk0",
                        uint64_t ram_base = virtio::kRamBase,
                        uint64_t ram_bytes = virtio::kRamBytes)
      : Machine(
            [&disk, queues, id,
             executor = std::shared_ptr<MemoryExecutor>()](BlockJournal& journal) mutable {
              executor = std::make_shared<MemoryExecutor>(disk, journal.device);
              return std::make_unique<BlockDevice>(*executor, journal, id, queues);
            },
            ram_base, ram_bytes) {}

  BlockQueue Live(uint64_t features = kBlockFeatures, uint32_t size = 256) {
    return virtio::BringUp<BlockBase>(*this, features, size);
  }

  uint64_t Header(uint32_t type, uint64_t sector) {
    const uint64_t address = Allocate(sizeof(RequestHeader));
    Put(address, RequestHeader{type, 0xdddd'dddd, sector});  // reserved: any value
    return address;
  }
};

inline constexpr uint8_t kNoStatus = 0xaa;  // not written by the device

struct Outcome {
  bool used = false;  // the device gave the chain back
  uint8_t status = kNoStatus;
  uint32_t length = 0;
  bool operator==(const Outcome&) const = default;
};
// How a finished request looks.
inline Outcome Done(uint8_t status, uint32_t length) { return {true, status, length}; }
inline std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << "{used " << o.used << ", status " << int{o.status} << ", length " << o.length
             << "}";
}

// Submits header, data buffers and status, and lets the device run until it is idle.
inline Outcome Submit(BlockMachine& m, BlockQueue& queue, uint32_t type, uint64_t sector,
                      const std::vector<Buffer>& data, bool indirect = false) {
  std::vector<Buffer> chain = {{m.Header(type, sector), sizeof(RequestHeader), false}};
  chain.insert(chain.end(), data.begin(), data.end());
  const uint64_t status = m.Allocate(1, 1);
  m.Put(status, kNoStatus);
  chain.push_back({status, 1, true});
  if (indirect) {
    queue.AddIndirect(chain);
  } else {
    queue.Add(chain);
  }
  queue.Notify();
  if (!m.Pump()) return {};
  const auto element = queue.PopUsed();
  if (!element) return {false, m.Get<uint8_t>(status), 0};
  return {true, m.Get<uint8_t>(status), element->length};
}

inline Outcome Read(BlockMachine& m, BlockQueue& queue, uint64_t sector, uint64_t to,
                    uint32_t bytes) {
  return Submit(m, queue, kIn, sector, {{to, bytes, true}});
}
inline Outcome Write(BlockMachine& m, BlockQueue& queue, uint64_t sector, uint64_t from,
                     uint32_t bytes) {
  return Submit(m, queue, kOut, sector, {{from, bytes, false}});
}
inline Outcome Flush(BlockMachine& m, BlockQueue& queue) { return Submit(m, queue, kFlush, 0, {}); }

struct RangeSegment {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};
inline Outcome Ranges(BlockMachine& m, BlockQueue& queue, uint32_t type,
                      const std::vector<RangeSegment>& segments) {
  const uint64_t data = m.Allocate(16 * segments.size() + 1);
  for (size_t i = 0; i < segments.size(); ++i) m.Put(data + 16 * i, segments[i]);
  return Submit(m, queue, type, 0x1234,
                {{data, static_cast<uint32_t>(16 * segments.size()), false}});
}

inline bool Equal(BlockMachine& m, uint64_t address, std::span<const std::byte> expected) {
  return std::memcmp(m.At(address, expected.size()), expected.data(), expected.size()) == 0;
}
inline bool Works(BlockMachine& m, BlockQueue& queue, TestDisk& disk) {
  const uint64_t buffer = m.Allocate(1024);
  return Read(m, queue, 3, buffer, 1024) == Done(kStatusOk, 1025) &&
         Equal(m, buffer, std::span(disk.content).subspan(3 * 512, 1024));
}

}  // namespace atoll::virtio_blk

#endif  // ATOLL_TESTS_UNIT_VIRTIO_BLOCK_MACHINE_H_
