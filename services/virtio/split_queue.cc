#include "services/virtio/split_queue.h"

#include <algorithm>
#include <bit>

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
    if (!InBounds(descriptor.address - base_, descriptor.length, size_)) unreachable_ = 1;
    check_.Add(descriptor.address);
    chain_.segments[count_++] = {.address = descriptor.address, .length = descriptor.length};
    return true;
  }

  // As Add, for as long as one descriptor leads to its neighbour and all are of one direction and plain: so drivers lay
  // out large requests. Begins with `descriptor`, which is number `index` of the table, and leaves there the first that
  // is none of these: judged by nobody yet. At most `steps` are added, and returned.
  [[gnu::always_inline]] uint64_t AddRun(const std::byte* table, uint64_t index, uint64_t steps,
                                         Descriptor& descriptor) {
    if ((descriptor.flags & ~kDescriptorWrite) != kDescriptorNext) return 0;
    const bool readable = (descriptor.flags & kDescriptorWrite) == 0;
    if (readable && readable_segments_ != count_) return 0;
    // A descriptor as two words; the second is its length, and above that flags and next.
    struct Words {
      uint64_t address;
      uint64_t rest;
    };
    constexpr uint64_t kOneNext = 1 << 16;
    Words words = std::bit_cast<Words>(descriptor);
    uint64_t flags_and_next = descriptor.flags + (index + 1) * kOneNext;
    const std::byte* from = table + sizeof(Descriptor) * index;
    Segment* const begin = &chain_.segments[0] + count_;
    Segment* const end = begin + std::min<uint64_t>(steps, kMaxSegments - count_);
    Segment* to = begin;
    uint64_t bytes = 0;
    for (; to != end; ++to) {
      const auto length = static_cast<uint32_t>(words.rest);
      if (words.rest >> 32 != flags_and_next || length == 0 ||
          !InBounds(words.address - base_, length, size_)) {
        break;
      }
      bytes += length;
      check_.Add(words.address);
      *to = {.address = words.address, .length = length};
      flags_and_next += kOneNext;
      from += sizeof(Descriptor);
      words = ReadOnce<Words>(from);
    }
    descriptor = std::bit_cast<Descriptor>(words);
    const auto added = static_cast<uint32_t>(to - begin);
    count_ += added;
    bytes_ += bytes;
    if (readable) {
      readable_segments_ += added;
      readable_bytes_ += bytes;
    }
    return added;
  }

  uint32_t count() const { return count_; }

  // False: as Add.
  bool Finish() {
    if (bytes_ > kMaxChainBytes) return false;
    chain_.readable_segments = static_cast<uint16_t>(readable_segments_);
    chain_.writable_segments = static_cast<uint16_t>(count_ - readable_segments_);
    chain_.readable_bytes = readable_bytes_;
    chain_.writable_bytes = bytes_ - readable_bytes_;
    chain_.unreachable = unreachable_;
    chain_.check = check_.value();
    return true;
  }

 private:
  ChainRecord& chain_;
  const uint64_t base_, size_;
  uint32_t count_ = 0;
  uint32_t readable_segments_ = 0;
  uint16_t unreachable_ = 0;
  CheckWord check_;
  uint64_t readable_bytes_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

bool IsSealed(const HeldChain& held, uint32_t extra) {
  const HeldState state = StateOf(held);
  return (state.phase == Phase::kAccepted || state.phase == Phase::kPushed) &&
         state.check == SealOf(held, state, extra);
}

void SplitQueue::Initialize(QueueState& state, const GuestMemory& memory, uint32_t max_size) {
  state_ = &state;
  memory_ = &memory;
  max_size_ = max_size;
}

void SplitQueue::SetFeatures(uint64_t features) {
  indirect_ = (features & kFeatureIndirectDesc) != 0;
  event_idx_ = (features & kFeatureEventIdx) != 0;
}

std::optional<SplitQueue::Areas> SplitQueue::FindAreas() const {
  const uint32_t size = setup_.size;
  if (!IsPowerOfTwo(size) || size > max_size_) return std::nullopt;
  const GuestPhys descriptors(setup_.descriptor_area);
  const GuestPhys avail(setup_.driver_area);
  const GuestPhys used(setup_.device_area);
  if (!descriptors.IsAligned(kDescriptorAlignment) || !avail.IsAligned(kAvailAlignment) ||
      !used.IsAligned(kUsedAlignment)) {
    return std::nullopt;
  }
  const auto descriptor_bytes = memory_->Range(descriptors, DescriptorBytes(size));
  const auto avail_bytes = memory_->Range(avail, AvailBytes(size));
  const auto used_bytes = memory_->Range(used, UsedBytes(size));
  if (!descriptor_bytes || !avail_bytes || !used_bytes) return std::nullopt;
  return Areas{descriptor_bytes->data(), avail_bytes->data(), used_bytes->data()};
}

