// The bytes of one port: from the driver's transmit queue into a ring, and from another ring into its receive queue.
//
// Each byte is at one place: it moves by a store of a ring's index or of a queue's cursor. A Passage that is stored before
// says how the two of them hang together, so a successor goes on at the byte where this one ended.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_PORT_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_PORT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "services/console/line.h"
#include "services/runtime/check_word.h"
#include "services/runtime/ports.h"
#include "services/virtio-console/state.h"
#include "services/virtio/chain.h"
#include "services/virtio/device_model.h"
#include "services/virtio/split_queue.h"

namespace atoll::virtio_console {

// What a pass over a queue works with, as only one is under way at a time.
struct PassMemory {
  virtio::ChainRecord record;
  std::array<std::byte, 4096> bytes;
};

// This instance's own data were: with a wrong place in a ring it would give old bytes again. The name is what the crash
// record's backtrace shows.
[[noreturn, gnu::noinline, gnu::cold]] inline void PortWasWrittenOver() { __builtin_trap(); }

class Port {
 public:
  struct Counters {
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t dropped = 0;  // sent while the device fails
  };

  // peer: who has the rings' other ends. reserve: bytes of the output ring that what comes by the queue leaves free.
  // journal, peer and memory outlive the port.
  Port(const GuestLine& line, Notifier& peer, PortJournal& journal, PassMemory& memory,
       size_t reserve)
      : output_(line.output),
        input_(line.input),
        reserve_(reserve),
        peer_(&peer),
        journal_(&journal),
        memory_(&memory),
        check_(Check()) {}

  // Of the output ring.
  const ByteRingWriter& output() const { return output_; }
  bool has_input() const { return input_.Available() != 0; }
  const Counters& counters() const { return counters_; }
  // It is as the last use left it.
  bool IsIntact() const { return check_ == Check(); }

  // What the driver sends, at most a share of it. A ring that is full leaves it in its queue until the peer signals.
  virtio::Work Send(virtio::SplitQueue& queue) {
    return Using([&] { return SendChains(queue); });
  }

  // Uses what the driver sends without looking at it.
  virtio::Work Drop(virtio::SplitQueue& queue) {
    virtio::ChainRecord& record = memory_->record;
    for (uint32_t i = 0; i < virtio::kMaxQueueSize; ++i) {
      const virtio::SplitQueue::Fetched fetched = queue.Fetch(record);
      if (fetched == virtio::SplitQueue::Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        return virtio::Work::kDone;
      }
      if (fetched == virtio::SplitQueue::Fetched::kBroken) return virtio::Work::kBroken;
      counters_.dropped += record.readable_bytes;
      Use(queue, 0);
    }
    return virtio::Work::kMore;
  }

  // What has come for the driver, as far as it has buffers, at most a share of it.
  virtio::Work Receive(virtio::SplitQueue& queue) {
    return Using([&] { return ReceiveBytes(queue); });
  }

  // A byte beside what the driver sends by its queue. To be called in this order; a successor that finds the first done
  // and not the second calls that.
  bool Put(std::byte byte) {
    return Using([&] { return output_.Put(byte) != 0; });
  }
  void StepOver() {
    const auto begun = Passage::Unpack(journal_->sending);
    if (!begun.has_value()) return;
    const Passage passage{.place = begun->place + 1, .position = begun->position};
    virtio::StoreRelease(journal_->sending, passage.Pack());
  }
  // Where the chain that is on its way began in the ring.
  uint32_t chain_begin() const {
    return Passage::Unpack(journal_->sending).value_or(Passage{}).place;
  }
  // The peer is to look at its ends of the rings.
  void NotifyPeer() { peer_->Notify(); }

  // False: the journal is damaged.
  bool RecoverReceive(const virtio::SplitQueue& queue) {
    return Using([&] { return RecoverBytes(queue); });
  }
  bool RecoverSend() const {
    return journal_->sending == 0 || Passage::Unpack(journal_->sending).has_value();
  }
  void StopReceive() { virtio::StoreRelease(journal_->receiving, uint64_t{0}); }
  void StopSend() { virtio::StoreRelease(journal_->sending, uint64_t{0}); }

 private:
  // What is done with the rings, between two looks at them.
  template <typename Action>
  std::invoke_result_t<Action> Using(Action action) {
    if (!IsIntact()) [[unlikely]]
      PortWasWrittenOver();
    const auto result = action();
    check_ = Check();
    return result;
  }
  uint32_t Check() const {
    CheckWord check(static_cast<uint32_t>(reserve_));
    check.AddObject(output_);
    check.AddObject(input_);
    return check.value();
  }

  // What one pass moves at most, before other events have their turn.
  static constexpr uint64_t kPassBytes = 64 << 10;
  // So that a ring's index tells any two places in a chain apart.
  static constexpr uint64_t kMaxChainBytes = uint64_t{1} << 31;

