// The blk-driver service.
#include <optional>
#include <span>

#include "ipc/dma.h"
#include "services/blk-driver/block_driver.h"
#include "services/blk-driver/config.h"
#include "services/blk-driver/manifest.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio_driver/driver_service.h"
#include "services/virtio_driver/mmio_port.h"

namespace atoll {

namespace manifest = blk_driver_manifest;
using blk_driver::BlockDriver;
using blk_driver::PhysicalDisk;

static_assert(manifest::kClientSignal == blk_driver::kClientSignals);
static_assert(manifest::kIrqSignal == blk_driver::kIrqSignal);
static_assert(manifest::kTimerSignal == blk_driver::kTimerSignal);
static_assert(manifest::kDmaSignal == blk_driver::kDmaSignal);
static_assert(manifest::kClientHandleCount == blk_driver::kMaxClients);
static_assert(manifest::kDiskRingCount == blk_driver::kMaxClients);
static_assert(manifest::kDiskRingBytes == block::kRingBytes);
static_assert(manifest::kDmaBytes >= PhysicalDisk::kDmaBytes);

void ServiceMain(const StartInfo& start) {
  atoll_BlockDriverConfig config{};
  if (const char* error = blk_driver::ReadConfig(start.config, config); error != nullptr) {
    Panic(error);
  }

  auto& windows = *TaskPointer<DmaTable>(manifest::kDmaTableAddress);
  // Open if the machine has the device; tells where its registers begin in their page.
  const auto own = ReadDmaWindow(windows[kOwnDmaWindow]);
  const uint64_t offset = own.has_value() ? own->guest_base % kPageSize : 0;
  virtio_driver::MmioPort registers(manifest::kRegistersAddress + offset);
  std::optional<PhysicalDisk> disk;
  if (own.has_value()) {
    disk.emplace(registers,
                 virtio_driver::DmaMemory{MappedMemory(manifest::kDmaAddress, manifest::kDmaBytes),
                                          own->physical});
  }

  const SystemCounter counter;
  KernelTimer timer;
  KernelNotifier dma_closed(manifest::kDmaClosed);
  virtio_driver::ServiceLog log;
  BlockDriver driver(
      {windows, counter, timer, dma_closed, log, Journal<Quarantine<blk_driver::kMaxClients>>()},
      disk.has_value() ? &*disk : nullptr);

  std::array<std::optional<KernelNotifier>, blk_driver::kMaxClients> clients;
  for (uint32_t i = 0; i < config.range_count; ++i) {
    const atoll_BlockRange& range = config.range[i];
    if (!range.present) continue;
    const VirtAddr address = manifest::kDiskRingAddress + i * manifest::kDiskRingStride;
    const auto ring =
        block::RequestRingDriver::Attach(MappedMemory(address, manifest::kDiskRingBytes));
    if (!ring.has_value()) Panic("ring ", i, ": ", ring.error());
    clients[i].emplace(abi::Handle{manifest::kClient.slot + i});
    driver.AddClient(i, *ring, *clients[i],
                     {.first_sector = range.first_sector,
                      .sectors = range.sectors,
                      .flags = range.read_only ? block::kReadOnly : 0});
  }

  if (start.failed) {
    driver.StartFailed(start.generation);
  } else {
    driver.Start(start.generation, start.blamed);
  }
  KernelIrq irq(manifest::kIrq);
  if (disk.has_value()) irq.Acknowledge();  // an earlier instance may have ended before it did
  virtio_driver::SignalLoop<BlockDriver, manifest::kIrqSignal> loop(driver, irq);
  Serve(loop);
}

}  // namespace atoll
