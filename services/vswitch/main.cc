// The vswitch service.
#include <array>
#include <optional>

#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/vswitch/config.h"
#include "services/vswitch/manifest.h"
#include "services/vswitch/switch.h"

namespace atoll {

namespace manifest = vswitch_manifest;
using vswitch::Switch;
static_assert(manifest::kTimerSignal == Switch::kTimerSignal);
static_assert(manifest::kPortBit == 0 && manifest::kUplinkBit == Switch::kUplink);
static_assert(manifest::kPortBitCount == Switch::kUplink);
static_assert(manifest::kRingCount == Switch::kUplink);
static_assert(manifest::kRingBytes == net::kPortBytes);
static_assert(manifest::kUplinkRingBytes == net::kPortBytes);

namespace {

constinit vswitch::Config config;
constinit std::optional<Switch> the_switch;  // too large for the stack
constinit std::array<std::optional<KernelNotifier>, Switch::kPorts> peers;

class ServiceLog final : public vswitch::SwitchLog {
 public:
  void RingMadeNoSense(std::string_view port) override {
    Log("port ", Quoted{port}, ": a ring made no sense and was emptied; told once");
  }
  void Quarantined(std::string_view port) override {
    Log("port ", Quoted{port}, ": in quarantine, as two instances died of what it sent");
  }
};

class SignalLoop final : public SignalHandler {
 public:
  void OnSignals(uint64_t bits) override { the_switch->OnSignals(bits); }
};

void AddPort(uint32_t number, const vswitch::PortSettings& settings, abi::Handle peer,
             uint64_t ring) {
  peers[number].emplace(peer);
  const Status status = the_switch->AddPort(
      number, settings, MappedMemory(VirtAddr{ring}, net::kPortBytes), *peers[number]);
  if (!IsOk(status)) Panic("port ", number, ": ", status);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  if (const char* problem = vswitch::ReadConfig(start.config, config)) Panic(problem);
  const SystemCounter counter;
  KernelTimer timer;
  ServiceLog log;
  the_switch.emplace(
      Switch::Surroundings{counter, timer, log, Journal<Quarantine<Switch::kPorts>>()});
  for (uint32_t i = 0; i < Switch::kUplink; ++i) {
    if (!config.ports[i].has_value()) continue;
    AddPort(i, *config.ports[i], abi::Handle{manifest::kPort.slot + i},
            manifest::kRingAddress.value + i * manifest::kRingStride);
  }
  if (config.uplink) {
    AddPort(Switch::kUplink, {.name = "uplink", .verifies_checksums = true}, manifest::kUplink,
            manifest::kUplinkRingAddress.value);
  }
  if (start.failed) {
    the_switch->Fail();
  } else {
    the_switch->Start(start.blamed);
  }
  SignalLoop loop;
  Serve(loop);
}

}  // namespace atoll
