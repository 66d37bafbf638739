#include "services/vsock-driver/serial_port.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace atoll::vsock_driver {

using virtio_console::ControlMessage;
using virtio_console::Event;
using virtio_driver::Buffer;
using virtio_driver::DmaMemory;
using virtio_driver::Queue;

namespace {

constexpr uint32_t kReceiveQueue = virtio_console::ReceiveQueue(SerialPort::kPort);
constexpr uint32_t kTransmitQueue = virtio_console::TransmitQueue(SerialPort::kPort);
constexpr uint64_t kWanted = virtio::kFeatureEventIdx | virtio_console::kFeatureMultiport;

constexpr size_t kReceiveAt = 4 * SerialPort::kRingBytes;
constexpr size_t kReceiveAll = SerialPort::kReceiveBuffers * SerialPort::kReceiveBytes;
constexpr size_t kTransmitAll = SerialPort::kTransmitBuffers * SerialPort::kTransmitBytes;
constexpr size_t kControlAll = SerialPort::kControlBuffers * SerialPort::kControlBytes;

static_assert(Queue::RingBytes(SerialPort::kReceiveBuffers) <= SerialPort::kRingBytes);
static_assert(SerialPort::kControlBuffers <= SerialPort::kReceiveBuffers);
static_assert(SerialPort::kTransmitBuffers < 32 && SerialPort::kControlBuffers <= 32);

constexpr uint32_t Bits(uint32_t count) {
  return static_cast<uint32_t>((uint64_t{1} << count) - 1);
}

}  // namespace

SerialPort::SerialPort(virtio_driver::DevicePort& port, DmaMemory memory)
    : transport_(port),
      memory_(memory),
      receive_buffers_(memory.Part(kReceiveAt, kReceiveAll)),
      transmit_buffers_(memory.Part(kReceiveAt + kReceiveAll, kTransmitAll)),
      listen_buffers_(memory.Part(kReceiveAt + kReceiveAll + kTransmitAll, kControlAll)),
      speak_buffers_(
          memory.Part(kReceiveAt + kReceiveAll + kTransmitAll + kControlAll, kControlAll)) {}

Status SerialPort::Start() {
  if (const Status status = transport_.Probe(virtio_console::kDeviceId); !IsOk(status)) {
    return status;
  }
  if (const Status status = transport_.Reset(); !IsOk(status)) return status;
  const Status status = SetUp();
  if (!IsOk(status)) transport_.GiveUp();
  return status;
}

Status SerialPort::SetUp() {
  const Result<uint64_t> features = transport_.Negotiate(kWanted);
  if (!features.has_value()) return features.error();
  if ((*features & virtio_console::kFeatureMultiport) == 0) return Status::kFailedPrecondition;
  struct Part {
    uint32_t number;
    Queue& queue;
    uint32_t size;
  };
  uint32_t index = 0;
  for (const Part& part : {Part{virtio_console::kControlReceive, listen_, kControlBuffers},
                           Part{virtio_console::kControlTransmit, speak_, kControlBuffers},
                           Part{kReceiveQueue, receive_, kReceiveBuffers},
                           Part{kTransmitQueue, transmit_, kTransmitBuffers}}) {
    const Status status = SetUpQueue(index++, part.queue, part.number, part.size, *features);
    if (!IsOk(status)) return status;
  }
  open_.reset();
  received_.reset();
  free_transmit_ = Bits(transmit_.addresses().size);
  free_speak_ = Bits(speak_.addresses().size);
  filled_ = 0;
  transport_.Start();
  for (uint32_t i = 0; i < receive_.addresses().size; ++i) Offer(i);
  for (uint32_t i = 0; i < listen_.addresses().size; ++i) OfferControl(i);
  Publish();
  Say({.id = 0, .event = Event::kDeviceReady, .value = 1});
  Publish();
  return Status::kOk;
}

Status SerialPort::SetUpQueue(uint32_t index, Queue& queue, uint32_t number, uint32_t size,
                              uint64_t features) {
  const uint32_t fits = std::bit_floor(std::min(transport_.MaxQueueSize(number), size));
  if (fits == 0) return Status::kFailedPrecondition;
  queue.Start(memory_.Part(index * kRingBytes, kRingBytes), {}, fits, features);
  return transport_.SetUpQueue(number, queue.addresses());
}

void SerialPort::Stop() {
  if (!IsOk(transport_.Reset())) transport_.GiveUp();
}

void SerialPort::Offer(uint32_t buffer) {
  const Buffer whole = {receive_buffers_.physical + buffer * kReceiveBytes, kReceiveBytes};
  // There are as many buffers as descriptors, and this one is out of the queue; so in the other queues.
  (void)receive_.Add({}, std::span(&whole, 1), buffer);
}

