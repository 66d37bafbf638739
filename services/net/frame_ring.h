// A ring of Ethernet frames in memory that two tasks share: one writes, one reads, neither trusts the other.
//
// Layout: a page of header, then the data, whose capacity is the largest power of two that fits. Header:
//   offset 0: u32 writer index   4: u32 writer waits for room     (the writer's cache line)
//   offset 8: u32 writer is down: it has given up     12: u32 epoch of the writer: one more when what it wrote
//             before counts no more (its guest's driver starts anew)
//   offset 64: u32 reader index  68: u32 reader waits for frames  (the reader's)
// Indices are free-running 32-bit counts of bytes, multiples of 16.
//
// A record is a FrameHeader, the frame, and padding to 16 bytes. It never wraps, so a frame is one span; a header
// whose `bytes` is kSkip says that the data goes on at its start.
//
// Order. Each side publishes its index after it has touched the data, and the other reads it before it does. To
// sleep, a side sets its flag and then looks at the other's index once more; the other publishes its index and then
// looks at the flag. All four accesses are sequentially consistent, so at least one of them sees the other: no
// wake-up is lost, and who is not asleep is not signalled. Whoever sees the flag clears it and must signal; if it
// dies between the two, its next instance must signal the peer at its start.
//
// Trust. Everything here may change at any time. Each side keeps its own index in private memory (own_index.h; the
// shared copy serves a restart), reads each shared field once, and checks what it read. Where the peer's words make no sense, the
// ring is emptied and the fault is counted: so rings whose memory was zeroed, or whose peer went mad and was started
// anew, work again by themselves, and a hostile peer spoils its own frames and nothing else.
#ifndef ATOLL_SERVICES_NET_FRAME_RING_H_
#define ATOLL_SERVICES_NET_FRAME_RING_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "ipc/status.h"
#include "services/net/own_index.h"

namespace atoll::net {

inline constexpr uint32_t kMinFrameBytes = 14;  // an Ethernet header
inline constexpr uint32_t kMaxFrameBytes =
    65550;  // VIRTIO 1.2, 5.1.6.3.1: 64 KiB and the Ethernet header

// A port has two rings one after the other: towards the switch, from the switch.
inline constexpr size_t kRingBytes = 4096 + 524288;
inline constexpr size_t kPortBytes = 2 * kRingBytes;

// What goes with a frame. All but `bytes` and `flow` have the meaning and the values of virtio-net's header
// (VIRTIO 1.2, 5.1.6); they are the sender's word until somebody has checked them (offload.h).
struct FrameHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // flags
  static constexpr uint8_t kDataValid = 2;
  static constexpr uint8_t kGsoNone = 0;  // gso_type
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoEcn = 0x80;  // a bit beside kGsoTcp*

  uint32_t bytes = 0;  // of the frame
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t header_bytes = 0;  // hint: Ethernet, IP and TCP headers
  uint16_t gso_size = 0;      // payload of a segment
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
  uint16_t flow = 0;  // hint: queue pair of the sender
};
static_assert(sizeof(FrameHeader) == 16 && std::is_trivially_copyable_v<FrameHeader>);
static_assert(std::endian::native == std::endian::little, "the header is copied as it is");

struct Frame {
  FrameHeader header;  // private; `bytes` is checked, the rest is what the writer says
  std::span<const std::byte> bytes;  // shared memory: may change while it is read
};

// What both sides have in common.
class FrameRing {
 public:
  static constexpr size_t kHeaderBytes = 4096;
  // Two of the longest records fit, so that any frame fits into an empty ring wherever that stands.
  static constexpr size_t kMinCapacity = 262144;
  static constexpr size_t kMaxCapacity = size_t{1} << 30;
  // The longest frame that any ring may be for.
  static constexpr uint32_t kMostBytes = kMinCapacity / 2 - 2 * sizeof(FrameHeader);

  uint32_t capacity() const { return static_cast<uint32_t>(data_.size()); }

  // This side's index: where the next record is written, or read.
  uint32_t position() const { return own_.value(); }

