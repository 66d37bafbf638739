// A ring of bytes in memory that two tasks share: one writes, one reads.
//
// The memory holds the write index and the read index (free-running, each in a cache line of its own), then the bytes.
// Zeroed memory is an empty ring. A byte changes hands by one store of an index, so a task that ends at any instruction
// leaves a valid ring. Neither side trusts the other: with an index that cannot be, the ring reads as empty to its
// reader and as full to its writer, and no byte outside it is touched.
#ifndef ATOLL_SERVICES_RUNTIME_BYTE_RING_H_
#define ATOLL_SERVICES_RUNTIME_BYTE_RING_H_

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace atoll {

// One end of a ring. Copies of it are the same end.
class ByteRing {
 public:
  static constexpr size_t kHeaderBytes = 128;

  // `memory` is shared, 64-byte aligned and larger than the header. The capacity is the largest power of two that fits.
  explicit ByteRing(std::span<std::byte> memory)
      : indices_(reinterpret_cast<Indices*>(memory.data())),
        bytes_(memory.data() + kHeaderBytes),
        mask_(static_cast<uint32_t>(std::bit_floor(memory.size() - kHeaderBytes)) - 1) {}

  size_t capacity() const { return size_t{mask_} + 1; }

  // Bytes in the ring by both indices; more than the capacity if the other side broke its index.
  uint32_t used() const {
    Indices* const indices = indices_;  // read once: the compiler cannot know that the ring's memory is not *this
    return Load(indices->write, std::memory_order_acquire) -
           Load(indices->read, std::memory_order_acquire);
  }
  size_t readable() const {
    const uint32_t bytes = used();
    return bytes <= capacity() ? bytes : 0;
  }
  size_t writable() const {
    const uint32_t bytes = used();
    return bytes <= capacity() ? capacity() - bytes : 0;
  }

  // Writer: appends one byte. Returns how many bytes the ring then holds, 0 if it was full.
  size_t Put(std::byte byte) {
    Indices* const indices = indices_;
    const uint32_t write = Load(indices->write, std::memory_order_relaxed);
    const uint32_t held = write - Load(indices->read, std::memory_order_acquire);
    if (held > mask_) return 0;
    bytes_[write & mask_] = byte;
    // The byte is there before the index says so.
    std::atomic_ref(indices->write).store(write + 1, std::memory_order_release);
    return size_t{held} + 1;
  }

  // Writer: appends what fits; returns how many bytes that were.
  size_t Write(std::span<const std::byte> from) {
    const size_t count = std::min(from.size(), writable());
    const uint32_t write = Load(indices_->write, std::memory_order_relaxed);
    const size_t first = std::min<size_t>(count, capacity() - (write & mask_));
    std::copy_n(from.data(), first, bytes_ + (write & mask_));
    std::copy_n(from.data() + first, count - first, bytes_);
    std::atomic_ref(indices_->write)
        .store(write + static_cast<uint32_t>(count), std::memory_order_release);
    return count;
  }

  // Reader: takes what is there, at most `to`; returns how many bytes that were.
  size_t Read(std::span<std::byte> to) {
    const size_t count = std::min(to.size(), readable());
    const uint32_t read = Load(indices_->read, std::memory_order_relaxed);
    const size_t first = std::min<size_t>(count, capacity() - (read & mask_));
    std::copy_n(bytes_ + (read & mask_), first, to.data());
    std::copy_n(bytes_, count - first, to.data() + first);
    // The bytes are out before the index lets the writer put others in their place.
    std::atomic_ref(indices_->read)
        .store(read + static_cast<uint32_t>(count), std::memory_order_release);
    return count;
  }

 private:
  struct Indices {
    alignas(64) uint32_t write;
    alignas(64) uint32_t read;
  };
  static_assert(sizeof(Indices) == kHeaderBytes);

  static uint32_t Load(uint32_t& index, std::memory_order order) {
    return std::atomic_ref(index).load(order);
  }

  Indices* indices_;
  std::byte* bytes_;
  uint32_t mask_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_BYTE_RING_H_
