// Executes requests by the driver of the machine's disk (services/block/request_ring.h): the disk's
// own DMA moves the data between the medium and the guest's memory.
//
// Request n uses slot n of the ring. A request that does not fit a slot (several ranges, more
// segments than a slot has) goes part after part through its slot, in this order of stores, so that
// a successor of any moment knows what each slot holds:
//
//   1. journal: progress = done | kAtBackend      from here on the slot holds this part, or nothing
//   2. ring:    slot SUBMITTED
//   3.                                            the driver: slot DONE
//   4. journal: progress = done + part            the outcome is taken
//   5. ring:    slot FREE
#ifndef ATOLL_SERVICES_VIRTIO_BLK_DRIVER_EXECUTOR_H_
#define ATOLL_SERVICES_VIRTIO_BLK_DRIVER_EXECUTOR_H_

#include <cstdint>

#include "services/block/request_ring.h"
#include "services/runtime/ports.h"
#include "services/virtio-blk/block_device.h"
#include "services/virtio-blk/executor.h"

namespace atoll::virtio_blk {

static_assert(kRequests == block::kSlots);

class DriverExecutor final : public RequestExecutor {
 public:
  struct Ports {
    Notifier& driver;  // sets the driver's signal: something was submitted
    Notifier& failed;  // told once, when the disk fails: for the log
  };
  // state: in the journal. read_only: whatever the driver says.
  DriverExecutor(block::RequestRingClient ring, BlockState& state, bool read_only, Ports ports);

  DiskLimits limits() const override {
    return {.sectors = disk_->sectors, .read_only = (features() & kFeatureRo) != 0};
  }
  uint64_t features() const override { return disk_->features | (read_only_ ? kFeatureRo : 0); }
  bool one_at_a_time() const override { return false; }
  bool lost() const override { return disk_.lost(); }
  Progress Execute(uint32_t index, const virtio::Chain& chain, RequestRecord& request,
                   bool flush_after, uint64_t& budget) override;
  bool Lingers(uint32_t index) override;
  void EndPass() override;
  BackendNews Collect() override;
  void Reset() override;
  bool IsIntact() const override { return disk_.IsIntact(); }

 private:
  // A part of a request as a slot holds it.
  struct Part {
    block::Operation operation = block::Operation::kFlush;
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  // False: nothing is left to be done.
  bool NextPart(const virtio::Chain& chain, const RequestRecord& request, bool flush_after,
                Part& part) const;
  void TakeOutcome(uint32_t index, const virtio::Chain& chain, RequestRecord& request,
                   bool flush_after);
  void Submit(uint32_t index, const virtio::Chain& chain, const RequestRecord& request,
              const Part& part);
  void TellOfFailure();
  bool DriverSays(DiskRecord& disk) const;

  block::RequestRingClient ring_;
  Kept<DiskRecord> disk_;
  const bool read_only_;
  Ports ports_;
  bool submitted_ = true;  // since the last EndPass
  // An instance may have died after it had taken back that the driver waits, and before it signalled it.
  bool first_pass_ = true;
  bool told_ = false;
  uint32_t driver_generation_ = 0;  // whose slots were all looked at
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_DRIVER_EXECUTOR_H_
