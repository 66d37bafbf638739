// The driver's side of a split virtqueue (VIRTIO 1.2, 2.7) in DMA memory.
//
// The device may write to all of that memory, so what counts is private: which descriptors are in
// flight, how they are linked, how far each ring has been read. What the device says in the used
// ring is checked against it; a device that gives back what it does not have, or claims to have
// written more than there was room for, breaks the queue, and only a reset of the device mends it.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_QUEUE_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/status.h"
#include "services/virtio/specification.h"
#include "services/virtio_driver/dma.h"
#include "services/virtio_driver/transport.h"

namespace atoll::virtio_driver {

// Memory that the device reads or writes.
struct Buffer {
  PhysAddr physical;
  uint32_t bytes = 0;
};

// A chain that the device gave back.
struct Completion {
  uint32_t token = 0;    // as given to Add
  uint32_t written = 0;  // what the device says it wrote; no more than there was room for
};

class Queue {
 public:
  static constexpr uint32_t kMaxSize = 256;
  static constexpr uint32_t kTableEntries = 256;  // of the indirect table of each descriptor

  // DMA memory for the rings, 16-byte aligned, and for the indirect tables of a queue of this size.
  static constexpr size_t RingBytes(uint32_t size) {
    return UsedOffset(size) + AlignUp(virtio::UsedBytes(size), virtio::kDescriptorAlignment);
  }
  static constexpr size_t TableBytes(uint32_t size) {
    return size * kTableEntries * sizeof(virtio::Descriptor);
  }

  // Empties the queue; the device must have been reset. size: a power of two up to kMaxSize.
  // features: as negotiated. tables: TableBytes, or nothing to do without INDIRECT_DESC.
  void Start(DmaMemory rings, DmaMemory tables, uint32_t size, uint64_t features);

  QueueAddresses addresses() const;
  bool indirect() const { return indirect_; }
  uint32_t free_descriptors() const { return free_count_; }

  // Makes a chain, which the device sees after Publish. RESOURCE_EXHAUSTED: not enough free
  // descriptors. INVALID_ARGUMENT: no buffer, or more than a chain may have.
  Status Add(std::span<const Buffer> readable, std::span<const Buffer> writable, uint32_t token);

  // Makes what was added available. True: the device wants a notification.
  bool Publish();

  // The next chain that came back, if there is one and the queue is not broken.
  std::optional<Completion> Pop();

  // The device broke a rule (see above).
  bool broken() const { return broken_; }

  // Asks for an interrupt at the next chain that comes back. True: one has come already.
  bool EnableInterrupts();
  // Asks for none; the device may still send some.
  void DisableInterrupts();

 private:
  struct Chain {
    uint32_t token = 0;
    uint32_t writable_bytes = 0;
    uint16_t position = 0;     // in the avail ring, free-running
    uint16_t descriptors = 0;  // 0: this descriptor is the head of no chain in flight
    uint16_t next = 0;         // of any descriptor: the following one of the chain or free list
  };

  static constexpr size_t AvailOffset(uint32_t size) { return virtio::DescriptorBytes(size); }
  static constexpr size_t UsedOffset(uint32_t size) {
    return AlignUp(AvailOffset(size) + virtio::AvailBytes(size), virtio::kUsedAlignment);
  }

  // `id` is the head of a chain that the device has seen.
  bool IsOut(uint32_t id) const;
  std::byte* descriptors() const { return rings_.bytes.data(); }
  std::byte* avail() const { return rings_.bytes.data() + AvailOffset(size_); }
  std::byte* used() const { return rings_.bytes.data() + UsedOffset(size_); }
  uint16_t AddIndirect(std::span<const Buffer> readable, std::span<const Buffer> writable);
  uint16_t AddDirect(std::span<const Buffer> readable, std::span<const Buffer> writable);
  uint16_t TakeFree();
  void GiveBack(uint16_t head);

  DmaMemory rings_;
  DmaMemory tables_;
  uint32_t size_ = 0;
  bool indirect_ = false;
  bool event_idx_ = false;
  bool broken_ = false;
  std::array<Chain, kMaxSize> chains_ = {};
  uint32_t free_count_ = 0;
  uint16_t first_free_ = 0;
  uint16_t added_ = 0;      // avail idx with all chains that were added
  uint16_t published_ = 0;  // avail idx as the device sees it
  uint16_t popped_ = 0;     // next position of the used ring
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_QUEUE_H_
