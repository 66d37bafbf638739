// A virtio console device (VIRTIO 1.2, 5.3). Port 0 is a console: its bytes go to the console service and come from there, as
// pl011's do. Further ports have names (in Linux /dev/virtio-ports/NAME) and lead to the port switch.
//
// Without a driver, or while the driver has a port closed, input waits in its ring. Output that finds no room waits in its
// queue: for the console never long, since nobody has to read it for it to be taken; for a named port until the other end
// is read. The console's size is constant.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_DEVICE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/port-switch/port_memory.h"
#include "services/runtime/check_word.h"
#include "services/runtime/ports.h"
#include "services/runtime/statistics.h"
#include "services/virtio-console/control.h"
#include "services/virtio-console/port.h"
#include "services/virtio-console/specification.h"
#include "services/virtio-console/state.h"
#include "services/virtio/device_model.h"

namespace atoll::virtio_console {

inline constexpr uint32_t kQueueSize = 32;
// Of the console's ring, kept free for emergency writes.
inline constexpr size_t kEmergencyBytes = 256;
inline constexpr uint16_t kDefaultCols = 80;
inline constexpr uint16_t kDefaultRows = 24;

// Bits of the service's signal: console and switch moved something.
inline constexpr uint32_t kConsoleBit = 62;
inline constexpr uint32_t kPortsBit = 60;

struct Settings {
  uint16_t cols = 0;
  uint16_t rows = 0;
  std::span<const std::string_view> names;  // of the ports behind port 0
};

// The other ends.
struct Ends {
  std::span<std::byte> console;  // rings of GuestLine
  std::span<std::byte> ports;    // port_memory.h
  Notifier& to_console;
  Notifier& to_switch;
};

class ConsoleDevice final : public virtio::DeviceModel {
 public:
  // All references, and what the settings refer to, outlive the device. At most port_switch::kPorts names count.
  ConsoleDevice(State& state, const Settings& settings, const Ends& ends)
      : state_(state),
        names_(settings.names.first(std::min<size_t>(settings.names.size(), port_switch::kPorts))),
        ends_(ends),
        control_(state.control, ports()) {
    config_ = {.cols = settings.cols, .rows = settings.rows, .max_nr_ports = ports()};
    queue_sizes_.fill(kQueueSize);
    Attach(0, ends_.console, ends_.to_console);
    for (uint32_t port = 1; port < ports() && has_switch(); ++port) {
      Attach(port, port_switch::RingsOf(ends_.ports, port - 1), ends_.to_switch);
    }
    check_ = CheckOfSettled();
    RecoverEmergency();
    ShowOpen();
    constexpr std::array kNames = {"sent", "received", "dropped", "messages", "emergency"};
    for (size_t i = 0; i < kNames.size(); ++i) NameCounter(i, kNames[i]);
  }

  virtio::Description Describe() const override {
    return {.device_id = kDeviceId,
            .features = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
                        virtio::kFeatureEventIdx | kFeatureSize | kFeatureMultiport |
                        kFeatureEmergWrite,
            .queue_sizes = std::span(queue_sizes_).first(2 * ports() + 2),
            .format = State::kFormat};
  }
  std::span<const std::byte> Config() const override {
    return std::as_bytes(std::span(&config_, 1));
  }

  virtio::Work ProcessQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features) override {
    const virtio::Work work = Serve(index, queue, features);
    ShowCounters();
    return work;
  }
  bool RecoverQueue(uint32_t index, virtio::SplitQueue& queue, uint64_t features,
                    bool blamed) override {
    if (control_.lost()) return false;
    if (IsMultiport(features) && index == kControlTransmit) return true;
    if (IsMultiport(features) && index == kControlReceive) return RecoverTelling(queue);
    Port* const port = PortAt(index, features);
    if (port == nullptr) return true;
    return index % 2 == 0 ? port->RecoverReceive(queue) : port->RecoverSend();
  }
  bool SkipNext(uint32_t, virtio::SplitQueue& queue) override {
    queue.Skip();
    return true;
  }
  // Sent bytes are dropped, nothing comes, all ports are closed.
  void SetFailing(bool until_reset) override {
    failing_ = true;
    fails_ever_ = fails_ever_ || !until_reset;
    check_ = CheckOfSettled();
    ShowOpen();
  }
  // Numbers 2 and 3 are control or, without MULTIPORT, nothing.
  bool StopQueue(uint32_t index) override {
    if (index == kControlReceive) virtio::StoreRelease(state_.telling, uint64_t{0});
    Port* const port = PortAt(index, kFeatureMultiport);
    if (port != nullptr) index % 2 == 0 ? port->StopReceive() : port->StopSend();
    return true;
  }
  virtio::PeerWork OnPeerSignals(uint64_t) override { return {.queues = ~uint64_t{0}}; }
  // 5.3.5.1: at any time, with and without a driver.
  void WriteConfig(uint64_t offset, std::span<const std::byte> bytes, uint64_t token) override {
    if (offset == offsetof(ConfigSpace, emerg_wr) && !bytes.empty()) PutEmergency(bytes[0], token);
  }
  void Reset() override {
    control_.Reset();
    virtio::StoreRelease(state_.telling, uint64_t{0});
    failing_ = fails_ever_;
    check_ = CheckOfSettled();
    ShowOpen();
  }
  bool IsIntact() const override {
    return CheckOfSettled() == check_ && control_.IsIntact() &&
           std::ranges::all_of(ports_, [](const auto& port) { return !port || port->IsIntact(); });
  }

