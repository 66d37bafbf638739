// A device of the library as a service: what the main.cc that the build makes for a device.h calls.
#ifndef ATOLL_SERVICES_RUNTIME_DEVICE_SERVICE_H_
#define ATOLL_SERVICES_RUNTIME_DEVICE_SERVICE_H_

#include <span>
#include <type_traits>

#include "ipc/buffer_message.h"
#include "services/runtime/device_as_server.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/register_device.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/runtime/surroundings.h"
#include "services/virtio/device_model.h"
#include "services/virtio/service.h"

namespace atoll {

class KernelPeers final : public Peers {
 public:
  void Signal(abi::SignalHandle peer) override { KernelNotifier(peer).Notify(); }
  std::span<std::byte> Memory(VirtAddr address, size_t bytes) override {
    return MappedMemory(address, bytes);
  }
};

template <typename Message>
Message DecodedConfig(const StartInfo& start, const pb_msgdesc_t* fields, const char* name) {
  Message message{};
  if (!DecodeMessage(start.config, fields, &message))
    Panic("config: cannot be decoded as a ", name);
  return message;
}

// `D device(surroundings)`, or with the service's own configuration if it has one.
template <typename D, typename Manifest>
D MakeDevice(const StartInfo& start, const Surroundings& surroundings) {
  if constexpr (requires { typename Manifest::Config; }) {
    using Config = typename Manifest::Config;
    return D(surroundings, DecodedConfig<Config>(start, Manifest::kConfigFields, "configuration"));
  } else {
    return D(surroundings);
  }
}

// Serves until the end of the VM. D: derived of virtio::Device or RegisterDevice; Manifest: of its manifest.h.
template <typename D, typename Manifest>
[[noreturn]] void RunDevice(const StartInfo& start) {
  static const SystemCounter counter;
  KernelInterruptLine<Manifest::kLine> line;
  KernelTimer timer;
  KernelPeers peers;
  KernelVmPower vm(Manifest::kVm);
  const auto common = DecodedConfig<StartConfig>(start, &atoll_StartConfig_msg, "StartConfig");
  const Surroundings surroundings{
      .journal = MappedMemory(abi::kJournalBase, Manifest::kJournalBytes),
      .line = line,
      .timer = timer,
      .timer_signal = Manifest::kTimer,
      .counter = counter,
      .peers = peers,
      .vm = vm,
      .start = common,
      .pause_signal = Manifest::kPause,
      .resume_signal = Manifest::kResume};
  if constexpr (std::is_base_of_v<virtio::DeviceModel, D>) {
    using Journal = typename D::JournalType;
    static_assert(sizeof(Journal) <= Manifest::kJournalBytes,
                  "the manifest's journal_bytes: too few");
    static_assert(
        Manifest::kGuestRam,
        "the manifest lacks: mapping { name: \"guest_ram\" what: GUEST_RAM write: true }");
    static_assert((Manifest::kDoorbells & ((uint64_t{1} << D::kQueues) - 1)) ==
                      (uint64_t{1} << D::kQueues) - 1,
                  "the manifest's doorbell has too few bits, or does not begin at bit 0");
    static_assert(Manifest::kTimer == virtio::kMoreWorkSignal,
                  "the manifest lacks: signal { name: \"more_work\" bit: 63 timer: true }");
    auto& journal = *reinterpret_cast<Journal*>(surroundings.journal.data());
    const GuestMemory memory(GuestPhys(common.ram_base),
                             MappedMemory(abi::kGuestRamBase + common.ram_base, common.ram_bytes));
    virtio::MoreWork more_work;
    D device = MakeDevice<D, Manifest>(start, surroundings);
    virtio::VmmKeeper keeper(Manifest::kKeeper);
    virtio::MmioTransport transport(device, memory, journal.transport, journal.queues, line,
                                    more_work, Manifest::kKeeper.slot != 0 ? &keeper : nullptr);
    virtio::StartOnJournal(transport, start);
    // What peers signalled while nobody was there.
    transport.OnSignals(~(Manifest::kDoorbells | Manifest::kTimer | kHeartbeat));
    Serve(transport);
  } else {
    static_assert(sizeof(typename D::Kept) <= Manifest::kJournalBytes,
                  "the manifest's journal_bytes: too few");
    if (start.failed) {
      FailedRegisterDevice<D> failed(line);
      Serve(failed);
    }
    D device = MakeDevice<D, Manifest>(start, surroundings);
    if (device.refused()) {
      Log("the journal is of another layout than this program's");
      Exit(kExitJournalRefused);
    }
    if (device.found() == Copies::kRepaired)
      Log("one copy of the journal was damaged: the other counts");
    if (device.found() == Copies::kLost)
      Log("the journal is damaged: the device is as after a reset");
    device.Start();
    if constexpr (requires { D::kInterface; }) {
      DeviceAsServer server(device);
      Serve(server, static_cast<DeviceServer&>(server), device);
    } else {
      Serve(device);
    }
  }
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_DEVICE_SERVICE_H_
