// The virtio-rng service of one device.
#include "ipc/buffer_message.h"
#include "proto/start_config.pb.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/kernel_seeds.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio-rng/device.h"
#include "services/virtio-rng/manifest.h"
#include "services/virtio/mmio_transport.h"
#include "services/virtio/service.h"

namespace atoll {

namespace manifest = virtio_rng_manifest;
static_assert(manifest::kJournalBytes >= sizeof(virtio_rng::Journal));

void ServiceMain(const StartInfo& start) {
  atoll_StartConfig config{};
  if (!DecodeMessage(start.config, atoll_StartConfig_fields, &config)) {
    Panic("configuration of ", start.config.size(), " bytes is not a StartConfig");
  }
  auto& journal = Journal<virtio_rng::Journal>();
  const GuestMemory memory(GuestPhys(config.ram_base),
                           MappedMemory(abi::kGuestRamBase + config.ram_base, config.ram_bytes));
  KernelInterruptLine line(manifest::kIrqLine);
  virtio::MoreWork more_work;
  KernelSeeds seeds(manifest::kVm, manifest::kRtcAddress);
  virtio_rng::Device device(journal.device, seeds,
                            std::as_bytes(std::span(config.seed, sizeof(config.seed))));
  virtio::MmioTransport transport(device, memory, journal.transport, journal.queues, line,
                                  more_work);
  virtio::StartOnJournal(transport, start);
  Serve(transport);
}

}  // namespace atoll
