// A virtio device as one class: declared are its identity, features, queues, configuration space and the state that it
// keeps; written is what it does with a request. Everything else is here and in MmioTransport: rings, journal, restart,
// exactly-once, poison, failed mode, statistics.
//
//   struct LampConfig { uint32_t colours = 7; };
//   struct LampState { uint64_t colour = 0; };
//   inline constexpr virtio::Declaration kLamp{.device_id = 60, .queues = {64}};
//
//   class VirtioLamp final : public virtio::Device<kLamp, LampConfig, LampState> {
//    public:
//     using Device::Device;
//     virtio::Handled OnRequest(uint32_t queue, virtio::Request& request) override {
//       uint64_t colour;
//       if (request.Read(0, colour)) ChangeState().colour = colour;
//       request.WriteValue(state().colour);
//       return virtio::Handled::kDone;
//     }
//   };
#ifndef ATOLL_SERVICES_VIRTIO_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_DEVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "services/runtime/journalled.h"
#include "services/runtime/statistics.h"
#include "services/runtime/surroundings.h"
#include "services/virtio/chain.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"
#include "services/virtio/specification.h"
#include "services/virtio/split_queue.h"

namespace atoll::virtio {

// Bounds that are wrong end compilation inside one of these, whose name says what is wrong and whose argument which queue.
namespace declaration_error {
void StopCompilation();  // not constexpr: reaching it is the error
constexpr void QueueSizeIsNotAPowerOfTwoUpTo256(size_t queue) {
  if (queue < kMaxQueues) StopCompilation();
}
constexpr void QueueWithoutSizeBetweenOthers(size_t queue) {
  if (queue < kMaxQueues) StopCompilation();
}
constexpr void NoQueueIsDeclared(size_t) { StopCompilation(); }
constexpr void FeatureIsTheTransportsOwn(size_t bit) {
  if (bit < 64) StopCompilation();
}
}  // namespace declaration_error

struct Declaration {
  uint32_t device_id = 0;
  uint64_t features = 0;  // the device's own, offered besides those of every device
  std::array<uint32_t, kMaxQueues> queues =
      {};               // QueueNumMax of each, from queue 0; 0: no such queue
  uint32_t format = 1;  // of the state's layout: another one for another layout

  consteval uint32_t Queues() const {
    namespace error = declaration_error;
    uint32_t count = 0;
    for (size_t i = 0; i < queues.size(); ++i) {
      if (queues[i] == 0) continue;
      if ((queues[i] & (queues[i] - 1)) != 0 || queues[i] > kMaxQueueSize) {
        error::QueueSizeIsNotAPowerOfTwoUpTo256(i);
      }
      if (i != count) error::QueueWithoutSizeBetweenOthers(count);
      ++count;
    }
    if (count == 0) error::NoQueueIsDeclared(count);
    for (size_t bit = 24; bit < 41; ++bit) {  // 6: reserved for queues, rings and transports
      if ((features >> bit & 1) != 0) error::FeatureIsTheTransportsOwn(bit);
    }
    return count;
  }
};

// No configuration space.
struct NoConfigSpace {};

// A chain of the driver's: what it wrote for the device, and where the device may write. Each byte of it is the guest's,
// who may change it at any time: what is read is copied once. Reading or writing beyond an end says false.
class Request {
 public:
  explicit Request(const Chain& chain) : chain_(chain) {}

  uint64_t readable_bytes() const { return chain_.readable_bytes(); }
  uint64_t writable_bytes() const { return chain_.writable_bytes(); }
  uint64_t writable_left() const { return writable_bytes() - written_; }

