// One virtual disk: its range of the physical one, its request ring, and which of the ring's slots
// are where.
#ifndef ATOLL_SERVICES_BLK_DRIVER_CLIENT_H_
#define ATOLL_SERVICES_BLK_DRIVER_CLIENT_H_

#include <bit>
#include <cstdint>
#include <optional>

#include "services/blk-driver/transfer.h"
#include "services/block/request_ring.h"
#include "services/runtime/ports.h"

namespace atoll::blk_driver {

class Client {
 public:
  Client(block::RequestRingDriver ring, Notifier& notifier, const DiskRange& described)
      : ring_(ring), notifier_(notifier), disk_(described) {}

  const block::RequestRingDriver& ring() const { return ring_; }
  const DiskRange& disk() const { return disk_; }

  // What the client is to know of its disk. It is signalled with the next Signal.
  void Announce(block::DiskState state, uint32_t flags, uint64_t sectors, uint32_t generation) {
    disk_.flags |= flags;
    disk_.sectors = sectors;
    ring_.Announce(
        {.state = state, .flags = disk_.flags, .sectors = sectors, .generation = generation});
    announced_ = true;
  }

  // Looks at all slots, whatever the client says of them: at the start, and to end them all.
  void LookAtAll() { pending_ = ~busy_; }
  void TakeSubmitted() { pending_ |= ring_.TakeSubmitted() & ~busy_; }

  // In quarantine: all that it asks for fails, and its disk has.
  bool quarantined() const { return quarantined_; }
  void SetQuarantined(bool quarantined) { quarantined_ = quarantined; }

  bool has_pending() const { return pending_ != 0; }
  bool is_active() const { return (pending_ | busy_) != 0; }
  uint32_t in_flight() const { return static_cast<uint32_t>(std::popcount(busy_)); }

  // The next slot that may be submitted. Slots take turns, so that none is overtaken for ever.
  uint32_t NextPending() {
    const uint32_t slot =
        (next_slot_ + std::countr_zero(std::rotr(pending_, static_cast<int>(next_slot_)))) %
        block::kSlots;
    next_slot_ = (slot + 1) % block::kSlots;
    pending_ &= ~Bit(slot);
    return slot;
  }

  // The slot's request goes to the device, or comes back from it to be repeated.
  void MarkBusy(uint32_t slot) { busy_ |= Bit(slot); }
  void Repeat(uint32_t slot) {
    busy_ &= ~Bit(slot);
    pending_ |= Bit(slot);
    repeated_ |= Bit(slot);
  }
  bool WasRepeated(uint32_t slot) const { return (repeated_ & Bit(slot)) != 0; }

  void Complete(uint32_t slot, block::RequestStatus status) {
    busy_ &= ~Bit(slot);
    repeated_ &= ~Bit(slot);
    ring_.Complete(slot, status);
    completed_ = true;
  }

  // Tells the client what happened since the last time.
  void Signal() {
    if (announced_ || (completed_ && ring_.ClientWaits())) notifier_.Notify();
    announced_ = completed_ = false;
  }

  // Before sleeping. True: the client submitted something meanwhile.
  bool Wait() { return ring_.Wait(); }

 private:
  static constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << slot; }

  block::RequestRingDriver ring_;
  Notifier& notifier_;
  DiskRange disk_;
  uint64_t pending_ = 0;   // to be looked at
  uint64_t busy_ = 0;      // taken and not completed
  uint64_t repeated_ = 0;  // given to the device again after it was reset
  uint32_t next_slot_ = 0;
  bool quarantined_ = false;
  bool announced_ = false;
  bool completed_ = false;
};

}  // namespace atoll::blk_driver

#endif  // ATOLL_SERVICES_BLK_DRIVER_CLIENT_H_
