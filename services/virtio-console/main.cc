// The virtio-console service of one device.
#include <array>
#include <string_view>

#include "ipc/buffer_message.h"
#include "proto/start_config.pb.h"
#include "proto/virtio-console.pb.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio-console/console_device.h"
#include "services/virtio-console/manifest.h"
#include "services/virtio/mmio_transport.h"
#include "services/virtio/service.h"

namespace atoll {

namespace manifest = virtio_console_manifest;
static_assert(manifest::kMoreWorkBit == virtio::kMoreWorkBit);
static_assert(manifest::kQueueBit == 0);  // doorbell of queue n: bit n
static_assert(manifest::kQueueBitCount == virtio_console::kMaxQueues);
static_assert(manifest::kConsoleBit == virtio_console::kConsoleBit);
static_assert(manifest::kPortsBit == virtio_console::kPortsBit);
static_assert(manifest::kPortsBytes == port_switch::kMemoryBytes);
static_assert(manifest::kJournalBytes >= sizeof(virtio_console::Journal));

namespace {

template <typename T>
T Decoded(const StartInfo& start, const pb_msgdesc_t* fields) {
  T config{};
  if (!DecodeMessage(start.config, fields, &config)) {
    Panic("configuration of ", start.config.size(),
          " bytes is no VirtioConsoleConfig with a StartConfig");
  }
  return config;
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  const auto common = Decoded<atoll_StartConfig>(start, atoll_StartConfig_fields);
  const auto own = Decoded<atoll_VirtioConsoleConfig>(start, atoll_VirtioConsoleConfig_fields);
  std::array<std::string_view, port_switch::kPorts> names;
  for (uint32_t i = 0; i < own.port_count; ++i) names[i] = own.port[i].name;
  const virtio_console::Settings settings = {
      .cols = static_cast<uint16_t>(own.columns != 0 ? own.columns : virtio_console::kDefaultCols),
      .rows = static_cast<uint16_t>(own.rows != 0 ? own.rows : virtio_console::kDefaultRows),
      .names = std::span(names).first(own.port_count)};

  auto& journal = Journal<virtio_console::Journal>();
  const GuestMemory memory(GuestPhys(common.ram_base),
                           MappedMemory(abi::kGuestRamBase + common.ram_base, common.ram_bytes));
  KernelInterruptLine<manifest::kIrqLine> line;
  virtio::MoreWork more_work;
  KernelNotifier console(manifest::kConsole);
  KernelNotifier ports(manifest::kPortSwitch);
  virtio_console::ConsoleDevice device(
      journal.device, settings,
      {.console = MappedMemory(manifest::kHvcRingAddress, manifest::kHvcRingBytes),
       .ports = MappedMemory(manifest::kPortsAddress, manifest::kPortsBytes),
       .to_console = console,
       .to_switch = ports});
  virtio::VmmKeeper keeper(manifest::kKeeper);
  virtio::MmioTransport transport(device, memory, journal.transport, journal.queues, line,
                                  more_work, &keeper);
  virtio::StartOnJournal(transport, start);
  // An instance that died may have owed its peers a signal, and they it one.
  console.Notify();
  ports.Notify();
  transport.OnSignals(manifest::kConsoleSignal | manifest::kPortsSignal);
  Serve(transport);
}

}  // namespace atoll
