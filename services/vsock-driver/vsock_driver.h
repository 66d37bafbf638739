// The uplink of the vsock-switch: packets from its ring to a program of the host and back, over a serial line of the
// machine.
#ifndef ATOLL_SERVICES_VSOCK_DRIVER_VSOCK_DRIVER_H_
#define ATOLL_SERVICES_VSOCK_DRIVER_VSOCK_DRIVER_H_

#include <cstdint>
#include <string_view>

#include "services/runtime/ports.h"
#include "services/virtio_driver/event_log.h"
#include "services/vsock-driver/host_link.h"
#include "services/vsock-driver/serial_port.h"

namespace atoll::vsock_driver {

// Bits of the service's signal.
inline constexpr uint64_t kIrqSignal = uint64_t{1} << 16;
inline constexpr uint64_t kTimerSignal = uint64_t{1} << 17;
inline constexpr uint64_t kSwitchSignal = uint64_t{1} << 62;

// A device that says nothing of its port for so long has nobody there.
inline constexpr uint64_t kSilentSeconds = 1;

class VsockDriver {
 public:
  struct Ports {
    HostLink& link;
    Notifier& vsock_switch;
    const Counter& counter;
    DeadlineTimer& timer;
    virtio_driver::EventLog& log;
  };

  // Everything referenced outlives the driver. port: none if the machine has no such device.
  VsockDriver(const Ports& ports, SerialPort* port) : ports_(ports), port_(port) {}

  void Start();
  // Instead of Start, when the line is given up: nobody can be reached.
  void Fail();
  void OnSignals(uint64_t bits);

 private:
  void Work();
  bool Listen();
  bool Receive();
  bool Send();
  bool MaySleep();
  void SetTimer();
  void GiveUp();
  void Recover(std::string_view reason);
  void ShowCounters() const;

  Ports ports_;
  SerialPort* port_;
  bool ready_ = false;
  bool no_room_ = false;    // the switch has none for what came
  bool line_full_ = false;  // the line takes nothing
  uint64_t silent_deadline_ = DeadlineTimer::kNever;
  uint32_t idle_restarts_ = 0;  // of the device, since it last took or brought bytes
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_SERVICES_VSOCK_DRIVER_VSOCK_DRIVER_H_
