// Who executes requests: memory at once (memory_executor.h), or the driver of a physical disk while
// the device goes on (driver_executor.h).
#ifndef ATOLL_SERVICES_VIRTIO_BLK_EXECUTOR_H_
#define ATOLL_SERVICES_VIRTIO_BLK_EXECUTOR_H_

#include <cstdint>

#include "services/virtio-blk/block_state.h"
#include "services/virtio-blk/request.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_blk {

enum class Progress {
  kDone,     // request.status tells how it ended
  kMore,     // the pass's share is used up: call again
  kPending,  // goes on elsewhere; Collect will name it
};

// What happened at the backend.
struct BackendNews {
  uint64_t requests = 0;      // bit n: request n is to be executed further
  bool disk_changed = false;  // limits() or features()
};

class RequestExecutor {
 public:
  virtual DiskLimits limits() const = 0;
  // What the disk can do, as the device's feature bits: RO, FLUSH, DISCARD, WRITE_ZEROES.
  virtual uint64_t features() const = 0;
  // Requests are to be executed one after the other, each to its end, so that each is whole.
  virtual bool one_at_a_time() const = 0;
  // What it keeps in the journal was damaged; until Reset.
  virtual bool lost() const = 0;

  // Goes on with a request from where it stands. flush_after: it ends when all that it wrote, or
  // for FLUSH all that was written before, is durable. Takes from `budget` the bytes that it moved.
  virtual Progress Execute(uint32_t index, const virtio::Chain& chain, RequestRecord& request,
                           bool flush_after, uint64_t& budget) = 0;
  // Whether somebody may still touch the guest's memory for a request that was given up.
  virtual bool Lingers(uint32_t index) { return false; }
  // A pass over a queue ended: the backend is told of what it got.
  virtual void EndPass() {}
  virtual BackendNews Collect() { return {}; }
  // The driver reset the device.
  virtual void Reset() {}
  // As DeviceModel::IsIntact.
  virtual bool IsIntact() const { return true; }

 protected:
  ~RequestExecutor() = default;
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_EXECUTOR_H_
