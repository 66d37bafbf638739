// What the services that drive a device of the machine have in common: their log, and the loop of their signals.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_DRIVER_SERVICE_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_DRIVER_SERVICE_H_

#include <cstdint>
#include <string_view>

#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/virtio_driver/event_log.h"

namespace atoll::virtio_driver {

class ServiceLog final : public EventLog {
 public:
  void Line(std::string_view text) override { Log(text); }
};

// Driver: has OnSignals. kIrqSignal: the manifest's bit of the device's interrupt.
template <typename Driver, uint64_t kIrqSignal>
class SignalLoop final : public SignalHandler {
 public:
  SignalLoop(Driver& driver, KernelIrq& irq) : driver_(driver), irq_(irq) {}

  void OnSignals(uint64_t bits) override {
    // The interrupt is an edge: one that comes from here on is kept and delivered later, and what came before is looked
    // at now.
    if ((bits & kIrqSignal) != 0) irq_.Acknowledge();
    driver_.OnSignals(bits);
  }

 private:
  Driver& driver_;
  KernelIrq& irq_;
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_DRIVER_SERVICE_H_
