// The state of a virtio device that outlives the instance of its service: trivially copyable, all
// zero when the VM is fresh.
//
// Stores are ordered so that a service may die after any of them. A multi-field change either
// leaves state that nothing looks at yet (an unfinished chain) and ends in one store that makes it
// count (Cursor, HeldState), is made in two copies (TwoCopies: registers, the set-up of queues), or
// can be repeated from its start (resetting). Calls that the kernel redelivers are register
// accesses; each of them may be repeated without harm, so no call id is kept.
//
// Nothing is believed because it is there. What changes rarely has two copies with checks; what
// changes with each request has a check within the word that makes it count, and cursors a second
// word. A successor takes up what its check confirms, looks at its bounds again, and makes of the
// rest a device that fails visibly (MmioTransport).
#ifndef ATOLL_SERVICES_VIRTIO_JOURNAL_H_
#define ATOLL_SERVICES_VIRTIO_JOURNAL_H_

#include <array>
#include <bit>
#include <cstdint>

#include "services/runtime/check_word.h"
#include "services/runtime/journal.h"
#include "services/runtime/two_copies.h"

namespace atoll::virtio {

inline constexpr uint32_t kMaxQueueSize = 256;  // largest QueueNumMax of any device
inline constexpr uint32_t kMaxSegments = 256;   // longest chain served: never below QueueNumMax
inline constexpr uint32_t kMaxQueues = 17;      // of any device: eight pairs and a control queue

// "ATVIRTO" and the layout's version, a digit.
inline constexpr uint64_t kJournalFamily = 0x004f'5452'4956'5441;
inline constexpr uint64_t kJournalFormat = kJournalFamily | uint64_t{'3'} << 56;
constexpr bool IsOfFamily(uint64_t format) { return (format << 8) == kJournalFamily << 8; }

static_assert(kMaxSegments >= kMaxQueueSize);

using atoll::StoreRelease;

// Part of a buffer, as parsed once from a descriptor.
struct Segment {
  uint64_t address = 0;  // guest physical
  uint32_t length = 0;
  uint32_t reserved = 0;
};

// A descriptor chain as parsed once: readable segments, then writable ones.
struct ChainRecord {
  uint16_t head = 0;
  uint16_t readable_segments = 0;
  uint16_t writable_segments = 0;
  uint16_t unreachable = 0;  // 1: some segment is not wholly in guest RAM
  uint64_t readable_bytes = 0;
  uint64_t writable_bytes = 0;
  uint64_t check = 0;  // of the segments' addresses; their lengths are checked by the sums above
  std::array<Segment, kMaxSegments> segments = {};
};

// The numbers of a queue that change together, stored as one word with its check.
struct Cursor {
  uint16_t avail = 0;      // next avail ring position to take
  uint16_t used = 0;       // next used ring position to fill; used idx is this, or about to be
  uint16_t signalled = 0;  // used idx up to which the driver was interrupted or did not want to be

  bool operator==(const Cursor&) const = default;
};

class CursorWord {
 public:
  [[gnu::always_inline]] static uint64_t Pack(Cursor cursor) {
    const uint64_t numbers =
        cursor.avail | uint64_t{cursor.used} << 16 | uint64_t{cursor.signalled} << 32;
    return numbers | CheckOf(numbers) << 48;
  }
  // False: nobody packed this.
  static bool Unpack(uint64_t word, Cursor& cursor) {
    const uint64_t numbers = word & kNumbers;
    if (word >> 48 != CheckOf(numbers)) return false;
    cursor = {.avail = static_cast<uint16_t>(numbers),
              .used = static_cast<uint16_t>(numbers >> 16),
              .signalled = static_cast<uint16_t>(numbers >> 32)};
    return true;
  }

 private:
  static constexpr uint64_t kNumbers = (uint64_t{1} << 48) - 1;
  // Memory of zeros is no cursor.
  [[gnu::always_inline]] static uint64_t CheckOf(uint64_t numbers) {
    CheckWord check;
    check.Add(numbers);
    return check.value() & 0xffff;
  }
};

enum class Phase : uint8_t {
  kFree = 0,
  kAccepted = 1,  // taken from the avail ring; executing it again is harmless
  kPushed = 2,    // executed, its used element written; visible once Cursor::used is beyond it
};

// What makes a HeldChain count, stored as one word.
struct HeldState {
  Phase phase = Phase::kFree;
  uint8_t queue : 5 = 0;   // index
  uint8_t deaths : 3 = 0;  // of instances that were at work on this chain when they died
  uint16_t position = 0;   // kAccepted: in the avail ring; kPushed: in the used ring
  uint32_t check = 0;      // of this word, of the chain, and of what the model keeps with it
};
static_assert(sizeof(HeldState) == sizeof(uint64_t));
static_assert(kMaxQueues <= 32);

// A chain that a model keeps in its journal from SplitQueue::Hold until it is published.
struct HeldChain {
  uint64_t state = 0;    // HeldState, or kFree
  uint64_t written = 0;  // kPushed: the used element's length; stored before the state
  ChainRecord chain;