  bool Read(uint64_t offset, std::span<std::byte> to) const {
    return IsOk(chain_.CopyFromReadable(offset, to));
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  bool Read(uint64_t offset, T& value) const {
    return Read(offset, std::as_writable_bytes(std::span(&value, 1)));
  }
  // Calls `visit(std::span<std::byte>)` for each piece of [offset, offset + length) of what the driver wrote.
  template <typename Visit>
  bool ForEachReadable(uint64_t offset, uint64_t length, Visit visit) const {
    return IsOk(chain_.VisitReadable(offset, length, [&visit](std::span<std::byte> piece) {
      visit(std::span<const std::byte>(piece));
      return Status::kOk;
    }));
  }

  // Appends to what was written. All of it or, if there is no room, nothing.
  bool Write(std::span<const std::byte> bytes) {
    if (bytes.size() > writable_left() || !IsOk(chain_.CopyToWritable(written_, bytes)))
      return false;
    written_ += bytes.size();
    return true;
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  bool WriteValue(const T& value) {
    return Write(std::as_bytes(std::span(&value, 1)));
  }
  // Calls `fill(std::span<std::byte>)` for each piece of the next `length` bytes, which it has to fill.
  template <typename Fill>
  bool WriteWith(uint64_t length, Fill fill) {
    if (length > writable_left() ||
        !IsOk(chain_.VisitWritable(written_, length, [&fill](std::span<std::byte> piece) {
          fill(piece);
          return Status::kOk;
        }))) {
      return false;
    }
    written_ += length;
    return true;
  }

  uint64_t written() const { return written_; }
  const Chain& chain() const { return chain_; }

 private:
  Chain chain_;
  uint64_t written_ = 0;
};

// What became of a request.
enum class Handled {
  kDone,  // it is given back with what was written
  // It cannot be done yet: it stays in its queue, and comes again after a peer's signal or LookAgain. Nothing of it may
  // have been done.
  kLater,
  kBroken,  // the driver broke a rule that only a reset cures
};

// What a device keeps, in its part of virtio::Journal.
template <typename State>
struct DeviceJournal {
  typename Journalled<State>::Copies copies;
  uint64_t settled = 0;  // token of the last request that changed the state, once it is given back
};

template <Declaration kDeclaration, typename ConfigSpace = NoConfigSpace, typename State = NoState>
class Device : public DeviceModel {
 public:
  static constexpr Declaration kDeclared = kDeclaration;
  static constexpr uint32_t kQueues = kDeclaration.Queues();
  using StateType = State;
  using JournalType = Journal<DeviceJournal<State>, kQueues>;

  explicit Device(const Surroundings& surroundings)
      : surroundings_(surroundings),
        journal_(*reinterpret_cast<JournalType*>(surroundings.journal.data())),
        state_(journal_.device.copies, kDeclaration.format) {
    constexpr const char* kNames[] = {"requests", "bytes", "repeated", "dropped", "failed"};
    for (size_t i = 0; i < kOwnCounters; ++i) NameCounter(i, kNames[i]);
  }

  // Serves one request. It may be called again for one that a dying instance had not finished, unless that one
  // changed the state: then its change counts, and it is given back as it was.
  virtual Handled OnRequest(uint32_t queue, Request& request) = 0;
  // The same while everything is to fail in a way that the driver sees.
  virtual Handled OnFailingRequest(uint32_t queue, Request& request) { return Handled::kDone; }
  // The state after the driver's reset.
  virtual State StateAfterReset() const { return {}; }

  // ---- DeviceModel: a device may override what it wants to do in another way.
  Description Describe() const override {
    return {.device_id = kDeclaration.device_id,
            .features =
                kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx | kDeclaration.features,
            .queue_sizes = std::span(kDeclaration.queues).first(kQueues),
            .format = kDeclaration.format};
  }
  std::span<const std::byte> Config() const override {
    if constexpr (std::is_empty_v<ConfigSpace>) {
      return {};
    } else {
      return std::as_bytes(std::span(&config_space_, 1));
    }
  }
  // Each request is given back before the next is looked at, and what one changed tells that it was done.
  bool InOrder() const override { return true; }
  // What a peer's signal may have made possible is tried.
  PeerWork OnPeerSignals(uint64_t bits) override { return {.queues = (1u << kQueues) - 1}; }
  void SetFailing(bool until_reset) override {
    failing_ = true;
    fails_ever_ = fails_ever_ || !until_reset;
  }
  bool IsIntact() const override { return state_.IsIntact(); }
  bool SkipNext(uint32_t, SplitQueue& queue) override {
    queue.Skip();
    Count(kDropped);
    return true;
  }
  bool StopQueue(uint32_t index) override {
    if (InHand() && QueueOf(state_.token()) == index) Settle();
    return true;
  }
  void Reset() override {
    state_.Change() = StateAfterReset();
    state_.Commit(0);
    Settle();
    failing_ = fails_ever_;
  }
  bool RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features, bool) override {
    features_ = features;
    if (state_.found() == Copies::kLost || state_.refused()) return false;
    // Its change is there: it is not done again, only given back.
    if (InHand() && state_.token() == TokenOf(index, queue)) {
      if (queue.Fetch(record_) == SplitQueue::Fetched::kChain) GiveBack(queue, state_.written());
      queue.Publish();
      Count(kRepeated);
    }
    if (InHand() && QueueOf(state_.token()) == index) Settle();
    return true;
  }

  Work ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) override {
    features_ = features;
    queue.SuppressNotifications();
    Work work = Serve(index, queue);
    queue.Publish();
    if (look_again_ && work == Work::kDone) work = Work::kMore;
    look_again_ = false;
    return work;
  }

