#include "services/blk-driver/physical_disk.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "services/virtio-blk/specification.h"

namespace atoll::blk_driver {

using block::Operation;
using block::RequestStatus;
using virtio_driver::Buffer;
using virtio_driver::Queue;

namespace {

// 5.2.3. This driver's alone: virtio-blk does not offer it.
constexpr uint64_t kFeatureSizeMax = uint64_t{1} << 1;

constexpr uint64_t kWanted = virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx |
                             kFeatureSizeMax | virtio_blk::kFeatureSegMax | virtio_blk::kFeatureRo |
                             virtio_blk::kFeatureFlush | virtio_blk::kFeatureDiscard |
                             virtio_blk::kFeatureWriteZeroes;

// What lies in the DMA memory of a request.
struct RequestMemory {
  virtio_blk::RequestHeader header;
  virtio_blk::DiscardWriteZeroes range;
  uint8_t status;
};
static_assert(sizeof(RequestMemory) <= PhysicalDisk::kRequestBytes);

constexpr uint8_t kNoStatus = 0xff;       // until the device writes one
constexpr uint32_t kHeaderAndStatus = 2;  // buffers of a request besides its data

}  // namespace

PhysicalDisk::PhysicalDisk(virtio_driver::DevicePort& port, virtio_driver::DmaMemory memory)
    : transport_(port),
      rings_(memory.Part(0, kRingsBytes)),
      tables_(memory.Part(kRingsBytes, kTablesBytes)),
      requests_(memory.Part(kRingsBytes + kTablesBytes, kDepth * kRequestBytes)) {}

Status PhysicalDisk::Start() {
  if (const Status status = transport_.Probe(virtio_blk::kDeviceId); !IsOk(status)) return status;
  if (const Status status = transport_.Reset(); !IsOk(status)) return status;
  const Status status = SetUp();
  if (!IsOk(status)) transport_.GiveUp();
  return status;
}

Status PhysicalDisk::SetUp() {
  const Result<uint64_t> features = transport_.Negotiate(kWanted);
  if (!features.has_value()) return features.error();
  const bool indirect = (*features & virtio::kFeatureIndirectDesc) != 0;
  const uint32_t size =
      std::bit_floor(std::min(transport_.MaxQueueSize(0), indirect ? kDepth : Queue::kMaxSize));
  if (size <= kHeaderAndStatus) return Status::kFailedPrecondition;
  queue_.Start(rings_, tables_, size, *features);
  lied_ = false;
  if (const Status status = transport_.SetUpQueue(0, queue_.addresses()); !IsOk(status)) {
    return status;
  }
  const Result<uint64_t> capacity =
      transport_.ConfigDoubleWord(offsetof(virtio_blk::Config, capacity));
  if (!capacity.has_value()) return capacity.error();
  // No sum of a sector and a number of sectors, in bytes, can wrap.
  sectors_ = std::min(*capacity, ~uint64_t{0} / block::kSectorBytes / 2);
  ReadProperties(*features);
  // Several requests fit even where each buffer takes a descriptor of its own.
  const uint32_t room = indirect ? Queue::kTableEntries : std::max(size / 4, kHeaderAndStatus + 1);
  limits_.buffers = std::min(limits_.buffers, room - kHeaderAndStatus);
  transport_.Start();
  return Status::kOk;
}

void PhysicalDisk::ReadProperties(uint64_t features) {
  const auto config = [&](uint64_t feature, size_t offset, uint32_t otherwise) {
    if ((features & feature) == 0) return otherwise;
    return transport_.ConfigWord(static_cast<uint32_t>(offset));
  };
  using Config = virtio_blk::Config;
  // A limit of 0 makes no sense and is taken for none, but for ranges: there it is no feature.
  limits_.buffers = std::clamp(config(virtio_blk::kFeatureSegMax, offsetof(Config, seg_max), 1), 1u,
                               block::kMaxSegments);
  limits_.buffer_bytes = std::clamp(config(kFeatureSizeMax, offsetof(Config, size_max), ~0u), 1u,
                                    static_cast<uint32_t>(kMaxTransferBytes));
  limits_.discard_sectors =
      std::min(kMaxRangeSectors,
               config(virtio_blk::kFeatureDiscard, offsetof(Config, max_discard_sectors), 0));
  limits_.write_zeroes_sectors = std::min(
      kMaxRangeSectors,
      config(virtio_blk::kFeatureWriteZeroes, offsetof(Config, max_write_zeroes_sectors), 0));
  has_cache_ = (features & virtio_blk::kFeatureFlush) != 0;
  flags_ = block::kFlush | ((features & virtio_blk::kFeatureRo) != 0 ? block::kReadOnly : 0) |
           (limits_.discard_sectors != 0 ? block::kDiscard : 0) |
           (limits_.write_zeroes_sectors != 0 ? block::kWriteZeroes : 0);
}

Status PhysicalDisk::Stop() {
  const Status status = transport_.Reset();
  if (!IsOk(status)) transport_.GiveUp();
  return status;
}

Status PhysicalDisk::Submit(uint32_t tag, Operation operation, uint64_t sector, uint32_t sectors,
                            uint32_t buffers) {
  const virtio_driver::DmaMemory memory = requests_.Part(tag * kRequestBytes, kRequestBytes);
  const bool range = operation == Operation::kDiscard || operation == Operation::kWriteZeroes;
  const bool in_or_out = operation == Operation::kIn || operation == Operation::kOut;
  const RequestMemory request = {
      .header = {.type = static_cast<uint32_t>(operation),
                 .reserved = 0,
                 .sector = in_or_out ? sector : 0},  // 5.2.6.1: 0 for all other types
      .range = {.sector = sector, .num_sectors = sectors, .flags = 0},
      .status = kNoStatus,
  };
  std::memcpy(memory.bytes.data(), &request, sizeof(request));

  const auto part = [&memory](size_t offset, size_t bytes) {
    return Buffer{memory.physical + offset, static_cast<uint32_t>(bytes)};
  };
  buffers_[0] = part(offsetof(RequestMemory, header), sizeof(request.header));
  if (range) {
    buffers_[1] = part(offsetof(RequestMemory, range), sizeof(request.range));
    buffers = 1;
  }
  buffers_[1 + buffers] = part(offsetof(RequestMemory, status), sizeof(request.status));
  const std::span all = std::span(buffers_).first(buffers + kHeaderAndStatus);
  const size_t readable = operation == Operation::kIn ? 1 : 1 + buffers;
  return queue_.Add(all.first(readable), all.subspan(readable), tag);
}

void PhysicalDisk::Publish() {
  if (queue_.Publish()) transport_.Notify(0);
}

std::optional<PhysicalDisk::Outcome> PhysicalDisk::Pop() {
  if (broken()) return std::nullopt;
  const auto completion = queue_.Pop();
  if (!completion.has_value()) return std::nullopt;
  const size_t at = completion->token * kRequestBytes + offsetof(RequestMemory, status);
  switch (const auto status = std::to_integer<uint8_t>(requests_.bytes[at])) {
    case virtio_blk::kStatusOk:
    case virtio_blk::kStatusIoErr:
    case virtio_blk::kStatusUnsupp:
      return Outcome{completion->token, static_cast<RequestStatus>(status)};
    default: lied_ = true; return std::nullopt;
  }
}

Status PhysicalDisk::OnInterrupt() {
  if (const Status status = transport_.AcknowledgeInterrupts(); !IsOk(status)) return status;
  return transport_.IsLive() ? Status::kOk : Status::kDataLoss;
}

}  // namespace atoll::blk_driver