 private:
  static bool IsMultiport(uint64_t features) { return (features & kFeatureMultiport) != 0; }
  uint32_t ports() const { return static_cast<uint32_t>(1 + names_.size()); }
  bool has_switch() const { return ends_.ports.size() >= port_switch::kMemoryBytes; }

  // Of what changes with the device's whole state at most.
  uint32_t CheckOfSettled() const {
    CheckWord check((failing_ ? 1u : 0u) + (fails_ever_ ? 2u : 0u));
    check.Add(config_.cols | uint64_t{config_.rows} << 16 | uint64_t{config_.max_nr_ports} << 32);
    check.Add(reinterpret_cast<uintptr_t>(names_.data()));
    check.Add(names_.size());
    for (const auto& memory : {ends_.console, ends_.ports}) {
      check.Add(reinterpret_cast<uintptr_t>(memory.data()));
      check.Add(memory.size());
    }
    for (const uint32_t size : queue_sizes_) check.Add(size);
    for (const auto& port : ports_) check.Add(port.has_value() ? 1 : 0);
    return check.value();
  }

  void Attach(uint32_t port, std::span<std::byte> memory, Notifier& peer) {
    const Result<GuestLine> line = GuestLine::Attach(memory);
    const size_t reserve = port == 0 ? kEmergencyBytes : 0;
    if (line.has_value()) ports_[port].emplace(*line, peer, state_.ports[port], memory_, reserve);
  }
  // The port that a data queue belongs to; null: none.
  Port* PortAt(uint32_t index, uint64_t features) {
    const bool is_there =
        index < 2 || (IsMultiport(features) && index > kControlTransmit && PortOf(index) < ports());
    if (!is_there) return nullptr;
    std::optional<Port>& port = ports_[PortOf(index)];
    return port.has_value() ? &*port : nullptr;
  }

  virtio::Work Serve(uint32_t index, virtio::SplitQueue& queue, uint64_t features) {
    if (IsMultiport(features) && index == kControlReceive) return Tell(queue);
    if (IsMultiport(features) && index == kControlTransmit) return Listen(queue);
    Port* const port = PortAt(index, features);
    if (port == nullptr) return virtio::Work::kDone;
    if (index % 2 == 1) return failing_ ? port->Drop(queue) : port->Send(queue);
    const bool open = !IsMultiport(features) || control_.IsOpen(PortOf(index));
    return open && !failing_ ? port->Receive(queue) : virtio::Work::kDone;
  }

  // ---- control.cc
  virtio::Work Tell(virtio::SplitQueue& queue);
  virtio::Work Listen(virtio::SplitQueue& queue);
  bool RecoverTelling(const virtio::SplitQueue& queue);
  uint32_t OpenEnds();
  void ShowOpen();
  // ---- emergency.cc
  void PutEmergency(std::byte byte, uint64_t token);
  void RecoverEmergency();
  void ShowCounters() const;

  State& state_;
  const std::span<const std::string_view> names_;
  const Ends ends_;
  Control control_;
  ConfigSpace config_;
  std::array<uint32_t, kMaxQueues> queue_sizes_ = {};
  PassMemory memory_;
  std::array<std::optional<Port>, kMaxPorts> ports_;
  uint64_t messages_ = 0;
  uint64_t emergencies_ = 0;
  bool failing_ = false;     // everything sent is dropped, nothing comes ...
  bool fails_ever_ = false;  // ... after a reset, too
  uint32_t check_ = 0;
};

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_DEVICE_H_
