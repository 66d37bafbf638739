#include "services/virtio-blk/driver_executor.h"

#include <algorithm>

namespace atoll::virtio_blk {
namespace {

using block::Operation;
using block::SlotState;
using virtio::Chain;

// The capacity of a disk that is missing or ends before this part of it: large enough for a guest to
// see that it cannot be read, which an empty disk would hide.
constexpr uint64_t kSectorsOfNothing = kPageSize / kSectorBytes;

// Where the data of an IN or OUT begins in its part of the chain.
uint64_t DataOffset(const RequestRecord& request) {
  return request.done() + (request.type == kOut ? sizeof(RequestHeader) : 0);
}

template <typename Visit>
Status VisitData(const Chain& chain, const RequestRecord& request, uint64_t bytes, Visit visit) {
  return request.type == kIn ? chain.VisitWritableSegments(DataOffset(request), bytes, visit)
                             : chain.VisitReadableSegments(DataOffset(request), bytes, visit);
}

// How many of the next `bytes` of data fit the segments of a slot: whole sectors.
uint64_t BytesThatFit(const Chain& chain, const RequestRecord& request, uint64_t bytes) {
  if (chain.segments() <= block::kMaxSegments) return bytes;
  uint32_t segments = 0;
  uint64_t fit = 0;
  (void)VisitData(chain, request, bytes, [&](GuestPhys, uint64_t piece) {
    if (segments++ == block::kMaxSegments) return Status::kResourceExhausted;
    fit += piece;
    return Status::kOk;
  });
  return fit & ~(kSectorBytes - 1);
}

}  // namespace

DriverExecutor::DriverExecutor(block::RequestRingClient ring, BlockState& state, bool read_only,
                               Ports ports)
    : ring_(ring), disk_(state.disk), read_only_(read_only), ports_(ports) {
  // What the driver said once is enough for taking up the journal; what it says now comes with Collect.
  DiskRecord disk = *disk_;
  if (disk.sectors == 0 && !disk_.lost() && DriverSays(disk)) disk_.Set(disk);
  for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
    if (ring_.State(slot) == SlotState::kSubmitted) ring_.Remind(slot);
  }
}

// Whether there is something to be told of the disk; then what.
bool DriverExecutor::DriverSays(DiskRecord& disk) const {
  const block::Disk said = ring_.disk();
  const bool failed_at_once = said.state == block::DiskState::kFailed && disk_->sectors == 0;
  if (said.state != block::DiskState::kReady && !failed_at_once) return false;
  // At most what 64 bits of bytes can count.
  disk.sectors =
      said.sectors == 0 ? kSectorsOfNothing : std::min(said.sectors, ~uint64_t{0} / kSectorBytes);
  disk.features = ((said.flags & block::kReadOnly) != 0 ? kFeatureRo : 0) |
                  ((said.flags & block::kFlush) != 0 ? kFeatureFlush : 0) |
                  ((said.flags & block::kDiscard) != 0 ? kFeatureDiscard : 0) |
                  ((said.flags & block::kWriteZeroes) != 0 ? kFeatureWriteZeroes : 0);
  return true;
}

Progress DriverExecutor::Execute(uint32_t index, const Chain& chain, RequestRecord& request,
                                 bool flush_after, uint64_t& budget) {
  if (request.Has(RequestProgress::kAtBackend)) {
    const SlotState slot = ring_.State(index);
    if (slot == SlotState::kSubmitted) return Progress::kPending;
    if (slot == SlotState::kDone) TakeOutcome(index, chain, request, flush_after);
  }
  if (ring_.State(index) == SlotState::kDone) ring_.Free(index);
  Part part;
  if (request.status() != kStatusOk || !NextPart(chain, request, flush_after, part)) {
    return Progress::kDone;
  }
  if (part.operation == Operation::kFlush && disk_->flush_failed != 0) {
    request.Fail(kStatusIoErr);
    return Progress::kDone;
  }
  const bool data = part.operation == Operation::kIn || part.operation == Operation::kOut;
  const bool failed = ring_.disk().state == block::DiskState::kFailed;
  if (failed) TellOfFailure();
  if (failed || (data && part.bytes == 0)) {  // or more pieces within a sector than a slot holds
    request.Fail(kStatusIoErr);
    return Progress::kDone;
  }
  request.SetProgress(request.done(), RequestProgress::kAtBackend);
  Submit(index, chain, request, part);
  submitted_ = true;
  return Progress::kPending;
}