bool SplitQueue::ResolveAreas() {
  const std::optional<Areas> areas = FindAreas();
  if (!areas.has_value()) return false;
  descriptors_ = areas->descriptors;
  avail_ = areas->avail;
  used_ = areas->used;
  size_ = setup_.size;
  return true;
}

bool SplitQueue::IsIntact() {
  if constexpr (!kWritesJournal) return true;
  if (!ready()) return state_->setup.Confirms(setup_);
  Cursor cursor;
  if (!CursorWord::Unpack(state_->cursor, cursor) &&
      !CursorWord::Unpack(state_->cursor_backup, cursor)) {
    cursor = cursor_;
    StoreCursor(cursor_);
  }
  return state_->setup.Confirms(setup_) && cursor == cursor_ && IsInPlace() &&
         next_ == cursor_.avail && pushed_ == 0 &&
         static_cast<uint16_t>(known_avail_ - next_) <= size_;
}

SplitQueue::Attached SplitQueue::Attach() {
  Attached result = Attached::kGood;
  switch (state_->setup.Load(setup_)) {
    case Copies::kGood: break;
    case Copies::kRepaired: result = Attached::kRepaired; break;
    case Copies::kFresh:  // formatting a journal writes it
    case Copies::kLost: result = Attached::kLost; break;
  }
  return AttachSetup(result);
}

SplitQueue::Attached SplitQueue::AttachAs(const QueueSetup& setup) {
  ChangeSetup(setup);
  return AttachSetup(Attached::kRepaired);
}

SplitQueue::Attached SplitQueue::AttachSetup(Attached result) {
  if (setup_.ready > 1) result = Attached::kLost;
  if (result != Attached::kLost && ready()) {
    result = ResolveAreas() ? std::max(result, LoadCursor()) : Attached::kLost;
  }
  if (result == Attached::kLost) {
    setup_ = {};  // not ready; the driver has to set it up again
    cursor_ = {};
  }
  TakeUpPosition();
  return result;
}

SplitQueue::Attached SplitQueue::LoadCursor() {
  Cursor backup;
  const bool has_backup = CursorWord::Unpack(state_->cursor_backup, backup);
  if (CursorWord::Unpack(state_->cursor, cursor_)) {
    if (has_backup) return Attached::kGood;
  } else if (has_backup) {
    cursor_ = backup;
  } else {
    cursor_ = {};
    return Attached::kNoCursor;
  }
  StoreCursor(cursor_);
  return Attached::kRepaired;
}

void SplitQueue::ResumeAtUsed() {
  const uint16_t used = Load16(used_ + kRingIndex);
  StoreCursor({.avail = used, .used = used, .signalled = used});
  TakeUpPosition();
}

void SplitQueue::TakeUpPosition() {
  next_ = known_avail_ = cursor_.avail;
  pushed_ = 0;
}

void SplitQueue::ChangeSetup(const QueueSetup& setup) {
  setup_ = setup;
  state_->setup.Store(setup_);
}

bool SplitQueue::Enable() {
  if (!ResolveAreas()) return false;
  StoreCursor(Cursor{});
  TakeUpPosition();
  setup_.ready = 1;
  state_->setup.Store(setup_);
  return true;
}

void SplitQueue::Disable() {
  setup_.ready = 0;
  state_->setup.Store(setup_);
  cursor_ = {};
  TakeUpPosition();
}

void SplitQueue::Clear() {
  setup_ = {};
  Disable();
}

[[gnu::always_inline]] inline bool SplitQueue::ParseChain(uint16_t head, ChainRecord& chain) const {
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
  CheckWord check;
  check.Add(first.address);
  chain.check = check.value();
  chain.segments[0] = {.address = first.address, .length = first.length};
  return true;
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

bool SplitQueue::ParseList(uint16_t head, Descriptor descriptor, ChainRecord& chain) const {
  chain.head = head;
  constexpr uint32_t kShort = 3;  // so many are added before it pays to look for a run
  SegmentList list(chain, *memory_);
  const std::byte* table = descriptors_;
  uint64_t entries = size_;
  uint64_t steps_left =
      entries;  // a chain that takes more steps than its table has entries is a loop
  bool in_table = false;
  uint64_t index = head;  // of `descriptor` in its table
  for (;;) {
    if (list.count() >= kShort) {
      // The table's last one cannot lead to its neighbour.
      const uint64_t steps = std::min(steps_left, entries - index) - 1;
      steps_left -= list.AddRun(table, index, steps, descriptor);
    }
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
      index = 0;
      descriptor = ReadOnce<Descriptor>(table);
      continue;
    }
    if (!list.Add(descriptor)) return false;
    if ((descriptor.flags & kDescriptorNext) == 0) return list.Finish();
    if (descriptor.next >= entries || steps_left == 0) return false;
    index = descriptor.next;
    descriptor = ReadOnce<Descriptor>(table + sizeof(Descriptor) * index);
  }
}

