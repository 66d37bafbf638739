// A byte ring in memory that two tasks share: one writes, one reads, neither trusts the other.
//
// Layout: the writer's index at offset 0, its mark at 8, the reader's index at offset 64 (a cache line each), the data
// from offset 128. Its capacity is the largest power of two that fits. Indices are free-running 32-bit counts of bytes.
//
// Each side publishes its own index with a release store after it has touched the data, and reads the other's
// with an acquire load: data is written before it is announced, and read before its room is given back.
//
// The memory belongs to both sides, so anything in it may change at any time. Each side keeps its own index in
// private memory (the shared copy serves a restart), checks the other's whenever it reads it, and masks every
// offset: a hostile peer can spoil the bytes, never make this side touch memory outside.
#ifndef ATOLL_SERVICES_RUNTIME_BYTE_RING_H_
#define ATOLL_SERVICES_RUNTIME_BYTE_RING_H_

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "ipc/status.h"
#include "services/runtime/word_store.h"

namespace atoll {

// What both sides have in common.
class ByteRing {
 public:
  static constexpr size_t kHeaderBytes = 128;
  static constexpr size_t kMaxCapacity = size_t{1} << 30;

  // Something that is no byte comes between two bytes (a break on a serial line): before the byte of this index. The
  // last one counts.
  struct Mark {
    uint32_t count = 0;  // of all marks
    uint32_t position = 0;
  };

  size_t capacity() const { return data_.size(); }
  uint32_t position() const { return own_; }  // this side's index: moves on with each byte

 protected:
  static constexpr size_t kWriterIndex = 0;
  static constexpr size_t kMark = 8;  // count << 32 | position
  static constexpr size_t kReaderIndex = 64;

  ByteRing() = default;

  // INVALID_ARGUMENT: the memory is not 8-byte aligned or has no room for the header and a byte.
  static Status Check(std::span<std::byte> memory) {
    const bool aligned = reinterpret_cast<uintptr_t>(memory.data()) % alignof(uint64_t) == 0;
    return aligned && memory.size() > kHeaderBytes ? Status::kOk : Status::kInvalidArgument;
  }

  ByteRing(std::span<std::byte> memory, size_t own_index)
      : header_(memory.first(kHeaderBytes)),
        data_(memory.subspan(kHeaderBytes,
                             std::min(std::bit_floor(memory.size() - kHeaderBytes), kMaxCapacity))),
        own_(Load(own_index)) {}

  uint32_t Load(size_t index) const { return At(index).load(std::memory_order_acquire); }

  // Publish() whose store the caller makes.
  WordStore PublishLater(size_t index, uint32_t value) {
    own_ = value;
    return {.word = reinterpret_cast<uint32_t*>(header_.data() + index), .value = value};
  }

  void Publish(size_t index, uint32_t value) {
    own_ = value;
    At(index).store(value, std::memory_order_release);
  }

  void PublishReader(uint32_t value) { At(kReaderIndex).store(value, std::memory_order_release); }

  size_t Offset(uint32_t index) const { return index & (data_.size() - 1); }

  std::span<std::byte> header_;
  std::span<std::byte> data_;
  std::atomic_ref<uint64_t> MarkWord() const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(header_.data() + kMark));
  }

  uint32_t own_ = 0;  // this side's index

 private:
  std::atomic_ref<uint32_t> At(size_t index) const {
    return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(header_.data() + index));
  }
};

class ByteRingWriter : public ByteRing {
 public:
  // Takes up where an earlier writer on this memory stopped; memory of zeros is an empty ring. Indices that
  // contradict each other empty the ring.
  static Result<ByteRingWriter> Attach(std::span<std::byte> memory) {
    if (const Status status = Check(memory); !IsOk(status)) return std::unexpected(status);
    ByteRingWriter ring(memory);
    const uint32_t read = ring.Load(kReaderIndex);
    if (ring.own_ - read > ring.capacity()) ring.Publish(kWriterIndex, read);
    return ring;
  }

  // Room for this many bytes. 0 also when the reader's index makes no sense.
  size_t Free() const {
    const uint32_t used = own_ - Load(kReaderIndex);
    return used <= capacity() ? capacity() - used : 0;
  }

  // Writes as many of the bytes as there is room for and returns how many.
  size_t Write(std::span<const std::byte> bytes) {
    const size_t count = std::min(bytes.size(), Free());
    if (count == 0) return 0;
    const size_t offset = Offset(own_);
    const size_t first = std::min(count, capacity() - offset);
    std::memcpy(data_.data() + offset, bytes.data(), first);
    if (first < count) std::memcpy(data_.data(), bytes.data() + first, count - first);
    Publish(kWriterIndex, own_ + static_cast<uint32_t>(count));
    return count;
  }

  // This side's index is the ring's. A reader whose index makes no sense does not change that.
  bool IsIntact() const {
    return own_ - Load(kReaderIndex) <= capacity() || own_ == Load(kWriterIndex);
  }

  // Free-running count of the bytes that were written.
  uint32_t written() const { return own_; }

  // Drops what the reader has not taken. Only while there is no reader, whose index this changes: the next one takes
  // up there.
  void Discard() { PublishReader(own_); }