void SerialPort::OfferControl(uint32_t buffer) {
  const Buffer whole = {listen_buffers_.physical + buffer * kControlBytes, kControlBytes};
  (void)listen_.Add({}, std::span(&whole, 1), buffer);
}

void SerialPort::Say(ControlMessage message) {
  while (const auto completion = speak_.Pop()) free_speak_ |= 1u << completion->token;
  if (free_speak_ == 0) return;  // a device that asks faster than it listens
  const auto buffer = static_cast<uint32_t>(std::countr_zero(free_speak_));
  free_speak_ &= free_speak_ - 1;
  std::memcpy(speak_buffers_.bytes.data() + buffer * kControlBytes, &message, sizeof(message));
  const Buffer whole = {speak_buffers_.physical + buffer * kControlBytes, sizeof(message)};
  (void)speak_.Add(std::span(&whole, 1), {}, buffer);
}

bool SerialPort::Listen() {
  bool any = false;
  while (const auto completion = listen_.Pop()) {
    ControlMessage message;
    const bool whole = completion->written >= sizeof(message);
    if (whole) {
      std::memcpy(&message, listen_buffers_.bytes.data() + completion->token * kControlBytes,
                  sizeof(message));
      asm volatile("" ::: "memory");  // the device may change it: read once
    }
    OfferControl(completion->token);
    if (!whole || message.id != kPort) continue;
    any = true;
    switch (message.event) {
      case Event::kDeviceAdd:
        Say({.id = kPort, .event = Event::kPortReady, .value = 1});
        Say({.id = kPort, .event = Event::kPortOpen, .value = 1});
        break;
      case Event::kDeviceRemove: open_ = false; break;
      case Event::kPortOpen: open_ = message.value != 0; break;
      default: break;
    }
  }
  return any;
}

std::span<const std::byte> SerialPort::Received() {
  if (received_.has_value() && consumed_ == received_bytes_) {
    Offer(*received_);
    received_.reset();
  }
  while (!received_.has_value()) {
    const auto completion = receive_.Pop();
    if (!completion.has_value()) return {};
    if (completion->written == 0) {
      Offer(completion->token);
      continue;
    }
    received_ = completion->token;
    received_bytes_ = completion->written;
    consumed_ = 0;
  }
  return receive_buffers_.bytes.subspan(*received_ * kReceiveBytes + consumed_,
                                        received_bytes_ - consumed_);
}

void SerialPort::Consume(size_t bytes) { consumed_ += static_cast<uint32_t>(bytes); }

std::span<std::byte> SerialPort::Room() {
  if (kTransmitBytes - filled_ < kLeastRoom) Flush();
  if (free_transmit_ == 0) {
    while (const auto completion = transmit_.Pop()) free_transmit_ |= 1u << completion->token;
  }
  if (free_transmit_ == 0) return {};
  const auto buffer = static_cast<uint32_t>(std::countr_zero(free_transmit_));
  return transmit_buffers_.bytes.subspan(buffer * kTransmitBytes + filled_,
                                         kTransmitBytes - filled_);
}

void SerialPort::Append(size_t bytes) { filled_ += static_cast<uint32_t>(bytes); }

void SerialPort::Flush() {
  if (filled_ == 0) return;
  const auto buffer = static_cast<uint32_t>(std::countr_zero(free_transmit_));
  free_transmit_ &= free_transmit_ - 1;
  const Buffer whole = {transmit_buffers_.physical + buffer * kTransmitBytes, filled_};
  (void)transmit_.Add(std::span(&whole, 1), {}, buffer);
  filled_ = 0;
}

void SerialPort::Publish() {
  Flush();
  if (receive_.Publish()) transport_.Notify(kReceiveQueue);
  if (transmit_.Publish()) transport_.Notify(kTransmitQueue);
  if (listen_.Publish()) transport_.Notify(virtio_console::kControlReceive);
  if (speak_.Publish()) transport_.Notify(virtio_console::kControlTransmit);
}

void SerialPort::Prod() { transport_.Notify(kReceiveQueue); }

Status SerialPort::OnInterrupt() {
  if (const Status status = transport_.AcknowledgeInterrupts(); !IsOk(status)) return status;
  return transport_.IsLive() ? Status::kOk : Status::kDataLoss;
}

bool SerialPort::EnableInterrupts(bool received, bool sent) {
  const bool said = listen_.EnableInterrupts();
  const bool came = received && receive_.EnableInterrupts();
  return (sent && transmit_.EnableInterrupts()) || came || said;
}

void SerialPort::DisableInterrupts() {
  listen_.DisableInterrupts();
  receive_.DisableInterrupts();
  transmit_.DisableInterrupts();
}

}  // namespace atoll::vsock_driver