  // This side still means the memory and the frames that it was attached for, and knows its place there.
  bool IsIntact(std::span<std::byte> memory, uint32_t max_bytes = kMaxFrameBytes) const {
    return header_.data() == memory.data() && header_.size() == kHeaderBytes &&
           data_.data() == memory.data() + kHeaderBytes &&
           data_.size() == std::min(std::bit_floor(memory.size() - kHeaderBytes), kMaxCapacity) &&
           max_bytes_ == max_bytes && own_.IsWhole();
  }

  // How often the peer's words made no sense and the ring was emptied.
  uint32_t faults() const { return faults_; }

 protected:
  static constexpr size_t kWriter = 0;  // offsets of the two cache lines
  static constexpr size_t kReader = 64;
  static constexpr size_t kWaits = 4;  // offset of the flag in a line
  static constexpr size_t kDown = 8;   // in the writer's line
  static constexpr size_t kEpoch = 12;
  static constexpr uint32_t kUnit = 16;
  static constexpr uint32_t kSkip = ~uint32_t{0};

  FrameRing(std::span<std::byte> memory, size_t own_line, uint32_t max_bytes)
      : header_(memory.first(kHeaderBytes)),
        data_(memory.subspan(kHeaderBytes,
                             std::min(std::bit_floor(memory.size() - kHeaderBytes), kMaxCapacity))),
        max_bytes_(max_bytes),
        own_(Field(own_line).load(std::memory_order_acquire)) {}

  static Status Check(std::span<std::byte> memory) {
    const bool aligned = reinterpret_cast<uintptr_t>(memory.data()) % kUnit == 0;
    const bool room = memory.size() >= kHeaderBytes + kMinCapacity;
    return aligned && room ? Status::kOk : Status::kInvalidArgument;
  }

  bool IsFrame(uint32_t bytes) const { return bytes >= kMinFrameBytes && bytes <= max_bytes_; }
  static constexpr uint32_t RoundUp(uint32_t bytes) { return (bytes + kUnit - 1) & ~(kUnit - 1); }
  static constexpr uint32_t RecordBytes(uint32_t frame) {
    return RoundUp(frame) + uint32_t{sizeof(FrameHeader)};
  }

  std::atomic_ref<uint32_t> Field(size_t offset) const {
    return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(header_.data() + offset));
  }

  uint32_t Offset(uint32_t index) const { return index & (capacity() - 1); }

  void Publish(size_t line, uint32_t index) {
    own_.Set(index);
    Field(line).store(index, std::memory_order_seq_cst);
  }

  // Whether the peer waits; if so it must be signalled, since the flag is taken back.
  bool TakeFlag(size_t line) {
    if (Field(line + kWaits).load(std::memory_order_seq_cst) == 0) return false;
    Field(line + kWaits).store(0, std::memory_order_relaxed);
    return true;
  }

  void SetFlag(size_t line, bool waits) {
    Field(line + kWaits).store(waits ? 1 : 0, std::memory_order_seq_cst);
  }

  std::span<std::byte> header_;
  std::span<std::byte> data_;
  uint32_t max_bytes_;  // of a frame
  OwnIndex own_;        // this side's
  uint32_t faults_ = 0;
};

class FrameWriter : public FrameRing {
 public:
  // Goes on where an earlier writer on this memory stopped; zeroed memory is an empty ring. Indices that contradict
  // each other empty the ring. max_bytes: of a frame, up to kMostBytes. INVALID_ARGUMENT: memory that is too small or
  // not aligned.
  static Result<FrameWriter> Attach(std::span<std::byte> memory,
                                    uint32_t max_bytes = kMaxFrameBytes) {
    if (const Status status = Check(memory); !IsOk(status)) return std::unexpected(status);
    FrameWriter ring(memory, max_bytes);
    const uint32_t read = ring.Field(kReader).load(std::memory_order_acquire);
    const uint32_t own = ring.position();
    if (own % kUnit != 0 || own - read > ring.capacity()) ring.Empty(read);
    return ring;
  }

