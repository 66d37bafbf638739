// Executes requests on a BlockBackend at once, large ones in slices.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_MEMORY_EXECUTOR_H_
#define ATOLL_SERVICES_VIRTIO_BLK_MEMORY_EXECUTOR_H_

#include <cstdint>

#include "services/runtime/two_copies.h"
#include "services/virtio-blk/backend.h"
#include "services/virtio-blk/block_state.h"
#include "services/virtio-blk/executor.h"

namespace atoll::virtio_blk {

class MemoryExecutor final : public RequestExecutor {
 public:
  // state: in the journal.
  MemoryExecutor(BlockBackend& backend, BlockState& state)
      : backend_(backend),
        disk_(state.disk),
        limits_{.sectors = backend.size() / kSectorBytes, .read_only = backend.read_only()} {}

  DiskLimits limits() const override { return limits_; }
  uint64_t features() const override {
    return kFeatureFlush | kFeatureDiscard | kFeatureWriteZeroes |
           (limits_.read_only ? kFeatureRo : 0);
  }
  bool one_at_a_time() const override { return true; }
  bool lost() const override { return disk_.lost(); }
  Progress Execute(uint32_t index, const virtio::Chain& chain, RequestRecord& request,
                   bool flush_after, uint64_t& budget) override;
  void Reset() override;
  bool IsIntact() const override {
    return disk_.IsIntact() && limits_.sectors == backend_.size() / kSectorBytes &&
           limits_.read_only == backend_.read_only();
  }

 private:
  Status ExecutePart(const virtio::Chain& chain, const RequestRecord& request, uint64_t offset,
                     uint64_t bytes);
  Status Flush();

  BlockBackend& backend_;
  Kept<DiskRecord> disk_;
  const DiskLimits limits_;
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_MEMORY_EXECUTOR_H_
