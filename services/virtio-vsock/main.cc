// The virtio-vsock service of one socket device.
#include <pb_decode.h>

#include "proto/start_config.atoll.h"
#include "proto/virtio-vsock.atoll.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio-vsock/device.h"
#include "services/virtio-vsock/manifest.h"
#include "services/virtio/mmio_transport.h"
#include "services/virtio/service.h"

namespace atoll {
namespace {

namespace manifest = virtio_vsock_manifest;
static_assert(manifest::kMoreWorkBit == virtio::kMoreWorkBit);
static_assert(manifest::kQueueBit == 0);  // doorbell of queue n: bit n
static_assert(manifest::kQueueBitCount == virtio_vsock::kQueues);
static_assert(manifest::kSwitchBit == virtio_vsock::kSwitchBit);
static_assert(manifest::kRingBytes == vsock::kPortBytes);

template <typename Message>
bool Decode(std::span<const std::byte> bytes, const pb_msgdesc_t* fields, Message& message) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(bytes.data()), bytes.size());
  return pb_decode(&stream, fields, &message);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  VsockConfig config{};
  StartConfig common{};
  if (!Decode(start.config, atoll_VsockConfig_fields, config) ||
      !Decode(start.config, atoll_StartConfig_fields, common)) {
    Panic("config: cannot be decoded");
  }
  const uint64_t cid = config.cid != 0 ? config.cid : vsock::kFirstGuestCid + common.instance;
  if (!vsock::IsGuestCid(cid)) Panic("config: ", cid, " is no CID of a guest");
  const auto journal = JournalIn<virtio_vsock::VsockJournal>(
      MappedMemory(abi::kJournalBase, manifest::kJournalBytes));
  if (!journal.has_value()) Panic("journal: ", journal.error());
  const GuestMemory memory(GuestPhys(common.ram_base),
                           MappedMemory(abi::kGuestRamBase + common.ram_base, common.ram_bytes));
  KernelInterruptLine<manifest::kIrqLine> line;
  virtio::MoreWork more_work;
  KernelNotifier peer(manifest::kSwitch);
  virtio_vsock::VsockDevice device(
      **journal, cid, MappedMemory(manifest::kRingAddress, manifest::kRingBytes), peer);
  virtio::VmmKeeper keeper(manifest::kKeeper);
  virtio::MmioTransport transport(device, memory, (*journal)->transport, (*journal)->queues, line,
                                  more_work, &keeper);
  virtio::StartOnJournal(transport, start);
  // An instance that died may have owed the switch a signal, and the switch it one.
  peer.Notify();
  transport.OnSignals(virtio_vsock::kSwitchSignal);
  Serve(transport);
}

}  // namespace atoll
