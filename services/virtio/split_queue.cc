#include "services/virtio/split_queue.h"

namespace atoll::virtio {
namespace {

// A chain may describe at most 2^32 bytes (VIRTIO 2.7.5.2).
constexpr uint64_t kMaxChainBytes = uint64_t{1} << 32;

}  // namespace

void SplitQueue::Initialize(QueueState& state, const GuestMemory& memory, uint32_t max_size) {
  state_ = &state;
  memory_ = &memory;
  max_size_ = max_size;
}

void SplitQueue::SetFeatures(uint64_t features) {
  indirect_ = (features & kFeatureIndirectDesc) != 0;
  event_idx_ = (features & kFeatureEventIdx) != 0;
}

bool SplitQueue::ResolveAreas() {
  const uint32_t size = state_->size;
  if (!IsPowerOfTwo(size) || size > max_size_) return false;
  const GuestPhys descriptors(state_->descriptor_area);
  const GuestPhys avail(state_->driver_area);
  const GuestPhys used(state_->device_area);
  if (!descriptors.IsAligned(kDescriptorAlignment) || !avail.IsAligned(kAvailAlignment) ||
      !used.IsAligned(kUsedAlignment)) {
    return false;
  }
  const auto descriptor_bytes = memory_->Range(descriptors, DescriptorBytes(size));
  const auto avail_bytes = memory_->Range(avail, AvailBytes(size));
  const auto used_bytes = memory_->Range(used, UsedBytes(size));
  if (!descriptor_bytes || !avail_bytes || !used_bytes) return false;
  descriptors_ = descriptor_bytes->data();
  avail_ = avail_bytes->data();
  used_ = used_bytes->data();
  size_ = size;
  return true;
}

bool SplitQueue::Attach() {
  const ChainRecord& chain = state_->chain;
  const Cursor now = cursor();
  if (state_->ready > 1 || now.phase > Phase::kCompleting || chain.unreachable > 1 ||
      uint32_t{chain.readable_segments} + chain.writable_segments > kMaxSegments) {
    return false;
  }
  known_avail_ = now.avail;
  return !ready() || ResolveAreas();
}

bool SplitQueue::Enable() {
  if (!ResolveAreas()) return false;
  StoreCursor(Cursor{});
  known_avail_ = 0;
  StoreRelease(state_->ready, 1u);
  return true;
}

void SplitQueue::Disable() {
  StoreRelease(state_->ready, 0u);
  StoreCursor(Cursor{});
}

void SplitQueue::Clear() {
  Disable();
  state_->size = 0;
  state_->descriptor_area = 0;
  state_->driver_area = 0;
  state_->device_area = 0;
}

SplitQueue::Fetched SplitQueue::Fetch() {
  const uint16_t next = cursor().avail;
  if (next == known_avail_) {
    // Acquire: entries and descriptors that this idx covers are read after it (2.7.13).
    const uint16_t index = LoadAcquire16(avail_ + kRingIndex);
    if (index == next) return Fetched::kNone;
    // Moved by more than the ring holds, or back, which is the same modulo 2^16.
    if (static_cast<uint16_t>(index - next) > size_) return Fetched::kBroken;
    known_avail_ = index;
  }
  const uint16_t head = Load16(avail_ + kRingEntries + sizeof(uint16_t) * (next & (size_ - 1)));
  return ParseChain(head) ? Fetched::kChain : Fetched::kBroken;
}

bool SplitQueue::ParseChain(uint16_t head) {
  ChainRecord& chain = state_->chain;
  chain.head = head;
  chain.readable_segments = 0;
  chain.writable_segments = 0;
  chain.unreachable = 0;
  chain.readable_bytes = 0;
  chain.writable_bytes = 0;

  const std::byte* table = descriptors_;
  uint64_t entries = size_;
  uint64_t steps_left =
      entries;  // a chain that takes more steps than its table has entries is a loop
  uint32_t index = head;
  bool in_table = false;
  for (;;) {
    if (index >= entries || steps_left == 0) return false;
    --steps_left;
    const auto descriptor = ReadOnce<Descriptor>(table + sizeof(Descriptor) * index);
    if ((descriptor.flags & kDescriptorIndirect) != 0) {
      // 2.7.5.3.1. The write flag has no meaning here (2.7.5.3.2).
      if (!indirect_ || in_table || (descriptor.flags & kDescriptorNext) != 0 ||
          descriptor.length == 0 || descriptor.length % sizeof(Descriptor) != 0) {
        return false;
      }
      const auto range = memory_->Range(GuestPhys(descriptor.address), descriptor.length);
      if (!range.has_value()) return false;
      table = range->data();
      entries = descriptor.length / sizeof(Descriptor);
      steps_left = entries;  // AddSegment bounds the work for tables longer than any chain
      index = 0;
      in_table = true;
      continue;
    }
    if (!AddSegment(descriptor)) return false;
    if ((descriptor.flags & kDescriptorNext) == 0) return true;
    index = descriptor.next;
  }
}

bool SplitQueue::AddSegment(const Descriptor& descriptor) {
  ChainRecord& chain = state_->chain;
  const uint32_t count = uint32_t{chain.readable_segments} + chain.writable_segments;
  if (count == kMaxSegments || descriptor.length == 0) return false;
  if ((descriptor.flags & kDescriptorWrite) != 0) {
    ++chain.writable_segments;
    chain.writable_bytes += descriptor.length;
  } else {
    if (chain.writable_segments != 0) return false;  // 2.7.4.2: readable ones come first
    ++chain.readable_segments;
    chain.readable_bytes += descriptor.length;
  }
  // At most kMaxSegments * 2^32: cannot wrap.
  if (chain.readable_bytes + chain.writable_bytes > kMaxChainBytes) return false;
  if (!memory_->Range(GuestPhys(descriptor.address), descriptor.length)) chain.unreachable = 1;
  chain.segments[count] = {.address = descriptor.address, .length = descriptor.length};
  return true;
}

void SplitQueue::Accept() {
  Cursor now = cursor();
  ++now.avail;
  now.phase = Phase::kAccepted;
  StoreCursor(now);
}

void SplitQueue::Complete(uint32_t written) {
  state_->chain.used_length = written;
  Cursor now = cursor();
  now.phase = Phase::kCompleting;
  StoreCursor(now);  // from here on the chain is not executed again
  PublishUsed(now);
}

void SplitQueue::FinishCompletion() {
  // The driver may have seen the used entry already; the same entry and idx are stored again.
  if (cursor().phase == Phase::kCompleting) PublishUsed(cursor());
}

void SplitQueue::PublishUsed(Cursor now) {
  const ChainRecord& chain = state_->chain;
  WriteOnce(used_ + kRingEntries + sizeof(UsedElement) * (now.used & (size_ - 1)),
            UsedElement{.id = chain.head, .length = chain.used_length});
  ++now.used;
  // Release: buffer and used entry are visible before the idx that covers them (2.7.8.2).
  StoreRelease16(used_ + kRingIndex, now.used);
  now.phase = Phase::kIdle;
  StoreCursor(now);
}

void SplitQueue::SuppressNotifications() {
  // With EVENT_IDX an avail_event that stays behind suppresses by itself, and flags must be 0
  // (2.7.10.2).
  if (!event_idx_) Store16(used_ + kRingFlags, kUsedNoNotify);
}

bool SplitQueue::ResumeNotifications() {
  const uint16_t next = cursor().avail;
  Store16(used_ + kRingFlags, 0);
  if (event_idx_) {
    Store16(used_ + kRingEntries + sizeof(UsedElement) * size_, next);  // avail_event
  }
  // The driver stores avail idx, then reads the word just written; we do it the other way round
  // (2.7.10).
  FullBarrier();
  return LoadAcquire16(avail_ + kRingIndex) != next;
}

bool SplitQueue::InterruptDue() const {
  const Cursor now = cursor();
  if (now.used == now.signalled) return false;
  FullBarrier();  // the used idx is visible before the driver's wish is read (2.7.7)
  if (!event_idx_) return (Load16(avail_ + kRingFlags) & kAvailNoInterrupt) == 0;
  const uint16_t used_event = Load16(avail_ + kRingEntries + sizeof(uint16_t) * size_);
  // 2.7.7.2: used_event lies in [signalled, used), modulo 2^16.
  return static_cast<uint16_t>(now.used - used_event - 1) <
         static_cast<uint16_t>(now.used - now.signalled);
}

void SplitQueue::MarkSignalled() {
  Cursor now = cursor();
  if (now.signalled == now.used) return;
  now.signalled = now.used;
  StoreCursor(now);
}

}  // namespace atoll::virtio
