// The state of a virtio device that outlives the instance of its service: trivially copyable, all
// zero when the VM is fresh.
//
// Stores are ordered so that a service may die after any of them. A multi-field change either
// leaves state that nothing looks at yet (an unfinished chain, the registers of a queue that is not
// ready) and ends in one store that makes it count (Cursor, HeldState, ready, status), or can be
// repeated from its start (resetting). Calls that the kernel redelivers are register accesses; each
// of them may be repeated without harm, so no call id is kept.
#ifndef ATOLL_SERVICES_VIRTIO_JOURNAL_H_
#define ATOLL_SERVICES_VIRTIO_JOURNAL_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ipc/status.h"

namespace atoll::virtio {

inline constexpr uint32_t kMaxQueueSize = 256;  // largest QueueNumMax of any device
inline constexpr uint32_t kMaxSegments = 256;   // longest chain served: never below QueueNumMax
inline constexpr uint32_t kMaxQueues = 17;      // of any device: eight pairs and a control queue
inline constexpr uint64_t kJournalMagic =
    0x324f'5452'4956'5441;  // "ATVIRTO2": changes with the layout

static_assert(kMaxSegments >= kMaxQueueSize);

// Orders a store after everything before it, for the compiler and for other CPUs, and makes it one
// store.
template <typename T>
void StoreRelease(T& where, T value) {
  std::atomic_ref<T>(where).store(value, std::memory_order_release);
}

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
  std::array<Segment, kMaxSegments> segments = {};
};

// The numbers of a queue that change together, stored as one word.
struct Cursor {
  uint16_t avail = 0;      // next avail ring position to take
  uint16_t used = 0;       // next used ring position to fill; used idx is this, or about to be
  uint16_t signalled = 0;  // used idx up to which the driver was interrupted or did not want to be
  uint16_t reserved = 0;
};
static_assert(sizeof(Cursor) == sizeof(uint64_t));

enum class Phase : uint8_t {
  kFree = 0,
  kAccepted = 1,  // taken from the avail ring; executing it again is harmless
  kPushed = 2,    // executed, its used element written; visible once Cursor::used is beyond it
};

// What makes a HeldChain count, stored as one word.
struct HeldState {
  Phase phase = Phase::kFree;
  uint8_t queue = 0;      // index
  uint16_t position = 0;  // kAccepted: in the avail ring; kPushed: in the used ring
  uint32_t written = 0;   // kPushed: the used element's length
};
static_assert(sizeof(HeldState) == sizeof(uint64_t));

// A chain that a model keeps in its journal from SplitQueue::Hold until it is published.
struct HeldChain {
  uint64_t state = 0;  // HeldState
  ChainRecord chain;
};

inline HeldState StateOf(const HeldChain& held) { return std::bit_cast<HeldState>(held.state); }
inline void SetState(HeldChain& held, HeldState state) {
  StoreRelease(held.state, std::bit_cast<uint64_t>(state));
}

struct QueueState {
  uint64_t descriptor_area = 0;  // QueueDesc, guest physical
  uint64_t driver_area = 0;      // QueueDriver: avail ring
  uint64_t device_area = 0;      // QueueDevice: used ring
  uint32_t size = 0;             // QueueNum as accepted; 0: none yet
  uint32_t ready = 0;            // QueueReady
  uint64_t cursor = 0;           // Cursor
};

struct TransportState {
  uint64_t magic = 0;  // 0: fresh; written last when the journal is formatted
  uint32_t device_id = 0;
  uint32_t queue_count = 0;
  uint32_t resetting = 0;  // 1: a reset has begun and is to be finished first
  uint32_t status = 0;
  uint32_t interrupt_status = 0;
  uint32_t config_generation = 0;
  uint32_t device_features_sel = 0;
  uint32_t driver_features_sel = 0;
  uint32_t queue_sel = 0;
  uint32_t foreign_features = 0;  // 1: the driver asked for a feature bit above 63
  uint64_t driver_features = 0;
};

// A device's whole journal. DeviceState: whatever the device model keeps besides, chains among it.
template <typename DeviceState, uint32_t kQueues>
struct Journal {
  static_assert(kQueues <= kMaxQueues);
  TransportState transport;
  std::array<QueueState, kQueues> queues;
  DeviceState device;
};

// The journal at the start of `memory`. RESOURCE_EXHAUSTED: too small; INVALID_ARGUMENT:
// misaligned.
template <typename T>
Result<T*> JournalIn(std::span<std::byte> memory) {
  static_assert(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>);
  if (memory.size() < sizeof(T)) return std::unexpected(Status::kResourceExhausted);
  if (reinterpret_cast<uintptr_t>(memory.data()) % alignof(T) != 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  return reinterpret_cast<T*>(memory.data());
}

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_JOURNAL_H_