  // Contiguous room for a frame of this many bytes, empty if there is none now: then the reader will find that
  // this side waits. Gives up what was reserved and not published.
  std::span<std::byte> Reserve(uint32_t bytes) {
    std::span<std::byte> room = TryReserve(bytes);
    if (!room.empty() || !IsFrame(bytes)) [[likely]]
      return room;
    SetFlag(kWriter, true);
    // The flag stays if there is room now: an earlier Reserve may have set it for a longer frame.
    return ReserveAt(bytes, Field(kReader).load(std::memory_order_seq_cst));
  }

  // The same for a writer that will not wait.
  std::span<std::byte> TryReserve(uint32_t bytes) {
    return ReserveAt(bytes, Field(kReader).load(std::memory_order_acquire));
  }

  // Makes the frame visible that was written into what was reserved last. header.bytes: at most what was reserved;
  // otherwise, and without a reservation, nothing happens.
  void Publish(const FrameHeader& header) {
    if (!IsFrame(header.bytes) || header.bytes > reserved_bytes_) return;
    __builtin_memcpy(data_.data() + Offset(reserved_at_), &header, sizeof header);
    FrameRing::Publish(kWriter, reserved_at_ + RecordBytes(header.bytes));
    reserved_bytes_ = 0;
  }

  // How far the reader says it is: grows by at least 32 with each frame that it takes.
  uint32_t reader_index() const { return Field(kReader).load(std::memory_order_acquire); }

  // Bytes that are free, in two pieces perhaps.
  uint32_t Free() const {
    const uint32_t used = position() - reader_index();
    return used <= capacity() ? capacity() - used : 0;
  }

