// A machine with one virtio device of the library (services/virtio/device.h): for host tests and fuzz targets.
#ifndef ATOLL_TESTS_UNIT_DEVICE_VIRTIO_MACHINE_H_
#define ATOLL_TESTS_UNIT_DEVICE_VIRTIO_MACHINE_H_

#include <functional>
#include <memory>

#include "services/virtio/device.h"
#include "tests/unit/device/fakes.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio {

template <typename D>
using DeviceMachineBase = Machine<D, DeviceJournal<typename D::StateType>, D::kQueues>;

// Ports come first, so that the base finds them when it makes the first instance.
struct PortsOfMachine {
  FakeSurroundings ports;
};

template <typename D>
class DeviceMachine : public PortsOfMachine, public DeviceMachineBase<D> {
 public:
  using Base = DeviceMachineBase<D>;
  using Queue = DriverQueue<Base>;
  using MakeDevice = std::function<std::unique_ptr<D>(const Surroundings&)>;

  // `make`: of a device that takes more than its surroundings.
  explicit DeviceMachine(uint64_t ram_bytes = kRamBytes)
    requires std::is_constructible_v<D, const Surroundings&>
      : DeviceMachine([](const Surroundings& s) { return std::make_unique<D>(s); }, ram_bytes) {}
  explicit DeviceMachine(MakeDevice make, uint64_t ram_bytes = kRamBytes)
      : Base(
            [this, make](typename Base::JournalType& journal) {
              return make(ports.Of(std::as_writable_bytes(std::span(&journal, 1))));
            },
            kRamBase, ram_bytes) {}

  // The driver finds the device and brings up queue 0 (or all, by SetUp of each) with what is offered.
  uint64_t Offered() { return this->model().Describe().features; }
};

}  // namespace atoll::virtio

#endif  // ATOLL_TESTS_UNIT_DEVICE_VIRTIO_MACHINE_H_
