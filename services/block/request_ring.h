// The requests of one virtual disk on their way to the driver of the physical disk and back: memory
// that the disk's virtio-blk service (the client) and blk-driver (the driver) share. Neither trusts
// the other, and it outlives both.
//
//   page 0       0  the driver's line: what the disk is, and whether the driver sleeps
//               64  bits of slots that the client submitted        (hints)
//              128  bits of slots that the driver completed        (hints)
//              192  whether the client sleeps, and its epoch: one more when its guest's driver starts anew
//   from 4096       64 slots of a page each: one request, its segments in guest memory
//
// A slot belongs to the client while it is FREE or DONE and to the driver while it is SUBMITTED; its
// state is the last word that either stores. So a death in the middle leaves slots that count, and
// slots that do not yet. The bits only save looking at all states: a new instance of either side
// looks at all (Submitted, State), and signals the other once in case its predecessor died before
// it could.
//
// A slot that is submitted is served, again if the driver died meanwhile: a client that died finds it
// DONE, or SUBMITTED still. Order between requests is not promised. FLUSH covers what was DONE when
// it was submitted.
#ifndef ATOLL_SERVICES_BLOCK_REQUEST_RING_H_
#define ATOLL_SERVICES_BLOCK_REQUEST_RING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll::block {

inline constexpr uint32_t kSlots = 64;
inline constexpr uint32_t kMaxSegments = 254;
inline constexpr uint64_t kSectorBytes = 512;

// virtio-blk's numbers (VIRTIO 1.2, 5.2.6).
enum class Operation : uint32_t { kIn = 0, kOut = 1, kFlush = 4, kDiscard = 11, kWriteZeroes = 13 };
enum class RequestStatus : uint32_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

enum class DiskState : uint32_t {
  kNotReady = 0,  // the driver has not looked at the physical disk yet
  kReady = 1,
  kFailed = 2,  // there is no such disk, or it broke: every request gets kIoError
};

// DriverLine::flags: what the disk can do. Other operations than IN and OUT give kUnsupported without
// their flag.
inline constexpr uint32_t kReadOnly = 1;
inline constexpr uint32_t kFlush = 2;  // FLUSH is served: written data is on the medium then
inline constexpr uint32_t kDiscard = 4;
inline constexpr uint32_t kWriteZeroes = 8;

struct DriverLine {
  uint32_t state;  // DiskState; stored last
  uint32_t flags;
  uint64_t sectors;     // of this virtual disk
  uint32_t generation;  // of the driver's instance
  uint32_t driver_waits;
};

enum class SlotState : uint32_t { kFree = 0, kSubmitted = 1, kDone = 2 };

// Part of a request's data, in the order of the sectors.
struct Segment {
  uint64_t guest_physical;
  uint32_t bytes;
  uint32_t reserved;
};

struct Slot {
  uint32_t state;      // SlotState
  uint32_t operation;  // Operation
  uint64_t sector;     // of the virtual disk; FLUSH: ignored
  uint32_t sectors;    // IN, OUT: the segments' sum, in bytes, is this times 512
  uint32_t segment_count;
  uint32_t status;  // RequestStatus, valid while DONE
  uint32_t reserved;
  Segment segments[kMaxSegments];
};

struct RingHeader {
  alignas(64) DriverLine driver;
  alignas(64) uint64_t submitted;
  alignas(64) uint64_t completed;
  alignas(64) uint32_t client_waits;
  uint32_t client_epoch;
};

// The whole shared memory; a page of the manifests' `disk_ring` for the header and each slot.
struct RingMemory {
  alignas(kPageSize) RingHeader header;
  alignas(kPageSize) Slot slots[kSlots];
};
inline constexpr size_t kRingBytes = sizeof(RingMemory);

static_assert(sizeof(DriverLine) == 24 && offsetof(DriverLine, sectors) == 8);
static_assert(offsetof(RingHeader, submitted) == 64 && offsetof(RingHeader, completed) == 128 &&
              offsetof(RingHeader, client_waits) == 192);