  // Tells the reader that nothing comes any more, or again; to be signalled afterwards.
  void SetDown(bool down) { Field(kWriter + kDown).store(down ? 1 : 0, std::memory_order_release); }
  bool IsDown() const { return Field(kWriter + kDown).load(std::memory_order_acquire) != 0; }
  uint32_t epoch() const { return Field(kWriter + kEpoch).load(std::memory_order_acquire); }
  void StartEpoch() {
    const auto epoch = Field(kWriter + kEpoch);
    epoch.store(epoch.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  // After publishing, once for a batch: whether the reader must be signalled.
  bool ReaderWaits() { return TakeFlag(kReader); }

 private:
  FrameWriter(std::span<std::byte> memory, uint32_t max_bytes)
      : FrameRing(memory, kWriter, max_bytes) {}

  std::span<std::byte> ReserveAt(uint32_t bytes, uint32_t read) {
    reserved_bytes_ = 0;
    if (!IsFrame(bytes)) return {};
    uint32_t own = position();
    uint32_t used = own - read;
    if (used > capacity()) [[unlikely]] {
      ++faults_;
      Empty(read);
      own = position();
      used = own - read;
    }
    const uint32_t free = capacity() - used;
    const uint32_t offset = Offset(own);
    const uint32_t to_end = capacity() - offset;
    const uint32_t record = RecordBytes(bytes);
    uint32_t at = own;
    if (record > to_end) {
      if (free < to_end || free - to_end < record) return {};
      // Not visible before the frame's record is published.
      __builtin_memcpy(data_.data() + offset, &kSkip, sizeof kSkip);
      at += to_end;
    } else if (record > free) {
      return {};
    }
    reserved_at_ = at;
    reserved_bytes_ = bytes;
    return data_.subspan(Offset(at) + sizeof(FrameHeader), bytes);
  }

  void Empty(uint32_t read) { FrameRing::Publish(kWriter, RoundUp(read)); }

  uint32_t reserved_at_ = 0;     // index of the record
  uint32_t reserved_bytes_ = 0;  // 0: nothing is reserved
};

class FrameReader : public FrameRing {
 public:
  // As FrameWriter::Attach. A frame that an earlier reader did not consume is there again.
  static Result<FrameReader> Attach(std::span<std::byte> memory,
                                    uint32_t max_bytes = kMaxFrameBytes) {
    if (const Status status = Check(memory); !IsOk(status)) return std::unexpected(status);
    FrameReader ring(memory, max_bytes);
    const uint32_t written = ring.Field(kWriter).load(std::memory_order_acquire);
    const uint32_t own = ring.position();
    if (own % kUnit != 0 || written - own > ring.capacity()) ring.Empty(written);
    ring.next_ = ring.position();
    return ring;
  }

  // The oldest frame, which stays in the ring until it is consumed.
  std::optional<Frame> Next() {
    const uint32_t written = Field(kWriter).load(std::memory_order_acquire);
    uint32_t at = position();
    next_ = at;
    if (written == at) return std::nullopt;
    if (written - at > capacity()) [[unlikely]]
      return Fault(written);
    FrameHeader header = HeaderAt(at);
    if (header.bytes == kSkip) {
      at += capacity() - Offset(at);
      if (written - at > capacity() || written == at) [[unlikely]]
        return Fault(written);
      header = HeaderAt(at);
    }
    if (!IsFrame(header.bytes)) [[unlikely]]
      return Fault(written);
    const uint32_t record = RecordBytes(header.bytes);
    if (record > written - at || record > capacity() - Offset(at)) [[unlikely]] {
      return Fault(written);
    }
    next_ = at + record;
    return Frame{header, data_.subspan(Offset(at) + sizeof(FrameHeader), header.bytes)};
  }

  // Gives back the room of the frame that Next returned last.
  void Consume() { FrameRing::Publish(kReader, next_); }

  // For a reader whose frames stay in the ring until somebody else has them. Pass: Next shows the frame behind the one
  // that it returned last, whose room is not given back. GiveBack: that of all frames before `index`. Rewind: Next goes
  // on at `index`. Whoever calls them knows that a frame begins there.
  void Pass() { own_.Set(next_); }
  void GiveBack(uint32_t index) { Field(kReader).store(index, std::memory_order_seq_cst); }
  void Rewind(uint32_t index) {
    next_ = index;
    own_.Set(index);
  }
  uint32_t next_position() const { return next_; }  // behind the frame that Next returned last
  uint32_t writer_index() const { return Field(kWriter).load(std::memory_order_acquire); }

  bool WriterIsDown() const { return Field(kWriter + kDown).load(std::memory_order_acquire) != 0; }
  uint32_t writer_epoch() const { return Field(kWriter + kEpoch).load(std::memory_order_acquire); }

  // Drops all that there is, unseen.
  void DropAll() { Empty(Field(kWriter).load(std::memory_order_acquire)); }

  // After consuming, once for a batch: whether the writer must be signalled.
  bool WriterWaits() { return TakeFlag(kWriter); }

  // Before sleeping. True: frames came meanwhile, look again instead.
  bool Wait() {
    SetFlag(kReader, true);
    const uint32_t used = Field(kWriter).load(std::memory_order_seq_cst) - position();
    if (used == 0 || used > capacity()) return false;
    SetFlag(kReader, false);
    return true;
  }

 private:
  FrameReader(std::span<std::byte> memory, uint32_t max_bytes)
      : FrameRing(memory, kReader, max_bytes) {}

  // The writer may change it meanwhile: each half is read once. `at` is a multiple of 16.
  FrameHeader HeaderAt(uint32_t at) const {
    auto* const words = reinterpret_cast<uint64_t*>(data_.data() + Offset(at));
    return std::bit_cast<FrameHeader>(
        std::array{std::atomic_ref<uint64_t>(words[0]).load(std::memory_order_relaxed),
                   std::atomic_ref<uint64_t>(words[1]).load(std::memory_order_relaxed)});
  }

  std::optional<Frame> Fault(uint32_t written) {
    // An index that is not a multiple of 16 is a fault once, not whenever it is looked at.
    if (position() != RoundUp(written)) {
      ++faults_;
      Empty(written);
    }
    return std::nullopt;
  }

  void Empty(uint32_t written) {
    next_ = RoundUp(written);
    FrameRing::Publish(kReader, next_);
  }

  uint32_t next_ = 0;  // index after the frame that Next returned
};

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_FRAME_RING_H_
