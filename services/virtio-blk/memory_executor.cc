#include "services/virtio-blk/memory_executor.h"

#include <algorithm>
#include <span>

namespace atoll::virtio_blk {

using virtio::Chain;

Progress MemoryExecutor::Execute(uint32_t index, const Chain& chain, RequestRecord& request,
                                 bool flush_after, uint64_t& budget) {
  while (request.status() == kStatusOk) {
    const NextPart part = NextPartOf(request);
    if (part.bytes == 0) {
      if (flush_after && !IsOk(Flush())) request.Fail(kStatusIoErr);
      break;
    }
    if (budget == 0) return Progress::kMore;
    const uint64_t bytes = std::min(part.bytes, budget);
    if (!IsOk(ExecutePart(chain, request, part.offset, bytes))) {
      request.Fail(kStatusIoErr);
      break;
    }
    request.SetProgress(request.done() + bytes, 0);
    budget -= bytes;
  }
  return Progress::kDone;
}

// `bytes` of the disk at `offset`, the data of which begins at request.done().
Status MemoryExecutor::ExecutePart(const Chain& chain, const RequestRecord& request,
                                   uint64_t offset, uint64_t bytes) {
  if (!backend_.has_content()) return Status::kOk;
  switch (request.type) {
    case kIn:
      return chain.VisitWritable(request.done(), bytes, [&](std::span<std::byte> piece) {
        const Status status = backend_.Read(offset, piece);
        offset += piece.size();
        return status;
      });
    case kOut:
      return chain.VisitReadable(sizeof(RequestHeader) + request.done(), bytes,
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

Status MemoryExecutor::Flush() {
  if (disk_->flush_failed != 0) return Status::kDataLoss;
  const Status status = backend_.Flush();
  if (!IsOk(status)) disk_.Change([](DiskRecord& disk) { disk.flush_failed = 1; });
  return status;
}

void MemoryExecutor::Reset() {
  if (disk_.lost()) disk_.Set({});
}

}  // namespace atoll::virtio_blk