static_assert(sizeof(Segment) == 16);
static_assert(sizeof(Slot) == kPageSize && offsetof(Slot, sector) == 8 &&
              offsetof(Slot, status) == 24 && offsetof(Slot, segments) == 32);
static_assert(offsetof(RingMemory, slots) == kPageSize && kRingBytes == 65 * kPageSize);

// What the driver says of the disk.
struct Disk {
  DiskState state = DiskState::kNotReady;
  uint32_t flags = 0;
  uint64_t sectors = 0;
  uint32_t generation = 0;
};

// A request without its segments, as a private copy.
struct Request {
  Operation operation = Operation::kIn;  // from a client: any number
  uint64_t sector = 0;
  uint32_t sectors = 0;
  uint32_t segment_count = 0;
};

// What both sides have in common. Every word of the memory is loaded and stored as one, since the
// other side may do the same at any time.
class RequestRing {
 public:
  SlotState State(uint32_t slot) const {
    return static_cast<SlotState>(Load(At(slot).state, std::memory_order_acquire));
  }

 protected:
  explicit RequestRing(RingMemory& memory) : memory_(&memory) {}

  // INVALID_ARGUMENT: too small or not page aligned.
  static Result<RingMemory*> Check(std::span<std::byte> memory) {
    if (memory.size() < kRingBytes ||
        reinterpret_cast<uintptr_t>(memory.data()) % alignof(RingMemory) != 0) {
      return std::unexpected(Status::kInvalidArgument);
    }
    return reinterpret_cast<RingMemory*>(memory.data());
  }

  template <typename T>
  static T Load(T& word, std::memory_order order = std::memory_order_relaxed) {
    return std::atomic_ref<T>(word).load(order);
  }
  template <typename T>
  static void Store(T& word, T value, std::memory_order order = std::memory_order_relaxed) {
    std::atomic_ref<T>(word).store(value, order);
  }

  Slot& At(uint32_t slot) const { return memory_->slots[slot % kSlots]; }
  RingHeader& header() const { return memory_->header; }

  void SetState(uint32_t slot, SlotState state) {
    Store(At(slot).state, std::to_underlying(state), std::memory_order_release);
  }

  // Bits are set after the state and taken before it is looked at.
  static void Mark(uint64_t& bits, uint32_t slot) {
    std::atomic_ref<uint64_t>(bits).fetch_or(uint64_t{1} << (slot % kSlots),
                                             std::memory_order_release);
  }
  static uint64_t Take(uint64_t& bits) {
    if (Load(bits) == 0) return 0;
    return std::atomic_ref<uint64_t>(bits).exchange(0, std::memory_order_acquire);
  }

  // Whether the other side sleeps and is to be signalled, once. It stores that it waits, then looks
  // at the bits; here it is the other way round, each with a full barrier between.
  static bool MustSignal(uint32_t& waits) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (Load(waits) == 0) return false;
    Store(waits, 0u);
    return true;
  }
  // True: bits came meanwhile; the caller looks again instead of sleeping.
  static bool AnnounceSleep(uint32_t& waits, uint64_t& bits) {
    Store(waits, 1u);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (Load(bits) == 0) return false;
    Store(waits, 0u);
    return true;
  }

 private:
  RingMemory* memory_;
};

// The side of virtio-blk.
class RequestRingClient : public RequestRing {
 public:
  static Result<RequestRingClient> Attach(std::span<std::byte> memory) {
    const auto ring = Check(memory);
    if (!ring.has_value()) return std::unexpected(ring.error());
    return RequestRingClient(**ring);
  }

  // What the driver says; it may lie.
  Disk disk() const {
    DriverLine& line = header().driver;
    const auto state = static_cast<DiskState>(Load(line.state, std::memory_order_acquire));
    return {.state = state,
            .flags = Load(line.flags),
            .sectors = Load(line.sectors),
            .generation = Load(line.generation)};
  }

  // Segment `index` of a slot that is FREE: to be set before Submit.
  void SetSegment(uint32_t slot, uint32_t index, uint64_t guest_physical, uint32_t bytes) {
    Segment& segment = At(slot).segments[index % kMaxSegments];
    Store(segment.guest_physical, guest_physical);
    Store(segment.bytes, bytes);
  }

