// The machine's disk: a virtio block device (VIRTIO 1.2, 5.2) from its driver's side, with up to
// kDepth requests in flight.
#ifndef ATOLL_SERVICES_BLK_DRIVER_PHYSICAL_DISK_H_
#define ATOLL_SERVICES_BLK_DRIVER_PHYSICAL_DISK_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/status.h"
#include "services/block/request_ring.h"
#include "services/virtio_driver/dma.h"
#include "services/virtio_driver/queue.h"
#include "services/virtio_driver/transport.h"

namespace atoll::blk_driver {

inline constexpr uint32_t kDepth = 64;
// The longest request that the device gets: larger ones become several, so that none of them keeps
// the others waiting for long.
inline constexpr uint64_t kMaxTransferBytes = 4 << 20;
inline constexpr uint32_t kMaxRangeSectors = 1 << 17;  // DISCARD, WRITE_ZEROES: 64 MiB

// What one request to the device may have.
struct DiskLimits {
  uint32_t buffers = 1;
  uint32_t buffer_bytes = 0;  // in one of them
  uint32_t discard_sectors = 0;
  uint32_t write_zeroes_sectors = 0;
};

class PhysicalDisk {
 public:
  struct Outcome {
    uint32_t tag = 0;
    block::RequestStatus status = block::RequestStatus::kOk;
  };

  // DMA memory, page aligned: rings, indirect tables, and header and status of each request.
  static constexpr size_t kRequestBytes = 64;
  static constexpr size_t kRingsBytes =
      AlignUp(virtio_driver::Queue::RingBytes(virtio_driver::Queue::kMaxSize), kPageSize);
  static constexpr size_t kTablesBytes = virtio_driver::Queue::TableBytes(kDepth);
  static constexpr size_t kDmaBytes = kRingsBytes + kTablesBytes + kDepth * kRequestBytes;

  // memory: kDmaBytes.
  PhysicalDisk(virtio_driver::DevicePort& port, virtio_driver::DmaMemory memory);

  // Resets the device, which forgets all requests, and makes it ready. The errors of Transport;
  // FAILED_PRECONDITION also: its queue is too small.
  Status Start();

  // Ends all DMA of the device for good.
  Status Stop();

  // Known after Start.
  uint64_t sectors() const { return sectors_; }
  uint32_t flags() const { return flags_; }  // of block::DriverLine
  // False: it has no FLUSH, so its cache is write-through or it has none (5.2.6.2): what is
  // completed is on the medium.
  bool has_cache() const { return has_cache_; }
  const DiskLimits& limits() const { return limits_; }

  // Where the next IN or OUT request's buffers go; limits().buffers of them.
  std::span<virtio_driver::Buffer> data() {
    return std::span(buffers_).subspan(1, limits_.buffers);
  }
  // Gives a request to the device, at the latest with the next Publish. `sector` and `sectors` are
  // within the disk; its data is the first `buffers` of data(). RESOURCE_EXHAUSTED: not now.
  // tag: one of kDepth that is not in flight.
  Status Submit(uint32_t tag, block::Operation operation, uint64_t sector, uint32_t sectors,
                uint32_t buffers);
  void Publish();

  std::optional<Outcome> Pop();

  // Takes the interrupt back. DATA_LOSS: the device is mad, or asks for a reset.
  Status OnInterrupt();
  bool EnableInterrupts() { return queue_.EnableInterrupts(); }
  void DisableInterrupts() { queue_.DisableInterrupts(); }

  // The device broke a rule; nothing comes back until it is started again.
  bool broken() const { return queue_.broken() || lied_; }

 private:
  Status SetUp();
  void ReadProperties(uint64_t features);

  virtio_driver::Transport transport_;
  virtio_driver::DmaMemory rings_;
  virtio_driver::DmaMemory tables_;
  virtio_driver::DmaMemory requests_;
  virtio_driver::Queue queue_;
  uint64_t sectors_ = 0;
  uint32_t flags_ = 0;
  bool has_cache_ = false;
  bool lied_ = false;  // a completed request without a status
  DiskLimits limits_;
  std::array<virtio_driver::Buffer, block::kMaxSegments + 2> buffers_;  // of one request
};

}  // namespace atoll::blk_driver

#endif  // ATOLL_SERVICES_BLK_DRIVER_PHYSICAL_DISK_H_
