#include "services/net-driver/network_interface.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/virtio-net/specification.h"

namespace atoll::net_driver {

using virtio_driver::Buffer;
using virtio_driver::DmaMemory;
using virtio_driver::Queue;
using virtio_net::NetHeader;

namespace {

// 5.1.2 Virtqueues.
constexpr uint32_t kReceiveQueue = 0;
constexpr uint32_t kTransmitQueue = 1;

// What is received comes as the wire has it: no GUEST_ features, so each frame fits its buffer.
constexpr uint64_t kWanted = virtio::kFeatureEventIdx | virtio_net::kFeatureCsum |
                             virtio_net::kFeatureHostTso4 | virtio_net::kFeatureHostTso6 |
                             virtio_net::kFeatureHostEcn;

static_assert(sizeof(NetHeader) + kMaxWireBytes <= NetworkInterface::kReceiveBytes);
static_assert(sizeof(NetHeader) + net::kMaxFrameBytes <= TransmitBuffer::kCapacity / 2);
static_assert(TransmitBuffer::kEntries == NetworkInterface::kQueueSize);

}  // namespace

NetworkInterface::NetworkInterface(virtio_driver::DevicePort& port, DmaMemory memory)
    : transport_(port),
      memory_(memory),
      receive_buffers_(memory.Part(2 * kRingBytes, kQueueSize * kReceiveBytes)),
      transmit_buffers_(
          memory.Part(2 * kRingBytes + kQueueSize * kReceiveBytes, TransmitBuffer::kCapacity)) {}

Status NetworkInterface::Start() {
  if (const Status status = transport_.Probe(virtio_net::kDeviceId); !IsOk(status)) return status;
  if (const Status status = transport_.Reset(); !IsOk(status)) return status;
  const Status status = SetUp();
  if (!IsOk(status)) transport_.GiveUp();
  return status;
}

Status NetworkInterface::SetUp() {
  const Result<uint64_t> features = transport_.Negotiate(kWanted);
  if (!features.has_value()) return features.error();
  const auto has = [&features](uint64_t feature) { return (*features & feature) != 0; };
  // 5.1.3.1: segmentation needs CSUM, ECN needs segmentation.
  const bool checksum = has(virtio_net::kFeatureCsum);
  offloads_ = {.checksum = checksum,
               .tcp4 = checksum && has(virtio_net::kFeatureHostTso4),
               .tcp6 = checksum && has(virtio_net::kFeatureHostTso6),
               .ecn = has(virtio_net::kFeatureHostEcn)};
  if (const Status status =
          SetUpQueue(kReceiveQueue, receive_, memory_.Part(0, kRingBytes), *features);
      !IsOk(status)) {
    return status;
  }
  if (const Status status =
          SetUpQueue(kTransmitQueue, transmit_, memory_.Part(kRingBytes, kRingBytes), *features);
      !IsOk(status)) {
    return status;
  }
  room_.Clear();
  received_.reset();
  transport_.Start();
  for (uint32_t i = 0; i < receive_.addresses().size; ++i) Offer(i);
  Publish();
  return Status::kOk;
}

Status NetworkInterface::SetUpQueue(uint32_t index, Queue& queue, DmaMemory rings,
                                    uint64_t features) {
  const uint32_t size = std::bit_floor(std::min(transport_.MaxQueueSize(index), kQueueSize));
  if (size == 0) return Status::kFailedPrecondition;
  queue.Start(rings, {}, size, features);
  return transport_.SetUpQueue(index, queue.addresses());
}

void NetworkInterface::Stop() {
  if (!IsOk(transport_.Reset())) transport_.GiveUp();
}

void NetworkInterface::Offer(uint32_t buffer) {
  const Buffer whole = {receive_buffers_.physical + buffer * kReceiveBytes, kReceiveBytes};
  // There are as many buffers as descriptors, and this one is out of the queue.
  (void)receive_.Add({}, std::span(&whole, 1), buffer);
}

std::span<const std::byte> NetworkInterface::Receive() {
  while (const auto completion = receive_.Pop()) {
    received_ = completion->token;
    const std::span<const std::byte> buffer =
        receive_buffers_.bytes.subspan(completion->token * kReceiveBytes, completion->written);
    if (buffer.size() >= sizeof(NetHeader) + net::kMinFrameBytes) {
      return buffer.subspan(sizeof(NetHeader));
    }
    ++bad_frames_;
    Release();
  }
  return {};
}

void NetworkInterface::Release() {
  if (received_.has_value()) Offer(*received_);
  received_.reset();
}

std::span<std::byte> NetworkInterface::Reserve(uint32_t bytes) {
  const uint32_t all = sizeof(NetHeader) + bytes;
  if (transmit_.free_descriptors() == 0) (void)Reap();
  auto place = room_.Find(all);
  if (!place.has_value() && Reap()) place = room_.Find(all);
  if (!place.has_value() || transmit_.free_descriptors() == 0) return {};
  reserved_ = *place;
  return transmit_buffers_.bytes.subspan(place->offset + sizeof(NetHeader), bytes);
}

void NetworkInterface::Send(const net::FrameHeader& header) {
  const NetHeader out = {.flags = header.flags,
                         .gso_type = header.gso_type,
                         .hdr_len = header.header_bytes,
                         .gso_size = header.gso_size,
                         .csum_start = header.checksum_start,
                         .csum_offset = header.checksum_offset,
                         .num_buffers = 0};
  std::memcpy(transmit_buffers_.bytes.data() + reserved_.offset, &out, sizeof(out));
  const Buffer whole = {transmit_buffers_.physical + reserved_.offset,
                        static_cast<uint32_t>(sizeof(out)) + header.bytes};
  if (IsOk(transmit_.Add(std::span(&whole, 1), {}, reserved_.entry))) room_.Take();
}

bool NetworkInterface::Reap() {
  bool any = false;
  while (const auto completion = transmit_.Pop()) {
    room_.GiveBack(completion->token);
    any = true;
  }
  return any;
}

void NetworkInterface::Publish() {
  if (receive_.Publish()) transport_.Notify(kReceiveQueue);
  if (transmit_.Publish()) transport_.Notify(kTransmitQueue);
}

Status NetworkInterface::OnInterrupt() {
  if (const Status status = transport_.AcknowledgeInterrupts(); !IsOk(status)) return status;
  return transport_.IsLive() ? Status::kOk : Status::kDataLoss;
}

bool NetworkInterface::EnableInterrupts(bool sent) {
  const bool received = receive_.EnableInterrupts();
  return (sent && transmit_.EnableInterrupts()) || received;
}

void NetworkInterface::DisableInterrupts() {
  receive_.DisableInterrupts();
  transmit_.DisableInterrupts();
}

}  // namespace atoll::net_driver
