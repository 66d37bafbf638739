#include "services/virtio/split_queue.h"

namespace atoll::virtio {
namespace {

// A chain may describe at most 2^32 bytes (VIRTIO 2.7.5.2).
constexpr uint64_t kMaxChainBytes = uint64_t{1} << 32;

// The segments of a chain as they come. Its counts are its own until the end, so that they stay in registers: large
// requests have hundreds of segments.
class SegmentList {
 public:
  SegmentList(ChainRecord& chain, const GuestMemory& memory)
      : chain_(chain), base_(memory.base().value), size_(memory.size()) {}

  // False: no driver may make such a chain.
  [[gnu::always_inline]] bool Add(const Descriptor& descriptor) {
    if (count_ == kMaxSegments || descriptor.length == 0) return false;
    if ((descriptor.flags & kDescriptorWrite) == 0) {
      if (readable_segments_ != count_) return false;  // 2.7.4.2: readable ones come first
      ++readable_segments_;
      readable_bytes_ += descriptor.length;
    }
    bytes_ += descriptor.length;  // at most kMaxSegments * 2^32: cannot wrap
    if (bytes_ > kMaxChainBytes) return false;
    if (!InBounds(descriptor.address - base_, descriptor.length, size_)) unreachable_ = 1;
    chain_.segments[count_++] = {.address = descriptor.address, .length = descriptor.length};
    return true;
  }

  void Finish() {
    chain_.readable_segments = static_cast<uint16_t>(readable_segments_);
    chain_.writable_segments = static_cast<uint16_t>(count_ - readable_segments_);
    chain_.readable_bytes = readable_bytes_;
    chain_.writable_bytes = bytes_ - readable_bytes_;
    chain_.unreachable = unreachable_;
  }

 private:
  ChainRecord& chain_;
  const uint64_t base_, size_;
  uint32_t count_ = 0;
  uint32_t readable_segments_ = 0;
  uint16_t unreachable_ = 0;
  uint64_t readable_bytes_ = 0;
  uint64_t bytes_ = 0;
};

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
  if (state_->ready > 1) return false;
  TakeUpPosition();
  return !ready() || ResolveAreas();
}

void SplitQueue::TakeUpPosition() {
  next_ = known_avail_ = cursor().avail;
  pushed_ = 0;
}

bool SplitQueue::Enable() {
  if (!ResolveAreas()) return false;
  StoreCursor(Cursor{});
  TakeUpPosition();
  StoreRelease(state_->ready, 1u);
  return true;
}

void SplitQueue::Disable() {
  StoreRelease(state_->ready, 0u);
  StoreCursor(Cursor{});
  TakeUpPosition();
}

void SplitQueue::Clear() {
  Disable();
  state_->size = 0;
  state_->descriptor_area = 0;
  state_->driver_area = 0;
  state_->device_area = 0;
}

SplitQueue::Fetched SplitQueue::Fetch(ChainRecord& record) {
  const uint16_t next = next_;
  if (next == known_avail_) {
    // Acquire: entries and descriptors that this idx covers are read after it (2.7.13).
    const uint16_t index = LoadAcquire16(avail_ + kRingIndex);
    if (index == next) return Fetched::kNone;
    // Moved by more than the ring holds, or back, which is the same modulo 2^16.
    if (static_cast<uint16_t>(index - next) > size_) return Fetched::kBroken;
    known_avail_ = index;
  }
  const uint16_t head = Load16(avail_ + kRingEntries + sizeof(uint16_t) * (next & (size_ - 1)));
  return ParseChain(head, record) ? Fetched::kChain : Fetched::kBroken;
}

bool SplitQueue::ParseChain(uint16_t head, ChainRecord& chain) const {
  if (head >= size_) return false;
  // One descriptor is what a network driver's receive buffers are: half of their price would be the loop below.
  const auto first = ReadOnce<Descriptor>(descriptors_ + sizeof(Descriptor) * head);
  if ((first.flags & (kDescriptorIndirect | kDescriptorNext)) != 0)
    return ParseList(head, first, chain);
  if (first.length == 0) return false;
  const uint32_t writable = (first.flags & kDescriptorWrite) != 0 ? 1 : 0;
  chain.head = head;
  chain.readable_segments = static_cast<uint16_t>(1 - writable);
  chain.writable_segments = static_cast<uint16_t>(writable);
  chain.unreachable =
      InBounds(first.address - memory_->base().value, first.length, memory_->size()) ? 0 : 1;
  chain.readable_bytes = writable != 0 ? 0 : first.length;
  chain.writable_bytes = writable != 0 ? first.length : 0;
  chain.segments[0] = {.address = first.address, .length = first.length};
  return true;
}

bool SplitQueue::ParseList(uint16_t head, Descriptor descriptor, ChainRecord& chain) const {
  chain.head = head;
  SegmentList list(chain, *memory_);
  const std::byte* table = descriptors_;
  uint64_t entries = size_;
  uint64_t steps_left =
      entries;  // a chain that takes more steps than its table has entries is a loop
  bool in_table = false;
  for (;;) {
    --steps_left;
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
      steps_left = entries;  // SegmentList bounds the work for tables longer than any chain
      in_table = true;
      descriptor = ReadOnce<Descriptor>(table);
      continue;
    }
    if (!list.Add(descriptor)) return false;
    if ((descriptor.flags & kDescriptorNext) == 0) {
      list.Finish();
      return true;
    }
    if (descriptor.next >= entries || steps_left == 0) return false;
    descriptor = ReadOnce<Descriptor>(table + sizeof(Descriptor) * descriptor.next);
  }
}