void SplitQueue::Push(uint16_t head, uint32_t written) {
  const uint16_t position = cursor_.used + pushed_;
  WriteOnce(used_ + kRingEntries + sizeof(UsedElement) * (position & (size_ - 1)),
            UsedElement{.id = head, .length = written});
  ++pushed_;
}

void SplitQueue::Publish() {
  Cursor now = cursor_;
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

void SplitQueue::Skip() {
  if (LoadAcquire16(avail_ + kRingIndex) == next_) return;
  const uint16_t head = Load16(avail_ + kRingEntries + sizeof(uint16_t) * (next_ & (size_ - 1)));
  if (head >= size_) return;  // no chain: that is found when it is fetched
  Accept();
  Push(head, 0);
  Publish();
}

void SplitQueue::Rewind(Position position) {
  next_ = position.next;
  pushed_ = position.pushed;
}

void SplitQueue::Hold(HeldChain& held, uint32_t queue_index, uint32_t extra) {
  HeldState state{.phase = Phase::kAccepted, .position = next_};
  state.queue = queue_index & 0x1f;
  SetState(held, state, extra);
  ++next_;
  Cursor now = cursor_;
  now.avail = next_;
  StoreCursor(now);  // until here a successor fetches it again
}

void SplitQueue::Push(HeldChain& held, uint32_t written, uint32_t extra) {
  HeldState state = StateOf(held);
  state.phase = Phase::kPushed;
  state.position = cursor_.used + pushed_;
  if constexpr (kWritesJournal) held.written = written;
  Push(held.chain.head, written);
  SetState(held, state, extra);  // from here on it is not executed again
}

SplitQueue::Recovered SplitQueue::Recover(HeldChain& held, uint32_t extra) {
  if (IsFree(held)) return Recovered::kNone;
  if (!IsSealed(held, extra) || !MayBeIn(held.chain)) return Recovered::kBroken;
  const HeldState state = StateOf(held);
  // Taken or given back at most a ring's length ago, or about to be.
  if (state.phase == Phase::kAccepted) {
    const auto ago = static_cast<uint16_t>(cursor_.avail - state.position);
    if (ago == 0) {
      Release(held);  // died inside Hold
      return Recovered::kNone;
    }
    return Recovered::kInHand;
  }
  if (static_cast<int16_t>(cursor_.used - state.position) > 0) {
    Release(held);  // published
    return Recovered::kNone;
  }
  const auto written = static_cast<uint32_t>(held.written);
  Push(held, written, extra);
  return Recovered::kPushed;
}

// Whether the chain can be one of this queue: sums and bounds of all that others rely on.
bool SplitQueue::MayBeIn(const ChainRecord& chain) const {
  const uint32_t count = uint32_t{chain.readable_segments} + chain.writable_segments;
  if (chain.head >= size_ || chain.unreachable > 1 || count > kMaxSegments) return false;
  uint64_t readable = 0;
  uint64_t all = 0;
  CheckWord check;
  bool reachable = true;
  for (uint32_t i = 0; i < count; ++i) {
    const Segment& segment = chain.segments[i];
    check.Add(segment.address);
    all += segment.length;
    if (i < chain.readable_segments) readable += segment.length;
    reachable = reachable && memory_->Range(GuestPhys(segment.address), segment.length).has_value();
  }
  return check.value() == chain.check && readable == chain.readable_bytes &&
         all - readable == chain.writable_bytes && reachable == (chain.unreachable == 0);
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
  const Cursor now = cursor_;
  if (now.used == now.signalled) return false;
  FullBarrier();  // the used idx is visible before the driver's wish is read (2.7.7)
  if (!event_idx_) return (Load16(avail_ + kRingFlags) & kAvailNoInterrupt) == 0;
  const uint16_t used_event = Load16(avail_ + kRingEntries + sizeof(uint16_t) * size_);
  // 2.7.7.2: used_event lies in [signalled, used), modulo 2^16.
  return static_cast<uint16_t>(now.used - used_event - 1) <
         static_cast<uint16_t>(now.used - now.signalled);
}

void SplitQueue::MarkSignalled() {
  Cursor now = cursor_;
  if (now.signalled == now.used) return;
  now.signalled = now.used;
  StoreCursor(now);
}

}  // namespace atoll::virtio
