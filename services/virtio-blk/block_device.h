// A virtio block device (VIRTIO 1.2, 5.2) over any RequestExecutor.
//
// Up to kRequests chains are in hand over all queues, each with its record in the journal, and they
// end in any order. Those of a pass over a queue are published together, with one interrupt. An
// executor that works one request at a time gets each to its end before the next; large ones are
// executed in slices of kPassBytes.
//
// A request at which two instances were at work when they died ends with an I/O error. A device that
// fails (SetFailing) does that to all, each as soon as nobody touches the guest's memory for it.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "services/virtio-blk/block_state.h"
#include "services/virtio-blk/executor.h"
#include "services/virtio-blk/request.h"
#include "services/virtio-blk/specification.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_blk {

inline constexpr uint32_t kQueueSize = 256;
// What one call of ProcessQueue does at most, before other events have their turn.
inline constexpr uint32_t kPassRequests = 256;
inline constexpr uint64_t kPassBytes = 1 << 20;

class BlockDevice final : public virtio::DeviceModel {
 public:
  // Executor and journal outlive the device. id: what GET_ID returns, at most kIdBytes count.
  // queues: 1..kMaxQueues; more than one offers MQ.
  BlockDevice(RequestExecutor& executor, BlockJournal& journal, std::string_view id,
              uint32_t queues);

  virtio::Description Describe() const override;
  std::span<const std::byte> Config() const override;
  virtio::Work ProcessQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features) override;
  bool RecoverQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features,
                    bool blamed) override;
  bool InOrder() const override { return executor_.one_at_a_time(); }
  bool ForgetChains() override;
  bool WasAtWork() const override { return blamed_.has_value(); }
  void SetFailing(bool until_reset) override;
  bool StopQueue(uint32_t index) override;
  virtio::PeerWork OnPeerSignals(uint64_t bits) override;
  void Reset() override;
  bool IsIntact() const override;

  // Requests that ended with an error because instances died of them.
  uint32_t given_up() const { return given_up_; }

 private:
  // The most that a request may bring down.
  static constexpr uint32_t kMaxDeaths = 2;

  RequestRecord& Record(uint32_t request) { return journal_.device.requests[request]; }
  virtio::Work Serve(uint32_t index, virtio::SplitQueue& queue, uint64_t features);
  // Executes a request of this queue further. kDone: it may have ended, or be pending.
  virtio::Work Advance(uint32_t request, virtio::SplitQueue& queue, uint64_t features,
                       uint64_t& budget);
  Progress Execute(uint32_t request, const virtio::Chain& chain, uint64_t features,
                   uint64_t& budget);
  // Whether queue `index` may have one more request in hand.
  bool MayTake(uint32_t index) const;
  void PublishPushed(uint32_t index, virtio::SplitQueue& queue);
  // Takes up a request in hand. False: it is damaged.
  bool TakeUp(uint32_t request, uint32_t index, virtio::SplitQueue& queue, bool blamed);
  void GiveUp(uint32_t request);
  void SetExecuting(uint64_t request_or_none) {
    virtio::StoreRelease(journal_.device.executing, request_or_none);
  }
  bool NothingLingers();
  virtio_blk::Config MakeConfig() const;
  // Of what stays as it is until the instance ends.
  uint32_t CheckOfConstants() const;
  bool AreSetsSound() const;
  void RefreshCapacity() { config_.capacity = executor_.limits().sectors; }

  RequestExecutor& executor_;
  BlockJournal& journal_;
  std::array<char, kIdBytes> id_ = {};  // padded with NUL
  std::array<uint32_t, kMaxQueues> queue_sizes_ = {};
  uint32_t queues_;
  virtio_blk::Config config_;

  // Sets of requests, bit n for record n. What is not free is held by a queue, or lingers.
  uint64_t free_ = 0;
  std::array<uint64_t, kMaxQueues> held_ = {};  // by queue
  uint64_t runnable_ = 0;                       // held and to be executed further
  uint64_t pushed_ = 0;                         // held, of the pass in hand: to be published
  uint64_t lingering_ = 0;  // given up, but the backend may still use the guest's memory
  uint64_t damaged_ = 0;    // nobody knows: until the driver resets the device
  uint64_t doomed_ = 0;     // held, and to end with an I/O error
  uint32_t starved_ = 0;    // bit n: queue n waits for a free record

  bool failing_ = false;            // everything ends with I/O errors ...
  bool fails_ever_ = false;         // ... after a reset, too
  std::optional<uint32_t> blamed_;  // at which the instance before was at work
  uint32_t given_up_ = 0;
  uint32_t check_ = 0;  // CheckOfConstants
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_BLOCK_DEVICE_H_
