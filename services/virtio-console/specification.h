// Numbers and layouts of the console device, with the spelling of VIRTIO 1.2, 5.3.
#ifndef ATOLL_SERVICES_VIRTIO_CONSOLE_SPECIFICATION_H_
#define ATOLL_SERVICES_VIRTIO_CONSOLE_SPECIFICATION_H_

#include <cstddef>
#include <cstdint>

namespace atoll::virtio_console {

inline constexpr uint32_t kDeviceId = 3;

// 5.3.3 Feature bits.
inline constexpr uint64_t kFeatureSize = uint64_t{1} << 0;
inline constexpr uint64_t kFeatureMultiport = uint64_t{1} << 1;
inline constexpr uint64_t kFeatureEmergWrite = uint64_t{1} << 2;

// 5.3.4 Device configuration layout.
struct ConfigSpace {
  uint16_t cols = 0;
  uint16_t rows = 0;
  uint32_t max_nr_ports = 0;
  uint32_t emerg_wr = 0;
};
static_assert(sizeof(ConfigSpace) == 12 && offsetof(ConfigSpace, emerg_wr) == 8);

// 5.3.6.2 Multiport device operation: struct virtio_console_control, events of the control queues.
enum class Event : uint16_t {
  kDeviceReady = 0,
  kDeviceAdd = 1,
  kDeviceRemove = 2,
  kPortReady = 3,
  kConsolePort = 4,
  kResize = 5,
  kPortOpen = 6,
  kPortName = 7,  // the name follows, without NUL
};
struct ControlMessage {
  uint32_t id = 0;  // port
  Event event = {};
  uint16_t value = 0;
};
static_assert(sizeof(ControlMessage) == 8);

// 5.3.2 Virtqueues: of port 0, then control, then of the further ports.
inline constexpr uint32_t kControlReceive = 2;
inline constexpr uint32_t kControlTransmit = 3;
constexpr uint32_t ReceiveQueue(uint32_t port) { return port == 0 ? 0 : 2 * port + 2; }
constexpr uint32_t TransmitQueue(uint32_t port) { return ReceiveQueue(port) + 1; }
// Of a data queue.
constexpr uint32_t PortOf(uint32_t queue) { return queue < 2 ? 0 : queue / 2 - 1; }

}  // namespace atoll::virtio_console

#endif  // ATOLL_SERVICES_VIRTIO_CONSOLE_SPECIFICATION_H_