  // No chain. A word of its own, since zeros may come from anywhere.
  static constexpr uint64_t kFree = 0x4652'4545'0000'0000;
};

inline HeldState StateOf(const HeldChain& held) { return std::bit_cast<HeldState>(held.state); }
inline bool IsFree(const HeldChain& held) { return held.state == HeldChain::kFree; }
// A free chain's state.
inline void SetFree(HeldChain& held) { StoreRelease(held.state, HeldChain::kFree); }

// The check of a held chain. extra: that of what the model keeps with it.
[[gnu::always_inline]] inline uint32_t SealOf(const HeldChain& held, HeldState state,
                                              uint32_t extra) {
  const ChainRecord& chain = held.chain;
  CheckWord check(static_cast<uint32_t>(chain.check) ^ extra);
  check.Add(chain.head | uint64_t{chain.readable_segments} << 16 |
            uint64_t{chain.writable_segments} << 32 | uint64_t{chain.unreachable} << 48);
  check.Add(chain.readable_bytes);
  check.Add(chain.writable_bytes);
  if (state.phase == Phase::kPushed) check.Add(held.written);
  state.check = 0;
  check.Add(std::bit_cast<uint64_t>(state));
  return check.value();
}
[[gnu::always_inline]] inline void SetState(HeldChain& held, HeldState state, uint32_t extra) {
  state.check = SealOf(held, state, extra);
  StoreRelease(held.state, std::bit_cast<uint64_t>(state));
}
// Whether the state is one that SetState stored, for the chain that is there.
bool IsSealed(const HeldChain& held, uint32_t extra);

// What the driver set up of a queue.
struct QueueSetup {
  uint64_t descriptor_area = 0;  // QueueDesc, guest physical
  uint64_t driver_area = 0;      // QueueDriver: avail ring
  uint64_t device_area = 0;      // QueueDevice: used ring
  uint32_t size = 0;             // QueueNum as accepted; 0: none yet
  uint32_t ready = 0;            // QueueReady
};

struct QueueState {
  TwoCopies<QueueSetup> setup;
  uint64_t cursor = 0;         // CursorWord, while ready
  uint64_t cursor_backup = 0;  // the same, stored after it
};

// The registers, but for InterruptStatus.
struct Registers {
  static constexpr uint32_t kStartingOver = 2;

  uint64_t format = 0;         // kJournalFormat
  uint32_t device_format = 0;  // Description::format
  uint32_t device_id = 0;
  uint32_t queue_count = 0;
  uint32_t resetting = 0;  // 1: a reset has begun and is to be finished first; or kStartingOver:
                           // one because of damage, after which the device is failing
  uint32_t failing = 0;    // 1: the journal was damaged; everything fails until a reset
  uint32_t status = 0;
  uint32_t config_generation = 0;
  uint32_t device_features_sel = 0;
  uint32_t driver_features_sel = 0;
  uint32_t queue_sel = 0;
  uint32_t foreign_features = 0;  // 1: the driver asked for a feature bit above 63
  uint32_t reserved = 0;
  uint64_t driver_features = 0;
};

// What an instance was at when it died, and what two of them were at.
struct Suspect {
  uint16_t place = 0;     // 1 + the queue that it served, or kTakingUp
  uint16_t position = 0;  // in that queue's avail ring
  uint32_t deaths = 0;

  static constexpr uint16_t kTakingUp = 0xffff;  // its predecessor's journal
};
static_assert(sizeof(Suspect) == sizeof(uint64_t));

struct TransportState {
  uint64_t format = 0;  // as in Registers, of any version: so that a layout that is not known shows
  TwoCopies<Registers> registers;
  uint64_t interrupt_status = 0;  // WithComplement
  uint64_t at_work = 0;           // place of Suspect, 0 between two pieces of work
  uint64_t suspect = 0;           // Suspect
};

// A device's whole journal. DeviceState: whatever the device model keeps besides, chains among it.
template <typename DeviceState, uint32_t kQueues>
struct Journal {
  static_assert(kQueues <= kMaxQueues);
  TransportState transport;
  std::array<QueueState, kQueues> queues;
  DeviceState device;
};

using atoll::JournalIn;

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_JOURNAL_H_
