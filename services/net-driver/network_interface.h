// The machine's network interface: a virtio network device (VIRTIO 1.2, 5.1) from its driver's
// side. Frames are copied between its DMA memory and wherever they come from or go to.
#ifndef ATOLL_SERVICES_NET_DRIVER_NETWORK_INTERFACE_H_
#define ATOLL_SERVICES_NET_DRIVER_NETWORK_INTERFACE_H_

#include <cstdint>
#include <optional>
#include <span>

#include "ipc/status.h"
#include "services/net-driver/transmit_buffer.h"
#include "services/net/frame_ring.h"
#include "services/virtio_driver/dma.h"
#include "services/virtio_driver/queue.h"
#include "services/virtio_driver/transport.h"

namespace atoll::net_driver {

// The longest frame of the wire: 1500 bytes, Ethernet header, two VLAN tags.
inline constexpr uint32_t kMaxWireBytes = 1500 + 14 + 8;

class NetworkInterface {
 public:
  // What the device does to frames that it sends.
  struct Offloads {
    bool checksum = false;
    bool tcp4 = false;
    bool tcp6 = false;
    bool ecn = false;  // of segments
  };

  static constexpr uint32_t kQueueSize = 128;
  static constexpr uint32_t kReceiveBytes = 2048;  // of each receive buffer
  static constexpr size_t kRingBytes =
      AlignUp(virtio_driver::Queue::RingBytes(kQueueSize), kPageSize);
  static constexpr size_t kDmaBytes =
      2 * kRingBytes + kQueueSize * kReceiveBytes + TransmitBuffer::kCapacity;

  // memory: kDmaBytes.
  NetworkInterface(virtio_driver::DevicePort& port, virtio_driver::DmaMemory memory);

  // Resets the device, which forgets all frames, and makes it ready. The errors of Transport.
  Status Start();
  void Stop();

  const Offloads& offloads() const { return offloads_; }

  // The next frame from the wire, in memory that the device may still write to; empty: none.
  // Frames that are no frames are passed over and counted. Release it before the next one.
  std::span<const std::byte> Receive();
  void Release();

  // Room for a frame to be sent; empty if there is none now. Send says what it is, as far as
  // offloads() go.
  std::span<std::byte> Reserve(uint32_t bytes);
  void Send(const net::FrameHeader& header);
  // Looks which frames have left. True: some have.
  bool Reap();

  // Tells the device of buffers and frames that are new to it.
  void Publish();

  // Takes the interrupt back. DATA_LOSS: the device is mad, or asks for a reset.
  Status OnInterrupt();
  // Asks for one at the next frame received, and if wanted sent. True: there is one already.
  bool EnableInterrupts(bool sent);
  void DisableInterrupts();

  bool broken() const { return receive_.broken() || transmit_.broken(); }
  uint64_t bad_frames() const { return bad_frames_; }

 private:
  Status SetUp();
  Status SetUpQueue(uint32_t index, virtio_driver::Queue& queue, virtio_driver::DmaMemory rings,
                    uint64_t features);
  void Offer(uint32_t buffer);

  virtio_driver::Transport transport_;
  virtio_driver::DmaMemory memory_;
  virtio_driver::DmaMemory receive_buffers_;
  virtio_driver::DmaMemory transmit_buffers_;
  virtio_driver::Queue receive_;
  virtio_driver::Queue transmit_;
  TransmitBuffer room_;
  Offloads offloads_;
  std::optional<uint32_t> received_;  // buffer of the frame in hand
  TransmitBuffer::Place reserved_;
  uint64_t bad_frames_ = 0;
};

}  // namespace atoll::net_driver

#endif  // ATOLL_SERVICES_NET_DRIVER_NETWORK_INTERFACE_H_