  // Makes a FREE slot a request. Afterwards, once for all that were submitted: DriverWaits.
  void Submit(uint32_t slot, const Request& request) {
    Slot& to = At(slot);
    Store(to.operation, std::to_underlying(request.operation));
    Store(to.sector, request.sector);
    Store(to.sectors, request.sectors);
    Store(to.segment_count, request.segment_count);
    SetState(slot, SlotState::kSubmitted);
    Mark(header().submitted, slot);
  }

  void StartEpoch() {
    uint32_t& epoch = header().client_epoch;
    Store(epoch, Load(epoch) + 1, std::memory_order_release);
  }

  // Sets the bit of a slot that is SUBMITTED again: an earlier instance may have died before it did.
  void Remind(uint32_t slot) { Mark(header().submitted, slot); }

  // True: the driver sleeps; signal it.
  bool DriverWaits() { return MustSignal(header().driver.driver_waits); }

  // Slots that were completed since the last time. A hint: look at their State.
  uint64_t TakeCompleted() { return Take(header().completed); }

  // The outcome of a slot that is DONE. Whatever is no status is kIoError.
  RequestStatus Outcome(uint32_t slot) const {
    switch (const auto status = static_cast<RequestStatus>(Load(At(slot).status))) {
      case RequestStatus::kOk:
      case RequestStatus::kUnsupported: return status;
      default: return RequestStatus::kIoError;
    }
  }

  // After the outcome was taken.
  void Free(uint32_t slot) { SetState(slot, SlotState::kFree); }

  // Before sleeping until the driver signals. True: something was completed, do not sleep.
  bool Wait() { return AnnounceSleep(header().client_waits, header().completed); }

 private:
  using RequestRing::RequestRing;
};

// The side of blk-driver.
class RequestRingDriver : public RequestRing {
 public:
  static Result<RequestRingDriver> Attach(std::span<std::byte> memory) {
    const auto ring = Check(memory);
    if (!ring.has_value()) return std::unexpected(ring.error());
    return RequestRingDriver(**ring);
  }

  // Says what the disk is; signal the client afterwards.
  void Announce(const Disk& disk) {
    DriverLine& line = header().driver;
    Store(line.flags, disk.flags);
    Store(line.sectors, disk.sectors);
    Store(line.generation, disk.generation);
    Store(line.state, std::to_underlying(disk.state), std::memory_order_release);
  }

  uint32_t client_epoch() const { return Load(header().client_epoch, std::memory_order_acquire); }

  // Slots that were submitted since the last time. A hint: Read says whether they are.
  uint64_t TakeSubmitted() { return Take(header().submitted); }

  // A private copy of the slot's request, nothing of it checked; nullopt: it is not SUBMITTED.
  std::optional<Request> Read(uint32_t slot) const {
    if (State(slot) != SlotState::kSubmitted) return std::nullopt;
    Slot& from = At(slot);
    return Request{.operation = static_cast<Operation>(Load(from.operation)),
                   .sector = Load(from.sector),
                   .sectors = Load(from.sectors),
                   .segment_count = Load(from.segment_count)};
  }
  // A private copy of one segment; index < kMaxSegments.
  Segment ReadSegment(uint32_t slot, uint32_t index) const {
    Segment& from = At(slot).segments[index % kMaxSegments];
    return {.guest_physical = Load(from.guest_physical), .bytes = Load(from.bytes), .reserved = 0};
  }

  // Gives the slot back. Afterwards, once for all that were completed: ClientWaits.
  void Complete(uint32_t slot, RequestStatus status) {
    Store(At(slot).status, std::to_underlying(status));
    SetState(slot, SlotState::kDone);
    Mark(header().completed, slot);
  }

  // True: the client sleeps; signal it.
  bool ClientWaits() { return MustSignal(header().client_waits); }

  // Before sleeping until the client signals. True: something was submitted, do not sleep.
  bool Wait() { return AnnounceSleep(header().driver.driver_waits, header().submitted); }

 private:
  using RequestRing::RequestRing;
};

}  // namespace atoll::block

#endif  // ATOLL_SERVICES_BLOCK_REQUEST_RING_H_
