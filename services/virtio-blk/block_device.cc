#include "services/virtio-blk/block_device.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace atoll::virtio_blk {
namespace {

using virtio::Chain;
using virtio::SplitQueue;
using virtio::Work;

constexpr uint64_t kOffered = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
                              virtio::kFeatureEventIdx | kFeatureSegMax | kFeatureBlkSize |
                              kFeatureFlush | kFeatureDiscard | kFeatureWriteZeroes;

// 2.7.8.2: how many bytes, counted from the first writable one, the device wrote; the status byte
// is the last.
uint32_t UsedLength(const Chain& chain, const RequestRecord& request) {
  const uint64_t room = chain.writable_bytes() - 1;
  uint64_t filled = 0;
  if (request.type == kIn) filled = request.done;
  if (request.type == kGetId && request.status == kStatusOk) {
    filled = std::min<uint64_t>(room, kIdBytes);
  }
  // A transfer that fills 2^32 - 1 bytes of data does not exist: data comes in whole sectors.
  return static_cast<uint32_t>(filled == room ? filled + 1 : filled);
}

}  // namespace

BlockDevice::BlockDevice(BlockBackend& backend, BlockJournal& journal, std::string_view id,
                         uint32_t queues)
    : backend_(backend),
      journal_(journal),
      limits_{.sectors = backend.size() / kSectorBytes, .read_only = backend.read_only()},
      queues_(std::clamp(queues, 1u, kMaxQueues)) {
  std::memcpy(id_.data(), id.data(), std::min(id.size(), id_.size()));
  queue_sizes_.fill(kQueueSize);
  config_ = {
      .capacity = limits_.sectors,
      .seg_max = kQueueSize - 2,  // header and status take one descriptor each
      .blk_size = kSectorBytes,
      .writeback = 1,
      .num_queues = static_cast<uint16_t>(queues_),
      .max_discard_sectors = kMaxRangeSectors,
      .max_discard_seg = kMaxRanges,
      .discard_sector_alignment = 1,
      .max_write_zeroes_sectors = kMaxRangeSectors,
      .max_write_zeroes_seg = kMaxRanges,
      .write_zeroes_may_unmap = 0,
  };
}

virtio::Description BlockDevice::Describe() const {
  return {
      .device_id = kDeviceId,
      .features = kOffered | (limits_.read_only ? kFeatureRo : 0) | (queues_ > 1 ? kFeatureMq : 0),
      .queue_sizes = std::span(queue_sizes_).first(queues_)};
}

std::span<const std::byte> BlockDevice::Config() const {
  return std::as_bytes(std::span(&config_, 1));
}

bool BlockDevice::InFlight(uint32_t index) const {
  return virtio::StateOf(journal_.device.requests[index].held).phase == virtio::Phase::kAccepted;
}

bool BlockDevice::RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features) {
  RequestRecord& request = journal_.device.requests[index];
  switch (queue.Recover(request.held)) {
    case SplitQueue::Recovered::kNone: return true;
    case SplitQueue::Recovered::kInHand: return IsPlausible(request, limits_);
    case SplitQueue::Recovered::kPushed:
      queue.Publish();
      SplitQueue::Release(request.held);
      return true;
    default: return false;
  }
}

bool BlockDevice::StopQueue(uint32_t index) {
  SplitQueue::Release(journal_.device.requests[index].held);
  return true;
}

bool BlockDevice::OtherQueueInFlight(uint32_t index) const {
  for (uint32_t i = 0; i < queues_; ++i) {
    if (i != index && InFlight(i)) return true;
  }
  return false;
}

