#include "services/virtio_driver/queue.h"

#include <cstring>

namespace atoll::virtio_driver {

using virtio::Descriptor;
using virtio::kRingEntries;
using virtio::kRingFlags;
using virtio::kRingIndex;
using virtio::UsedElement;

namespace {

// Ring words: single accesses; Start checks nothing, so rings are aligned by whoever lays them out.
uint16_t Load16(const std::byte* from) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(from), __ATOMIC_RELAXED);
}
void Store16(std::byte* to, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(to), value, __ATOMIC_RELAXED);
}

void PutDescriptor(std::byte* table, uint32_t index, const Descriptor& descriptor) {
  std::memcpy(table + index * sizeof(Descriptor), &descriptor, sizeof(Descriptor));
}

uint16_t Flags(bool writable, bool more) {
  return static_cast<uint16_t>((writable ? virtio::kDescriptorWrite : 0) |
                               (more ? virtio::kDescriptorNext : 0));
}

const Buffer& BufferAt(std::span<const Buffer> readable, std::span<const Buffer> writable,
                       size_t index) {
  return index < readable.size() ? readable[index] : writable[index - readable.size()];
}

}  // namespace

void Queue::Start(DmaMemory rings, DmaMemory tables, uint32_t size, uint64_t features) {
  rings_ = rings.Part(0, RingBytes(size));
  tables_ = tables;
  size_ = size;
  indirect_ = !tables.bytes.empty() && (features & virtio::kFeatureIndirectDesc) != 0;
  event_idx_ = (features & virtio::kFeatureEventIdx) != 0;
  broken_ = false;
  std::memset(rings_.bytes.data(), 0, rings_.bytes.size());
  for (uint32_t i = 0; i < size; ++i) chains_[i] = {.next = static_cast<uint16_t>(i + 1)};
  free_count_ = size;
  first_free_ = 0;
  added_ = published_ = popped_ = 0;
}

QueueAddresses Queue::addresses() const {
  return {.descriptors = rings_.physical,
          .avail = rings_.physical + AvailOffset(size_),
          .used = rings_.physical + UsedOffset(size_),
          .size = size_};
}

Status Queue::Add(std::span<const Buffer> readable, std::span<const Buffer> writable,
                  uint32_t token) {
  const size_t buffers = readable.size() + writable.size();
  if (buffers == 0 || buffers > (indirect_ ? kTableEntries : size_)) {
    return Status::kInvalidArgument;
  }
  if ((indirect_ ? 1 : buffers) > free_count_) return Status::kResourceExhausted;
  const uint16_t head = indirect_ ? AddIndirect(readable, writable) : AddDirect(readable, writable);
  Chain& chain = chains_[head];
  chain.token = token;
  chain.position = added_;
  chain.descriptors = static_cast<uint16_t>(indirect_ ? 1 : buffers);
  chain.writable_bytes = 0;
  for (const Buffer& buffer : writable) chain.writable_bytes += buffer.bytes;
  Store16(avail() + kRingEntries + sizeof(uint16_t) * (added_ & (size_ - 1)), head);
  ++added_;
  return Status::kOk;
}

uint16_t Queue::AddIndirect(std::span<const Buffer> readable, std::span<const Buffer> writable) {
  const uint16_t head = TakeFree();
  const size_t offset = head * TableBytes(1);
  std::byte* const table = tables_.bytes.data() + offset;
  const auto count = static_cast<uint32_t>(readable.size() + writable.size());
  for (uint32_t i = 0; i < count; ++i) {
    const Buffer& buffer = BufferAt(readable, writable, i);
    PutDescriptor(table, i,
                  {.address = buffer.physical.value,
                   .length = buffer.bytes,
                   .flags = Flags(i >= readable.size(), i + 1 < count),
                   .next = static_cast<uint16_t>(i + 1)});
  }
  PutDescriptor(descriptors(), head,
                {.address = (tables_.physical + offset).value,
                 .length = static_cast<uint32_t>(count * sizeof(Descriptor)),
                 .flags = virtio::kDescriptorIndirect,
                 .next = 0});
  return head;
}

