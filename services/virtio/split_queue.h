// The device's side of a split virtqueue (VIRTIO 2.7) over guest memory that is not trusted.
//
// Positions come from the journal's own counters, never from the used ring. Every index, descriptor
// and flag is read once into private memory and checked there. Whatever a driver must not do makes
// the queue broken: the transport then sets DEVICE_NEEDS_RESET and guest memory is not touched
// again until a reset.
//
// Fetch parses the next chain, Push gives one back, in any order, and Publish shows the driver all
// that were pushed. A model goes one of two ways with a queue, both of which use each buffer exactly
// once whatever instruction the service dies at:
//
//   - Fetch, Accept, execute, Push; after some of these Publish, which commits them together. A
//     successor executes all over again what was not published. Several chains may be in hand.
//   - Fetch into a HeldChain in the journal, Hold, execute, Push, Publish, Release. The chain stays
//     taken; a successor gets it from Recover and finishes it. It may take as long as it likes.
#ifndef ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_
#define ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "services/runtime/guest_memory.h"
#include "services/virtio/chain.h"
#include "services/virtio/journal.h"
#include "services/virtio/specification.h"

namespace atoll::virtio {

class SplitQueue {
 public:
  enum class Fetched {
    kNone,    // nothing is available
    kChain,   // the next chain is parsed; it is not taken until Accept or Hold
    kBroken,  // the driver broke a rule
  };

  SplitQueue() = default;
  // `state` and `memory` outlive the queue. max_size: QueueNumMax, a power of two up to
  // kMaxQueueSize.
  void Initialize(QueueState& state, const GuestMemory& memory, uint32_t max_size);

  // How a queue was found in the journal.
  enum class Attached {
    kGood,
    kRepaired,  // something was damaged, and was there a second time
    kNoCursor,  // the driver's set-up is known, but not how far the queue is: ResumeAtUsed
    kLost,      // what is there is not what this code writes: the queue is not ready
  };
  Attached Attach();
  // Attach for a queue of which the set-up is known from elsewhere.
  Attached AttachAs(const QueueSetup& setup);
  // Goes on where the used ring ends, as the guest's memory says: whatever was in hand comes again. For models that
  // use chains in their order (DeviceModel::InOrder).
  void ResumeAtUsed();
  // QueueReady 0 -> 1: checks size and areas and starts at position 0. False: refused, stays not
  // ready.
  bool Enable();
  // QueueReady -> 0, and reset: forgets all chains; guest memory is not touched any more.
  void Disable();
  // As Disable, and forgets size and addresses.
  void Clear();

  bool ready() const { return setup_.ready != 0; }
  uint32_t max_size() const { return max_size_; }
  const QueueSetup& setup() const { return setup_; }
  // While not ready; checked when it is made ready.
  void ChangeSetup(const QueueSetup& setup);
  // INDIRECT_DESC and EVENT_IDX as negotiated.
  void SetFeatures(uint64_t features);

  // A parsed chain with access to its buffers. Record and queue outlive it.
  const GuestMemory& memory() const { return *memory_; }
  Chain chain(const ChainRecord& record) const { return Chain(record, *memory_); }

  // Parses the chain that is next in the avail ring into `record`.
  Fetched Fetch(ChainRecord& record);
  // Takes the chain fetched last, until Publish only for this instance.
  void Accept() { ++next_; }
  // Writes a used element for the chain with this head: `written` bytes were written from its first
  // writable byte on. The driver does not see it yet.
  void Push(uint16_t head, uint32_t written);
  // Makes everything pushed visible by one step of the used idx, and commits what was accepted.
  void Publish();

  // Where Accept and Push stand, and back to there: undoes what was accepted and pushed since, unless
  // Publish came in between.
  struct Position {
    uint16_t next = 0;
    uint16_t pushed = 0;
  };
  Position position() const { return {next_, pushed_}; }
  void Rewind(Position position);