 protected:
  // Counters of the library; a device's own begin behind them.
  enum Counter : size_t { kRequests, kBytes, kRepeated, kDropped, kFailed, kOwnCounters };
  static constexpr size_t kFirstCounter = kOwnCounters;

  const State& state() const { return *state_; }
  // To be changed by OnRequest or OnPeerSignals; in the latter followed by CommitState. It counts with the request.
  State& ChangeState() { return state_.Change(); }
  void CommitState() { state_.Commit(); }

  // All queues are looked at again: what this one did may let requests go on that had to wait.
  void LookAgain() { look_again_ = true; }

  ConfigSpace& config_space() { return config_space_; }
  const Surroundings& surroundings() const { return surroundings_; }
  Peers& peers() { return surroundings_.peers; }
  uint64_t features() const { return features_; }  // negotiated
  bool failing() const { return failing_; }

 private:
  // Requests that one pass serves at most: then others have their turn.
  static constexpr uint32_t kPassRequests = 64;

  // Of the request that is next in a queue. Not 0.
  static uint64_t TokenOf(uint32_t index, const SplitQueue& queue, uint64_t change) {
    return change << 32 | uint64_t{index + 1} << 16 | queue.position().next;
  }
  uint64_t TokenOf(uint32_t index, const SplitQueue& queue) const {
    return TokenOf(index, queue, state_.token() >> 32);
  }
  static uint32_t QueueOf(uint64_t token) {
    return static_cast<uint32_t>(token >> 16 & 0xffff) - 1;
  }
  // A request changed the state and has not been given back, as far as is known.
  bool InHand() const { return state_.token() != 0 && journal_.device.settled != state_.token(); }
  void Settle() { StoreRelease(journal_.device.settled, state_.token()); }

  void GiveBack(SplitQueue& queue, uint32_t written) {
    queue.Accept();
    queue.Push(record_.head, written);
    Count(kRequests);
    Count(kBytes, written);
  }

  Work Serve(uint32_t index, SplitQueue& queue) {
    for (uint32_t i = 0; i < kPassRequests; ++i) {
      const SplitQueue::Fetched fetched = queue.Fetch(record_);
      if (fetched == SplitQueue::Fetched::kBroken) return Work::kBroken;
      if (fetched == SplitQueue::Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        return Work::kDone;
      }
      if (record_.unreachable != 0) return Work::kBroken;
      Request request(queue.chain(record_));
      const Handled handled =
          failing_ ? OnFailingRequest(index, request) : OnRequest(index, request);
      if (failing_) Count(kFailed);
      if (handled == Handled::kBroken) return Work::kBroken;
      if (handled == Handled::kLater) return Work::kDone;  // the driver need not notify of more
      const auto written = static_cast<uint32_t>(request.written());
      if (!state_.changed()) {
        GiveBack(queue, written);
        continue;
      }
      queue.Publish();  // those before it: a successor would do them again
      state_.Commit(TokenOf(index, queue, (state_.token() >> 32) + 1), written);
      GiveBack(queue, written);
      queue.Publish();
      Settle();
    }
    return Work::kMore;
  }

  const Surroundings surroundings_;
  JournalType& journal_;
  Journalled<State> state_;
  ConfigSpace config_space_ = {};
  ChainRecord record_;
  uint64_t features_ = 0;
  bool look_again_ = false;
  bool failing_ = false;     // everything fails ...
  bool fails_ever_ = false;  // ... after a reset, too
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_DEVICE_H_