uint16_t Queue::AddDirect(std::span<const Buffer> readable, std::span<const Buffer> writable) {
  const uint16_t head = first_free_;
  const size_t count = readable.size() + writable.size();
  for (size_t i = 0; i < count; ++i) {
    const uint16_t index = TakeFree();
    const Buffer& buffer = BufferAt(readable, writable, i);
    PutDescriptor(descriptors(), index,
                  {.address = buffer.physical.value,
                   .length = buffer.bytes,
                   .flags = Flags(i >= readable.size(), i + 1 < count),
                   .next = chains_[index].next});  // the next one to be taken
  }
  return head;
}

uint16_t Queue::TakeFree() {
  const uint16_t index = first_free_;
  first_free_ = chains_[index].next;
  --free_count_;
  return index;
}

void Queue::GiveBack(uint16_t head) {
  const uint16_t count = chains_[head].descriptors;
  uint16_t last = head;
  for (uint16_t i = 1; i < count; ++i) last = chains_[last].next;
  chains_[last].next = first_free_;
  first_free_ = head;
  free_count_ += count;
  chains_[head].descriptors = 0;
}

bool Queue::Publish() {
  if (added_ == published_) return false;
  const uint16_t before = published_;
  DmaWriteBarrier();  // descriptors and entries are visible before the idx that covers them
  Store16(avail() + kRingIndex, added_);
  published_ = added_;
  // The device stores its wish, then reads avail idx; here it is the other way round (2.7.10).
  DmaFullBarrier();
  if (!event_idx_) return (Load16(used() + kRingFlags) & virtio::kUsedNoNotify) == 0;
  const uint16_t avail_event = Load16(used() + kRingEntries + sizeof(UsedElement) * size_);
  return static_cast<uint16_t>(added_ - avail_event - 1) < static_cast<uint16_t>(added_ - before);
}

bool Queue::IsOut(uint32_t id) const {
  if (id >= size_ || chains_[id].descriptors == 0) return false;
  return static_cast<int16_t>(published_ - chains_[id].position) > 0;
}

std::optional<Completion> Queue::Pop() {
  if (broken_) return std::nullopt;
  const uint16_t index = Load16(used() + kRingIndex);
  if (index == popped_) return std::nullopt;
  DmaReadBarrier();  // the entry, and what the device wrote into the buffers, are read after idx
  const std::byte* const entry =
      used() + kRingEntries + sizeof(UsedElement) * (popped_ & (size_ - 1));
  UsedElement element;
  std::memcpy(&element, entry, sizeof(element));
  asm volatile("" ::: "memory");  // read once
  // Chains come back once each, so never more than are out.
  const uint16_t out = static_cast<uint16_t>(published_ - popped_);
  const bool known = static_cast<uint16_t>(index - popped_) <= out && IsOut(element.id);
  if (!known || element.length > chains_[element.id].writable_bytes) {
    broken_ = true;
    return std::nullopt;
  }
  ++popped_;
  GiveBack(static_cast<uint16_t>(element.id));
  return Completion{.token = chains_[element.id].token, .written = element.length};
}

bool Queue::EnableInterrupts() {
  Store16(avail() + kRingFlags, 0);
  if (event_idx_) Store16(avail() + kRingEntries + sizeof(uint16_t) * size_, popped_);
  DmaFullBarrier();  // as in Publish, with used idx and used_event (2.7.7)
  return Load16(used() + kRingIndex) != popped_;
}

void Queue::DisableInterrupts() {
  // With EVENT_IDX a used_event that stays behind suppresses by itself, and flags must be 0 (2.7.7.1).
  if (!event_idx_) Store16(avail() + kRingFlags, virtio::kAvailNoInterrupt);
}

}  // namespace atoll::virtio_driver
