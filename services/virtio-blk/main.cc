// The virtio-blk service of one disk.
#include <algorithm>
#include <string_view>

#include "services/block/request_ring.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio-blk/block_device.h"
#include "services/virtio-blk/config.h"
#include "services/virtio-blk/driver_executor.h"
#include "services/virtio-blk/manifest.h"
#include "services/virtio-blk/memory_backend.h"
#include "services/virtio-blk/memory_executor.h"
#include "services/virtio/mmio_transport.h"
#include "services/virtio/service.h"

namespace atoll {
namespace {

namespace manifest = virtio_blk_manifest;
static_assert(manifest::kMoreWorkBit == virtio::kMoreWorkBit);
static_assert(manifest::kQueueBit == 0);  // doorbell of queue n: bit n
static_assert(manifest::kQueueBitCount == virtio_blk::kMaxQueues);
static_assert(manifest::kDiskRingBytes == block::kRingBytes);
static_assert(manifest::kJournalBytes >= sizeof(virtio_blk::BlockJournal));

class LogOfFailure final : public Notifier {
 public:
  void Notify() override { Log("the machine's disk fails: the guest gets I/O errors"); }
};

virtio_blk::BlockJournal& TheJournal() {
  const auto journal = virtio::JournalIn<virtio_blk::BlockJournal>(
      MappedMemory(abi::kJournalBase, manifest::kJournalBytes));
  if (!journal.has_value()) Panic("journal: ", journal.error());
  return **journal;
}

[[noreturn]] void Run(const StartInfo& start, const BlockConfig& config,
                      virtio_blk::RequestExecutor& executor) {
  virtio_blk::BlockJournal& journal = TheJournal();
  const GuestMemory memory(GuestPhys(config.ram_base),
                           MappedMemory(abi::kGuestRamBase + config.ram_base, config.ram_bytes));
  KernelInterruptLine<manifest::kIrqLine> line;
  virtio::MoreWork more_work;
  virtio_blk::BlockDevice device(executor, journal, config.id, std::max(config.queues, 1u));
  virtio::VmmKeeper keeper(manifest::kKeeper);
  virtio::MmioTransport transport(device, memory, journal.transport, journal.queues, line,
                                  more_work, &keeper);
  virtio::StartOnJournal(transport, start);
  if (device.given_up() != 0) {
    Log("a request at which two instances died ends with an I/O error");
  }
  transport.OnSignals(manifest::kDiskSignal);  // whatever the driver did meanwhile
  Serve(transport);
}

[[noreturn]] void RunOnMemory(const StartInfo& start, const BlockConfig& config,
                              virtio_blk::BlockBackend& backend) {
  virtio_blk::MemoryExecutor executor(backend, TheJournal().device);
  Run(start, config, executor);
}

[[noreturn]] void RunOnDriver(const StartInfo& start, const BlockConfig& config) {
  const auto ring = block::RequestRingClient::Attach(
      MappedMemory(manifest::kDiskRingAddress, manifest::kDiskRingBytes));
  if (!ring.has_value()) Panic("disk_ring: ", ring.error());
  KernelNotifier driver(manifest::kDisk);
  LogOfFailure failed;
  virtio_blk::DriverExecutor executor(*ring, TheJournal().device, config.read_only,
                                      {.driver = driver, .failed = failed});
  Run(start, config, executor);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  BlockConfig config{};
  if (const char* error = virtio_blk::ReadConfig(start.config, manifest::kDiskBytes, config);
      error != nullptr) {
    Panic(error);
  }
  if (config.physical) RunOnDriver(start, config);
  if (config.null_disk) {
    virtio_blk::NullBackend disk(config.disk_bytes, config.read_only);
    RunOnMemory(start, config, disk);
  }
  virtio_blk::MemoryBackend disk(MappedMemory(manifest::kDiskAddress, config.disk_bytes),
                                 config.read_only);
  RunOnMemory(start, config, disk);
}

}  // namespace atoll