bool DriverExecutor::NextPart(const Chain& chain, const RequestRecord& request, bool flush_after,
                              Part& part) const {
  const virtio_blk::NextPart next = NextPartOf(request);
  if (next.bytes == 0) {
    part = {};
    // Of a disk that does not flush each write is on the medium when it ends.
    return flush_after && !request.Has(RequestProgress::kFlushed) &&
           (features() & kFeatureFlush) != 0;
  }
  part = {.operation = static_cast<Operation>(request.type),
          .offset = next.offset,
          .bytes = next.bytes};
  if (request.type == kIn || request.type == kOut) {
    part.bytes = BytesThatFit(chain, request, next.bytes);
  }
  return true;
}

void DriverExecutor::TakeOutcome(uint32_t index, const Chain& chain, RequestRecord& request,
                                 bool flush_after) {
  Part part;
  const bool has_part = NextPart(chain, request, flush_after, part);
  const block::RequestStatus outcome = ring_.Outcome(index);
  if (outcome != block::RequestStatus::kOk) {
    const bool unsupported = outcome == block::RequestStatus::kUnsupported;
    if (part.operation == Operation::kFlush && !unsupported) {
      disk_.Change([](DiskRecord& disk) { disk.flush_failed = 1; });
    }
    if (!unsupported) TellOfFailure();
    request.Fail(unsupported ? kStatusUnsupp : kStatusIoErr);
  } else if (has_part && part.operation == Operation::kFlush) {
    request.SetProgress(request.done(), RequestProgress::kFlushed);
  } else {
    request.SetProgress(request.done() + part.bytes, 0);
  }
}

void DriverExecutor::Submit(uint32_t index, const Chain& chain, const RequestRecord& request,
                            const Part& part) {
  block::Request slot = {.operation = part.operation,
                         .sector = part.offset / kSectorBytes,
                         .sectors = static_cast<uint32_t>(part.bytes / kSectorBytes)};
  if (part.operation == Operation::kIn || part.operation == Operation::kOut) {
    (void)VisitData(chain, request, part.bytes, [&](GuestPhys at, uint64_t bytes) {
      ring_.SetSegment(index, slot.segment_count, at.value, static_cast<uint32_t>(bytes));
      ++slot.segment_count;
      return Status::kOk;
    });
  }
  ring_.Submit(index, slot);
}

bool DriverExecutor::Lingers(uint32_t index) {
  if (ring_.State(index) == SlotState::kSubmitted) return true;
  ring_.Free(index);
  return false;
}

void DriverExecutor::EndPass() {
  if (!submitted_) return;
  submitted_ = false;
  if (ring_.DriverWaits() || first_pass_) ports_.driver.Notify();
  first_pass_ = false;
}

BackendNews DriverExecutor::Collect() {
  EndPass();
  BackendNews news;
  do {
    news.requests |= ring_.TakeCompleted();
  } while (ring_.Wait());
  const block::Disk said = ring_.disk();
  if (said.state == block::DiskState::kFailed) TellOfFailure();
  if (said.generation != driver_generation_) {
    // The driver before may have died between a slot's state and its bit.
    driver_generation_ = said.generation;
    news.requests = ~uint64_t{0};
  }
  DiskRecord disk = *disk_;
  if (!disk_.lost() && DriverSays(disk)) {
    // A feature that a guest may have accepted stays until it resets the device.
    disk.features |= disk_->features;
    news.disk_changed = disk.sectors != disk_->sectors || disk.features != disk_->features;
    if (news.disk_changed) disk_.Set(disk);
  }
  return news;
}

void DriverExecutor::Reset() {
  DiskRecord disk = *disk_;
  if (DriverSays(disk) || disk_.lost()) disk_.Set(disk);
  ring_.StartEpoch();
  ports_.driver.Notify();  // which may have us in quarantine
}

void DriverExecutor::TellOfFailure() {
  if (told_) return;
  told_ = true;
  ports_.failed.Notify();
}

}  // namespace atoll::virtio_blk
