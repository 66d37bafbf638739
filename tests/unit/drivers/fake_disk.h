// A virtio block device for its driver: serves, holds, fails or loses requests.
#ifndef ATOLL_TESTS_UNIT_DRIVERS_FAKE_DISK_H_
#define ATOLL_TESTS_UNIT_DRIVERS_FAKE_DISK_H_

#include <algorithm>
#include <optional>
#include <vector>

#include "services/virtio-blk/specification.h"
#include "tests/unit/drivers/fake_device.h"

namespace atoll::blk_driver {

using virtio_driver::FakeDevice;
using virtio_driver::PhysicalMemory;

inline constexpr uint64_t kDiskFeatures = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
                                          virtio::kFeatureEventIdx | virtio_blk::kFeatureSegMax |
                                          virtio_blk::kFeatureFlush | virtio_blk::kFeatureDiscard |
                                          virtio_blk::kFeatureWriteZeroes;

class FakeDisk final : public FakeDevice {
 public:
  FakeDisk(PhysicalMemory& memory, uint64_t sectors)
      : FakeDevice(memory, virtio_blk::kDeviceId, kDiskFeatures), content(sectors * 512) {
    for (size_t i = 0; i < content.size(); ++i) content[i] = PatternAt(i);
    properties = {.capacity = sectors,
                  .seg_max = 254,
                  .max_discard_sectors = 1 << 22,
                  .max_discard_seg = 1,
                  .max_write_zeroes_sectors = 1 << 22,
                  .max_write_zeroes_seg = 1};
    SetProperties();
  }
  static std::byte PatternAt(size_t offset) {
    return static_cast<std::byte>(offset / 512 * 7 + offset % 251 + 1);
  }
  void SetProperties() {
    const auto bytes = std::as_bytes(std::span(&properties, 1));
    config.assign(bytes.begin(), bytes.end());
  }

  // Takes what is available into `held`, and executes it unless `hold`. True: there was something.
  bool Serve() {
    bool any = false;
    while (auto chain = Take(0)) {
      held.push_back(*chain);
      any = true;
    }
    most_held = std::max(most_held, held.size());
    if (hold) return any;
    while (!held.empty()) {
      // The youngest first: order is not promised.
      const Chain chain = held.back();
      held.pop_back();
      Execute(chain);
    }
    return any;
  }

  void Execute(const Chain& chain) {
    if (chain.parts.size() < 2) {
      ++malformed;
      return;
    }
    const auto header = Get<virtio_blk::RequestHeader>(chain.parts.front().physical);
    const Part& status = chain.parts.back();
    if (!status.writable || status.bytes != 1 || chain.parts.front().bytes != 16) ++malformed;
    const std::span data = std::span(chain.parts).subspan(1, chain.parts.size() - 2);
    longest = std::max(longest, data.size());
    uint64_t bytes = 0;
    for (const Part& part : data) {
      bytes += part.bytes;
      if (part.bytes == 0 || part.writable != (header.type == virtio_blk::kIn)) ++malformed;
    }
    types.push_back(header.type);
    largest = std::max(largest, bytes);
    uint8_t outcome = Do(header, data, bytes);
    if (fail_next > 0) {
      --fail_next;
      outcome = virtio_blk::kStatusIoErr;
    }
    if (!no_status) Put(status.physical, forced_status.value_or(outcome));
    Give(0, chain.head, header.type == virtio_blk::kIn ? static_cast<uint32_t>(bytes + 1) : 1);
  }

  virtio_blk::Config properties;
  std::vector<std::byte> content;
  std::vector<Chain> held;
  bool hold = false;
  int fail_next = 0;
  bool no_status = false;
  std::optional<uint8_t> forced_status;

  std::vector<uint32_t> types;  // of the requests, in the order of their execution
  int malformed = 0;
  size_t most_held = 0;
  size_t longest = 0;    // buffers of a request
  uint64_t largest = 0;  // bytes of a request

 private:
  void OnReset() override { held.clear(); }

  uint8_t Do(const virtio_blk::RequestHeader& header, std::span<const Part> data, uint64_t bytes) {
    switch (header.type) {
      case virtio_blk::kIn:
      case virtio_blk::kOut: {
        if (bytes % 512 != 0 || !InBounds(header.sector * 512, bytes, content.size())) {
          return virtio_blk::kStatusIoErr;
        }
        std::byte* at = content.data() + header.sector * 512;
        for (const Part& part : data) {
          if (!Reachable(part.physical, part.bytes)) continue;
          if (part.writable) {
            std::memcpy(memory_.At(part.physical), at, part.bytes);
          } else {
            std::memcpy(at, memory_.At(part.physical), part.bytes);
          }
          at += part.bytes;
        }
        return virtio_blk::kStatusOk;
      }
      case virtio_blk::kFlush: return virtio_blk::kStatusOk;
      case virtio_blk::kDiscard:
      case virtio_blk::kWriteZeroes: {
        const auto range = Get<virtio_blk::DiscardWriteZeroes>(data[0].physical);
        if (data[0].bytes != 16 || range.flags != 0 ||
            !InBounds(range.sector * 512, range.num_sectors * uint64_t{512}, content.size())) {
          return virtio_blk::kStatusIoErr;
        }
        std::memset(content.data() + range.sector * 512, 0, range.num_sectors * size_t{512});
        return virtio_blk::kStatusOk;
      }
      default: return virtio_blk::kStatusUnsupp;
    }
  }
};

}  // namespace atoll::blk_driver

#endif  // ATOLL_TESTS_UNIT_DRIVERS_FAKE_DISK_H_
