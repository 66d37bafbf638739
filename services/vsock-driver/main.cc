// The vsock-driver service.
#include <optional>

#include "ipc/dma.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/virtio_driver/driver_service.h"
#include "services/virtio_driver/mmio_port.h"
#include "services/vsock-driver/manifest.h"
#include "services/vsock-driver/vsock_driver.h"

namespace atoll {

namespace manifest = vsock_driver_manifest;
using vsock_driver::HostLink;
using vsock_driver::SerialPort;
using vsock_driver::VsockDriver;

static_assert(manifest::kIrqSignal == vsock_driver::kIrqSignal);
static_assert(manifest::kTimerSignal == vsock_driver::kTimerSignal);
static_assert(manifest::kSwitchSignal == vsock_driver::kSwitchSignal);
static_assert(manifest::kUplinkRingBytes == vsock::kPortBytes);
static_assert(manifest::kDmaBytes >= SerialPort::kDmaBytes);
static_assert(manifest::kJournalBytes >= sizeof(vsock_driver::LinkJournal));

namespace {

constinit std::optional<HostLink> host_link;  // 64 KiB: too much for the stack

}  // namespace

// Nobody can be reached any more: the switch ends connections with the host, and refuses new ones.
void OnRefusing() {
  const std::span ring = MappedMemory(manifest::kUplinkRingAddress, manifest::kUplinkRingBytes);
  auto to_switch = net::FrameWriter::Attach(ring.first(vsock::kRingBytes), vsock::kMaxPacket);
  if (to_switch.has_value()) to_switch->SetDown(true);
  KernelNotifier(manifest::kSwitch).Notify();
}

void ServiceMain(const StartInfo& start) {
  auto& windows = *TaskPointer<DmaTable>(manifest::kDmaTableAddress);
  // Open if the machine has the device; tells where its registers begin in their page.
  const auto own = ReadDmaWindow(windows[kOwnDmaWindow]);
  const uint64_t offset = own.has_value() ? own->guest_base % kPageSize : 0;
  virtio_driver::MmioPort registers(manifest::kRegistersAddress + offset);
  std::optional<SerialPort> port;
  if (own.has_value()) {
    port.emplace(registers,
                 virtio_driver::DmaMemory{MappedMemory(manifest::kDmaAddress, manifest::kDmaBytes),
                                          own->physical});
  }

  const std::span ring = MappedMemory(manifest::kUplinkRingAddress, manifest::kUplinkRingBytes);
  const auto to_switch = net::FrameWriter::Attach(ring.first(vsock::kRingBytes), vsock::kMaxPacket);
  const auto from_switch =
      net::FrameReader::Attach(ring.subspan(vsock::kRingBytes), vsock::kMaxPacket);
  if (!to_switch.has_value() || !from_switch.has_value()) Panic("uplink_ring is misplaced");

  const SystemCounter counter;
  KernelTimer timer;
  KernelNotifier vsock_switch(manifest::kSwitch);
  virtio_driver::ServiceLog log;
  host_link.emplace(
      HostLink::Ports{*to_switch, *from_switch, counter, Journal<vsock_driver::LinkJournal>()});
  VsockDriver driver({*host_link, vsock_switch, counter, timer, log},
                     port.has_value() ? &*port : nullptr);
  start.failed ? driver.Fail() : driver.Start();
  KernelIrq irq(manifest::kIrq);
  if (port.has_value()) irq.Acknowledge();  // an earlier instance may have ended before it did
  virtio_driver::SignalLoop<VsockDriver, manifest::kIrqSignal> loop(driver, irq);
  Serve(loop);
}

}  // namespace atoll