  virtio::Work SendChains(virtio::SplitQueue& queue) {
    virtio::ChainRecord& record = memory_->record;
    queue.SuppressNotifications();
    for (uint64_t budget = kPassBytes; budget != 0;) {
      const virtio::SplitQueue::Fetched fetched = queue.Fetch(record);
      if (fetched == virtio::SplitQueue::Fetched::kNone) {
        if (queue.ResumeNotifications()) continue;
        return Notified(virtio::Work::kDone);
      }
      if (fetched == virtio::SplitQueue::Fetched::kBroken || record.writable_segments != 0 ||
          record.unreachable != 0 || record.readable_bytes > kMaxChainBytes) {
        return virtio::Work::kBroken;
      }
      uint64_t sent = Begin(queue);
      while (sent < record.readable_bytes && budget != 0) {
        const auto count = static_cast<size_t>(std::min<uint64_t>(
            {record.readable_bytes - sent, Room(), memory_->bytes.size(), budget}));
        if (count == 0) return Notified(virtio::Work::kDone);
        const auto bytes = std::span(memory_->bytes).first(count);
        (void)queue.chain(record).CopyFromReadable(sent, bytes);
        output_.Write(bytes);
        sent += count;
        budget -= count;
        counters_.sent += count;
      }
      if (sent < record.readable_bytes) break;
      Use(queue, 0);
    }
    return Notified(virtio::Work::kMore);
  }

  virtio::Work ReceiveBytes(virtio::SplitQueue& queue) {
    virtio::ChainRecord& record = memory_->record;
    queue.SuppressNotifications();
    virtio::Work work = virtio::Work::kMore;
    for (uint64_t budget = kPassBytes; budget != 0;) {
      const size_t available = input_.Available();
      const virtio::SplitQueue::Fetched fetched =
          available == 0 ? virtio::SplitQueue::Fetched::kNone : queue.Fetch(record);
      if (fetched == virtio::SplitQueue::Fetched::kNone) {
        if (available != 0 && queue.ResumeNotifications()) continue;
        work = virtio::Work::kDone;
        break;
      }
      if (fetched == virtio::SplitQueue::Fetched::kBroken || record.readable_segments != 0 ||
          record.unreachable != 0) {
        return virtio::Work::kBroken;
      }
      const auto count = static_cast<uint32_t>(input_.Peek(
          std::span(memory_->bytes)
              .first(std::min<uint64_t>({record.writable_bytes, memory_->bytes.size(), budget}))));
      (void)queue.chain(record).CopyToWritable(0, std::span(memory_->bytes).first(count));
      // Until the queue's cursor moves a successor delivers it again, from then on it only takes it out of the ring.
      const Passage passage{.place = input_.position() + count, .position = queue.position().next};
      virtio::StoreRelease(journal_->receiving, passage.Pack());
      Use(queue, count);
      input_.Consume(count);
      counters_.received += count;
      budget -= count;
    }
    if (counters_.received != announced_received_) peer_->Notify();  // there is room
    announced_received_ = counters_.received;
    return work;
  }

  bool RecoverBytes(const virtio::SplitQueue& queue) {
    const auto passage = Passage::Unpack(journal_->receiving);
    if (!passage.has_value()) return journal_->receiving == 0;
    // A place that is behind the ring's index already is far beyond it in this unsigned distance.
    const uint32_t left = passage->place - input_.position();
    if (queue.position().next != passage->position && left <= memory_->bytes.size())
      input_.Consume(left);
    return true;
  }

  size_t Room() const {
    const size_t free = output_.Free();
    return free > reserve_ ? free - reserve_ : 0;
  }
  // How many bytes of the chain that was fetched are in the ring already.
  uint64_t Begin(const virtio::SplitQueue& queue) {
    const uint16_t position = queue.position().next;
    const auto begun = Passage::Unpack(journal_->sending);
    if (begun.has_value() && begun->position == position) return output_.position() - begun->place;
    const Passage passage{.place = output_.position(), .position = position};
    virtio::StoreRelease(journal_->sending, passage.Pack());
    return 0;
  }
  void Use(virtio::SplitQueue& queue, uint32_t written) {
    queue.Accept();
    queue.Push(memory_->record.head, written);
    queue.Publish();
  }
  virtio::Work Notified(virtio::Work work) {
    if (counters_.sent != announced_sent_ || Room() == 0) peer_->Notify();
    announced_sent_ = counters_.sent;
    return work;
  }

  ByteRingWriter output_;
  ByteRingReader input_;
  size_t reserve_;
  Notifier* peer_;
  PortJournal* journal_;
  PassMemory* memory_;
  Counters counters_;
  uint64_t announced_sent_ = 0;
  uint64_t announced_received_ = 0;
  uint32_t check_;  // of the rings
};

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_PORT_H_
