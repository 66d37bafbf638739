#include "services/virtio-blk/block_device.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "services/runtime/statistics.h"

namespace atoll::virtio_blk {
namespace {

using virtio::Chain;
using virtio::SplitQueue;
using virtio::StateOf;
using virtio::Work;

constexpr uint64_t kOffered = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
                              virtio::kFeatureEventIdx | kFeatureSegMax | kFeatureBlkSize;

// What the user sees of this instance (statistics.h).
enum Counter : size_t { kCountRequests, kCountBytes, kCountErrors, kCountReplays, kCountGivenUp };

void NameCounters() {
  NameCounter(kCountRequests, "requests");
  NameCounter(kCountBytes, "bytes");
  NameCounter(kCountErrors, "errors");
  NameCounter(kCountReplays, "replays");
  NameCounter(kCountGivenUp, "given_up");
}

constexpr uint64_t Bit(uint32_t request) { return uint64_t{1} << request; }
// The lowest member of a set that is not empty.
uint32_t First(uint64_t set) { return static_cast<uint32_t>(std::countr_zero(set)); }

// 2.7.8.2: how many bytes, counted from the first writable one, the device wrote; the status byte
// is the last.
uint32_t UsedLength(const Chain& chain, const RequestRecord& request) {
  const uint64_t room = chain.writable_bytes() - 1;
  uint64_t filled = 0;
  if (request.type == kIn) filled = request.done();
  if (request.type == kGetId && request.status() == kStatusOk) {
    filled = std::min<uint64_t>(room, kIdBytes);
  }
  // A transfer that fills 2^32 - 1 bytes of data does not exist: data comes in whole sectors.
  return static_cast<uint32_t>(filled == room ? filled + 1 : filled);
}

bool EndsWithFlush(const RequestRecord& request, uint64_t features) {
  switch (request.type) {
    case kFlush: return true;
    case kOut:
    case kDiscard:
    case kWriteZeroes:
      // 5.2.6.2: a driver that cannot flush gets every completed write durable.
      return (features & kFeatureFlush) == 0;
    default: return false;
  }
}

}  // namespace

BlockDevice::BlockDevice(RequestExecutor& executor, BlockJournal& journal, std::string_view id,
                         uint32_t queues)
    : executor_(executor), journal_(journal), queues_(std::clamp(queues, 1u, kMaxQueues)) {
  NameCounters();
  std::memcpy(id_.data(), id.data(), std::min(id.size(), id_.size()));
  queue_sizes_.fill(kQueueSize);
  config_ = MakeConfig();
  check_ = CheckOfConstants();
  for (uint32_t request = 0; request < kRequests; ++request) {
    const virtio::HeldChain& held = Record(request).held;
    if (virtio::IsFree(held)) {
      GiveUp(request);
    } else if (virtio::IsSealed(held, Record(request).extra())) {
      held_[StateOf(held).queue % kMaxQueues] |= Bit(request);
    } else {
      damaged_ |= Bit(request);  // or the journal is fresh: then Reset comes
    }
  }
  const uint64_t executing = journal_.device.executing;
  if (executing != 0 && executing <= kRequests &&
      ((free_ | lingering_ | damaged_) & Bit(static_cast<uint32_t>(executing - 1))) == 0) {
    blamed_ = static_cast<uint32_t>(executing - 1);
  }
}

virtio_blk::Config BlockDevice::MakeConfig() const {
  return {
      .capacity = executor_.limits().sectors,
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

uint32_t BlockDevice::CheckOfConstants() const {
  std::array<uint64_t, (kIdBytes + sizeof(uint64_t) - 1) / sizeof(uint64_t)> id = {};
  std::memcpy(id.data(), id_.data(), id_.size());
  CheckWord check(queues_);
  check.AddObject(id);
  return check.value();
}

bool BlockDevice::IsIntact() const {
  if constexpr (!kWritesJournal) return true;
  const virtio_blk::Config config = MakeConfig();
  return CheckOfConstants() == check_ && AreSetsSound() && executor_.IsIntact() &&
         std::memcmp(&config, &config_, sizeof(config)) == 0 &&
         std::ranges::count(queue_sizes_, kQueueSize) == std::ssize(queue_sizes_);
}

// Each request is in one set, and in the one that its record says.
bool BlockDevice::AreSetsSound() const {
  uint64_t all = free_, held = 0;
  bool apart = true;
  const auto add = [&](uint64_t set) {
    apart = apart && (all & set) == 0;
    all |= set;
  };
  add(lingering_);
  add(damaged_);
  for (const uint64_t set : held_) {
    add(set);
    held |= set;
  }
  if (!apart || all != ~uint64_t{0} || pushed_ != 0 || ((runnable_ | doomed_) & ~held) != 0 ||
      starved_ >> queues_ != 0) {
    return false;
  }
  for (uint32_t request = 0; request < kRequests; ++request) {
    const virtio::HeldChain& chain = journal_.device.requests[request].held;
    if (((held | damaged_) & Bit(request)) == 0 && !virtio::IsFree(chain)) return false;
    if ((held & Bit(request)) == 0) continue;
    if (virtio::IsFree(chain) || (held_[StateOf(chain).queue % kMaxQueues] & Bit(request)) == 0) {
      return false;
    }
  }
  return true;
}

virtio::Description BlockDevice::Describe() const {
  return {.device_id = kDeviceId,
          .features = kOffered | executor_.features() | (queues_ > 1 ? kFeatureMq : 0),
          .queue_sizes = std::span(queue_sizes_).first(queues_),
          .format = BlockState::kFormat};
}

std::span<const std::byte> BlockDevice::Config() const {
  return std::as_bytes(std::span(&config_, 1));
}

Work BlockDevice::ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) {
  if (index != 0 && (features & kFeatureMq) == 0) return Work::kDone;  // 5.2.2: no such queue then
  queue.SuppressNotifications();
  const Work work = Serve(index, queue, features);
  PublishPushed(index, queue);
  executor_.EndPass();
  const bool others_starve = (starved_ & ~(1u << index)) != 0;
  return work == Work::kDone && others_starve && free_ != 0 ? Work::kMore : work;
}

Work BlockDevice::Serve(uint32_t index, SplitQueue& queue, uint64_t features) {
  uint64_t budget = kPassBytes;
  starved_ &= ~(1u << index);
  for (uint64_t left = runnable_ & held_[index]; left != 0; left &= left - 1) {
    if (const Work work = Advance(First(left), queue, features, budget); work != Work::kDone) {
      return work;
    }
  }
  if (executor_.one_at_a_time() && runnable_ != 0) return Work::kMore;  // another queue's

  for (uint32_t i = 0; i < kPassRequests; ++i) {
    if (!MayTake(index)) {
      if (pushed_ != 0) PublishPushed(index, queue);
      if (!MayTake(index)) {
        starved_ |= 1u << index;
        return Work::kDone;  // the next request that ends leads back here
      }
    }
    const uint32_t request = First(free_);
    RequestRecord& record = Record(request);
    const SplitQueue::Fetched fetched = queue.Fetch(record.held.chain);
    if (fetched == SplitQueue::Fetched::kBroken) return Work::kBroken;
    if (fetched == SplitQueue::Fetched::kNone) {
      if (queue.ResumeNotifications()) continue;
      return Work::kDone;
    }
    if (!ParseRequest(queue.chain(record.held.chain), executor_.limits(), features, record)) {
      return Work::kBroken;
    }
    queue.Hold(record.held, index, record.extra());
    free_ &= ~Bit(request);
    held_[index] |= Bit(request);
    if (const Work work = Advance(request, queue, features, budget); work != Work::kDone) {
      return work;
    }
  }
  return Work::kMore;
}

Work BlockDevice::Advance(uint32_t request, SplitQueue& queue, uint64_t features,
                          uint64_t& budget) {
  RequestRecord& record = Record(request);
  const Chain chain = queue.chain(record.held.chain);
  SetExecuting(request + 1);
  const Progress progress = Execute(request, chain, features, budget);
  SetExecuting(0);
  switch (progress) {
    case Progress::kMore: runnable_ |= Bit(request); return Work::kMore;
    case Progress::kPending: runnable_ &= ~Bit(request); return Work::kDone;
    case Progress::kDone: break;
  }
  runnable_ &= ~Bit(request);
  const auto status = static_cast<std::byte>(record.status());
  if (!IsOk(chain.CopyToWritable(chain.writable_bytes() - 1, {&status, 1}))) {
    return Work::kBroken;  // only a corrupt journal leads here
  }
  Count(kCountRequests);
  Count(kCountBytes, record.done());
  if (record.status() != kStatusOk) Count(kCountErrors);
  queue.Push(record.held, UsedLength(chain, record), record.extra());
  pushed_ |= Bit(request);
  return Work::kDone;
}

Progress BlockDevice::Execute(uint32_t request, const Chain& chain, uint64_t features,
                              uint64_t& budget) {
  RequestRecord& record = Record(request);
  if (record.status() != kStatusOk) return Progress::kDone;
  if (failing_ || (doomed_ & Bit(request)) != 0) [[unlikely]] {
    // Its buffers are the guest's again when it has ended.
    if (executor_.Lingers(request)) return Progress::kPending;
    record.Fail(kStatusIoErr);
    return Progress::kDone;
  }
  if (record.type == kGetId) {
    const uint64_t bytes = std::min<uint64_t>(chain.writable_bytes() - 1, kIdBytes);
    if (!IsOk(chain.CopyToWritable(0, std::as_bytes(std::span(id_)).first(bytes)))) {
      record.Fail(kStatusIoErr);
    }
    return Progress::kDone;
  }
  return executor_.Execute(request, chain, record, EndsWithFlush(record, features), budget);
}

// A queue that has its share already leaves the rest to one that has nothing.
bool BlockDevice::MayTake(uint32_t index) const {
  if (free_ == 0) return false;
  const bool others_starve = (starved_ & ~(1u << index)) != 0;
  return !others_starve || std::popcount(held_[index]) < static_cast<int>(kRequests / queues_);
}

void BlockDevice::PublishPushed(uint32_t index, SplitQueue& queue) {
  if (pushed_ == 0) return;
  queue.Publish();
  for (uint64_t left = pushed_; left != 0; left &= left - 1) {
    SplitQueue::Release(Record(First(left)).held);
  }
  held_[index] &= ~pushed_;
  doomed_ &= ~pushed_;
  free_ |= pushed_;
  pushed_ = 0;
}

bool BlockDevice::RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features, bool blamed) {
  uint64_t good = 0;
  std::array<uint64_t, kQueueSize / 64> heads = {};  // of which a chain can be in hand once
  for (uint64_t left = held_[index]; left != 0; left &= left - 1) {
    const uint32_t request = First(left);
    const uint16_t head = Record(request).held.chain.head % kQueueSize;
    uint64_t& word = heads[head / 64];
    if ((word >> head % 64 & 1) != 0 || !TakeUp(request, index, queue, blamed)) {
      damaged_ |= Bit(request);
      continue;
    }
    if (!virtio::IsFree(Record(request).held)) word |= uint64_t{1} << head % 64;
    good |= Bit(request);
  }
  // Those that TakeUp found to be published are free, and held no more.
  held_[index] &= good & ~(free_ | lingering_);
  PublishPushed(index, queue);
  SetExecuting(0);
  return damaged_ == 0 && !executor_.lost();
}

bool BlockDevice::TakeUp(uint32_t request, uint32_t index, SplitQueue& queue, bool blamed) {
  RequestRecord& record = Record(request);
  virtio::HeldState state = StateOf(record.held);
  if (state.queue != index) return false;
  // Before it is pushed anew or looked at: whatever it says has to be what ParseRequest made.
  if (!IsPlausible(record, executor_.limits())) return false;
  switch (queue.Recover(record.held, record.extra())) {
    case SplitQueue::Recovered::kInHand: break;
    case SplitQueue::Recovered::kPushed: pushed_ |= Bit(request); return true;
    case SplitQueue::Recovered::kNone: GiveUp(request); return true;
    default: return false;
  }
  runnable_ |= Bit(request);
  Count(kCountReplays);
  if (blamed && blamed_ == request && state.deaths < kMaxDeaths) {
    ++state.deaths;
    virtio::SetState(record.held, state, record.extra());
  }
  if (state.deaths >= kMaxDeaths) {
    doomed_ |= Bit(request);
    ++given_up_;
    Count(kCountGivenUp);
  }
  return true;
}

void BlockDevice::SetFailing(bool until_reset) {
  failing_ = true;
  fails_ever_ = fails_ever_ || !until_reset;
}

bool BlockDevice::StopQueue(uint32_t index) {
  for (uint64_t left = held_[index]; left != 0; left &= left - 1) {
    SplitQueue::Release(Record(First(left)).held);
    GiveUp(First(left));
  }
  held_[index] = 0;
  starved_ &= ~(1u << index);
  return NothingLingers();
}

void BlockDevice::GiveUp(uint32_t request) {
  runnable_ &= ~Bit(request);
  pushed_ &= ~Bit(request);
  doomed_ &= ~Bit(request);
  (executor_.Lingers(request) ? lingering_ : free_) |= Bit(request);
}

bool BlockDevice::NothingLingers() {
  for (uint64_t left = lingering_; left != 0; left &= left - 1) {
    if (executor_.Lingers(First(left))) continue;
    lingering_ &= ~Bit(First(left));
    free_ |= Bit(First(left));
  }
  return lingering_ == 0;
}

virtio::PeerWork BlockDevice::OnPeerSignals(uint64_t bits) {
  const BackendNews news = executor_.Collect();
  virtio::PeerWork work = {.queues = starved_, .config_changed = news.disk_changed};
  for (uint32_t index = 0; index < queues_; ++index) {
    const uint64_t ended = held_[index] & news.requests;
    runnable_ |= ended;
    if (ended != 0) work.queues |= uint64_t{1} << index;
  }
  (void)NothingLingers();
  if (news.disk_changed) RefreshCapacity();
  return work;
}

void BlockDevice::Reset() {
  (void)ForgetChains();
  failing_ = fails_ever_;
  executor_.Reset();
  RefreshCapacity();
}

bool BlockDevice::ForgetChains() {
  for (uint32_t index = 0; index < kMaxQueues; ++index) (void)StopQueue(index);
  // What is left is what a damaged journal gave to no queue.
  for (; damaged_ != 0; damaged_ &= damaged_ - 1) {
    SplitQueue::Release(Record(First(damaged_)).held);
    GiveUp(First(damaged_));
  }
  SetExecuting(0);
  blamed_.reset();
  if (executor_.lost() && executor_.one_at_a_time()) executor_.Reset();
  return !executor_.lost();
}

}  // namespace atoll::virtio_blk
