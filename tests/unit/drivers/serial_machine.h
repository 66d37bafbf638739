// A machine with a serial line, its driver, the switch's end of its rings, and a host at the line.
#ifndef ATOLL_TESTS_UNIT_DRIVERS_SERIAL_MACHINE_H_
#define ATOLL_TESTS_UNIT_DRIVERS_SERIAL_MACHINE_H_

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "services/vsock-driver/host_machine.h"
#include "services/vsock-driver/vsock_driver.h"
#include "tests/unit/drivers/fake_device.h"

namespace atoll::vsock_driver {

using virtio_console::ControlMessage;
using virtio_console::Event;

// A virtio console device with two ports, of which port 1 has a program at its other end or has none.
class FakeSerial final : public virtio_driver::FakeDevice {
 public:
  explicit FakeSerial(virtio_driver::PhysicalMemory& memory)
      : FakeDevice(memory, virtio_console::kDeviceId,
                   virtio::kFeatureVersion1 | virtio::kFeatureEventIdx |
                       virtio_console::kFeatureMultiport) {}

  void Connect(bool there) {
    connected = there;
    if (live() && ready_) Tell({.id = 1, .event = Event::kPortOpen, .value = there});
  }
  bool Tell(const ControlMessage& message) {
    const auto chain = Take(virtio_console::kControlReceive);
    if (!chain.has_value()) return false;
    Put(chain->parts.at(0).physical, message);
    Give(virtio_console::kControlReceive, chain->head, sizeof(message));
    return true;
  }

  // Takes what the driver has for it. True: something.
  bool Serve() {
    bool any = false;
    while (const auto chain = Take(virtio_console::kControlTransmit)) {
      any = true;
      if (chain->parts.at(0).bytes != sizeof(ControlMessage)) ++malformed;
      On(Get<ControlMessage>(chain->parts.at(0).physical));
      Give(virtio_console::kControlTransmit, chain->head, 0);
    }
    while (!stuck) {
      const auto chain = Take(5);
      if (!chain.has_value()) break;
      any = true;
      for (const Part& part : chain->parts) {
        if (part.writable) ++malformed;
        for (uint32_t i = 0; i < part.bytes; ++i) out.push_back(Get<std::byte>(part.physical + i));
      }
      Give(5, chain->head, 0);
    }
    while (opened_ && !in.empty()) {
      const auto chain = Take(4);
      if (!chain.has_value()) break;
      any = true;
      const Part& part = chain->parts.at(0);
      uint32_t count = 0;
      for (; count < part.bytes && !in.empty(); ++count) {
        Put(part.physical + count, in.front());
        in.pop_front();
      }
      Give(4, chain->head, count);
    }
    return any;
  }

  bool stuck = false;  // the line takes nothing
  bool connected = true;
  Bytes out;                 // from the driver to the line
  std::deque<std::byte> in;  // to it
  int malformed = 0;

 private:
  void OnReset() override { ready_ = opened_ = false; }
  void On(const ControlMessage& message) {
    if (message.event == Event::kDeviceReady) {
      ready_ = true;
      for (const uint32_t port : {0u, 1u})
        Tell({.id = port, .event = Event::kDeviceAdd, .value = 1});
    } else if (message.id == 1 && message.event == Event::kPortReady) {
      if (connected) Tell({.id = 1, .event = Event::kPortOpen, .value = 1});
    } else if (message.id == 1 && message.event == Event::kPortOpen) {
      opened_ = message.value == 1;
    } else {
      ++malformed;
    }
  }

  bool ready_ = false;
  bool opened_ = false;
};

class SerialMachine {
 public:
  // An instance of the driver.
  void Boot() {
    rings.Start();
    timer.deadline = DeadlineTimer::kNever;
    port = std::make_unique<SerialPort>(device, memory.Dma(0, SerialPort::kDmaBytes));
    driver = std::make_unique<VsockDriver>(
        VsockDriver::Ports{*rings.link, vsock_switch, rings.counter, timer, log},
        has_device ? port.get() : nullptr);
    driver->Start();
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 2000; ++i) {
      bool any = device.Serve();
      if (!device.out.empty()) {
        any = true;
        rings.host.Hear(device.out);
        device.out.clear();
      }
      for (const std::byte byte : rings.host.Speak()) device.in.push_back(byte);
      any |= device.Serve();
      if (device.TakeEdge()) {
        driver->OnSignals(kIrqSignal);
      } else if (timer.Expire(rings.counter.ticks)) {
        driver->OnSignals(kTimerSignal);
      } else if (!any) {
        return;
      }
    }
    settled = false;
  }
  void Pass(uint64_t seconds) {
    rings.counter.ticks += seconds * FakeCounter::kFrequency;
    Settle();
  }
  bool Works() {
    const Bytes to = Packet(++number_, 3000), from = Packet(++number_, 5000);
    const size_t before = rings.host.received.size();
    rings.host.Send(from);
    if (!rings.Put(to)) return false;
    driver->OnSignals(kSwitchSignal);
    Settle();
    return rings.host.received.size() == before + 1 && rings.host.received.back() == to &&
           rings.Take() == from && !rings.Take();
  }
  bool down() { return rings.from_link->WriterIsDown(); }

  HostMachine rings;
  virtio_driver::PhysicalMemory memory{1 << 20};
  FakeSerial device{memory};
  bool has_device = true;
  bool settled = true;
  FakeTimer timer;
  FakeNotifier vsock_switch;
  virtio_driver::FakeLog log;
  std::unique_ptr<SerialPort> port;
  std::unique_ptr<VsockDriver> driver;

 private:
  uint32_t number_ = 500'000;
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_TESTS_UNIT_DRIVERS_SERIAL_MACHINE_H_