  // Writes one byte; returns how many the ring then holds, 0 if it had no room.
  size_t Put(std::byte byte) {
    const uint32_t own =
        own_;  // a local: for all the compiler knows the byte overwrites the member
    const uint32_t used = own - Load(kReaderIndex);
    if (used >= capacity()) return 0;
    data_.data()[Offset(own)] = byte;
    Publish(kWriterIndex, own + 1);
    return size_t{used} + 1;
  }

  // Writes one byte, which counts when the caller makes the store, a release. Only if Free() is not 0.
  WordStore PutLater(std::byte byte) {
    data_.data()[Offset(own_)] = byte;
    return PublishLater(kWriterIndex, own_ + 1);
  }
  // As PutLater, for as many bytes as Free() says.
  WordStore WriteLater(std::span<const std::byte> bytes) {
    uint32_t index = own_;
    for (const std::byte byte : bytes) data_.data()[Offset(index++)] = byte;
    return PublishLater(kWriterIndex, index);
  }

  // Marks the place behind what was written so far.
  void PutMark() {
    const uint64_t count = MarkWord().load(std::memory_order_relaxed) >> 32;
    MarkWord().store((count + 1) << 32 | own_, std::memory_order_release);
  }

 private:
  explicit ByteRingWriter(std::span<std::byte> memory) : ByteRing(memory, kWriterIndex) {}
};

class ByteRingReader : public ByteRing {
 public:
  // As ByteRingWriter::Attach.
  static Result<ByteRingReader> Attach(std::span<std::byte> memory) {
    if (const Status status = Check(memory); !IsOk(status)) return std::unexpected(status);
    ByteRingReader ring(memory);
    const uint32_t written = ring.Load(kWriterIndex);
    if (written - ring.own_ > ring.capacity()) ring.Publish(kReaderIndex, written);
    return ring;
  }

  // Bytes that can be read. 0 also when the writer's index makes no sense.
  size_t Available() const {
    const uint32_t used = Load(kWriterIndex) - own_;
    return used <= capacity() ? used : 0;
  }

  bool IsIntact() const {
    return Load(kWriterIndex) - own_ <= capacity() || own_ == Load(kReaderIndex);
  }

  Mark LastMark() const {
    const uint64_t word = MarkWord().load(std::memory_order_acquire);
    return {.count = static_cast<uint32_t>(word >> 32), .position = static_cast<uint32_t>(word)};
  }
  // Whether a mark there comes before the next byte; also if there is no such place in the ring.
  bool IsNext(uint32_t position) const {
    const uint32_t distance = position - own_;
    return distance == 0 || distance > Available();
  }

  // Copies the next bytes, as many as there are and fit, and leaves them in the ring.
  size_t Peek(std::span<std::byte> bytes) const {
    const size_t count = std::min(bytes.size(), Available());
    if (count == 0) return 0;
    const size_t offset = Offset(own_);
    const size_t first = std::min(count, capacity() - offset);
    std::memcpy(bytes.data(), data_.data() + offset, first);
    if (first < count) std::memcpy(bytes.data() + first, data_.data(), count - first);
    return count;
  }

  // Gives back the room of the next `count` bytes, at most those there are. Whoever must not lose a byte when
  // it dies peeks, records, then consumes.
  void Consume(size_t count) {
    Publish(kReaderIndex, own_ + static_cast<uint32_t>(std::min(count, Available())));
  }

  // Gives back the room of the next byte, of which Available() or Peek() knew, when the caller makes the store.
  WordStore ConsumeLater() { return PublishLater(kReaderIndex, own_ + 1); }

  // The stream as a whole: how many bytes were ever written (modulo 2^32), and those from `position` on, of which the
  // last capacity() ones are still there, whether they were consumed or not.
  uint32_t Written() const { return Load(kWriterIndex); }
  void CopyFrom(uint32_t position, std::span<std::byte> bytes) const {
    const size_t offset = Offset(position);
    const size_t first = std::min(bytes.size(), capacity() - offset);
    std::memcpy(bytes.data(), data_.data() + offset, first);
    if (first < bytes.size()) std::memcpy(bytes.data() + first, data_.data(), bytes.size() - first);
  }

  size_t Read(std::span<std::byte> bytes) {
    const size_t count = Peek(bytes);
    // Not Consume: it would look at the writer's index a second time and might see a different one.
    if (count != 0) Publish(kReaderIndex, own_ + static_cast<uint32_t>(count));
    return count;
  }

  // The next byte, if there is one.
  std::optional<std::byte> Front() const {
    if (Available() == 0) return std::nullopt;
    return data_.data()[Offset(own_)];
  }
  // Gives back the room of the byte that Front found.
  void Pop() { Publish(kReaderIndex, own_ + 1); }

  // Reads one byte, if there is one.
  std::optional<std::byte> Take() {
    const std::optional<std::byte> byte = Front();
    if (byte.has_value()) Pop();
    return byte;
  }

 private:
  explicit ByteRingReader(std::span<std::byte> memory) : ByteRing(memory, kReaderIndex) {}
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_BYTE_RING_H_
