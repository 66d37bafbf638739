// The control queues, and which ends of the ports are open.
#include "services/virtio-console/console_device.h"

namespace atoll::virtio_console {

using virtio::SplitQueue;
using virtio::Work;

// Messages of one pass at most.
constexpr uint32_t kPassMessages = 64;

// Sends what the driver does not know yet, as far as it has buffers.
Work ConsoleDevice::Tell(SplitQueue& queue) {
  virtio::ChainRecord& record = memory_.record;
  queue.SuppressNotifications();
  for (uint32_t i = 0; i < kPassMessages; ++i) {
    const auto next = control_.ToTell(OpenEnds());
    if (!next.has_value()) return Work::kDone;
    const SplitQueue::Fetched fetched = queue.Fetch(record);
    if (fetched == SplitQueue::Fetched::kNone) {
      if (queue.ResumeNotifications()) continue;
      return Work::kDone;
    }
    const std::string_view name =
        next->message.event == Event::kPortName ? names_[next->message.id - 1] : std::string_view();
    const auto bytes = static_cast<uint32_t>(sizeof(ControlMessage) + name.size());
    if (fetched == SplitQueue::Fetched::kBroken || record.readable_segments != 0 ||
        record.unreachable != 0 || record.writable_bytes < bytes) {
      return Work::kBroken;
    }
    const virtio::Chain chain = queue.chain(record);
    (void)chain.CopyToWritable(0, std::as_bytes(std::span(&next->message, 1)));
    (void)chain.CopyToWritable(sizeof(ControlMessage), std::as_bytes(std::span(name)));
    // A successor that finds the queue's cursor moved notes what the driver knows by now.
    const Passage passage{.place = next->message.id << 16 | next->flags,
                          .position = queue.position().next};
    virtio::StoreRelease(state_.telling, passage.Pack());
    queue.Accept();
    queue.Push(record.head, bytes);
    queue.Publish();
    control_.Told(next->message.id, next->flags);
    virtio::StoreRelease(state_.telling, uint64_t{0});
    ++messages_;
  }
  return Work::kMore;
}

bool ConsoleDevice::RecoverTelling(const SplitQueue& queue) {
  const auto passage = Passage::Unpack(state_.telling);
  if (!passage.has_value()) return state_.telling == 0;
  if (queue.position().next != passage->position) {
    control_.Told(passage->place >> 16, static_cast<uint16_t>(passage->place));
  }
  virtio::StoreRelease(state_.telling, uint64_t{0});
  return true;
}

// Executes what the driver says.
Work ConsoleDevice::Listen(SplitQueue& queue) {
  virtio::ChainRecord& record = memory_.record;
  bool changed = false;
  for (uint32_t i = 0; i < kPassMessages; ++i) {
    const SplitQueue::Fetched fetched = queue.Fetch(record);
    if (fetched == SplitQueue::Fetched::kNone) {
      if (queue.ResumeNotifications()) continue;
      // Answers go out by another queue, and bytes by others, of which this pass knows nothing.
      return changed ? Work::kMore : Work::kDone;
    }
    if (fetched == SplitQueue::Fetched::kBroken || record.writable_segments != 0 ||
        record.unreachable != 0) {
      return Work::kBroken;
    }
    ControlMessage message;
    const Status read =
        queue.chain(record).CopyFromReadable(0, std::as_writable_bytes(std::span(&message, 1)));
    if (IsOk(read) && control_.Execute(message)) {  // shorter ones say nothing
      changed = true;
      ShowOpen();
    }
    queue.Accept();
    queue.Push(record.head, 0);
    queue.Publish();
  }
  return Work::kMore;
}

// Which ports have somebody at their other end. Bytes that wait count as somebody, so that the driver has them before it
// learns that nothing more will come.
uint32_t ConsoleDevice::OpenEnds() {
  if (failing_) return 0;
  uint32_t open = 1;
  for (uint32_t port = 1; port < ports() && has_switch(); ++port) {
    uint32_t& word = port_switch::StatesIn(ends_.ports).switch_open[port - 1];
    const bool waits = ports_[port].has_value() && ports_[port]->has_input();
    if (port_switch::PortStates::Is(word) || waits) open |= 1u << port;
  }
  return open;
}

// Tells the switch which ports the driver has open.
void ConsoleDevice::ShowOpen() {
  if (!has_switch()) return;
  bool changed = false;
  for (uint32_t port = 1; port <= port_switch::kPorts; ++port) {
    const bool open = port < ports() && !failing_ && control_.IsOpen(port);
    uint32_t& word = port_switch::StatesIn(ends_.ports).device_open[port - 1];
    changed = port_switch::PortStates::Set(word, open) || changed;
  }
  if (changed) ends_.to_switch.Notify();
}

}  // namespace atoll::virtio_console
