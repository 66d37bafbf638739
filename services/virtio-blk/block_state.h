// What a block device keeps over a restart of its service besides transport and queues.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_BLOCK_STATE_H_
#define ATOLL_SERVICES_VIRTIO_BLK_BLOCK_STATE_H_

#include <array>
#include <cstdint>

#include "services/runtime/two_copies.h"
#include "services/virtio-blk/request.h"
#include "services/virtio/journal.h"

namespace atoll::virtio_blk {

inline constexpr uint32_t kMaxQueues = 8;

// Requests in hand at a time over all queues: a record in the journal for each. Its index also names
// it towards the executor.
inline constexpr uint32_t kRequests = 64;

// Of the disk; changes rarely.
struct DiskRecord {
  // What is known of a disk that somebody else has.
  uint64_t sectors = 0;
  uint64_t features = 0;  // RequestExecutor::features
  // 1: a flush failed. What it covered may be lost, and no later one hides that.
  uint64_t flush_failed = 0;
};

struct BlockState {
  static constexpr uint32_t kFormat = 2;  // changes with the layout, here and in RequestRecord

  std::array<RequestRecord, kRequests> requests;
  TwoCopies<DiskRecord> disk;
  uint64_t executing = 0;  // 1 + the request that is being executed now; a hint
};
using BlockJournal = virtio::Journal<BlockState, kMaxQueues>;

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_BLOCK_STATE_H_
