// The vsock-switch service.
#include <pb_decode.h>
#include <string.h>

#include <array>
#include <optional>

#include "proto/kernel_calls.atoll.h"
#include "proto/vsock-switch.atoll.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/vsock-switch/manifest.h"
#include "services/vsock-switch/switch.h"

namespace atoll {

namespace manifest = vsock_switch_manifest;
using vsock_switch::Switch;
using vsock_switch::SwitchJournal;
static_assert(manifest::kTimerSignal == Switch::kTimerSignal);
static_assert(manifest::kPortBit == 0 && manifest::kPortBitCount == vsock_switch::kHostPort);
static_assert(manifest::kRingCount == vsock_switch::kHostPort);
static_assert(manifest::kUplinkBit == vsock_switch::kHostPort);
static_assert(manifest::kRingBytes == vsock::kPortBytes);
static_assert(manifest::kUplinkRingBytes == vsock::kPortBytes);
static_assert(sizeof(SwitchJournal) <= manifest::kJournalBytes);

namespace {

class KernelPeer final : public vsock_switch::Peer {
 public:
  explicit KernelPeer(abi::Handle signal) : signal_(signal) {}
  bool Notify() override { return kernel::SetSignal(signal_) != Status::kNotFound; }

 private:
  abi::Handle signal_;
};

class ServiceLog final : public vsock_switch::SwitchLog {
 public:
  void Stalled(std::string_view port) override {
    Log("port ", Quoted{port}, ": takes no packets: its connections are ended");
  }
  void Quarantined(std::string_view port) override {
    Log("port ", Quoted{port}, ": in quarantine, as two instances died of what it sent");
  }
};

constinit VsockSwitchConfig config{};
constinit std::optional<Switch> the_switch;
constinit std::array<std::optional<KernelPeer>, vsock_switch::kPorts> peers;

class SignalLoop final : public SignalHandler {
 public:
  void OnSignals(uint64_t bits) override { the_switch->OnSignals(bits); }
};

void AddPort(uint32_t number, const VsockPort& port, abi::Handle signal, VirtAddr ring) {
  peers[number].emplace(signal);
  const Status status =
      the_switch->AddPort(number,
                          {.name = {port.name, strnlen(port.name, sizeof port.name)},
                           .cid = port.cid,
                           .peers = port.peers},
                          MappedMemory(ring, vsock::kPortBytes), *peers[number]);
  if (!IsOk(status)) Panic("port ", number, ": ", status);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  pb_istream_t stream = pb_istream_from_buffer(
      reinterpret_cast<const pb_byte_t*>(start.config.data()), start.config.size());
  if (!pb_decode(&stream, atoll_VsockSwitchConfig_fields, &config)) {
    Panic("config: cannot be decoded; expected a VsockSwitchConfig");
  }
  const SystemCounter counter;
  KernelTimer timer;
  ServiceLog log;
  the_switch.emplace(
      Switch::Surroundings{counter, timer, log, Journal<SwitchJournal>(), config.patience_ms});
  for (uint32_t i = 0; i < config.port_count; ++i) {
    if (!config.port[i].present) continue;
    if (!vsock::IsGuestCid(config.port[i].cid)) {
      Panic("config: ", config.port[i].cid, " is no CID of a guest");
    }
    AddPort(i, config.port[i], abi::Handle{manifest::kPort.slot + i},
            VirtAddr{manifest::kRingAddress.value + i * manifest::kRingStride});
  }
  if (config.host.present) {
    if (config.host.cid != vsock::kHostCid) Panic("config: the host's CID is ", vsock::kHostCid);
    AddPort(vsock_switch::kHostPort, config.host, manifest::kUplink, manifest::kUplinkRingAddress);
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
