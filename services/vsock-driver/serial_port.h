// The machine's serial line to a program of the host: port 1 of a virtio console device (VIRTIO 1.2, 5.3) from its driver's
// side. Bytes are copied between its DMA memory and wherever they come from or go to.
#ifndef ATOLL_SERVICES_VSOCK_DRIVER_SERIAL_PORT_H_
#define ATOLL_SERVICES_VSOCK_DRIVER_SERIAL_PORT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/address.h"
#include "ipc/status.h"
#include "services/virtio-console/specification.h"
#include "services/virtio_driver/dma.h"
#include "services/virtio_driver/queue.h"
#include "services/virtio_driver/transport.h"

namespace atoll::vsock_driver {

class SerialPort {
 public:
  static constexpr uint32_t kPort = 1;
  static constexpr uint32_t kReceiveBuffers = 32;
  static constexpr uint32_t kReceiveBytes = 4096;  // of each
  static constexpr uint32_t kTransmitBuffers = 8;
  static constexpr uint32_t kTransmitBytes = 16384;
  static constexpr uint32_t kControlBuffers = 32;
  static constexpr uint32_t kControlBytes = 64;
  static constexpr size_t kRingBytes = kPageSize;  // of each queue
  static constexpr size_t kDmaBytes = 4 * kRingBytes + kReceiveBuffers * kReceiveBytes +
                                      kTransmitBuffers * kTransmitBytes +
                                      2 * kControlBuffers * kControlBytes;

  // memory: kDmaBytes.
  SerialPort(virtio_driver::DevicePort& port, virtio_driver::DmaMemory memory);

  // Resets the device, which forgets all bytes, and makes it ready. The errors of Transport; FAILED_PRECONDITION also if it
  // has no such port.
  Status Start();
  void Stop();

  // What the device says of the port, by and by: nothing until it has said something.
  std::optional<bool> open() const { return open_; }
  // Takes in what it says. True: something has changed.
  bool Listen();

  // The next bytes that came, in memory that the device may still write to; empty: none. Consume the first of them.
  std::span<const std::byte> Received();
  void Consume(size_t bytes);

  // Room for bytes to be sent, at least kLeastRoom; empty: none now. Append says how many there are.
  static constexpr uint32_t kLeastRoom = 64;
  std::span<std::byte> Room();
  void Append(size_t bytes);

  // Tells the device of buffers and bytes that are new to it.
  void Publish();

  // Takes the interrupt back. DATA_LOSS: the device is mad, or asks for a reset.
  Status OnInterrupt();
  // Asks for one when the device has something to say, and, if wanted, bytes or room. True: it has already.
  bool EnableInterrupts(bool received, bool sent);
  void DisableInterrupts();
  // Lets the device look for room for what came.
  void Prod();

  bool broken() const {
    return receive_.broken() || transmit_.broken() || listen_.broken() || speak_.broken();
  }

 private:
  Status SetUp();
  Status SetUpQueue(uint32_t index, virtio_driver::Queue& queue, uint32_t number, uint32_t size,
                    uint64_t features);
  void Offer(uint32_t buffer);
  void OfferControl(uint32_t buffer);
  void Say(virtio_console::ControlMessage message);
  void Flush();

  virtio_driver::Transport transport_;
  virtio_driver::DmaMemory memory_;
  virtio_driver::DmaMemory receive_buffers_;
  virtio_driver::DmaMemory transmit_buffers_;
  virtio_driver::DmaMemory listen_buffers_;
  virtio_driver::DmaMemory speak_buffers_;
  virtio_driver::Queue receive_;
  virtio_driver::Queue transmit_;
  virtio_driver::Queue listen_;
  virtio_driver::Queue speak_;
  std::optional<bool> open_;
  std::optional<uint32_t> received_;  // buffer in hand
  uint32_t received_bytes_ = 0;       // in it
  uint32_t consumed_ = 0;             // of these
  uint32_t free_transmit_ = 0;        // bit per buffer
  uint32_t filled_ = 0;               // bytes in the first free one
  uint32_t free_speak_ = 0;           // bit per buffer
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_SERVICES_VSOCK_DRIVER_SERIAL_PORT_H_
