// The virtio-net service of one network device.
#include "services/runtime/guest_memory.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio-net/config.h"
#include "services/virtio-net/manifest.h"
#include "services/virtio-net/net_device.h"
#include "services/virtio/mmio_transport.h"
#include "services/virtio/service.h"

namespace atoll {
namespace {

namespace manifest = virtio_net_manifest;
static_assert(manifest::kMoreWorkBit == virtio::kMoreWorkBit);
static_assert(manifest::kQueueBit == 0);  // doorbell of queue n: bit n
static_assert(manifest::kQueueBitCount >= virtio_net::kMaxQueues);
static_assert(manifest::kSwitchBit == virtio_net::kSwitchBit);
static_assert(manifest::kRingBytes == net::kPortBytes);

}  // namespace

void ServiceMain(const StartInfo& start) {
  NetworkConfig config{};
  if (const char* error = virtio_net::ReadConfig(start.config, config); error != nullptr) {
    Panic(error);
  }
  const auto journal = virtio::JournalIn<virtio_net::NetJournal>(
      MappedMemory(abi::kJournalBase, manifest::kJournalBytes));
  if (!journal.has_value()) Panic("journal: ", journal.error());
  const GuestMemory memory(GuestPhys(config.ram_base),
                           MappedMemory(abi::kGuestRamBase + config.ram_base, config.ram_bytes));
  KernelInterruptLine<manifest::kIrqLine> line;
  virtio::MoreWork more_work;
  KernelNotifier peer(manifest::kSwitch);
  virtio_net::NetDevice device(**journal, virtio_net::SettingsOf(config),
                               MappedMemory(manifest::kRingAddress, manifest::kRingBytes), peer);
  virtio::VmmKeeper keeper(manifest::kKeeper);
  virtio::MmioTransport transport(device, memory, (*journal)->transport, (*journal)->queues, line,
                                  more_work, &keeper);
  virtio::StartOnJournal(transport, start);
  // An instance that died may have owed the switch a signal, and the switch it one.
  peer.Notify();
  transport.OnSignals(virtio_net::kSwitchSignal);
  Serve(transport);
}

}  // namespace atoll