void SplitQueue::Push(uint16_t head, uint32_t written) {
  const uint16_t position = cursor().used + pushed_;
  WriteOnce(used_ + kRingEntries + sizeof(UsedElement) * (position & (size_ - 1)),
            UsedElement{.id = head, .length = written});
  ++pushed_;
}

void SplitQueue::Publish() {
  Cursor now = cursor();
  if (pushed_ == 0 && now.avail == next_) return;
  now.avail = next_;
  now.used += pushed_;
  // From here on the chains are used, whoever stores the idx: a successor does it in Republish.
  StoreCursor(now);
  if (pushed_ == 0) return;
  // Release: buffers and used elements are visible before the idx that covers them (2.7.8.2).
  StoreRelease16(used_ + kRingIndex, now.used);
  pushed_ = 0;
}

void SplitQueue::Rewind(Position position) {
  next_ = position.next;
  pushed_ = position.pushed;
}

void SplitQueue::Hold(HeldChain& held, uint32_t queue_index) {
  SetState(
      held,
      {.phase = Phase::kAccepted, .queue = static_cast<uint8_t>(queue_index), .position = next_});
  ++next_;
  Cursor now = cursor();
  now.avail = next_;
  StoreCursor(now);  // until here a successor fetches it again
}

void SplitQueue::Push(HeldChain& held, uint32_t written) {
  HeldState state = StateOf(held);
  state.phase = Phase::kPushed;
  state.position = cursor().used + pushed_;
  state.written = written;
  Push(held.chain.head, written);
  SetState(held, state);  // from here on it is not executed again
}

SplitQueue::Recovered SplitQueue::Recover(HeldChain& held) {
  const HeldState state = StateOf(held);
  if (state.phase == Phase::kFree) return Recovered::kNone;
  if (held.chain.unreachable > 1 ||
      uint32_t{held.chain.readable_segments} + held.chain.writable_segments > kMaxSegments) {
    return Recovered::kBroken;
  }
  const Cursor now = cursor();
  if (state.phase == Phase::kAccepted) {
    if (state.position != now.avail) return Recovered::kInHand;
    Release(held);  // died inside Hold
    return Recovered::kNone;
  }
  if (state.phase != Phase::kPushed) return Recovered::kBroken;
  if (static_cast<int16_t>(now.used - state.position) > 0) {
    Release(held);  // published
    return Recovered::kNone;
  }
  Push(held, state.written);
  return Recovered::kPushed;
}

void SplitQueue::SuppressNotifications() {
  // With EVENT_IDX an avail_event that stays behind suppresses by itself, and flags must be 0
  // (2.7.10.2).
  if (!event_idx_) Store16(used_ + kRingFlags, kUsedNoNotify);
}

bool SplitQueue::ResumeNotifications() {
  const uint16_t next = next_;
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
