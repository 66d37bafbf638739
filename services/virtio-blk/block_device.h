// A virtio block device (VIRTIO 1.2, 5.2) over any BlockBackend.
//
// One request is executed at a time over all queues, so overlapping ones are each whole, and a
// request that an instance left behind is finished before anything else. Large ones are executed in
// slices of kPassBytes.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "services/virtio-blk/backend.h"
#include "services/virtio-blk/request.h"
#include "services/virtio-blk/specification.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_blk {

inline constexpr uint32_t kMaxQueues = 8;
inline constexpr uint32_t kQueueSize = 256;
// What one call of ProcessQueue does at most, before other events have their turn.
inline constexpr uint32_t kPassRequests = 256;
inline constexpr uint64_t kPassBytes = 1 << 20;

// What outlives the service besides transport and queues.
struct BlockState {
  std::array<RequestRecord, kMaxQueues> requests;  // of the chain in hand, by queue
  uint32_t flush_failed =
      0;  // a flush failed: what it covered may be lost, and no later one hides that
  uint32_t reserved = 0;
};
using BlockJournal = virtio::Journal<BlockState, kMaxQueues>;

class BlockDevice final : public virtio::DeviceModel {
 public:
  // Backend and journal outlive the device. id: what GET_ID returns, at most kIdBytes count.
  // queues: 1..kMaxQueues; more than one offers MQ.
  BlockDevice(BlockBackend& backend, BlockJournal& journal, std::string_view id, uint32_t queues);

  virtio::Description Describe() const override;
  std::span<const std::byte> Config() const override;
  virtio::Work ProcessQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features) override;
  bool RecoverQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features) override;
  bool StopQueue(uint32_t index) override;

 private:
  // True: executed to its end, with its outcome in request.status. Takes what it used from
  // `budget`.
  bool Execute(const virtio::Chain& chain, RequestRecord& request, uint64_t features,
               uint64_t& budget);
  Status ExecuteRange(const virtio::Chain& chain, const RequestRecord& request, uint64_t offset,
                      uint64_t bytes);
  Status ExecuteOnce(const virtio::Chain& chain, const RequestRecord& request, uint64_t features);
  Status Flush();
  bool InFlight(uint32_t index) const;
  bool OtherQueueInFlight(uint32_t index) const;

  BlockBackend& backend_;
  BlockJournal& journal_;
  const DiskLimits limits_;
  std::array<char, kIdBytes> id_ = {};  // padded with NUL
  std::array<uint32_t, kMaxQueues> queue_sizes_ = {};
  uint32_t queues_;
  virtio_blk::Config config_;
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_
