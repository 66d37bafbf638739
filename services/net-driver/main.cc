// The net-driver service.
#include <optional>

#include "ipc/dma.h"
#include "services/net-driver/manifest.h"
#include "services/net-driver/net_driver.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio_driver/driver_service.h"
#include "services/virtio_driver/mmio_port.h"

namespace atoll {

namespace manifest = net_driver_manifest;
using net_driver::NetDriver;
using net_driver::NetworkInterface;

static_assert(manifest::kIrqSignal == net_driver::kIrqSignal);
static_assert(manifest::kTimerSignal == net_driver::kTimerSignal);
static_assert(manifest::kSwitchSignal == net_driver::kSwitchSignal);
static_assert(manifest::kUplinkRingBytes == net::kPortBytes);
static_assert(manifest::kDmaBytes >= NetworkInterface::kDmaBytes);

void ServiceMain(const StartInfo& start) {
  auto& windows = *TaskPointer<DmaTable>(manifest::kDmaTableAddress);
  // Open if the machine has the device; tells where its registers begin in their page.
  const auto own = ReadDmaWindow(windows[kOwnDmaWindow]);
  const uint64_t offset = own.has_value() ? own->guest_base % kPageSize : 0;
  virtio_driver::MmioPort registers(manifest::kRegistersAddress + offset);
  std::optional<NetworkInterface> interface;
  if (own.has_value()) {
    interface.emplace(registers,
                      virtio_driver::DmaMemory{
                          MappedMemory(manifest::kDmaAddress, manifest::kDmaBytes), own->physical});
  }

  const std::span ring = MappedMemory(manifest::kUplinkRingAddress, manifest::kUplinkRingBytes);
  const auto to_switch = net::FrameWriter::Attach(ring.first(net::kRingBytes));
  const auto from_switch = net::FrameReader::Attach(ring.subspan(net::kRingBytes));
  if (!to_switch.has_value() || !from_switch.has_value()) Panic("uplink_ring is misplaced");

  const SystemCounter counter;
  KernelTimer timer;
  KernelNotifier vswitch(manifest::kSwitch);
  virtio_driver::ServiceLog log;
  NetDriver driver({*to_switch, *from_switch, vswitch, counter, timer, log},
                   interface.has_value() ? &*interface : nullptr);
  start.failed ? driver.Fail() : driver.Start();
  KernelIrq irq(manifest::kIrq);
  if (interface.has_value()) irq.Acknowledge();  // an earlier instance may have ended before it did
  virtio_driver::SignalLoop<NetDriver, manifest::kIrqSignal> loop(driver, irq);
  Serve(loop);
}

}  // namespace atoll
