// emerg_wr (VIRTIO 1.2, 5.3.5.1): bytes that a driver without queues writes, each exactly once.
//
// The byte goes into the ring of port 0, among those of a chain that may be on its way there. So three stores belong
// together: the byte, where the chain began, and that the access was served. They are made one after the other, and a note
// before them tells a successor how far its predecessor came.
#include "services/virtio-console/console_device.h"

namespace atoll::virtio_console {

void ConsoleDevice::PutEmergency(std::byte byte, uint64_t token) {
  if (token != 0 && token == state_.emergency_token) return;  // it is there already
  if (!ports_[0].has_value() || ports_[0]->output().Free() == 0) return;
  Port& port = *ports_[0];
  virtio::StoreRelease(state_.emergency,
                       port.output().position() | uint64_t{port.chain_begin()} << 32);
  virtio::StoreRelease(state_.emergency_token, token);
  (void)port.Put(byte);
  port.StepOver();
  ++emergencies_;
  port.NotifyPeer();
}

// Before the ring's index moves on.
void ConsoleDevice::RecoverEmergency() {
  if (!ports_[0].has_value() || state_.emergency_token == 0) return;
  const auto before = static_cast<uint32_t>(state_.emergency);
  const auto begin = static_cast<uint32_t>(state_.emergency >> 32);
  const uint32_t put = ports_[0]->output().position() - before;
  if (put == 0) {
    virtio::StoreRelease(state_.emergency_token, uint64_t{0});  // the access comes again
  } else if (put == 1 && ports_[0]->chain_begin() == begin) {
    ports_[0]->StepOver();
  }
}

void ConsoleDevice::ShowCounters() const {
  Port::Counters all;
  for (const std::optional<Port>& port : ports_) {
    if (!port.has_value()) continue;
    all.sent += port->counters().sent;
    all.received += port->counters().received;
    all.dropped += port->counters().dropped;
  }
  auto& shown = OwnStatistics().counters;
  shown[0] = all.sent;
  shown[1] = all.received;
  shown[2] = all.dropped;
  shown[3] = messages_;
  shown[4] = emergencies_;
}

}  // namespace atoll::virtio_console