  // Takes the chain fetched last, into held.chain, for good: a successor finds it in the journal.
  // extra, here and below: a check of what the model keeps with the chain and does not change.
  void Hold(HeldChain& held, uint32_t queue_index, uint32_t extra = 0);
  // As Push, for a chain that was held.
  void Push(HeldChain& held, uint32_t written, uint32_t extra = 0);
  // After Publish.
  static void Release(HeldChain& held) { SetFree(held); }
  enum class Recovered {
    kNone,    // nothing is to be done with it
    kInHand,  // taken and not given back: to be executed, again perhaps
    kPushed,  // given back, and pushed anew: publish, then Release
    kBroken,  // not what this code leaves
  };
  // What an earlier instance left of a chain of this queue. To be called after Attach, before Fetch.
  Recovered Recover(HeldChain& held, uint32_t extra = 0);
  // Writes again what an earlier instance may have left out of its last Publish.
  void Republish() { StoreRelease16(used_ + kRingIndex, cursor_.used); }
  // Gives back the next chain, whatever it is, with nothing written. Nothing happens without one.
  void Skip();
  // Position of the next chain in the avail ring, of those that a successor would fetch.
  uint16_t committed_position() const { return cursor_.avail; }

  // Asks the driver not to notify while the device looks at the ring anyway.
  void SuppressNotifications();
  // Asks for notifications again. True: buffers arrived meanwhile, look once more.
  bool ResumeNotifications();

  bool HasFeatures(uint64_t features) const {
    return indirect_ == ((features & kFeatureIndirectDesc) != 0) &&
           event_idx_ == ((features & kFeatureEventIdx) != 0);
  }
  // Whether the areas are where the driver set them up, as far as this instance knows.
  bool IsInPlace() const {
    return size_ == setup_.size && FindAreas() == Areas{descriptors_, avail_, used_};
  }
  // Whether the queue is as the journal says, after Publish: then it does what the driver set up. What the journal does
  // not say any more it is told again.
  bool IsIntact();

  // Something was used since MarkSignalled.
  bool unsignalled() const { return cursor_.used != cursor_.signalled; }
  // Whether the driver wants an interrupt for what was used since MarkSignalled.
  bool InterruptDue() const;
  // To be called after the interrupt was recorded, so that a death in between only repeats it.
  void MarkSignalled();

 private:
  void StoreCursor(Cursor cursor) {
    cursor_ = cursor;
    const uint64_t word = CursorWord::Pack(cursor);
    StoreRelease(state_->cursor, word);
    StoreRelease(state_->cursor_backup, word);
  }
  Attached AttachSetup(Attached found);
  Attached LoadCursor();
  bool MayBeIn(const ChainRecord& chain) const;
  struct Areas {
    const std::byte* descriptors = nullptr;
    const std::byte* avail = nullptr;
    std::byte* used = nullptr;

    bool operator==(const Areas&) const = default;
  };
  // Where setup_ says that the areas are; nothing: it cannot be.
  std::optional<Areas> FindAreas() const;
  bool ResolveAreas();
  bool ParseChain(uint16_t head, ChainRecord& chain) const;
  // The same for a chain of more than one descriptor, or of an indirect one; this is its first.
  bool ParseList(uint16_t head, Descriptor descriptor, ChainRecord& chain) const;
  void TakeUpPosition();

  QueueState* state_ = nullptr;
  // What the journal holds, or is about to; private, so that nobody changes it under our hands.
  QueueSetup setup_;
  Cursor cursor_;
  const GuestMemory* memory_ = nullptr;
  // Mappings of the three areas, valid while ready.
  const std::byte* descriptors_ = nullptr;
  const std::byte* avail_ = nullptr;
  std::byte* used_ = nullptr;
  uint32_t size_ = 0;  // while ready
  uint32_t max_size_ = 0;
  uint16_t known_avail_ = 0;  // avail idx as last read and checked
  uint16_t next_ = 0;         // avail position to fetch next; Cursor::avail once committed
  uint16_t pushed_ = 0;       // used elements written and not visible yet
  bool event_idx_ = false;
  bool indirect_ = false;
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_SPLIT_QUEUE_H_
