// The port switch service.
#include <array>
#include <optional>

#include "ipc/buffer_message.h"
#include "proto/port-switch.pb.h"
#include "services/port-switch/manifest.h"
#include "services/port-switch/port_switch.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {

namespace manifest = port_switch_manifest;
static_assert(manifest::kPortsCount == port_switch::kDevices);
static_assert(manifest::kPortsBytes == port_switch::kMemoryBytes);
static_assert(manifest::kJournalBytes >= sizeof(port_switch::SwitchJournal));

namespace {

class Loop final : public SignalHandler {
 public:
  explicit Loop(port_switch::PortSwitch& ports) : ports_(ports) {}
  void OnSignals(uint64_t) override {
    if (ports_.Run()) timer_.Set(0);  // after what waits already
  }

 private:
  port_switch::PortSwitch& ports_;
  KernelTimer timer_;
};

// Failed mode: every end is closed, and nothing is taken.
class Closed final : public SignalHandler {
 public:
  void OnSignals(uint64_t) override {}
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  atoll_PortSwitchConfig config{};
  if (!DecodeMessage(start.config, atoll_PortSwitchConfig_fields, &config)) {
    Panic("configuration of ", start.config.size(), " bytes is not a PortSwitchConfig");
  }
  // Only memory of devices that are connected is mapped for sure.
  std::array<bool, port_switch::kDevices> is_there = {};
  for (const atoll_PortLink& link : std::span(config.link, config.link_count)) {
    if (link.device >= is_there.size() || link.other_device >= is_there.size()) {
      Panic("a link names device ", link.device, " or ", link.other_device);
    }
    is_there[link.device] = is_there[link.other_device] = true;
  }
  std::array<std::optional<KernelNotifier>, port_switch::kDevices> notifiers;
  std::array<port_switch::PortSwitch::Device, port_switch::kDevices> devices = {};
  for (uint32_t i = 0; i < devices.size(); ++i) {
    if (!is_there[i]) continue;
    notifiers[i].emplace(abi::Handle{manifest::kDevice.slot + i});
    devices[i] = {.memory = MappedMemory(manifest::kPortsAddress + i * manifest::kPortsStride,
                                         manifest::kPortsBytes),
                  .notifier = &*notifiers[i]};
  }
  port_switch::PortSwitch ports(devices, Journal<port_switch::SwitchJournal>());
  if (start.failed) {
    ports.CloseAll();
    Closed closed;
    Serve(closed);
  }
  for (const atoll_PortLink& link : std::span(config.link, config.link_count)) {
    if (!ports.Connect(link.device * port_switch::kPorts + link.port,
                       link.other_device * port_switch::kPorts + link.other_port)) {
      Panic("port ", link.port, " of device ", link.device, " cannot be connected");
    }
  }
  Loop loop(ports);
  ports.NotifyAll();
  loop.OnSignals(0);
  Serve(loop);
}

}  // namespace atoll