Work BlockDevice::ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) {
  if (index != 0 && (features & kFeatureMq) == 0) return Work::kDone;  // 5.2.2: no such queue then
  if (OtherQueueInFlight(index)) return Work::kMore;
  RequestRecord& request = journal_.device.requests[index];
  uint64_t budget = kPassBytes;
  queue.SuppressNotifications();
  for (uint32_t i = 0; i < kPassRequests; ++i) {
    if (!InFlight(index)) {
      const SplitQueue::Fetched fetched = queue.Fetch(request.held.chain);
      if (fetched == SplitQueue::Fetched::kBroken) return Work::kBroken;
      if (fetched == SplitQueue::Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        return Work::kDone;
      }
      if (!ParseRequest(queue.chain(request.held.chain), limits_, features, request)) return Work::kBroken;
      queue.Hold(request.held, index);
    }
    const Chain chain = queue.chain(request.held.chain);
    if (!Execute(chain, request, features, budget)) return Work::kMore;
    const auto status = static_cast<std::byte>(request.status);
    if (!IsOk(chain.CopyToWritable(chain.writable_bytes() - 1, {&status, 1}))) {
      return Work::kBroken;  // only a corrupt journal leads here
    }
    queue.Push(request.held, UsedLength(chain, request));
    queue.Publish();
    SplitQueue::Release(request.held);
  }
  return Work::kMore;
}

bool BlockDevice::Execute(const Chain& chain, RequestRecord& request, uint64_t features,
                          uint64_t& budget) {
  uint64_t before = 0;  // bytes of the ranges before this one
  for (const Range& range : std::span(request.ranges).first(request.range_count)) {
    while (request.status == kStatusOk && request.done - before < range.bytes) {
      if (budget == 0) return false;
      const uint64_t offset = request.done - before;
      const uint64_t bytes = std::min(range.bytes - offset, budget);
      if (!IsOk(ExecuteRange(chain, request, range.offset + offset, bytes))) {
        request.status = kStatusIoErr;
        return true;
      }
      virtio::StoreRelease(request.done, request.done + bytes);
      budget -= bytes;
    }
    before += range.bytes;
  }
  if (request.status == kStatusOk && !IsOk(ExecuteOnce(chain, request, features))) {
    request.status = kStatusIoErr;
  }
  return true;
}

// `bytes` of the disk at `offset`, the data of which begins at request.done.
Status BlockDevice::ExecuteRange(const Chain& chain, const RequestRecord& request, uint64_t offset,
                                 uint64_t bytes) {
  switch (request.type) {
    case kIn:
      return chain.VisitWritable(request.done, bytes, [&](std::span<std::byte> piece) {
        const Status status = backend_.Read(offset, piece);
        offset += piece.size();
        return status;
      });
    case kOut:
      return chain.VisitReadable(sizeof(RequestHeader) + request.done, bytes,
                                 [&](std::span<std::byte> piece) {
                                   const Status status = backend_.Write(offset, piece);
                                   offset += piece.size();
                                   return status;
                                 });
    case kDiscard: return backend_.Discard(offset, bytes);
    case kWriteZeroes: return backend_.WriteZeroes(offset, bytes);
    default: return Status::kInternal;  // other types have no ranges
  }
}

// What follows the ranges, once per request.
Status BlockDevice::ExecuteOnce(const Chain& chain, const RequestRecord& request,
                                uint64_t features) {
  switch (request.type) {
    case kFlush: return Flush();
    case kGetId: {
      const uint64_t bytes = std::min<uint64_t>(chain.writable_bytes() - 1, kIdBytes);
      return chain.CopyToWritable(0, std::as_bytes(std::span(id_)).first(bytes));
    }
    case kOut:
    case kDiscard:
    case kWriteZeroes:
      // 5.2.6.2: a driver that cannot flush gets every completed write durable.
      return (features & kFeatureFlush) != 0 ? Status::kOk : Flush();
    default: return Status::kOk;
  }
}

Status BlockDevice::Flush() {
  if (journal_.device.flush_failed != 0) return Status::kDataLoss;
  const Status status = backend_.Flush();
  if (!IsOk(status)) journal_.device.flush_failed = 1;
  return status;
}

}  // namespace atoll::virtio_blk
