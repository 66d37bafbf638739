// A machine with a network interface, its driver, and the switch's end of the uplink.
#ifndef ATOLL_TESTS_UNIT_DRIVERS_NET_MACHINE_H_
#define ATOLL_TESTS_UNIT_DRIVERS_NET_MACHINE_H_

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "services/net-driver/net_driver.h"
#include "services/virtio-net/specification.h"
#include "tests/unit/drivers/fake_device.h"
#include "tests/unit/net/packets.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll::net_driver {

using net::Bytes;
using net::FrameHeader;
using virtio_net::NetHeader;

// A virtio network device: keeps what is sent, and receives what the test puts on its wire.
class FakeInterface final : public virtio_driver::FakeDevice {
 public:
  struct Sent {
    NetHeader header;
    Bytes frame;
  };

  explicit FakeInterface(virtio_driver::PhysicalMemory& memory)
      : FakeDevice(memory, virtio_net::kDeviceId,
                   virtio::kFeatureVersion1 | virtio::kFeatureEventIdx) {}

  bool Serve() {
    bool any = false;
    while (auto chain = Take(0)) receive_buffers.push_back(*chain);
    while (auto chain = Take(1)) {
      any = true;
      Sent out;
      Bytes bytes;
      for (const Part& part : chain->parts) {
        if (part.writable) ++malformed;
        for (uint32_t i = 0; i < part.bytes; ++i) bytes.push_back(Get<uint8_t>(part.physical + i));
      }
      if (bytes.size() < sizeof(NetHeader)) {
        ++malformed;
        continue;
      }
      std::memcpy(&out.header, bytes.data(), sizeof(NetHeader));
      out.frame.assign(bytes.begin() + sizeof(NetHeader), bytes.end());
      sent.push_back(std::move(out));
      held.push_back(chain->head);
    }
    while (!hold && !held.empty()) {
      Give(1, held.back(), 0);  // the youngest first: order is not promised
      held.pop_back();
    }
    return any;
  }

  // A frame from the wire. False: the driver gave no buffer.
  bool Receive(const Bytes& frame, std::optional<uint32_t> claimed = std::nullopt) {
    (void)Serve();
    if (receive_buffers.empty()) return false;
    const Chain chain = receive_buffers.front();
    receive_buffers.pop_front();
    const Part& part = chain.parts.at(0);
    if (!part.writable || part.bytes < sizeof(NetHeader) + frame.size()) ++malformed;
    Put(part.physical, NetHeader{.num_buffers = 1});
    for (size_t i = 0; i < frame.size(); ++i) {
      Put(part.physical + sizeof(NetHeader) + i, frame[i]);
    }
    Give(0, chain.head, claimed.value_or(static_cast<uint32_t>(sizeof(NetHeader) + frame.size())));
    return true;
  }

  bool hold = false;
  std::vector<uint16_t> held;
  std::deque<Chain> receive_buffers;
  std::vector<Sent> sent;
  int malformed = 0;

 private:
  void OnReset() override {
    held.clear();
    receive_buffers.clear();
  }
};

class NetMachine {
 public:
  void Boot() {
    timer.deadline = DeadlineTimer::kNever;
    interface_.emplace(device, memory.Dma(0, NetworkInterface::kDmaBytes));
    driver_ = std::make_unique<NetDriver>(
        NetDriver::Ports{net::FrameWriter::Attach(ring_.span().first(net::kRingBytes)).value(),
                         net::FrameReader::Attach(ring_.span().subspan(net::kRingBytes)).value(),
                         vswitch, counter, timer, log},
        has_interface ? &*interface_ : nullptr);
    driver_->Start();
    Settle();
  }
  void Signal(uint64_t bits) {
    driver_->OnSignals(bits);
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      const bool served = device.Serve();
      if (device.TakeEdge()) {
        driver_->OnSignals(kIrqSignal);
      } else if (timer.Expire(counter.ticks)) {
        driver_->OnSignals(kTimerSignal);
      } else if (!served) {
        return;
      }
    }
    settled = false;
  }
  void Pass(uint64_t seconds) {
    counter.ticks += seconds * FakeCounter::kFrequency;
    Settle();
  }

  // ---- the switch
  bool Put(const FrameHeader& header, const Bytes& frame) {
    const auto room = to_driver.Reserve(static_cast<uint32_t>(frame.size()));
    if (room.empty()) return false;
    std::memcpy(room.data(), frame.data(), frame.size());
    to_driver.Publish(header);
    return true;
  }
  bool Put(const Bytes& frame) {
    return Put({.bytes = static_cast<uint32_t>(frame.size())}, frame);
  }
  void Tell() {
    if (to_driver.ReaderWaits()) Signal(kSwitchSignal);
  }
  std::optional<Bytes> Take() {
    const auto frame = from_driver.Next();
    if (!frame.has_value()) return std::nullopt;
    Bytes bytes = net::Copy(frame->bytes);
    last_header = frame->header;
    from_driver.Consume();
    return bytes;
  }
  // One frame each way.
  bool Works() {
    const Bytes out = Pattern(60, 1), in = Pattern(1514, 2);
    const size_t before = device.sent.size();
    (void)Put(out);
    Tell();
    if (device.sent.size() != before + 1 || device.sent.back().frame != out) return false;
    if (!device.Receive(in)) return false;
    Settle();
    return Take() == in;
  }
  static Bytes Pattern(size_t bytes, int seed) {
    Bytes frame(bytes);
    for (size_t i = 0; i < bytes; ++i)
      frame[i] = static_cast<uint8_t>(i * 13 + i / 256 + seed * 91);
    return frame;
  }
  std::span<std::byte> ring() { return ring_.span(); }
  const NetDriver& driver() const { return *driver_; }

  virtio_driver::PhysicalMemory memory{1 << 20};
  FakeInterface device{memory};
  bool has_interface = true;
  bool settled = true;
  FakeCounter counter;
  FakeTimer timer;
  FakeNotifier vswitch;
  virtio_driver::FakeLog log;

 private:
  AlignedMemory<net::kPortBytes> ring_;
  std::optional<NetworkInterface> interface_;
  std::unique_ptr<NetDriver> driver_;

 public:
  net::FrameReader from_driver =
      net::FrameReader::Attach(ring_.span().first(net::kRingBytes)).value();
  net::FrameWriter to_driver =
      net::FrameWriter::Attach(ring_.span().subspan(net::kRingBytes)).value();
  FrameHeader last_header;
};

}  // namespace atoll::net_driver

#endif  // ATOLL_TESTS_UNIT_DRIVERS_NET_MACHINE_H_
