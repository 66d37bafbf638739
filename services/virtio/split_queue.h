// The device's side of a split virtqueue (VIRTIO 2.7) over guest memory that is not trusted.
//
// Positions come from the journal's own counters, never from the used ring. Every index, descriptor
// and flag is read once into private memory and checked there. Whatever a driver must not do makes
// the queue broken: the transport then sets DEVICE_NEEDS_RESET and guest memory is not touched
// again until a reset.
//
// One chain is in hand at a time: Fetch parses it into the journal, Accept takes it, Complete gives
// it back.
#ifndef ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_
#define ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "services/runtime/guest_memory.h"
#include "services/virtio/chain.h"
#include "services/virtio/journal.h"
#include "services/virtio/specification.h"

namespace atoll::virtio {

class SplitQueue {
 public:
  enum class Fetched {
    kNone,    // nothing is available
    kChain,   // chain() holds the next chain; it is not taken until Accept
    kBroken,  // the driver broke a rule
  };

  SplitQueue() = default;
  // `state` and `memory` outlive the queue. max_size: QueueNumMax, a power of two up to
  // kMaxQueueSize.
  void Initialize(QueueState& state, const GuestMemory& memory, uint32_t max_size);

  // Takes up the queue as the journal has it. False: the journal holds what this code never writes.
  bool Attach();
  // QueueReady 0 -> 1: checks size and areas and starts at position 0. False: refused, stays not
  // ready.
  bool Enable();
  // QueueReady -> 0, and reset: drops the chain in hand; guest memory is not touched any more.
  void Disable();
  // As Disable, and forgets size and addresses.
  void Clear();

  bool ready() const { return state_->ready != 0; }
  uint32_t max_size() const { return max_size_; }
  QueueState& state() { return *state_; }
  // INDIRECT_DESC and EVENT_IDX as negotiated.
  void SetFeatures(uint64_t features);

  // The chain in hand, from Fetch on until Complete.
  Chain chain() const { return Chain(state_->chain, *memory_); }
  bool in_flight() const { return InFlight(*state_); }

  Fetched Fetch();
  void Accept();
  // Publishes the chain as used, `written` bytes having been written from its first writable byte
  // on.
  void Complete(uint32_t written);
  // Writes again whatever a dying instance may have left out of its last Complete.
  void FinishCompletion();

  // Asks the driver not to notify while the device looks at the ring anyway.
  void SuppressNotifications();
  // Asks for notifications again. True: buffers arrived meanwhile, look once more.
  bool ResumeNotifications();

  // Whether the driver wants an interrupt for what was used since MarkSignalled.
  bool InterruptDue() const;
  // To be called after the interrupt was recorded, so that a death in between only repeats it.
  void MarkSignalled();

 private:
  Cursor cursor() const { return std::bit_cast<Cursor>(state_->cursor); }
  void StoreCursor(Cursor cursor) { StoreRelease(state_->cursor, std::bit_cast<uint64_t>(cursor)); }
  bool ResolveAreas();
  bool ParseChain(uint16_t head);
  bool AddSegment(const Descriptor& descriptor);
  void PublishUsed(Cursor cursor);

  QueueState* state_ = nullptr;
  const GuestMemory* memory_ = nullptr;
  // Mappings of the three areas, valid while ready.
  const std::byte* descriptors_ = nullptr;
  const std::byte* avail_ = nullptr;
  std::byte* used_ = nullptr;
  uint32_t size_ = 0;  // private copy of state_->size while ready
  uint32_t max_size_ = 0;
  uint16_t known_avail_ = 0;  // avail idx as last read and checked
  bool event_idx_ = false;
  bool indirect_ = false;
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_
