// A guest with a console device, and the other ends of its ports: for the host test and the fuzz target.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_MACHINE_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_MACHINE_H_

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/virtio-console/console_device.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio_console {

inline constexpr uint64_t kBase = virtio::kFeatureVersion1;
inline constexpr uint64_t kOffered = kBase | virtio::kFeatureIndirectDesc |
                                     virtio::kFeatureEventIdx | kFeatureSize | kFeatureMultiport |
                                     kFeatureEmergWrite;
inline constexpr std::array<std::string_view, 2> kNames = {"left", "a.right"};
inline constexpr uint32_t kPorts = 1 + kNames.size();
inline constexpr uint32_t kQueues = 2 * kPorts + 2;
inline constexpr size_t kConsoleRing = 4096;

class CountingNotifier final : public Notifier {
 public:
  void Notify() override { ++count; }
  int count = 0;
};

// What outlives the instances of both sides.
struct World {
  virtio::AlignedBytes console{2 * (kConsoleRing + ByteRing::kHeaderBytes)};
  virtio::AlignedBytes ports{port_switch::kMemoryBytes};
  CountingNotifier to_console;
  CountingNotifier to_switch;

  ConsoleLine Other(uint32_t port) {
    return ConsoleLine::Attach(port == 0 ? console.span()
                                         : port_switch::RingsOf(ports.span(), port - 1))
        .value();
  }
  port_switch::PortStates& states() { return port_switch::StatesIn(ports.span()); }
  bool DeviceOpen(uint32_t port) { return states().device_open[port - 1] != 0; }
};

using ConsoleBase = virtio::Machine<ConsoleDevice, State, kMaxQueues>;
using ConsoleQueue = virtio::DriverQueue<ConsoleBase>;

class ConsoleMachine : public ConsoleBase {
 public:
  explicit ConsoleMachine(World& world)
      : Machine([this_world = &world](Journal& journal) {
          return std::make_unique<ConsoleDevice>(journal.device,
                                                 Settings{.cols = 132, .rows = 43, .names = kNames},
                                                 Ends{.console = this_world->console.span(),
                                                      .ports = this_world->ports.span(),
                                                      .to_console = this_world->to_console,
                                                      .to_switch = this_world->to_switch});
        }),
        world_(world) {}

  // All of 3.1.1, with every queue that there is with these features.
  bool Live(uint64_t features = kOffered, uint32_t size = 16) {
    queues_.clear();
    if (!virtio::Negotiate<ConsoleBase>(*this, features)) return false;
    const uint32_t count = (features & kFeatureMultiport) != 0 ? kQueues : 2;
    for (uint32_t i = 0; i < count; ++i) {
      queues_.push_back(std::make_unique<ConsoleQueue>(*this, i, size));
      queues_.back()->SetUp();
    }
    Write(virtio::kStatus, virtio::kLive);
    return DeviceStatus() == virtio::kLive;
  }
  ConsoleQueue& queue(uint32_t index) { return *queues_.at(index); }
  ConsoleQueue& rx(uint32_t port) { return queue(ReceiveQueue(port)); }
  ConsoleQueue& tx(uint32_t port) { return queue(TransmitQueue(port)); }
  bool broken() { return (DeviceStatus() & virtio::kStatusNeedsReset) != 0; }

  uint64_t Put(std::string_view bytes) {
    const uint64_t address = Allocate(std::max<size_t>(bytes.size(), 1), 1);
    std::ranges::copy(std::as_bytes(std::span(bytes)), At(address, bytes.size()));
    return address;
  }
  using ConsoleBase::Put;
  std::string Text(uint64_t address, size_t bytes) {
    return {reinterpret_cast<const char*>(At(address, bytes)), bytes};
  }

  // Makes text available in the transmit queue.
  void Send(uint32_t port, std::string_view text) {
    tx(port).Add({{Put(text), static_cast<uint32_t>(text.size()), false}});
    Doorbell(tx(port).index);
  }
  void GiveBuffers(uint32_t index, uint32_t count, uint32_t bytes = 64) {
    for (uint32_t i = 0; i < count; ++i) queue(index).Add({{Allocate(bytes), bytes, true}});
    Doorbell(index);
  }
  // What a buffer of a receive queue came back with. Nothing: none did.
  std::optional<std::string> Taken(uint32_t index) {
    const auto used = queue(index).PopUsed();
    if (!used.has_value()) return std::nullopt;
    const auto descriptor =
        Get<virtio::Descriptor>(queue(index).descriptors + sizeof(virtio::Descriptor) * used->id);
    return Text(descriptor.address, std::min(used->length, descriptor.length));
  }

  // ---- control
  void Say(uint32_t port, Event event, uint16_t value) {
    const ControlMessage message{port, event, value};
    Say({reinterpret_cast<const char*>(&message), sizeof(message)});
  }
  void Say(std::string_view bytes) {
    queue(kControlTransmit).Add({{Put(bytes), static_cast<uint32_t>(bytes.size()), false}});
    Doorbell(kControlTransmit);
    (void)Pump();
  }
  struct Heard {
    ControlMessage message;
    std::string rest;
    bool operator==(const Heard& other) const {
      return message.id == other.message.id && message.event == other.message.event &&
             message.value == other.message.value && rest == other.rest;
    }
  };
  std::vector<Heard> Hear() {
    std::vector<Heard> all;
    while (const auto text = Taken(kControlReceive)) {
      Heard heard;
      if (text->size() >= sizeof(heard.message)) {
        std::memcpy(&heard.message, text->data(), sizeof(heard.message));
        heard.rest = text->substr(sizeof(heard.message));
      }
      all.push_back(heard);
    }
    return all;
  }
  // As a driver does it: all ports ready, and open.
  void OpenAll() {
    GiveBuffers(kControlReceive, 12);
    Say(0, Event::kDeviceReady, 1);
    for (uint32_t port = 0; port < kPorts; ++port) Say(port, Event::kPortReady, 1);
    for (uint32_t port = 0; port < kPorts; ++port) Say(port, Event::kPortOpen, 1);
    (void)Hear();
  }

  // ---- the other ends
  void SignalOfPeers() {
    device().OnSignals(uint64_t{1} << kConsoleBit | uint64_t{1} << kPortsBit);
    (void)Pump();
  }
  std::string Arrived(uint32_t port, size_t most = 1 << 20) {
    ConsoleLine other = world_.Other(port);
    std::string text(std::min(most, other.output.Available()), '\0');
    (void)other.output.Read(std::as_writable_bytes(std::span(text)));
    return text;
  }
  size_t Type(uint32_t port, std::string_view text) {
    ConsoleLine other = world_.Other(port);
    const size_t count = other.input.Write(std::as_bytes(std::span(text)));
    SignalOfPeers();
    return count;
  }
  World& world() { return world_; }

 private:
  World& world_;
  std::vector<std::unique_ptr<ConsoleQueue>> queues_;
};

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_CONSOLE_MACHINE_H_
