// What a console device and its driver tell each other of the ports (VIRTIO 1.2, 5.3.6.2).
//
// There is no list of messages to be sent: the next one follows from what the driver has been told and what is so, which
// lies in the journal twice. Executing a message again changes nothing, so one that comes again after a death does no harm.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_CONTROL_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_CONTROL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/runtime/two_copies.h"
#include "services/virtio-console/specification.h"
#include "services/virtio-console/state.h"

namespace atoll::virtio_console {

class Control {
 public:
  // ports: port 0 and those behind it.
  Control(TwoCopies<ControlState>& copies, uint32_t ports) : state_(copies), ports_(ports) {}

  // The journal was damaged, and there was no reset since.
  bool lost() const { return state_.lost(); }
  bool IsIntact() const { return state_.IsIntact(); }
  bool IsOpen(uint32_t port) const { return (state_->port[port] & kOpen) != 0; }

  struct Next {
    ControlMessage message;
    uint16_t flags = 0;  // of its port, when the driver has it
  };
  // The message that the driver is to get next. open: bit n: the other end of port n is open.
  std::optional<Next> ToTell(uint32_t open) const {
    if (state_->device_ready == 0) return std::nullopt;
    for (uint32_t port = 0; port < ports_; ++port) {
      const uint16_t flags = state_->port[port];
      const auto next = [port](Event event, uint16_t value, uint32_t then) {
        return Next{{.id = port, .event = event, .value = value}, static_cast<uint16_t>(then)};
      };
      if ((flags & kAdded) == 0) return next(Event::kDeviceAdd, 1, flags | kAdded);
      if ((flags & kReady) == 0) continue;
      if ((flags & kMarked) == 0) {
        return next(port == 0 ? Event::kConsolePort : Event::kPortName, 1, flags | kMarked);
      }
      const uint32_t is_open = open >> port & 1;
      if (is_open != ((flags & kToldOpen) != 0 ? 1u : 0u)) {
        return next(Event::kPortOpen, static_cast<uint16_t>(is_open), flags ^ kToldOpen);
      }
    }
    return std::nullopt;
  }
  void Told(uint32_t port, uint16_t flags) {
    if (port < ports_) SetFlags(port, flags);
  }

  // Whether the message changed anything. One that makes no sense does not.
  bool Execute(const ControlMessage& message) {
    if (message.value > 1) return false;
    if (message.event == Event::kDeviceReady) {
      if (state_->device_ready == message.value) return false;
      state_.Change([&](ControlState& state) { state.device_ready = message.value; });
      return true;
    }
    if (message.id >= ports_ || (state_->port[message.id] & kAdded) == 0) return false;
    const uint16_t before = state_->port[message.id];
    uint16_t after = before;
    if (message.event == Event::kPortReady) {
      const bool ready = (before & kReady) != 0;
      if (ready == (message.value != 0)) return false;
      after = kAdded | (ready ? 0 : kReady);  // everything else is told anew
    } else if (message.event == Event::kPortOpen) {
      after = static_cast<uint16_t>(message.value != 0 ? before | kOpen : before & ~kOpen);
    }
    if (after == before) return false;
    SetFlags(message.id, after);
    return true;
  }

  void Reset() { state_.Set({}); }

 private:
  void SetFlags(uint32_t port, uint16_t flags) {
    state_.Change([&](ControlState& state) { state.port[port] = flags; });
  }

  Kept<ControlState> state_;
  const uint32_t ports_;
};

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_CONTROL_H_
